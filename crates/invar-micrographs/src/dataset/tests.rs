use std::{collections::HashSet, fs, path::Path};

use invar_dataset::{ColumnData, NoProgress, SampleTable as _};

use super::*;
use crate::{IngestConfig, Inputs, Segmentation};

/// Images of 32 x 32 that differ in their brightness, in tiles of 16: four samples each. Returns the dataset directory.
fn ingested(directory: &Path, images: &[(&str, u8)]) -> PathBuf {
    for (name, brightness) in images {
        let path = directory.join("images").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pixels = (0..32 * 32).map(|at| brightness.wrapping_add((at % 7) as u8)).collect();
        image::GrayImage::from_raw(32, 32, pixels).unwrap().save(path).unwrap();
    }
    let config =
        IngestConfig { segment: Segmentation::Tiles { size_px: 16, overlap_px: 0 }, ..IngestConfig::default() };
    let out = directory.join("data");
    crate::ingest(&Inputs::paths([directory.join("images")]), &out, &config, &NoProgress).unwrap();
    out
}

fn keys(dataset: &GrainDataset) -> Vec<u64> {
    (0..dataset.len()).map(|grain| dataset.key(grain)).collect()
}

#[test]
fn images_of_one_name_in_two_directories_are_different_samples() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = ingested(dirs[0].path(), &[("a.png", 10), ("b.png", 20)]);
    let two = ingested(dirs[1].path(), &[("a.png", 30)]);
    let both = GrainDataset::open(&[one.clone(), two.clone()]).unwrap();
    assert_eq!((both.len(), both.grain(0).id(), both.grain(8).id()), (12, "a#1".into(), "a#1".into()));
    let of_both = keys(&both);
    assert_eq!(of_both.iter().collect::<HashSet<_>>().len(), 12);
    assert!(of_both.iter().all(|&key| key < 1 << 53));
    let samples: HashSet<SampleId> = (0..12).map(|grain| both.sample_id(grain)).collect();
    let groups: HashSet<SampleId> = (0..12).map(|grain| both.group(grain)).collect();
    assert_eq!((samples.len(), groups.len()), (12, 3));
    assert_eq!(keys(&GrainDataset::open(&[two, one]).unwrap()), [&of_both[8..], &of_both[..8]].concat());
    let column = both.columns(8..9).unwrap().swap_remove(2);
    assert_eq!((column.name.as_str(), column.data), ("key", ColumnData::I64(vec![Some(of_both[8] as i64)])));
    let name = both.sample_name(8);
    assert!(name.id == "a#1" && name.source.ends_with("a.png") && name.key == of_both[8], "{name:?}");
}

#[test]
fn an_image_in_two_directories_is_refused_and_a_copy_in_one_is_the_same_sample() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = ingested(dirs[0].path(), &[("a.png", 10), ("b.png", 20), ("copy.png", 10)]);
    let two = ingested(dirs[1].path(), &[("c.png", 20)]);
    let error = GrainDataset::open(&[one.clone(), two]).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, DatasetError::SameInput { .. }), "{text}");
    assert!(text.contains("c.png") && text.contains("b.png"), "{text}");
    let dataset = GrainDataset::open(std::slice::from_ref(&one)).unwrap();
    assert_eq!(keys(&dataset).iter().collect::<HashSet<_>>().len(), 12);
    assert!((0..4).all(|tile| dataset.sample_id(tile) == dataset.sample_id(8 + tile)));
    assert!(dataset.group(0) == dataset.group(8) && dataset.group(0) != dataset.group(4));
    assert!(GrainDataset::open(&[one.clone(), one]).err().unwrap().is_usage());
}

#[test]
fn the_figures_of_a_group_are_made_of_columns_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = GrainDataset::open(&[ingested(dir.path(), &[("a.png", 10)])]).unwrap();
    let names: HashSet<String> = dataset.columns(0..1).unwrap().into_iter().map(|column| column.name).collect();
    let asked = dataset.group_figures();
    assert_eq!((asked.noun.as_str(), asked.figures.is_empty()), ("grains", false));
    let missing: Vec<&str> =
        asked.figures.iter().flat_map(|figure| figure.columns()).filter(|name| !names.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
