//! The grains of each cluster cut out, and label maps of the cut-out grains.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use anyhow::Result;
use invar_dataset::Progress;
use invar_micrographs::{write_crop, write_label_map};
use serde_json::json;

use super::Extracted;
use crate::{
    cli::Extract,
    commands::{
        clustered::Clustered,
        paint::{Painting, file_name},
    },
    exit::Interrupted,
    ui::{Ui, Unit, counted, thousands},
};

/// Number of clusters named in the summary.
const NAMED: usize = 20;

/// Writes all files into `out`, one image at a time, so that only one is in memory.
pub fn write(args: &Extract, out: &Path, ui: &Ui) -> Result<Extracted> {
    let clustered = Clustered::open(&args.of.clusters, &args.of.data)?;
    let dataset = &clustered.dataset;
    let is_wanted = |cluster: i32| args.cluster.is_empty() || args.cluster.contains(&cluster);
    let bar = ui.bar("extract", Unit::Items);
    bar.set_total(dataset.num_images() as u64);
    let (mut taken, mut counts) = (HashSet::new(), BTreeMap::new());
    let mut num_maps = 0u64;
    for index in 0..dataset.num_images() {
        let image = dataset.image(index);
        let grains = dataset.grains_of(index);
        let clusters: Vec<Option<i32>> = clustered.clusters[grains.clone()]
            .iter()
            .map(|cluster| cluster.filter(|&cluster| is_wanted(cluster)))
            .collect();
        let name = file_name(&image.name, &mut taken);
        for (grain, cluster) in grains.clone().zip(&clusters).filter_map(|(grain, cluster)| Some((grain, (*cluster)?)))
        {
            if bar.is_cancelled() {
                return Err(Interrupted.into());
            }
            let grain = dataset.grain(grain);
            let group = if cluster < 0 { "ungrouped".into() } else { format!("group_{cluster:03}") };
            write_crop(out.join(format!("{group}_{name}_{}.tif", grain.region().label)), &grain)?;
            *counts.entry(cluster).or_insert(0u64) += 1;
        }
        if clusters.iter().any(Option::is_some) {
            write_label_map(
                out.join(format!("{name}_labels.tif")),
                &Painting::new(image, &clusters).into_instances(image),
            )?;
            num_maps += 1;
        }
        bar.advance(1);
    }
    let num_grains: u64 = counts.values().sum();
    let mut text = format!(
        "{} of {} cut out, and {} of {}",
        counted(num_grains, "grain"),
        thousands(invar_dataset::Dataset::len(dataset) as u64),
        counted(num_maps, "label map"),
        counted(dataset.num_images() as u64, "image"),
    );
    for (&cluster, grains) in counts.iter().take(NAMED) {
        let name = if cluster < 0 { "in no cluster".into() } else { format!("cluster {cluster}") };
        text += &format!("\n  {name}  {}", counted(*grains, "grain"));
    }
    if counts.len() > NAMED {
        text += "\n  ...";
    }
    let listed: Vec<_> = counts.iter().map(|(cluster, grains)| json!({"cluster": cluster, "grains": grains})).collect();
    Ok(Extracted { text, json: json!({"num_grains": num_grains, "clusters": listed, "num_label_maps": num_maps}) })
}
