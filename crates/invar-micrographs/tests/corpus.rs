//! Every specimen of `test-data/micrographs/index.toml` through the readers: a valid one gives the pixels and the pixel
//! size stated in the index, in bands of any size; an invalid one gives an error that names the file.

use std::path::{Path, PathBuf};

use invar_micrographs::{Band, Error, ImageFile, PixelSizeSource, Samples, open, open_labels};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Index {
    valid: Vec<Valid>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Valid {
    file: String,
    description: String,
    origin: String,
    licence: String,
    pages: usize,
    shape: [u32; 3],
    r#type: String,
    sha256: Option<String>,
    labels_sha256: Option<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    left_out: Vec<String>,
    pixel_nm: Option<[f64; 2]>,
    source: Option<PixelSizeSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Invalid {
    file: String,
    description: String,
    origin: String,
    licence: String,
    error: String,
    message: String,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/micrographs")
}

fn index() -> Index {
    toml::from_str(&std::fs::read_to_string(corpus().join("index.toml")).unwrap()).unwrap()
}

fn little_endian(samples: Samples) -> Vec<u8> {
    let mut bytes = samples.as_ne_bytes().to_vec();
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(samples.sample_type().num_bytes()).for_each(<[u8]>::reverse);
    }
    bytes
}

fn read_all(path: &Path, max_pixels: u64) -> Result<Vec<u8>, Error> {
    values(open(path)?, max_pixels)
}

fn hash(bytes: Vec<u8>) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stored form of the kind of a note, or of a page that was left out.
fn kind(value: &impl serde::Serialize, key: &str) -> String {
    serde_json::to_value(value).unwrap()[key].as_str().unwrap().into()
}

/// The little-endian values of all pages; checks that the bands follow each other and end with the page.
fn values(mut file: ImageFile, max_pixels: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for index in 0..file.pages().len() {
        let page = file.pages()[index].clone();
        let row_len = page.width as usize * usize::from(page.channels);
        let mut next_row = 0;
        file.read_bands(index, max_pixels, &mut |band: Band| {
            assert_eq!(band.first_row, next_row);
            assert_eq!(band.samples.len(), row_len * band.num_rows as usize);
            assert_eq!(band.samples.sample_type(), page.sample_type);
            next_row += band.num_rows;
            bytes.extend(little_endian(band.samples));
            Ok(())
        })?;
        assert_eq!(next_row, page.height);
    }
    Ok(bytes)
}

#[test]
fn valid_specimens_give_their_pixels() {
    for specimen in index().valid {
        let path = corpus().join(&specimen.file);
        let name = &specimen.file;
        let file = open(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let page = &file.pages()[0];
        assert_eq!(file.pages().len(), specimen.pages, "{name}: pages");
        assert_eq!([page.height, page.width, u32::from(page.channels)], specimen.shape, "{name}: shape");
        assert_eq!(page.sample_type.name(), specimen.r#type, "{name}: type");
        let found = page.pixel_size.map(|size| (size.source, [size.x_nm, size.y_nm]));
        assert_eq!(found.map(|(source, _)| source), specimen.source, "{name}: who states the pixel size");
        for (found, expected) in found.into_iter().flat_map(|(_, size)| size).zip(specimen.pixel_nm.unwrap_or_default())
        {
            assert!((found / expected - 1.0).abs() < 1e-6, "{name}: {found} nm, not {expected} nm");
        }
        for max_pixels in [1, 3 * u64::from(page.width), 1 << 20] {
            let bytes = read_all(&path, max_pixels).unwrap_or_else(|error| panic!("{name}: {error}"));
            let hash = hash(bytes);
            let expected = specimen.sha256.as_ref().unwrap_or(&hash);
            assert_eq!(&hash, expected, "{name}: values, in bands of {max_pixels} pixels");
            let labels = values(open_labels(&path).unwrap(), max_pixels).unwrap();
            let expected = specimen.labels_sha256.as_ref().unwrap_or(expected);
            assert_eq!(&self::hash(labels), expected, "{name}: labels, in bands of {max_pixels} pixels");
        }
        let notes: Vec<String> = file.notes().iter().chain(&page.notes).map(|note| kind(note, "kind")).collect();
        assert_eq!(notes, specimen.notes, "{name}: notes");
        let left_out: Vec<String> = file.left_out().iter().map(|page| kind(page, "what")).collect();
        assert_eq!(left_out, specimen.left_out, "{name}: pages left out");
    }
}

#[test]
fn invalid_specimens_are_named() {
    for specimen in index().invalid {
        let path = corpus().join(&specimen.file);
        let name = &specimen.file;
        let Err(error) = read_all(&path, 1 << 20) else { panic!("{name} was read") };
        assert_eq!(error.kind(), specimen.error, "{name}: {error}");
        assert!(error.is_bad_input(), "{name}");
        let message = error.to_string();
        assert!(message.contains(&specimen.message), "{name}: {message}");
        assert!(message.contains(path.file_name().unwrap().to_str().unwrap()), "{name}: {message}");
    }
}

#[test]
fn names_and_sizes_of_ome_channels() {
    let file = open(&corpus().join("corpus/channels.ome.tif")).unwrap();
    let names: Vec<_> = file.pages().iter().map(|page| page.name.clone().unwrap_or_default()).collect();
    assert!(names.iter().zip(["DAPI", "FITC", "Cy5"]).all(|(name, channel)| name.ends_with(channel)), "{names:?}");
    assert!(file.pages().iter().all(|page| page.pixel_size.is_some()));
}

/// The result is the same with one thread and with four.
#[test]
fn threads_change_nothing() {
    let path = corpus().join("corpus/tiles-deflate.tif");
    let in_pool = |num_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(num_threads).build().unwrap();
        pool.install(|| read_all(&path, 1 << 20)).unwrap()
    };
    assert_eq!(in_pool(1), in_pool(4));
}
