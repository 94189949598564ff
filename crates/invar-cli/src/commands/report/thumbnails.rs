//! Pictures of grains for a report.

use std::io::Write;

use anyhow::Result;
use invar_dataset::manifest::Manifest;
use invar_embeddings::ClusterTable;
use invar_micrographs::GrainDataset;
use invar_report::{ReportWriter, Thumbnails};
use rayon::prelude::*;

use crate::{
    commands::{clustered, gallery},
    palette,
    picture::Picture,
    result_dir::ResultDir,
    ui::{Ui, thousands},
};

/// The domain whose samples have pictures.
const DOMAIN: &str = "micrographs";
/// Side of a picture, in pixels.
const SIDE_PX: u32 = 64;
/// Pictures in a row of a sprite.
const ACROSS: u32 = 32;
/// Number of grains up to which each gets a picture.
const MOST: usize = 10_000;
/// For more grains, the number per cluster nearest to the centre that get one, and of the farthest.
const EACH_END: usize = 32;

/// Writes pictures of the grains of `rows`, if these are grains and their images exist, and returns how many.
pub fn write<W: Write>(
    writer: &mut ReportWriter<W>,
    results: &ResultDir,
    table: &ClusterTable,
    rows: &[usize],
    notes: &mut Vec<String>,
    ui: &Ui,
) -> Result<usize> {
    let data = results.data();
    if !Manifest::exists(&data) || Manifest::read(&data)?.domain != DOMAIN {
        return Ok(0);
    }
    let dataset = GrainDataset::open(&[data])?;
    let grains = clustered::grains(table, &dataset, &results.clusters())?;
    let shown = exemplars(table, rows);
    if shown.len() < rows.len() {
        let (shown, rows) = (thousands(shown.len() as u64), thousands(rows.len() as u64));
        notes.push(format!("{shown} of {rows} grains have a picture: the middle and the edge of each cluster."));
    }
    ui.detail(&format!("drawing {} grains", shown.len()));
    let draw = |part: &[u32]| {
        let height = (part.len() as u32).div_ceil(ACROSS) * SIDE_PX;
        let mut picture = Picture::new(ACROSS * SIDE_PX, height, [0; 3]);
        for (place, &at) in (0..).zip(part) {
            let (row, corner) = (rows[at as usize], [place % ACROSS * SIDE_PX, place / ACROSS * SIDE_PX]);
            let colour = palette::colour(table.clusters[row]);
            gallery::thumbnail(&mut picture, corner, SIDE_PX, &dataset.grain(grains[row]), colour);
        }
        picture.to_jpeg()
    };
    let sprites: Vec<Vec<u8>> = shown.par_chunks((ACROSS * ACROSS) as usize).map(draw).collect::<Result<Vec<_>>>()?;
    writer.thumbnails(&Thumbnails { side_px: SIDE_PX, across: ACROSS, rows: &shown, sprites: &sprites })?;
    Ok(shown.len())
}

/// Which of `rows` get a picture, in order: all, or the nearest and the farthest of each cluster.
fn exemplars(table: &ClusterTable, rows: &[usize]) -> Vec<u32> {
    let mut all: Vec<u32> = (0..rows.len() as u32).collect();
    if all.len() <= MOST {
        return all;
    }
    let key = |&at: &u32| (table.clusters[rows[at as usize]], table.distance[rows[at as usize]]);
    all.sort_by(|a, b| {
        let ((cluster_a, a_far), (cluster_b, b_far)) = (key(a), key(b));
        cluster_a.cmp(&cluster_b).then(a_far.total_cmp(&b_far)).then(a.cmp(b))
    });
    let clusters = all.chunk_by(|a, b| key(a).0 == key(b).0);
    let ends = clusters.flat_map(|members| {
        let near = members.len().min(EACH_END);
        let far = near.max(members.len().saturating_sub(EACH_END));
        [&members[..near], &members[far..]].concat()
    });
    let mut shown: Vec<u32> = ends.take(MOST).collect();
    shown.sort_unstable();
    shown
}

#[cfg(test)]
mod tests {
    use invar_embeddings::Provenance;

    use super::*;

    fn table(clusters: Vec<i32>) -> ClusterTable {
        let n = clusters.len();
        ClusterTable {
            ids: vec!["a".into(); n],
            keys: None,
            clusters,
            probability: vec![1.0; n],
            distance: (0..n).map(|at| at as f32).collect(),
            x: vec![0.0; n],
            y: vec![0.0; n],
            provenance: Provenance::new("test", 2),
            embeddings: None,
            method: "kmeans".into(),
            parameters: serde_json::Value::Null,
            found: serde_json::Value::Null,
        }
    }

    #[test]
    fn few_grains_all_have_pictures_and_of_many_both_ends_of_each_cluster() {
        let few = table(vec![0; 5]);
        assert_eq!(exemplars(&few, &[4, 2]), [0, 1]);
        let many = table((0..12_000).map(|at| if at < 40 { 1 } else { 0 }).collect());
        let rows: Vec<usize> = (0..12_000).collect();
        let shown = exemplars(&many, &rows);
        // All 40 of the small cluster (32 near, 8 far), 32 and 32 of the large.
        let expected: Vec<u32> = (0..40 + 32).chain(12_000 - 32..12_000).collect();
        assert_eq!(shown, expected);
    }
}
