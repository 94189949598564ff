//! Every specimen of `test-data/{reads,micrographs}/index.toml` through the command line: a valid one gives the reads,
//! or the pages, pixels and pixel sizes, stated in the index; an invalid one ends with exit code 3, a message that
//! names the file and the record, and nothing left behind. The kind of the error is taken from the library, because the
//! command line only prints it.

mod support;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use invar_dataset::NoProgress;
use invar_reads::{IngestConfig, Inputs, Pairing};
use serde::Deserialize;
use support::Bench;

#[derive(Deserialize)]
struct Index {
    valid: Vec<Specimen>,
    invalid: Vec<Specimen>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Specimen {
    file: String,
    #[allow(dead_code)]
    description: String,
    origin: String,
    licence: String,
    mates: Option<String>,
    pairing: Option<String>,
    reference: Option<String>,
    reads: Option<u64>,
    bases: Option<u64>,
    #[serde(default)]
    dropped: BTreeMap<String, u64>,
    warning: Option<String>,
    error: Option<String>,
    record: Option<u64>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/reads").canonicalize().unwrap()
}

fn index() -> Index {
    toml::from_str(&std::fs::read_to_string(corpus().join("index.toml")).unwrap()).unwrap()
}

impl Specimen {
    fn path(name: &str) -> String {
        corpus().join(name).display().to_string()
    }

    fn arguments(&self) -> Vec<String> {
        let mut args: Vec<String> = ["ingest", "reads"].map(String::from).to_vec();
        args.push(Self::path(&self.file));
        if let Some(mates) = &self.mates {
            args.extend([Self::path(mates), "--mates".into()]);
        }
        if self.pairing.is_some() {
            args.push("--interleaved".into());
        }
        if let Some(reference) = &self.reference {
            args.extend(["--reference".into(), Self::path(reference)]);
        }
        args.extend(["--out", "data", "--json"].map(String::from));
        args
    }

    fn inputs(&self) -> Inputs {
        let files = std::iter::once(&self.file).chain(&self.mates).map(|name| corpus().join(name)).collect();
        let pairing = match (&self.mates, &self.pairing) {
            (Some(_), _) => Pairing::Files,
            (_, Some(_)) => Pairing::Interleaved,
            _ => Pairing::Flags,
        };
        let reference = self.reference.as_ref().map(|name| corpus().join(name));
        Inputs { files, pairing, reference, columns: vec![] }
    }
}

#[test]
fn valid_specimens_give_their_reads() {
    for specimen in index().valid {
        let bench = Bench::new();
        let args = specimen.arguments();
        let summary = bench.json(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let name = &specimen.file;
        assert_eq!(summary["num_rows"].as_u64(), specimen.reads, "{name}: reads");
        assert_eq!(summary["counts"]["kept_bp"].as_u64(), specimen.bases, "{name}: bases");
        for (reason, count) in &specimen.dropped {
            assert_eq!(summary["counts"][reason].as_u64(), Some(*count), "{name}: {reason}: {summary}");
        }
        let warnings = summary["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), usize::from(specimen.warning.is_some()), "{name}: {warnings:?}");
        for warning in warnings.iter().filter_map(|warning| warning.as_str()) {
            assert!(warning.contains(specimen.warning.as_deref().unwrap_or_default()), "{name}: {warning}");
        }
    }
}

#[test]
fn invalid_specimens_are_named_and_leave_nothing() {
    for specimen in index().invalid {
        let bench = Bench::new();
        let args = specimen.arguments();
        let message = bench.fails(3, &args.iter().map(String::as_str).collect::<Vec<_>>());
        let name = &specimen.file;
        let file_names = std::iter::once(name).chain(&specimen.mates).map(|n| n.rsplit('/').next().unwrap());
        assert!(file_names.into_iter().any(|file| message.contains(file)), "{name}: {message}");
        if let Some(record) = specimen.record {
            assert!(message.contains(&format!("record {record}")), "{name}: {message}");
        }
        assert!(!message.contains("panicked"), "{name}: {message}");
        assert!(!bench.path("data").exists(), "{name} left something behind");

        let dir = tempfile::tempdir().unwrap();
        let error =
            invar_reads::ingest(&specimen.inputs(), &dir.path().join("data"), &IngestConfig::default(), &NoProgress)
                .expect_err(name);
        assert_eq!(Some(error.kind().name()), specimen.error.as_deref(), "{name}: {error}");
    }
}

#[test]
fn every_specimen_has_an_origin_and_a_licence() {
    let index = index();
    assert!(index.valid.len() > 30 && index.invalid.len() > 30);
    for specimen in index.valid.iter().chain(&index.invalid) {
        assert!(!specimen.origin.is_empty() && !specimen.licence.is_empty(), "{}", specimen.file);
        assert!(corpus().join(&specimen.file).is_file(), "{}", specimen.file);
    }
}

/// `test-data/micrographs/index.toml`.
#[derive(Deserialize)]
struct ImageIndex {
    valid: Vec<ImageSpecimen>,
    invalid: Vec<ImageSpecimen>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageSpecimen {
    file: String,
    #[allow(dead_code)]
    description: String,
    origin: String,
    licence: String,
    pages: Option<u64>,
    shape: Option<[u32; 3]>,
    r#type: Option<String>,
    sha256: Option<String>,
    // invar-micrographs itself tests whatever else is stated about a file.
    #[allow(dead_code)]
    labels_sha256: Option<String>,
    #[allow(dead_code)]
    notes: Option<Vec<String>>,
    #[allow(dead_code)]
    left_out: Option<Vec<String>>,
    pixel_nm: Option<[f64; 2]>,
    source: Option<String>,
    error: Option<String>,
    message: Option<String>,
}

fn image_corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/micrographs").canonicalize().unwrap()
}

fn image_index() -> ImageIndex {
    toml::from_str(&std::fs::read_to_string(image_corpus().join("index.toml")).unwrap()).unwrap()
}

#[test]
fn valid_images_give_their_pages_and_pixel_sizes() {
    for specimen in image_index().valid {
        let (bench, name) = (Bench::new(), &specimen.file);
        let path = image_corpus().join(name).display().to_string();
        let summary =
            bench.json(&["ingest", "micrographs", &path, "--whole-image", "--no-banner", "--out", "data", "--json"]);
        assert_eq!(summary["num_rows"].as_u64(), specimen.pages, "{name}: pages");
        let first = &summary["images"][0];
        if let Some([height, width, _]) = specimen.shape {
            assert_eq!(
                (first["height_px"].as_u64(), first["width_px"].as_u64()),
                (Some(height.into()), Some(width.into()))
            );
        }
        let size = &first["pixel_size"];
        assert_eq!(size["source"].as_str(), specimen.source.as_deref(), "{name}: source of the pixel size");
        if let Some(expected) = specimen.pixel_nm {
            for (found, expected) in [&size["x_nm"], &size["y_nm"]].into_iter().zip(expected) {
                let found = found.as_f64().unwrap();
                assert!((found - expected).abs() <= 1e-6 * expected, "{name}: {found} nm instead of {expected}");
            }
        }
    }
}

#[test]
fn valid_images_give_their_pixels() {
    for specimen in image_index().valid {
        let mut file = invar_micrographs::open(&image_corpus().join(&specimen.file)).unwrap();
        let info = file.pages()[0].clone();
        let found = ([info.height, info.width, info.channels.into()], Some(info.sample_type.name()));
        assert_eq!((Some(found.0), found.1), (specimen.shape, specimen.r#type.as_deref()), "{}", specimen.file);
        let mut bytes = Vec::new();
        for page in 0..file.pages().len() {
            let sink = &mut |band: invar_micrographs::Band| {
                append(&band.samples, &mut bytes);
                Ok(())
            };
            file.read_bands(page, 100, sink).unwrap();
        }
        let scratch = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(scratch.path(), &bytes).unwrap();
        let (_, sha256) = invar_dataset::manifest::file_digest(scratch.path()).unwrap();
        if let Some(expected) = specimen.sha256 {
            assert_eq!(sha256, expected, "{}: pixels", specimen.file);
        }
    }
}

#[test]
fn invalid_images_are_named_and_leave_nothing() {
    for specimen in image_index().invalid {
        let (bench, name) = (Bench::new(), &specimen.file);
        let path = image_corpus().join(name);
        let message = bench.fails(3, &["ingest", "micrographs", &path.display().to_string(), "--out", "data"]);
        assert!(message.contains(name.rsplit('/').next().unwrap()), "{name}: {message}");
        assert!(!message.contains("panicked"), "{name}: {message}");
        assert!(message.contains(specimen.message.as_deref().unwrap_or_default()), "{name}: {message}");
        assert!(!bench.path("data").exists(), "{name} left something behind");

        let dir = tempfile::tempdir().unwrap();
        let (inputs, config) = (invar_micrographs::Inputs::paths([path]), invar_micrographs::IngestConfig::default());
        let error = invar_micrographs::ingest(&inputs, &dir.path().join("data"), &config, &NoProgress).expect_err(name);
        assert_eq!(Some(error.kind()), specimen.error.as_deref(), "{name}: {error}");
    }
}

#[test]
fn every_image_has_an_origin_and_a_licence() {
    let index = image_index();
    assert!(index.valid.len() > 30 && index.invalid.len() > 30);
    for specimen in index.valid.iter().chain(&index.invalid) {
        assert!(!specimen.origin.is_empty() && !specimen.licence.is_empty(), "{}", specimen.file);
    }
}

/// Adds the little-endian bytes of the values.
fn append(samples: &invar_micrographs::Samples, bytes: &mut Vec<u8>) {
    use invar_micrographs::Samples;
    match samples {
        Samples::U8(values) => bytes.extend_from_slice(values),
        Samples::I8(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Samples::U16(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Samples::I16(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Samples::U32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Samples::I32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Samples::U64(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Samples::I64(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Samples::F32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Samples::F64(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
    }
}
