//! `invar cluster`

mod candidates;
pub mod groups;

use std::{
    collections::HashSet,
    io::Write,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result};
use invar_cluster::{
    AutoConfig, ClusterConfig, ClusterError, HdbscanConfig, KMeansConfig, LeidenConfig, NumClusters, ProjectionConfig,
    Rows, Ties, geometry, groups::Labelled,
};
use invar_dataset::{ColumnData, atomic::AtomicFile, path};
use invar_embeddings::{ClusterTable, Embeddings, Provenance};
use serde_json::{Value, json};

use crate::{
    cli::{Cluster, Common, Method, Projection},
    exit::{BadInput, Usage},
    output, plot,
    ui::{Summary, Ui, Unit, counted, thousands},
};

/// `invar cluster`
pub fn run(args: &Cluster, common: &Common, ui: &Ui) -> Result<Summary> {
    let config = config(args, common.seed.unwrap_or(0))?;
    let groups = match &args.groups {
        Some(groups) => groups.clone(),
        None => groups::beside(&args.out)?,
    };
    let output = Output { clusters: args.out.clone(), groups, plot: args.plot.clone() };
    let outs =
        [("--out", Some(&output.clusters)), ("--groups", Some(&output.groups)), ("--plot", output.plot.as_ref())];
    let outs: Vec<(&str, &PathBuf)> = outs.into_iter().filter_map(|(option, out)| Some((option, out?))).collect();
    for (at, (option, out)) in outs.iter().enumerate() {
        output::check_file(out, common, &[&args.embeddings])?;
        if let Some((other, _)) = outs[..at].iter().find(|(_, other)| other == out) {
            return Err(Usage(format!("{}: {other} and {option} are one file", out.display())).into());
        }
    }
    let projection = match args.projection {
        Projection::Umap => ProjectionConfig::default().with_seed(config.seed()),
        Projection::Pca => ProjectionConfig::Pca {},
    };
    cluster(&args.embeddings, &output, &config, &projection, ui)
}

/// Where a clustering goes.
pub struct Output {
    /// The table of the samples.
    pub clusters: PathBuf,
    /// The table of the clusters, tab-separated.
    pub groups: PathBuf,
    /// The picture.
    pub plot: Option<PathBuf>,
}

/// Clusters the embeddings `of`, projects them to the plane and writes both.
pub fn cluster(
    of: &Path,
    output: &Output,
    config: &ClusterConfig,
    projection: &ProjectionConfig,
    ui: &Ui,
) -> Result<Summary> {
    // From here on nobody else writes them.
    let begin = |path: &Path| AtomicFile::create(path).with_context(|| path.display().to_string());
    let (file, mut tsv) = (begin(&output.clusters)?, begin(&output.groups)?);
    let mut picture = output.plot.as_deref().map(begin).transpose()?;
    let embeddings = Embeddings::read(of)?;
    let rows = Rows::new(&embeddings.values, embeddings.dim).with_context(|| of.display().to_string())?;
    if let ClusterConfig::KMeans(KMeansConfig { k: NumClusters::Fixed(k), .. }) = config
        && *k > rows.len()
    {
        ui.warn(&format!("k = {k}, but there are {} samples: at most so many clusters", rows.len()));
    }
    let (mut ties, mut tied) = (None, None);
    if let (Some(column), apart) = config.ties() {
        let (values, said) = together(column, of, &embeddings)?;
        tied = Some(said);
        ties = values.map(Ties::new);
        if let (Some(ties), Some(column)) = (&mut ties, apart) {
            keep_apart(column, of, &embeddings, ties)?;
        }
    }
    let clustering = {
        let bar = ui.bar("cluster", Unit::Items);
        config.run(rows, ties.as_ref(), &bar)?
    };
    let groups = groups::table(
        &embeddings,
        rows,
        Labelled {
            labels: &clustering.labels,
            probability: &clustering.probability,
            confidence: &clustering.confidence,
            method: clustering.method,
        },
    )?;
    let text = groups.to_tsv(&embeddings.ids, embeddings.keys.as_deref());
    tsv.write_all(text.as_bytes()).and_then(|()| tsv.flush()).with_context(|| tsv.path().display().to_string())?;
    let found = json!({
        "method": clustering.method, "candidates": clustering.candidates, "confidence": clustering.confidence,
    });
    let (x, y) = {
        let bar = ui.bar("project", Unit::Items);
        projection.project(rows, clustering.near.as_ref(), &bar)?
    };
    let distance = geometry::distances_to_means(rows, &clustering.labels)?;
    if let Some(svg) = &mut picture {
        let points: Vec<(f32, f32)> = x.iter().copied().zip(y.iter().copied()).collect();
        let title = format!(
            "{}, {}",
            counted(points.len() as u64, "sample"),
            counted(clustering.num_clusters as u64, "cluster")
        );
        let text = plot::scatter(&title, axis(projection), &points, &clustering.labels)?;
        svg.write_all(text.as_bytes()).and_then(|()| svg.flush()).with_context(|| svg.path().display().to_string())?;
    }
    let mut sizes = vec![0u64; clustering.num_clusters];
    clustering.labels.iter().filter(|&&label| label >= 0).for_each(|&label| sizes[label as usize] += 1);
    let num_noise = clustering.labels.iter().filter(|&&label| label < 0).count();
    let table = ClusterTable {
        ids: embeddings.ids,
        keys: embeddings.keys,
        clusters: clustering.labels,
        probability: clustering.probability,
        distance,
        x,
        y,
        provenance: embeddings.provenance.unwrap_or_else(|| Provenance::new(env!("CARGO_PKG_VERSION"), embeddings.dim)),
        method: config.method().to_owned(),
        parameters: parameters(config, projection),
        found,
    };
    table.write_to(file)?;
    tsv.commit().with_context(|| output.groups.display().to_string())?;
    if let Some((file, svg)) = picture.zip(output.plot.as_ref()) {
        file.commit().with_context(|| svg.display().to_string())?;
    }
    let shown: Vec<String> = sizes.iter().take(20).map(|&n| thousands(n)).collect();
    let more = if sizes.len() > 20 { ", ..." } else { "" };
    let mut text = format!(
        "{}: {} of {} by {}\n  sizes {}{more}",
        output.clusters.display(),
        counted(clustering.num_clusters as u64, "cluster"),
        counted(table.ids.len() as u64, "sample"),
        clustering.method.name(),
        shown.join(", "),
    );
    if num_noise > 0 {
        text += &format!("\n  noise {}", thousands(num_noise as u64));
    }
    if let Some(said) = &tied {
        text += &format!("\n  {said}");
    }
    if !clustering.candidates.is_empty() {
        text += &candidates::in_words(&clustering.candidates, clustering.num_clusters);
    }
    text += &groups::in_words(&groups);
    text += &format!("\n{}: a line for each cluster", output.groups.display());
    if let Some(svg) = &output.plot {
        text += &format!("\n{}: the picture", svg.display());
    }
    let json = json!({
        "out": path::text(&output.clusters), "plot": output.plot.as_deref().map(path::text), "groups": path::text(&output.groups), "method": clustering.method, "num_rows": table.ids.len(),
        "num_clusters": clustering.num_clusters, "sizes": sizes, "num_noise": num_noise,
        "together": tied, "candidates": clustering.candidates, "confidence": clustering.confidence,
    });
    Ok(Summary { text, json })
}

/// What an axis of the plane is called.
fn axis(projection: &ProjectionConfig) -> &'static str {
    match projection {
        ProjectionConfig::Umap(_) => "UMAP",
        ProjectionConfig::Pca {} => "principal component",
    }
}

/// Everything that fixes a clustering and its places in the plane, as it is stored beside them.
pub fn parameters(config: &ClusterConfig, projection: &ProjectionConfig) -> Value {
    let mut parameters = serde_json::to_value(config).expect("a configuration has string keys");
    parameters["seed"] = json!(config.seed());
    parameters["projection"] = json!(projection);
    parameters
}

fn config(args: &Cluster, seed: u64) -> Result<ClusterConfig> {
    let (auto, kmeans, hdbscan, leiden) = (Method::Auto, Method::Kmeans, Method::Hdbscan, Method::Leiden);
    let options: [(&str, bool, &[Method]); 9] = [
        ("--k", args.k.is_some(), &[kmeans]),
        ("--restarts", args.restarts.is_some(), &[kmeans]),
        ("--min-cluster-size", args.min_cluster_size.is_some(), &[hdbscan]),
        ("--min-samples", args.min_samples.is_some(), &[hdbscan]),
        ("--resolution", args.resolution.is_some(), &[leiden]),
        ("--together", args.together.is_some(), &[auto, leiden]),
        ("--apart", args.apart.is_some(), &[auto, leiden]),
        ("--neighbors", args.neighbors.is_some(), &[auto, leiden]),
        ("--sample", args.sample.is_some(), &[auto, leiden]),
    ];
    let given = || options.iter().filter(|(_, is_given, _)| *is_given);
    // An option that one method alone has says which is meant.
    let method = args.method.unwrap_or_else(|| match given().find(|(_, _, methods)| methods.len() == 1) {
        Some((_, _, methods)) => methods[0],
        None => auto,
    });
    if let Some((option, _, methods)) = given().find(|(_, _, methods)| !methods.contains(&method)) {
        let others: Vec<&str> = methods.iter().map(|&method| name(method)).collect();
        let reason =
            format!("{option} is an option of --method {}, the method is {}", others.join(" and "), name(method));
        return Err(Usage(reason).into());
    }
    let config = match method {
        Method::Auto => {
            let defaults = AutoConfig::default();
            ClusterConfig::Auto(AutoConfig {
                together: args.together.clone(),
                apart: args.apart.clone(),
                neighbors: args.neighbors.unwrap_or(defaults.neighbors),
                sample: args.sample.unwrap_or(defaults.sample),
                seed,
                ..defaults
            })
        }
        Method::Kmeans => {
            let defaults = KMeansConfig::default();
            let k = parsed("--k", args.k.as_deref())?.unwrap_or(defaults.k);
            let restarts = args.restarts.unwrap_or(defaults.restarts);
            ClusterConfig::KMeans(KMeansConfig { k, restarts, seed, ..defaults })
        }
        Method::Hdbscan => {
            let defaults = HdbscanConfig::default();
            ClusterConfig::Hdbscan(HdbscanConfig {
                min_cluster_size: args.min_cluster_size.unwrap_or(defaults.min_cluster_size),
                min_samples: args.min_samples,
                ..defaults
            })
        }
        Method::Leiden => {
            let defaults = LeidenConfig::default();
            ClusterConfig::Leiden(LeidenConfig {
                resolution: parsed("--resolution", args.resolution.as_deref())?.unwrap_or(defaults.resolution),
                together: args.together.clone(),
                apart: args.apart.clone(),
                neighbors: args.neighbors.unwrap_or(defaults.neighbors),
                sample: args.sample.unwrap_or(defaults.sample),
                seed,
            })
        }
    };
    Ok(config)
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Auto => "auto",
        Method::Kmeans => "kmeans",
        Method::Hdbscan => "hdbscan",
        Method::Leiden => "leiden",
    }
}

/// The value of an option that may also be a word.
fn parsed<T: FromStr<Err = ClusterError>>(option: &str, text: Option<&str>) -> Result<Option<T>, Usage> {
    text.map(|text| text.parse().map_err(|reason| Usage(format!("{option} {text}: {reason}")))).transpose()
}

/// The values of the column that says which rows must stay together, and what there is to say of it; without the column
/// every row is by itself.
fn together(column: &str, of: &Path, embeddings: &Embeddings) -> Result<(Option<Vec<Option<i64>>>, String)> {
    if !embeddings.column_names()?.iter().any(|there| there == column) {
        return Ok((None, format!("no column {column:?} says which samples stay together: each is by itself")));
    }
    let values: Vec<Option<i64>> = match embeddings.column(column)?.data {
        ColumnData::I64(values) => values,
        ColumnData::U32(values) => values.into_iter().map(|value| value.map(i64::from)).collect(),
        ColumnData::U8(values) => values.into_iter().map(|value| value.map(i64::from)).collect(),
        _ => {
            let reason = format!("{}: column {column:?}: expected integers, found another type", of.display());
            return Err(BadInput(reason).into());
        }
    };
    let distinct = values.iter().flatten().collect::<HashSet<_>>().len();
    let rows = values.iter().flatten().count();
    if rows == 0 {
        return Ok((None, format!("column {column:?} has no values: each sample is by itself")));
    }
    let (rows, distinct) = (thousands(rows as u64), thousands(distinct as u64));
    Ok((Some(values), format!("{rows} samples stay together by {column:?}, as {distinct} pieces")))
}

/// Reads the column of what rows are alike but not one with, where there is one.
fn keep_apart(column: &str, of: &Path, embeddings: &Embeddings, ties: &mut Ties) -> Result<()> {
    if !embeddings.column_names()?.iter().any(|there| there == column) {
        return Ok(());
    }
    let bad = |found: &str| {
        BadInput(format!("{}: column {column:?}: expected integers in text, found {found}", of.display()))
    };
    let ColumnData::Str(values) = embeddings.column(column)?.data else { return Err(bad("another type").into()) };
    let own: Vec<Option<i64>> = ties.together().to_vec();
    // Rows of one value have one text.
    let distinct: HashSet<(i64, &str)> =
        own.iter().zip(&values).filter_map(|(own, text)| Some(((*own)?, text.as_deref()?))).collect();
    for (own, text) in distinct {
        for word in text.split_whitespace() {
            ties.keep_apart(own, word.parse().map_err(|_| bad(&format!("{word:?}")))?);
        }
    }
    Ok(())
}
