//! `invar cluster`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use invar_cluster::{ClusterConfig, HdbscanConfig, KMeansConfig, Rows, geometry, pca};
use invar_dataset::atomic;
use invar_embeddings::{ClusterTable, Embeddings, Provenance};
use serde_json::json;

use crate::{
    cli::{Cluster, Common, Method},
    exit::Usage,
    plot,
    ui::{Summary, Ui, Unit, thousands},
};

/// `invar cluster`
pub fn run(args: &Cluster, common: &Common, ui: &Ui) -> Result<Summary> {
    let config = config(args, common.seed.unwrap_or(0))?;
    if args.out.exists() && !common.force {
        return Err(Usage(format!("{}: exists already (use --force to replace it)", args.out.display())).into());
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

/// Clusters the embeddings at `path`, projects them to the plane and writes both.
pub fn cluster(path: &Path, output: &Output, config: &ClusterConfig, ui: &Ui) -> Result<Summary> {
    let embeddings = Embeddings::read(path)?;
    let rows = Rows::new(&embeddings.values, embeddings.dim).with_context(|| path.display().to_string())?;
    let clustering = {
        let bar = ui.bar("cluster", Unit::Items);
        config.run(rows, &bar)?
    };
    let (x, y) = pca::project_2d(rows);
    let distance = geometry::distances_to_means(rows, &clustering.labels)?;
    if let Some(svg) = &output.plot {
        let points: Vec<(f32, f32)> = x.iter().copied().zip(y.iter().copied()).collect();
        let title = format!("{} samples, {} clusters", thousands(points.len() as u64), clustering.num_clusters);
        let picture = plot::scatter(&title, &points, &clustering.labels)?;
        atomic::write(svg, picture.as_bytes()).with_context(|| svg.display().to_string())?;
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
    table.write(&output.clusters)?;
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
        "out": output.clusters, "plot": output.plot, "method": config.method(), "num_rows": table.ids.len(),
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
    Ok(match args.method {
        Method::Kmeans => {
            let k = args.k.parse().map_err(|reason| Usage(format!("--k {}: {reason}", args.k)))?;
            let defaults = KMeansConfig::default();
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
    })
}
