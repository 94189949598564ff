//! What a dataset of micrographs consists of: shards, label maps and tables, and what it is made from.

use std::path::Path;

use invar_dataset::{
    ingest::{self, InputIdentity, Key},
    manifest::{Input, Manifest, OtherFile, Shard},
};
use serde::{Deserialize, Serialize};

use super::{LABELS, SEGMENTED, TABLES, inputs::ImageInput};
use crate::{DatasetFacts, Error, ImageFacts, IngestConfig, Inputs, facts::DOMAIN};

/// A finished page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Its index among the pages of all files.
    pub number: usize,
    /// `None` if it was skipped on request.
    pub shard: Option<Shard>,
    /// Why it was skipped.
    pub skipped: Option<String>,
    /// Image and mask, recorded with the first page of a file.
    pub inputs: Vec<Input>,
    /// The manifest's facts about the image; `None` if it was skipped.
    pub facts: Option<ImageFacts>,
    /// The label map next to the shard.
    pub labels: Option<OtherFile>,
}

/// A directory that is being written.
pub(super) type Output = ingest::Output<Checkpoint>;

impl ingest::Checkpoint for Checkpoint {
    const DOMAIN: &'static str = DOMAIN;
    const NAMES: &'static [&'static str] = &[TABLES[0], TABLES[1], TABLES[2], LABELS, SEGMENTED];

    fn shard(&self) -> Option<&Shard> {
        self.shard.as_ref()
    }

    fn files(&self) -> Vec<OtherFile> {
        self.labels.iter().cloned().collect()
    }

    fn is_made_again(file: &str) -> bool {
        TABLES.contains(&file) || Path::new(file).starts_with(SEGMENTED)
    }

    fn kept(mut finished: Vec<Self>, is_whole: &dyn Fn(&Self) -> bool) -> Vec<Self> {
        let is_its_own = |page: &Self| page.shard.as_ref().is_none_or(|shard| shard.file == shard_file(page.number));
        finished.retain(|page| is_its_own(page) && is_whole(page));
        finished.sort_by_key(|page| page.number);
        finished.dedup_by_key(|page| page.number);
        finished
    }

    fn unlisted_files(manifest: &Manifest) -> Vec<String> {
        let images = DatasetFacts::of(Path::new(""), manifest).unwrap_or_default().images;
        let labels = images.iter().map(|facts| labels_file(&facts.image));
        labels.chain(TABLES.map(String::from)).collect()
    }
}

/// Name of the shard of page `number`.
pub(super) fn shard_file(number: usize) -> String {
    format!("micrographs-{number:06}.shard")
}

/// The label map of image `name`, by its path inside the dataset directory.
pub(super) fn labels_file(name: &str) -> String {
    format!("{LABELS}/{name}.tif")
}

/// The picture of the segmentation of image `name`, likewise.
pub(super) fn picture_file(name: &str) -> String {
    format!("{SEGMENTED}/{name}.png")
}

/// What the dataset is made from: the images, then masks, then the sheet.
pub(super) fn key(inputs: &Inputs, sources: &[ImageInput], config: &IngestConfig) -> Result<Key, Error> {
    let parameters = serde_json::to_value(config).expect("the configuration is plain data");
    let images = sources.iter().map(|source| source.path.as_path());
    let masks = sources.iter().flat_map(|source| [&source.mask, &source.classes]).filter_map(|map| map.as_deref());
    let sheet = inputs.sheet.as_deref();
    let inputs = images.chain(masks).chain(sheet).map(InputIdentity::of).collect::<Result<_, _>>()?;
    Ok(Key { tool_version: env!("CARGO_PKG_VERSION").into(), parameters, inputs })
}
