//! Losses, one file each. To add a loss: a file here, a variant of [`LossConfig`], an arm of [`LossConfig::init`].
//!
//! A loss owns its criterion and its head (projection, temperature), whose parameters are named `head.<loss>.*` and
//! dropped at embedding time. It returns named terms, whose sum is minimised, and metrics.
//!
//! Which loss to use when:
//!
//! | loss | for |
//! |---|---|
//! | [`info_nce`] (van den Oord et al. 2018; Radford et al. 2021) | the usual choice: two views |
//! | [`nt_xent`] (Chen et al. 2020) | two views, twice the negatives; hard negatives and margins |
//! | [`decoupled`] (Yeh et al. 2022) | small batches, where the positive's own part of the denominator slows learning |
//! | [`multi_positive`] (Khosla et al. 2020; Miech et al. 2020) | more than two views, or several rows of one sample |
//! | [`sigmoid`] (Zhai et al. 2023) | batches of any size, few negatives: no row is normalised by the others |
//! | [`momentum`] (He et al. 2020) | small batches, many negatives: a bank of past keys |
//! | [`dense_info_nce`] (Wang et al. 2021) | alongside another: matching pixels, places or moments of two views |
//! | [`masked_token`] (Devlin et al. 2019) | alongside another: hidden parts of a view are predicted from the rest |
//! | [`classification`] | alongside another: the labels of some samples are predicted; `invar finetune` |
//!
//! A recipe may name several, each with a weight: see [`objective`].
//!
//! How the rows of a batch relate to each other is one sparse weighted list: [`Relations`]. Rows of one sample are
//! never negatives of each other, nor are those of two samples that the batch pairs. If pairs have groups
//! (`invar_dataset::GroupId`), neither are rows of one group; and a group counts as a single negative, however many of
//! its samples are in the batch: each of `n` pairs of a group weighs `1 / n` in every denominator, see `groups.rs`.
//! Without groups none of this costs anything.
//!
//! Shapes: `B` pairs, `D` embedding dimensions. *Own* pairs and rows are those of this process; a *share* is its part
//! of a sum over all processes.
//!
//! ```
//! use invar_dataset::SampleId;
//! use invar_loss::{Context, InfoNceConfig, LossConfig};
//! use invar_nn::{Outputs, Relations, SampleIds};
//! use invar_torch::ProcessGroup;
//! use tch::{Device, Kind, Tensor, nn};
//!
//! let store = nn::VarStore::new(Device::Cpu);
//! let config = LossConfig::InfoNce(InfoNceConfig { temperature: 1.0, ..InfoNceConfig::default() });
//! let loss = config.init(&(store.root() / "head"), Outputs::of_dim(3))?;
//!
//! // Three pairs, whose two views have one embedding; those of other pairs are at right angles to it.
//! let view = Tensor::eye(3, (Kind::Float, Device::Cpu));
//! let relations = Relations::of_all(SampleIds::of_pairs(2, &[SampleId(1), SampleId(2), SampleId(3)]));
//! let group = ProcessGroup::solo();
//! let output = loss.criterion(&[view.shallow_clone(), view], &Context::solo(&relations, &group, false))?;
//! // -ln e^1 / (e^1 + e^0 + e^0)
//! let expected = (1.0 + 2.0 * (-1f64).exp()).ln();
//! assert!((output.total().unwrap().double_value(&[]) - expected).abs() < 1e-6);
//! # Ok::<(), invar_loss::Error>(())
//! ```

pub mod bank;
pub mod classification;
pub mod decoupled;
pub mod dense_info_nce;
pub mod info_nce;
pub mod masked_token;
pub mod momentum;
pub mod multi_positive;
pub mod nt_xent;
pub mod objective;
pub mod sigmoid;

mod error;
mod groups;
mod head;
mod pairs;
mod rows;
#[cfg(test)]
mod testing;

use std::ops::Range;

use invar_nn::{Asked, Encoded, Features, Outputs, Relations};
use invar_torch::ProcessGroup;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

pub use bank::MemoryBank;
pub use classification::{Classification, ClassificationConfig, LabelColumn};
pub use decoupled::{Decoupled, DecoupledConfig};
pub use dense_info_nce::{DenseInfoNce, DenseInfoNceConfig};
pub use error::Error;
pub use head::Head;
pub use info_nce::{InfoNce, InfoNceConfig};
pub use masked_token::{MaskedToken, MaskedTokenConfig};
pub use momentum::{Momentum, MomentumConfig};
pub use multi_positive::{MultiPositive, MultiPositiveConfig};
pub use nt_xent::{NtXent, NtXentConfig};
pub use objective::{LossTables, Objective, WeightedLoss};
pub use rows::Aggregate;
pub use sigmoid::{Sigmoid, SigmoidConfig};

/// Replaces the logarithm of 0: differences give no NaN, and its exponential is 0.
const LOWEST: f64 = -1e30;

/// Names, below the path of the heads, of tensors that checkpoints of earlier versions lack. Zeros reproduce the
/// behaviour of those versions: in the memory bank, all keys have the same origin and an unknown step.
pub const ADDED_LATER: [&str; 3] = ["momentum.origin", "momentum.origins", "momentum.steps"];

/// The output of a loss for a batch.
#[derive(Debug)]
pub struct LossOutput {
    /// Named scalars; training minimises their sum.
    pub terms: Vec<(&'static str, Tensor)>,
    /// Named scalars for display, detached, still on the device: this process's share of each, so that they sum over
    /// the processes.
    pub metrics: Vec<(String, Tensor)>,
}

impl LossOutput {
    /// The sum of the terms, a scalar; `None` if there are none.
    pub fn total(&self) -> Option<Tensor> {
        self.total_of(|_| true)
    }

    /// The sum of the terms of some losses, by name.
    pub fn total_of(&self, is_of: impl Fn(&str) -> bool) -> Option<Tensor> {
        let terms: Vec<&Tensor> = self.terms.iter().filter(|(name, _)| is_of(name)).map(|(_, term)| term).collect();
        (!terms.is_empty()).then(|| Tensor::stack(&terms, 0).sum(None))
    }
}

/// A loss over some rows separately: sums, to be divided by the number of places asked about in the whole batch.
#[derive(Debug)]
pub struct Local {
    /// Name of the loss.
    pub name: &'static str,
    /// The sum over all places: a scalar, with gradients.
    pub sum: Tensor,
    /// Named sums for display, scalars, detached.
    pub metrics: Vec<(&'static str, Tensor)>,
}

impl Local {
    /// Shares the same data, without copying.
    pub fn shallow_clone(&self) -> Self {
        let metrics = self.metrics.iter().map(|(name, metric)| (*name, metric.shallow_clone())).collect();
        Self { name: self.name, sum: self.sum.shallow_clone(), metrics }
    }

    /// The same values, without gradients.
    pub fn detached(&self) -> Self {
        Self { sum: self.sum.detach(), ..self.shallow_clone() }
    }

    /// Adds the result of the same loss for other rows.
    pub fn add(&mut self, other: &Self) {
        self.sum = &self.sum + &other.sum;
        self.metrics.iter_mut().zip(&other.metrics).for_each(|(sum, (_, metric))| sum.1 = &sum.1 + metric);
    }
}

/// What a criterion knows about the batch besides its embeddings. The batch spans all processes; each computes the
/// share of the loss that belongs to its own rows, and the shares add up to the loss.
pub struct Context<'a> {
    /// Whether the weights will learn from this.
    pub train: bool,
    /// How the rows of the batch relate to each other, and which pairs are this process's own.
    pub relations: &'a Relations,
    /// The processes that share the work.
    pub group: &'a ProcessGroup,
    /// Projections by the slow copy of the network, one `[B, P]` per view, no gradient; present if
    /// [`Loss::needs_slow_keys`].
    pub slow_keys: Option<&'a [Tensor]>,
    /// Keys of samples that are nobody's here, `[N, P]`, no gradient: negatives of every row of a loss that
    /// [takes them](Loss::takes_foreign_keys).
    pub foreign_keys: Option<&'a Tensor>,
}

impl<'a> Context<'a> {
    /// The context of a single process.
    pub fn solo(relations: &'a Relations, group: &'a ProcessGroup, train: bool) -> Self {
        Self { train, relations, group, slow_keys: None, foreign_keys: None }
    }

    /// The pairs whose share this process computes.
    pub fn own(&self) -> Range<i64> {
        let own = self.relations.own();
        own.start as i64..own.end as i64
    }

    /// Number of pairs, over all processes.
    pub fn num_pairs(&self) -> usize {
        self.relations.samples().num_pairs()
    }
}

/// Head and criterion. Several threads may project at the same time: see [`invar_nn::Weights`].
pub trait Loss: Send + Sync {
    /// Projection and temperature; `None` for a loss that compares nothing.
    fn head(&self) -> Option<&Head> {
        None
    }

    /// Applies the head: embeddings of one view `[B, D]` to unit rows to compare, `[B, P]`; `[B, 0]` for a loss that
    /// compares nothing. Each process calls it on its own rows, or on some of them at a time.
    fn project(&self, view: &Encoded) -> Tensor {
        match self.head() {
            Some(head) => head.project(view),
            None => view.embedding.narrow(1, 0, 0),
        }
    }

    /// Whether it looks at single positions of single views instead of comparing rows: if so, [`Loss::local`] is the
    /// loss.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether [`Loss::local`] looks at the encoder's tokens.
    fn needs_tokens(&self) -> bool {
        self.is_local()
    }

    /// The loss over some rows of the views separately; tokens are present if it needs them. `None` if there are no
    /// targets.
    ///
    /// # Errors
    /// If the tokens do not fit the targets.
    fn local(&self, _views: &[Encoded], _asked: &Asked<'_>) -> Result<Option<Local>, Error> {
        Ok(None)
    }

    /// Whether it uses the links between the items of a pair.
    fn reads_links(&self) -> bool {
        false
    }

    /// Whether the views carry targets for this local loss.
    fn is_asked(&self, _asked: &Asked<'_>) -> bool {
        false
    }

    /// How many places [`Loss::local`] sums over, each counted with its weight.
    fn num_asked(&self, _asked: &Asked<'_>) -> f64 {
        0.0
    }

    /// This process's share of the loss: `views[v]` `[B, P]` holds the projections of view `v` of every pair of the
    /// batch, over all processes.
    ///
    /// Gradients reach every row of `views`, and the parameters of the criterion (temperature, bias). A loss that
    /// compares nothing has no terms.
    ///
    /// # Errors
    /// If the number of views or their rows do not fit the loss, or a peer died.
    fn criterion(&self, _views: &[Tensor], _context: &Context) -> Result<LossOutput, Error> {
        Ok(LossOutput { terms: vec![], metrics: vec![] })
    }

    /// Whether the criterion compares with projections by a slow copy of the network (an exponential moving average).
    fn needs_slow_keys(&self) -> bool {
        false
    }

    /// Called after optimizer step `step`, 1-based, with what the criterion saw, once for each batch of the step:
    /// clamps parameters to their range, and stores keys.
    fn after_step(&mut self, _step: u64, _context: &Context) {
        if let Some(head) = self.head() {
            head.clamp();
        }
    }

    /// Whether the criterion compares with [`Context::foreign_keys`].
    fn takes_foreign_keys(&self) -> bool {
        false
    }

    /// Its memory of past batches.
    fn bank(&mut self) -> Option<&mut MemoryBank> {
        None
    }
}

/// The loss in a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum LossConfig {
    /// Symmetric InfoNCE.
    InfoNce(InfoNceConfig),
    /// SimCLR's loss: both views of all others are negatives.
    NtXent(NtXentConfig),
    /// NT-Xent without the positive in the denominator.
    Decoupled(DecoupledConfig),
    /// Any number of views; all rows of one sample are positives.
    MultiPositive(MultiPositiveConfig),
    /// SigLIP's loss: each pair is judged separately.
    Sigmoid(SigmoidConfig),
    /// MoCo's loss: a bank of the keys of past batches.
    Momentum(MomentumConfig),
    /// BERT's loss: hidden parts of a view are predicted from the rest.
    MaskedToken(MaskedTokenConfig),
    /// InfoNCE between the items of two views that a pair links.
    DenseInfoNce(DenseInfoNceConfig),
    /// Cross-entropy of the labels that some samples have.
    Classification(ClassificationConfig),
}

impl Default for LossConfig {
    fn default() -> Self {
        Self::InfoNce(InfoNceConfig::default())
    }
}

impl LossConfig {
    /// The loss of these columns of labels, over those features, with hidden layers of these widths; balanced, all classes
    /// weigh the same.
    pub fn of_labels(columns: Vec<LabelColumn>, features: Features, hidden: Vec<usize>, balance: bool) -> Self {
        Self::Classification(ClassificationConfig { hidden, balance, features, columns })
    }

    /// Its name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InfoNce(_) => info_nce::NAME,
            Self::NtXent(_) => nt_xent::NAME,
            Self::Decoupled(_) => decoupled::NAME,
            Self::MultiPositive(_) => multi_positive::NAME,
            Self::Sigmoid(_) => sigmoid::NAME,
            Self::Momentum(_) => momentum::NAME,
            Self::MaskedToken(_) => masked_token::NAME,
            Self::DenseInfoNce(_) => dense_info_nce::NAME,
            Self::Classification(_) => classification::NAME,
        }
    }

    /// Builds the loss over what the encoder gives; its parameters are under `path` (by convention `head`) and its own name.
    ///
    /// # Errors
    /// If a setting is out of range, or the encoder lacks what the loss needs.
    pub fn init(&self, path: &nn::Path, outputs: Outputs) -> Result<Box<dyn Loss>, Error> {
        let Outputs { dim, tokens, .. } = outputs;
        match self {
            Self::InfoNce(config) => Ok(Box::new(config.init(&(path / "info_nce"), dim)?)),
            Self::NtXent(config) => Ok(Box::new(config.init(&(path / "nt_xent"), dim)?)),
            Self::Decoupled(config) => Ok(Box::new(config.init(&(path / "decoupled"), dim)?)),
            Self::MultiPositive(config) => Ok(Box::new(config.init(&(path / "multi_positive"), dim)?)),
            Self::Sigmoid(config) => Ok(Box::new(config.init(&(path / "sigmoid"), dim)?)),
            Self::Momentum(config) => Ok(Box::new(config.init(&(path / "momentum"), dim)?)),
            Self::MaskedToken(config) => Ok(Box::new(config.init(&(path / "masked_token"), tokens)?)),
            Self::DenseInfoNce(config) => Ok(Box::new(config.init(&(path / "dense_info_nce"), tokens)?)),
            Self::Classification(config) => Ok(Box::new(config.init(&(path / "classification"), outputs)?)),
        }
    }
}
