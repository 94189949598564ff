//! The domains, as the command line sees them: the one place that knows which there are.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use invar_dataset::{PairSource, Progress, SampleTable, ViewSource};
use invar_nn::EncoderConfig;
use invar_reads::{
    EmbedConfig, IngestConfig, Inputs, Pairing, ReadDataset, ReadPairs, ReadPairsConfig, ReadViews, Representation,
    kmer::KmerConfig,
};
use serde::{Deserialize, Serialize};

/// The `[source]` table of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum SourceConfig {
    /// `type = "reads"`.
    Reads(ReadsSource),
}

/// Sequencing reads: how they are read, paired and embedded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadsSource {
    /// How mates are recognised when `invar run` ingests.
    pub pairing: Pairing,
    /// Reference genome of CRAM inputs.
    pub reference: Option<PathBuf>,
    /// What is kept.
    pub ingest: IngestConfig,
    /// What the encoder is shown of a read; by default what it needs.
    pub view: Option<Representation>,
    /// Which two views are called the same.
    pub pairs: ReadPairsConfig,
    /// Which views make up the embedding of a read.
    pub embed: EmbedConfig,
}

/// Samples ready to be embedded: their views, and the facts about them.
pub struct Samples {
    /// The views.
    pub views: Box<dyn ViewSource>,
    /// The columns.
    pub table: Arc<dyn SampleTable>,
}

impl SourceConfig {
    /// Writes out what follows from the encoder, and checks that it can see what this source shows.
    ///
    /// # Errors
    /// A sentence that names both.
    pub fn resolve(&mut self, encoder: &EncoderConfig) -> Result<(), String> {
        match self {
            Self::Reads(reads) => {
                let needed = match encoder {
                    EncoderConfig::KmerMlp(_) => Representation::Kmers(KmerConfig::default()),
                    EncoderConfig::Conv(_) | EncoderConfig::Transformer(_) => Representation::Tokens,
                    EncoderConfig::Resnet(_) | EncoderConfig::ResnetC4(_) | EncoderConfig::ResnetC8(_) => {
                        return Err(format!("encoder `{}` needs images, found a source of reads", encoder.name()));
                    }
                };
                let view = reads.view.get_or_insert_with(|| needed.clone());
                if std::mem::discriminant(view) != std::mem::discriminant(&needed) {
                    let name = |r: &Representation| if *r == Representation::Tokens { "tokens" } else { "kmers" };
                    return Err(format!(
                        "encoder `{}` needs source.view of type `{}`, found `{}`",
                        encoder.name(),
                        name(&needed),
                        name(view)
                    ));
                }
                Ok(())
            }
        }
    }

    /// The part of it that training depends on.
    pub fn drawing(&self) -> serde_json::Value {
        match self {
            Self::Reads(reads) => serde_json::json!({"type": "reads", "view": reads.view, "pairs": reads.pairs}),
        }
    }

    /// Reads instrument files into a dataset directory.
    ///
    /// # Errors
    /// Those of the domain.
    pub fn ingest(
        &self,
        files: &[PathBuf],
        out: &Path,
        force: bool,
        progress: &dyn Progress,
    ) -> Result<invar_reads::Summary> {
        match self {
            Self::Reads(reads) => {
                let inputs =
                    Inputs { files: files.to_vec(), pairing: reads.pairing, reference: reads.reference.clone() };
                let config = IngestConfig { force, ..reads.ingest.clone() };
                Ok(invar_reads::ingest(&inputs, out, &config, progress)?)
            }
        }
    }

    /// Opens dataset directories to draw pairs from.
    ///
    /// # Errors
    /// When a directory is no whole dataset, or the pairs that the recipe asks for cannot be drawn from it.
    pub fn pairs(&self, data: &[PathBuf]) -> Result<Arc<dyn PairSource>> {
        match self {
            Self::Reads(reads) => {
                let dataset = Arc::new(ReadDataset::open(data)?);
                Ok(Arc::new(ReadPairs::new(dataset, &reads.pairs, &reads.representation())?))
            }
        }
    }

    /// Opens dataset directories to embed every sample of.
    ///
    /// # Errors
    /// When a directory is no whole dataset.
    pub fn samples(&self, data: &[PathBuf]) -> Result<Samples> {
        match self {
            Self::Reads(reads) => {
                let dataset = Arc::new(ReadDataset::open(data)?);
                let views = ReadViews::new(dataset.clone(), reads.embed, &reads.representation())?;
                Ok(Samples { views: Box::new(views), table: dataset })
            }
        }
    }
}

impl ReadsSource {
    fn representation(&self) -> Representation {
        self.view.clone().expect("the recipe was resolved when it was loaded")
    }
}
