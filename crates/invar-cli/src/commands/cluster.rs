//! `invar cluster`

mod assign;
mod candidates;
pub mod groups;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::Write,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, Result};
use invar_cluster::{
    AutoConfig, ClusterConfig, ClusterError, HdbscanConfig, KMeansConfig, LeidenConfig, Method, NumClusters,
    ProjectionConfig, Quality, Rows, Ties, WeightConfig, geometry,
    groups::{GroupTable, Labelled},
};
use invar_dataset::{ColumnData, atomic::AtomicFile, path};
use invar_embeddings::{ClusterTable, Embeddings, Provenance, Vectors};
use serde_json::{Value, json};

use crate::{
    cli::{self, Cluster, Common, Method as Asked, Projection},
    exit::{BadInput, Usage},
    output, plot, remote,
    ui::{Summary, Ui, Unit, counted, thousands},
};

/// What a contig weighs.
const LENGTH_BP: &str = "length_bp";

/// `invar cluster`
pub fn run(args: &Cluster, common: &Common, ui: &Ui) -> Result<Summary> {
    if let Some(clusters) = &args.assign {
        return assign::run(args, clusters, common, ui);
    }
    let config = config(args, common.seed.unwrap_or(0))?;
    let output = Output::checked(args, common, &[&args.embeddings])?;
    let projection = match args.projection {
        Projection::Umap => ProjectionConfig::default().with_seed(config.seed()),
        Projection::Pca => ProjectionConfig::Pca {},
    };
    cluster(&args.embeddings, &args.vectors.to_reader(), &output, &config, &projection, ui)
}

/// The output files of a clustering.
pub struct Output {
    /// The table of the samples.
    pub clusters: PathBuf,
    /// The table of the clusters, tab-separated.
    pub groups: PathBuf,
    /// The picture.
    pub plot: Option<PathBuf>,
}

impl Output {
    /// As named by the command; none may be an input, or an existing file that must not be replaced.
    fn checked(args: &Cluster, common: &Common, inputs: &[&Path]) -> Result<Self> {
        let groups = match &args.groups {
            Some(groups) => groups.clone(),
            None => groups::beside(&args.out)?,
        };
        let output = Self { clusters: args.out.clone(), groups, plot: args.plot.clone() };
        let outs =
            [("--out", Some(&output.clusters)), ("--groups", Some(&output.groups)), ("--plot", output.plot.as_ref())];
        let outs: Vec<(&str, &PathBuf)> = outs.into_iter().filter_map(|(option, out)| Some((option, out?))).collect();
        for (at, (option, out)) in outs.iter().enumerate() {
            output::check_file(out, common, inputs)?;
            if let Some((other, _)) = outs[..at].iter().find(|(_, other)| other == out) {
                return Err(Usage(format!("{}: {other} and {option} are one file", out.display())).into());
            }
        }
        Ok(output)
    }

    /// Starts the files. From here on nobody else can write them.
    fn begin(&self) -> Result<Files<'_>> {
        let begin = |path: &Path| AtomicFile::create(path).with_context(|| path.display().to_string());
        let (clusters, groups) = (begin(&self.clusters)?, begin(&self.groups)?);
        Ok(Files { output: self, clusters, groups, plot: self.plot.as_deref().map(begin).transpose()? })
    }

    /// The EMB `of` as a path relative to the table, or by its URL.
    fn way_to(&self, of: &Path) -> Result<String> {
        if let Some(url) = remote::origin(of) {
            return Ok(url);
        }
        let directory = self.clusters.parent().unwrap_or(Path::new(""));
        Ok(path::text(&path::relative(directory, of).with_context(|| of.display().to_string())?))
    }
}

/// The output files of a clustering, started.
struct Files<'a> {
    output: &'a Output,
    clusters: AtomicFile,
    groups: AtomicFile,
    plot: Option<AtomicFile>,
}

impl Files<'_> {
    /// Writes all of them; `axis` is the name of an axis of the plane.
    fn finish(mut self, table: &ClusterTable, groups: &GroupTable, axis: &str) -> Result<()> {
        let failed = |file: &AtomicFile| file.path().display().to_string();
        let text = groups.to_tsv(&table.ids, table.keys.as_deref());
        let tsv = &mut self.groups;
        tsv.write_all(text.as_bytes()).and_then(|()| tsv.flush()).with_context(|| failed(tsv))?;
        if let Some(svg) = &mut self.plot {
            let points: Vec<(f32, f32)> = table.x.iter().copied().zip(table.y.iter().copied()).collect();
            let num_clusters = groups.groups.iter().filter(|group| group.cluster >= 0 && group.members > 0).count();
            let title =
                format!("{}, {}", counted(points.len() as u64, "sample"), counted(num_clusters as u64, "cluster"));
            let text = plot::scatter(&title, axis, &points, &table.clusters)?;
            svg.write_all(text.as_bytes()).and_then(|()| svg.flush()).with_context(|| failed(svg))?;
        }
        table.write_to(self.clusters)?;
        self.groups.commit().with_context(|| self.output.groups.display().to_string())?;
        if let Some((file, svg)) = self.plot.zip(self.output.plot.as_ref()) {
            file.commit().with_context(|| svg.display().to_string())?;
        }
        Ok(())
    }
}

/// Clusters the embeddings `of`, projects them to the plane and writes both.
pub fn cluster(
    of: &Path,
    vectors: &Vectors,
    output: &Output,
    config: &ClusterConfig,
    projection: &ProjectionConfig,
    ui: &Ui,
) -> Result<Summary> {
    let files = output.begin()?;
    let embeddings = Embeddings::read_as(of, vectors)?;
    warn_of_dropped(&embeddings, of, ui);
    let rows = Rows::new(&embeddings.values, embeddings.dim).with_context(|| of.display().to_string())?;
    if let ClusterConfig::KMeans(KMeansConfig { k: NumClusters::Fixed(k), .. }) = config
        && *k > rows.len()
    {
        ui.warn(&format!("k = {k}, but there are {} samples: at most that many clusters", rows.len()));
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
    if let Some(weight) = config.weight() {
        let weights = weights(&weight.column, of, &embeddings)?;
        ties = Some(ties.unwrap_or_else(|| Ties::new(vec![None; rows.len()])).weighing(weights, weight.least));
    }
    let mut marked = None;
    if let Some(column) = config.markers() {
        marked = Some(match markers(column, of, &embeddings)? {
            Some((of_rows, num)) => {
                let with = of_rows.iter().filter(|of| !of.is_empty()).count();
                ties = Some(ties.unwrap_or_else(|| Ties::new(vec![None; rows.len()])).marked(of_rows, num));
                let with = counted(with as u64, "sample");
                format!("{with} with {} by {column:?}", counted(num as u64, "single-copy marker"))
            }
            None => format!("no single-copy markers: {column:?} is not there or empty"),
        });
    }
    let clustering = {
        let bar = ui.bar("cluster", Unit::Items);
        config.run(rows, ties.as_ref(), &bar)?
    };
    let labelled = Labelled {
        labels: &clustering.labels,
        probability: &clustering.probability,
        confidence: &clustering.confidence,
        are_shares: clustering.method == Method::Leiden,
    };
    let groups = groups::table(&embeddings, rows, labelled)?;
    let (x, y) = {
        let bar = ui.bar("project", Unit::Items);
        projection.project(rows, clustering.near.as_ref(), &bar)?
    };
    let distance = geometry::distances_to_means(rows, &clustering.labels)?;
    let table = ClusterTable {
        ids: embeddings.ids,
        keys: embeddings.keys,
        clusters: clustering.labels,
        probability: clustering.probability,
        distance,
        x,
        y,
        provenance: embeddings.provenance.unwrap_or_else(|| Provenance::new(env!("CARGO_PKG_VERSION"), embeddings.dim)),
        embeddings: Some(output.way_to(of)?),
        method: config.method().to_owned(),
        parameters: parameters(config, projection),
        found: json!({
            "method": clustering.method, "candidates": clustering.candidates, "confidence": clustering.confidence,
        }),
    };
    files.finish(&table, &groups, axis(projection))?;
    let (sizes, num_noise) = sizes(&table.clusters, clustering.num_clusters);
    let mut text = format!(
        "{}: {} of {} by {}\n  sizes {}",
        output.clusters.display(),
        counted(clustering.num_clusters as u64, "cluster"),
        counted(table.ids.len() as u64, "sample"),
        clustering.method.name(),
        shown(&sizes),
    );
    if num_noise > 0 {
        text += &format!("\n  noise {}", thousands(num_noise));
    }
    for said in tied.iter().chain(&marked) {
        text += &format!("\n  {said}");
    }
    if !clustering.candidates.is_empty() {
        text += &candidates::in_words(&clustering.candidates, clustering.num_clusters);
    }
    text += &groups::in_words(&groups);
    text += &beside(output);
    let json = json!({
        "out": path::text(&output.clusters), "plot": output.plot.as_deref().map(path::text),
        "groups": path::text(&output.groups), "method": clustering.method, "num_rows": table.ids.len(),
        "num_clusters": clustering.num_clusters, "sizes": sizes, "num_noise": num_noise,
        "together": tied, "candidates": clustering.candidates, "confidence": clustering.confidence,
    });
    Ok(Summary { text, json })
}

/// Reports which rows were left out.
fn warn_of_dropped(embeddings: &Embeddings, path: &Path, ui: &Ui) {
    if let Some(first) = embeddings.dropped.first() {
        let number = counted(embeddings.dropped.len() as u64, "row");
        ui.warn(&format!("{}: {number} without a vector left out, the first of them row {first}", path.display()));
    }
}

/// Number of members of each cluster, and of rows in none.
fn sizes(labels: &[i32], num_clusters: usize) -> (Vec<u64>, u64) {
    let mut sizes = vec![0; num_clusters];
    labels.iter().filter(|&&label| label >= 0).for_each(|&label| sizes[label as usize] += 1);
    (sizes, labels.iter().filter(|&&label| label < 0).count() as u64)
}

/// The first of the sizes, as text.
fn shown(sizes: &[u64]) -> String {
    let shown: Vec<String> = sizes.iter().take(20).map(|&size| thousands(size)).collect();
    shown.join(", ") + if sizes.len() > 20 { ", ..." } else { "" }
}

/// The files written besides the table of the samples, as text.
fn beside(output: &Output) -> String {
    let mut text = format!("\n{}: a line for each cluster", output.groups.display());
    if let Some(svg) = &output.plot {
        text += &format!("\n{}: the picture", svg.display());
    }
    text
}

/// The name of an axis of the plane.
fn axis(projection: &ProjectionConfig) -> &'static str {
    match projection {
        ProjectionConfig::Umap(_) => "UMAP",
        ProjectionConfig::Pca {} => "principal component",
    }
}

/// Everything that determines a clustering and its places in the plane, as stored with them.
pub fn parameters(config: &ClusterConfig, projection: &ProjectionConfig) -> Value {
    let mut parameters = serde_json::to_value(config).expect("a configuration has string keys");
    parameters["seed"] = json!(config.seed());
    parameters["projection"] = json!(projection);
    parameters
}

fn config(args: &Cluster, seed: u64) -> Result<ClusterConfig> {
    let (auto, kmeans, hdbscan, leiden) = (Asked::Auto, Asked::Kmeans, Asked::Hdbscan, Asked::Leiden);
    let options: [(&str, bool, &[Asked]); 12] = [
        ("--k", args.k.is_some(), &[kmeans]),
        ("--restarts", args.restarts.is_some(), &[kmeans]),
        ("--min-cluster-size", args.min_cluster_size.is_some(), &[hdbscan]),
        ("--min-samples", args.min_samples.is_some(), &[hdbscan]),
        ("--resolution", args.resolution.is_some(), &[leiden]),
        ("--quality", args.quality.is_some(), &[leiden]),
        ("--together", args.together.is_some(), &[auto, leiden]),
        ("--apart", args.apart.is_some(), &[auto, leiden]),
        ("--markers", args.markers.is_some(), &[leiden]),
        ("--min-bin-bp", args.min_bin_bp.is_some(), &[leiden]),
        ("--neighbors", args.neighbors.is_some(), &[auto, leiden]),
        ("--sample", args.sample.is_some(), &[auto, leiden]),
    ];
    let given = || options.iter().filter(|(_, is_given, _)| *is_given);
    // An option that belongs to a single method implies it.
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
        Asked::Auto => {
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
        Asked::Kmeans => {
            let defaults = KMeansConfig::default();
            let k = parsed("--k", args.k.as_deref())?.unwrap_or(defaults.k);
            let restarts = args.restarts.unwrap_or(defaults.restarts);
            ClusterConfig::KMeans(KMeansConfig { k, restarts, seed, ..defaults })
        }
        Asked::Hdbscan => {
            let defaults = HdbscanConfig::default();
            ClusterConfig::Hdbscan(HdbscanConfig {
                min_cluster_size: args.min_cluster_size.unwrap_or(defaults.min_cluster_size),
                min_samples: args.min_samples,
                ..defaults
            })
        }
        Asked::Leiden => {
            let defaults = LeidenConfig::default();
            ClusterConfig::Leiden(LeidenConfig {
                quality: args.quality.map_or(defaults.quality, |quality| match quality {
                    cli::Quality::Modularity => Quality::Modularity,
                    cli::Quality::Cpm => Quality::Cpm,
                }),
                resolution: parsed("--resolution", args.resolution.as_deref())?.unwrap_or(defaults.resolution),
                together: args.together.clone(),
                apart: args.apart.clone(),
                markers: args.markers.clone(),
                weight: args.min_bin_bp.map(|least| WeightConfig { column: LENGTH_BP.into(), least: least as f64 }),
                neighbors: args.neighbors.unwrap_or(defaults.neighbors),
                sample: args.sample.unwrap_or(defaults.sample),
                seed,
            })
        }
    };
    Ok(config)
}

fn name(method: Asked) -> &'static str {
    match method {
        Asked::Auto => "auto",
        Asked::Kmeans => "kmeans",
        Asked::Hdbscan => "hdbscan",
        Asked::Leiden => "leiden",
    }
}

/// The value of an option that may also be a word.
fn parsed<T: FromStr<Err = ClusterError>>(option: &str, text: Option<&str>) -> Result<Option<T>, Usage> {
    text.map(|text| text.parse().map_err(|reason| Usage(format!("{option} {text}: {reason}")))).transpose()
}

/// The values of the column that determines which rows must stay together, and a remark about them; without the column
/// every row is on its own.
fn together(column: &str, of: &Path, embeddings: &Embeddings) -> Result<(Option<Vec<Option<i64>>>, String)> {
    if !embeddings.column_names()?.iter().any(|there| there == column) {
        return Ok((None, format!("no column {column:?} tells which samples stay together: each is on its own")));
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
        return Ok((None, format!("column {column:?} has no values: each sample is on its own")));
    }
    let (rows, distinct) = (thousands(rows as u64), thousands(distinct as u64));
    Ok((Some(values), format!("{rows} samples stay together by {column:?}, as {distinct} pieces")))
}

/// How much each row weighs.
fn weights(column: &str, of: &Path, embeddings: &Embeddings) -> Result<Vec<f64>> {
    let bad = |expected: &str, found: &str| {
        BadInput(format!("{}: column {column:?}: expected {expected}, found {found}", of.display()))
    };
    let names = embeddings.column_names()?;
    if !names.iter().any(|there| there == column) {
        return Err(bad("it to be there, as it is of contigs", &names.join(", ")).into());
    }
    let values: Vec<Option<f64>> = match embeddings.column(column)?.data {
        ColumnData::U32(values) => values.into_iter().map(|value| value.map(f64::from)).collect(),
        ColumnData::F32(values) => values.into_iter().map(|value| value.map(f64::from)).collect(),
        ColumnData::F64(values) => values,
        _ => return Err(bad("numbers", "another type").into()),
    };
    let weigh = |value: Option<f64>| {
        let value = value.ok_or_else(|| bad("a number above 0 in every row", "none"))?;
        // A contig without bases weighs next to nothing.
        if value == 0.0 {
            Ok(1.0)
        } else if value > 0.0 && value.is_finite() {
            Ok(value)
        } else {
            Err(bad("numbers of at least 0", &value.to_string()))
        }
    };
    Ok(values.into_iter().map(weigh).collect::<Result<_, _>>()?)
}

/// The single-copy markers of each row, numbered, and how many there are; `None` without the column, or where it is empty.
fn markers(column: &str, of: &Path, embeddings: &Embeddings) -> Result<Option<(Vec<Vec<u32>>, usize)>> {
    if !embeddings.column_names()?.iter().any(|there| there == column) {
        return Ok(None);
    }
    let ColumnData::Str(values) = embeddings.column(column)?.data else {
        let reason = format!("{}: column {column:?}: expected text, found another type", of.display());
        return Err(BadInput(reason).into());
    };
    let words = |value: &Option<String>| -> Vec<String> {
        value.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
    };
    let names: BTreeSet<String> = values.iter().flat_map(words).collect();
    let numbers: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
    let of_rows = values.iter().map(|value| words(value).iter().map(|word| numbers[word.as_str()]).collect()).collect();
    Ok((!names.is_empty()).then_some((of_rows, names.len())))
}

/// Reads the column of what rows are similar to but distinct from, if there is one.
fn keep_apart(column: &str, of: &Path, embeddings: &Embeddings, ties: &mut Ties) -> Result<()> {
    if !embeddings.column_names()?.iter().any(|there| there == column) {
        return Ok(());
    }
    let bad = |found: &str| {
        BadInput(format!("{}: column {column:?}: expected integers in text, found {found}", of.display()))
    };
    let ColumnData::Str(values) = embeddings.column(column)?.data else { return Err(bad("another type").into()) };
    let own: Vec<Option<i64>> = ties.together().to_vec();
    // Rows with the same value have the same text.
    let distinct: HashSet<(i64, &str)> =
        own.iter().zip(&values).filter_map(|(own, text)| Some(((*own)?, text.as_deref()?))).collect();
    for (own, text) in distinct {
        for word in text.split_whitespace() {
            ties.keep_apart(own, word.parse().map_err(|_| bad(&format!("{word:?}")))?);
        }
    }
    Ok(())
}
