//! A clustering together with its grains.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use invar_dataset::Dataset;
use invar_embeddings::ClusterTable;
use invar_micrographs::GrainDataset;

use crate::exit::BadInput;

/// The cluster of each grain.
pub struct Clustered {
    /// The grains.
    pub dataset: GrainDataset,
    /// One per grain: -1 is noise, `None` a grain that was not clustered.
    pub clusters: Vec<Option<i32>>,
    /// Distance to the centre of its cluster, one per grain; 0 if it was not clustered.
    pub distance: Vec<f32>,
    /// The clusters that occur, with the number of their grains, largest first and noise last.
    pub sizes: Vec<(i32, usize)>,
}

impl Clustered {
    /// Reads a table of clusters and opens the datasets it belongs to.
    ///
    /// # Errors
    /// If a dataset is not of micrographs, or a row names none of its grains.
    pub fn open(clusters: &Path, data: &[PathBuf]) -> Result<Self> {
        let table = ClusterTable::read(clusters)?;
        let dataset = GrainDataset::open(data)?;
        let grains = grains(&table, &dataset, clusters)?;
        let mut clustered = Self::new(dataset, vec![], vec![]);
        for (row, grain) in grains.into_iter().enumerate() {
            clustered.clusters[grain] = Some(table.clusters[row]);
            clustered.distance[grain] = table.distance[row];
        }
        Ok(Self::new(clustered.dataset, clustered.clusters, clustered.distance))
    }

    /// For clusters known grain by grain; with an empty list, no grain is clustered.
    pub fn new(dataset: GrainDataset, mut clusters: Vec<Option<i32>>, mut distance: Vec<f32>) -> Self {
        clusters.resize(dataset.len(), None);
        distance.resize(dataset.len(), 0.0);
        let mut counts: HashMap<i32, usize> = HashMap::new();
        clusters.iter().flatten().for_each(|&cluster| *counts.entry(cluster).or_default() += 1);
        let mut sizes: Vec<(i32, usize)> = counts.into_iter().collect();
        sizes.sort_by_key(|&(cluster, size)| (cluster < 0, std::cmp::Reverse(size), cluster));
        Self { dataset, clusters, distance, sizes }
    }

    /// Number of clustered grains, including noise.
    pub fn num_clustered(&self) -> usize {
        self.sizes.iter().map(|&(_, size)| size).sum()
    }
}

/// The index of the grain of each row of a table; `path` is that of the table.
///
/// # Errors
/// If a row does not name a grain of the dataset.
pub fn grains(table: &ClusterTable, dataset: &GrainDataset, path: &Path) -> Result<Vec<usize>> {
    match &table.keys {
        Some(keys) => grains_of_keys(&table.ids, keys, dataset, path),
        None => grains_of(&table.ids, dataset, path),
    }
}

/// "3", or "noise".
pub fn name(cluster: i32) -> String {
    if cluster < 0 { "noise".into() } else { cluster.to_string() }
}

/// The index of the grain of each key.
fn grains_of_keys(ids: &[String], keys: &[i64], dataset: &GrainDataset, path: &Path) -> Result<Vec<usize>> {
    let by_key = (0..dataset.len()).map(|grain| (dataset.key(grain), grain)).collect();
    samples_of_keys(ids, keys, &by_key, |grain| Ok(dataset.grain(grain).id()), "grain", path)
}

/// The index of the sample of each key, whose name must be that of the row. `noun` is what a sample is called.
///
/// # Errors
/// If a key belongs to no sample, or to one with another name: the clusters are of other data.
pub fn samples_of_keys(
    ids: &[String],
    keys: &[i64],
    by_key: &HashMap<u64, usize>,
    name: impl Fn(usize) -> Result<String>,
    noun: &str,
    path: &Path,
) -> Result<Vec<usize>> {
    let bad = |reason: String| BadInput(format!("{}: {reason}", path.display()));
    let find = |(id, &key): (&String, &i64)| {
        let missing = || bad(format!("sample {id:?} (key {key}) is no {noun} of the data: they are of other files"));
        let sample = *u64::try_from(key).ok().and_then(|key| by_key.get(&key)).ok_or_else(missing)?;
        let found = name(sample)?;
        if found != *id {
            return Err(
                bad(format!("key {key} is {id:?} there and {found:?} in the data: these are other {noun}s")).into()
            );
        }
        Ok(sample)
    };
    ids.iter().zip(keys).map(find).collect()
}

/// The index of the grain of each id, for a table without keys. Rows in the order of the dataset need no unique names.
fn grains_of(ids: &[String], dataset: &GrainDataset, path: &Path) -> Result<Vec<usize>> {
    if ids.len() == dataset.len() && ids.iter().enumerate().all(|(at, id)| *id == dataset.grain(at).id()) {
        return Ok((0..ids.len()).collect());
    }
    let mut by_id: HashMap<String, usize> = HashMap::new();
    for grain in 0..dataset.len() {
        if let Some(first) = by_id.insert(dataset.grain(grain).id(), grain) {
            let places = [first, grain].map(|grain| dataset.grain(grain).image.source.clone());
            let reason = format!(
                "{}: it has no column `key`, and {:?} is a grain of {} and one of {}: cluster again",
                path.display(),
                dataset.grain(grain).id(),
                places[0],
                places[1]
            );
            return Err(BadInput(reason).into());
        }
    }
    let find = |id: &String| {
        let example = || if dataset.is_empty() { "none".into() } else { format!("{:?}", dataset.grain(0).id()) };
        let missing = || {
            let reason = format!("sample {id:?} is no grain of the data; those are named like {}", example());
            BadInput(format!("{}: {reason}", path.display()))
        };
        by_id.get(id).copied().ok_or_else(missing)
    };
    Ok(ids.iter().map(find).collect::<Result<_, _>>()?)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use invar_micrographs::{LabelMap, MemoryImage, Pixels};

    /// An image of 64 x 64 with 4 x 4 white squares of 8 on black, clusters 0 and 1 in turn.
    pub fn squares() -> Clustered {
        let number = |at: usize| ((at % 16) as i64 - 4, (at / 16) as u32);
        let label = |row: usize, column: usize| {
            let ((dy, y), (dx, x)) = (number(row), number(column));
            if (0..8).contains(&dy) && (0..8).contains(&dx) { y * 4 + x + 1 } else { 0 }
        };
        let labels: Vec<u32> = (0..64 * 64).map(|at| label(at / 64, at % 64)).collect();
        let pixels = Pixels::U8(labels.iter().map(|&label| if label > 0 { 200 } else { 10 }).collect());
        let labels = Some(LabelMap { width: 64, height: 64, labels });
        let image = MemoryImage { name: "squares".into(), size: [1, 64, 64], pixels, labels, pixel_size: None };
        let dataset = GrainDataset::from_images(vec![image]);
        Clustered::new(dataset, (0..16).map(|grain| Some(grain % 2)).collect(), vec![])
    }

    #[test]
    fn rows_are_matched_in_order_or_by_name() {
        let dataset = squares().dataset;
        let ids: Vec<String> = (0..16).map(|grain| dataset.grain(grain).id()).collect();
        let path = Path::new("clusters.parquet");
        assert_eq!(grains_of(&ids, &dataset, path).unwrap(), (0..16).collect::<Vec<_>>());
        assert_eq!(grains_of(&[ids[7].clone(), ids[2].clone()], &dataset, path).unwrap(), [7, 2]);
        let error = grains_of(&["other#1".into()], &dataset, path).unwrap_err().to_string();
        assert!(error.contains("\"other#1\"") && error.contains("\"squares#1\""), "{error}");
    }

    #[test]
    fn rows_are_matched_by_key_and_a_key_of_another_grain_is_refused() {
        let dataset = squares().dataset;
        let path = Path::new("clusters.parquet");
        let find = |id: &str, key: i64| grains_of_keys(&[id.to_owned()], &[key], &dataset, path);
        assert_eq!(find(&dataset.grain(7).id(), dataset.key(7) as i64).unwrap(), [7]);
        let error = find("squares#1", dataset.key(7) as i64).unwrap_err().to_string();
        assert!(error.contains("key 7 is \"squares#1\" there and \"squares#8\" in the data"), "{error}");
        let error = find("squares#1", -3).unwrap_err().to_string();
        assert!(error.contains("sample \"squares#1\" (key -3) is no grain of the data"), "{error}");
    }

    #[test]
    fn a_table_without_keys_cannot_tell_images_of_one_name_apart() {
        let pixels = Pixels::U8(vec![0; 64]);
        let image = MemoryImage { name: "twice".into(), size: [1, 8, 8], pixels, labels: None, pixel_size: None };
        let dataset = GrainDataset::from_images(vec![image.clone(), image]);
        let error = grains_of(&["twice#1".into()], &dataset, Path::new("c.parquet")).unwrap_err().to_string();
        assert!(error.contains("no column `key`") && error.contains("twice#1"), "{error}");
    }

    #[test]
    fn clusters_are_listed_by_size_and_noise_last() {
        let mut clustered = squares();
        clustered.clusters = [&[Some(-1); 9][..], &[Some(0); 2], &[Some(1); 4], &[None]].concat();
        let clustered = Clustered::new(clustered.dataset, clustered.clusters, vec![]);
        assert_eq!(clustered.sizes, [(1, 4), (0, 2), (-1, 9)]);
        assert_eq!(clustered.num_clustered(), 15);
    }
}
