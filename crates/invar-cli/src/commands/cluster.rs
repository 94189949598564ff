//! `invar cluster`

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_cluster::{ClusterConfig, HdbscanConfig, KMeansConfig, NumClusters, Rows, geometry, pca};
use invar_dataset::{atomic::AtomicFile, path};
use invar_embeddings::{ClusterTable, Embeddings, Provenance};
use serde_json::json;

use crate::{
    cli::{Cluster, Common, Method},
    exit::Usage,
    output, plot,
    ui::{Summary, Ui, Unit, thousands},
};

/// `invar cluster`
pub fn run(args: &Cluster, common: &Common, ui: &Ui) -> Result<Summary> {
    let config = config(args, common.seed.unwrap_or(0))?;
    for out in std::iter::once(&args.out).chain(&args.plot) {
        output::check_file(out, common, &[&args.embeddings])?;
    }
    if args.plot.as_ref() == Some(&args.out) {
        return Err(Usage(format!("{}: --out and --plot are one file", args.out.display())).into());
    }
    let output = Output { clusters: args.out.clone(), plot: args.plot.clone() };
    cluster(&args.embeddings, &output, &config, ui)
}

/// Where a clustering goes.
pub struct Output {
    /// The table.
    pub clusters: PathBuf,
    /// The picture.
    pub plot: Option<PathBuf>,
}

/// Clusters the embeddings `of`, projects them to the plane and writes both.
pub fn cluster(of: &Path, output: &Output, config: &ClusterConfig, ui: &Ui) -> Result<Summary> {
    // From here on nobody else writes them.
    let begin = |path: &Path| AtomicFile::create(path).with_context(|| path.display().to_string());
    let (file, mut picture) = (begin(&output.clusters)?, output.plot.as_deref().map(begin).transpose()?);
    let embeddings = Embeddings::read(of)?;
    let rows = Rows::new(&embeddings.values, embeddings.dim).with_context(|| of.display().to_string())?;
    if let ClusterConfig::KMeans(KMeansConfig { k: NumClusters::Fixed(k), .. }) = config
        && *k > rows.len()
    {
        ui.warn(&format!("k = {k}, but there are {} samples: at most so many clusters", rows.len()));
    }
    let clustering = {
        let bar = ui.bar("cluster", Unit::Items);
        config.run(rows, &bar)?
    };
    let (x, y) = pca::project_2d(rows);
    let distance = geometry::distances_to_means(rows, &clustering.labels)?;
    if let Some(svg) = &mut picture {
        let points: Vec<(f32, f32)> = x.iter().copied().zip(y.iter().copied()).collect();
        let title = format!("{} samples, {} clusters", thousands(points.len() as u64), clustering.num_clusters);
        let text = plot::scatter(&title, &points, &clustering.labels)?;
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
        parameters: parameters(config),
    };
    table.write_to(file)?;
    if let Some((file, svg)) = picture.zip(output.plot.as_ref()) {
        file.commit().with_context(|| svg.display().to_string())?;
    }
    let shown: Vec<String> = sizes.iter().take(20).map(|&n| thousands(n)).collect();
    let more = if sizes.len() > 20 { ", ..." } else { "" };
    let mut text = format!(
        "{}: {} clusters of {} samples by {}\n  sizes {}{more}",
        output.clusters.display(),
        clustering.num_clusters,
        thousands(table.ids.len() as u64),
        config.method(),
        shown.join(", "),
    );
    if num_noise > 0 {
        text += &format!("\n  noise {}", thousands(num_noise as u64));
    }
    if let Some(svg) = &output.plot {
        text += &format!("\n{}: the picture", svg.display());
    }
    let json = json!({
        "out": path::text(&output.clusters), "plot": output.plot.as_deref().map(path::text), "method": config.method(), "num_rows": table.ids.len(),
        "num_clusters": clustering.num_clusters, "sizes": sizes, "num_noise": num_noise,
    });
    Ok(Summary { text, json })
}

/// Everything that fixes a clustering, as it is stored beside it.
pub fn parameters(config: &ClusterConfig) -> serde_json::Value {
    let mut parameters = serde_json::to_value(config).expect("a configuration has string keys");
    parameters["seed"] = json!(config.seed());
    parameters
}

fn config(args: &Cluster, seed: u64) -> Result<ClusterConfig> {
    let of_kmeans = [("--k", args.k.is_some()), ("--restarts", args.restarts.is_some())];
    let of_hdbscan = [
        ("--min-cluster-size", args.min_cluster_size.is_some()),
        ("--min-samples", args.min_samples.is_some()),
        ("--sample", args.sample.is_some()),
    ];
    let (method, others, other) = match args.method {
        Method::Kmeans => ("kmeans", &of_hdbscan[..], "hdbscan"),
        Method::Hdbscan => ("hdbscan", &of_kmeans[..], "kmeans"),
    };
    if let Some((option, _)) = others.iter().find(|(_, is_given)| *is_given) {
        return Err(Usage(format!("{option} is an option of --method {other}, the method is {method}")).into());
    }
    let config = match args.method {
        Method::Kmeans => {
            let defaults = KMeansConfig::default();
            let parsed = args.k.as_ref().map(|k| k.parse().map_err(|reason| Usage(format!("--k {k}: {reason}"))));
            let k = parsed.transpose()?.unwrap_or(defaults.k);
            let restarts = args.restarts.unwrap_or(defaults.restarts);
            ClusterConfig::KMeans(KMeansConfig { k, restarts, seed, ..defaults })
        }
        Method::Hdbscan => {
            let defaults = HdbscanConfig::default();
            ClusterConfig::Hdbscan(HdbscanConfig {
                min_cluster_size: args.min_cluster_size.unwrap_or(defaults.min_cluster_size),
                min_samples: args.min_samples,
                sample: args.sample.unwrap_or(defaults.sample),
                seed,
                ..defaults
            })
        }
    };
    Ok(config)
}
