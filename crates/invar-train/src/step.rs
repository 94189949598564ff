use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use invar_dataset::{ViewShape, seed};
use invar_loss::{Context, Loss, LossOutput};
use invar_nn::{Encoded, Towers, Views};
use invar_torch::ProcessGroup;
use tch::{Device, Kind, Tensor, nn};

use crate::{
    Error, HeldOut, Recipe, held_out,
    optimizer::{Optimizer, clip, copy_named, global_norm},
};

/// Parameters whose names start so are the encoder: what a model keeps.
pub(crate) const TRUNK: &str = "trunk";

/// LibTorch's generator is one for the whole process: whoever draws initial weights from it holds this.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Keeps other networks from being built meanwhile.
pub(crate) fn hold_generator() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One optimizer step and all that it changes: towers, loss, optimizer. The loop around it knows none of them.
pub trait Step {
    /// Trains on a batch: forward, backward, and unless loss or gradient are not finite, the optimizer.
    ///
    /// # Errors
    /// When the batch does not fit, or LibTorch refuses. A loss that is not finite is no error here: it is in the
    /// report, and the weights are as they were.
    fn train(&mut self, views: &Views, learning_rate: f64) -> Result<StepReport, Error>;

    /// Looks at batches without learning from them.
    ///
    /// # Errors
    /// As [`Step::train`].
    fn validate(&self, batches: &[Views]) -> Result<ValidationReport, Error>;

    /// Everything that training changes, by name: weights (`trunk.*`, `head.*`) and optimizer state (`optimizer.*`).
    fn tensors(&self) -> Vec<(String, Tensor)>;

    /// Takes over what [`Step::tensors`] gave.
    ///
    /// # Errors
    /// The name of a tensor that is missing or of another shape.
    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String>;

    /// Where the weights are.
    fn device(&self) -> Device;
}

/// What a training step found.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The loss that was minimised.
    pub loss: f64,
    /// L2 norm of the gradient, before clipping.
    pub grad_norm: f64,
    /// What the loss reports of itself.
    pub metrics: BTreeMap<String, f64>,
}

/// What a validation found, means over its batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidationReport {
    /// The loss.
    pub loss: f64,
    /// What the embeddings of all pairs say together.
    pub held_out: HeldOut,
    /// What the loss reports of itself.
    pub metrics: BTreeMap<String, f64>,
}

/// Contrastive learning: towers, one loss over their embeddings, AdamW.
pub struct ContrastiveStep {
    store: nn::VarStore,
    towers: Towers,
    loss: Box<dyn Loss>,
    optimizer: Optimizer,
    grad_clip: f64,
    group: ProcessGroup,
}

impl ContrastiveStep {
    /// Builds the networks. Weights are drawn on the CPU from the recipe's seed, so that they are the same for every
    /// device; LibTorch's generators are left in a state that depends on the seed alone.
    ///
    /// # Errors
    /// When the recipe does not fit the shape of the views.
    pub fn new(recipe: &Recipe, shape: &ViewShape, device: Device) -> Result<Self, Error> {
        invar_torch::set_deterministic(true)?;
        let _guard = hold_generator();
        tch::manual_seed(seed::mix(recipe.train.seed, 0) as i64);
        let mut store = nn::VarStore::new(Device::Cpu);
        let encoder = recipe.encoder.init(&(store.root() / TRUNK), shape)?;
        let loss = recipe.loss.init(&(store.root() / "head"), encoder.dim())?;
        store.set_device(device);
        tch::manual_seed(seed::mix(recipe.train.seed, 1) as i64);
        // What no gradient moves (the running means of batch norms) is stored, but not optimised.
        let trainable = named(&store).into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
        let optimizer = Optimizer::new(&recipe.train, trainable);
        let (towers, grad_clip) = (Towers::Siamese(encoder), recipe.train.grad_clip);
        Ok(Self { store, towers, loss, optimizer, grad_clip, group: ProcessGroup::solo() })
    }

    fn criterion(&self, encoded: &[Encoded], samples: &[u64], train: bool) -> Result<LossOutput, Error> {
        let projected: Vec<Tensor> = encoded.iter().map(|view| self.loss.project(view)).collect();
        let samples = self.ids(samples);
        let mut output = self.loss.criterion(&projected, &Context::solo(&samples, &self.group, train))?;
        let spread = tch::no_grad(|| embedding_std(&encoded.iter().map(|e| &e.embedding).collect::<Vec<_>>()));
        output.metrics.push(("embedding_std", spread));
        Ok(output)
    }

    fn ids(&self, samples: &[u64]) -> Tensor {
        let ids: Vec<i64> = samples.iter().map(|&id| id as i64).collect();
        Tensor::from_slice(&ids).to_device(self.device())
    }
}

impl Step for ContrastiveStep {
    fn train(&mut self, views: &Views, learning_rate: f64) -> Result<StepReport, Error> {
        let encoded = self.towers.encode(&views.to_device(self.device()), true)?;
        let output = self.criterion(&encoded, &views.samples, true)?;
        let loss = output.total();
        let mut gradients = Tensor::f_run_backward(&[&loss], &self.optimizer.params(), false, false)?;
        let norm = global_norm(&gradients);
        let mut report = StepReport { loss: f64::NAN, grad_norm: f64::NAN, metrics: BTreeMap::new() };
        let mut names = vec![];
        let mut scalars = vec![loss.detach(), norm];
        for (name, value) in output.metrics {
            names.push(name);
            scalars.push(value);
        }
        let values = host_scalars(&scalars)?;
        (report.loss, report.grad_norm) = (values[0], values[1]);
        report.metrics = names.into_iter().map(str::to_owned).zip(values[2..].iter().copied()).collect();
        if report.loss.is_finite() && report.grad_norm.is_finite() {
            clip(&mut gradients, report.grad_norm, self.grad_clip);
            self.optimizer.step(&gradients, learning_rate)?;
            let samples = self.ids(&views.samples);
            self.loss.after_step(&Context::solo(&samples, &self.group, true));
        }
        Ok(report)
    }

    fn validate(&self, batches: &[Views]) -> Result<ValidationReport, Error> {
        let _no_grad = tch::no_grad_guard();
        let mut mean = ValidationReport::default();
        let part = 1.0 / batches.len().max(1) as f64;
        let (mut first, mut second) = (vec![], vec![]);
        for views in batches {
            let encoded = self.towers.encode(&views.to_device(self.device()), false)?;
            let output = self.criterion(&encoded, &views.samples, false)?;
            mean.loss += output.total().f_double_value(&[])? * part;
            for (name, value) in &output.metrics {
                *mean.metrics.entry((*name).to_owned()).or_default() += value.f_double_value(&[])? * part;
            }
            first.extend(host_rows(&encoded[0].embedding)?);
            second.extend(host_rows(&encoded[encoded.len() - 1].embedding)?);
        }
        // Of all batches together it is measured below.
        mean.metrics.remove("embedding_std");
        mean.held_out = held_out(&first, &second, self.towers.dim(), None)?;
        Ok(mean)
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = named(&self.store);
        tensors.extend(self.optimizer.state());
        tensors
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
        for (name, own) in named(&self.store) {
            copy_named(tensors, &name, &own)?;
        }
        self.optimizer.load_state(tensors)
    }

    fn device(&self) -> Device {
        self.store.device()
    }
}

/// Standard deviation of each dimension over the batch, averaged, times `sqrt(D)`: about 1 when the embeddings fill
/// the sphere, 0 when they have collapsed to a point.
fn embedding_std(views: &[&Tensor]) -> Tensor {
    let all = Tensor::cat(views, 0); // [2B, D]
    let root_dim = (all.size()[1] as f64).sqrt();
    let variance = (&all - all.mean_dim(0, true, None::<Kind>)).square().mean_dim(0, false, None::<Kind>); // [D]
    variance.sqrt().mean(None::<Kind>) * root_dim
}

/// Parameters and buffers in the order of their names.
fn named(store: &nn::VarStore) -> Vec<(String, Tensor)> {
    let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables
}

/// The values of scalars, in one copy from the device (Metal has no double precision, and copies each).
fn host_scalars(scalars: &[Tensor]) -> Result<Vec<f64>, Error> {
    let device = match scalars[0].device() {
        Device::Mps => Device::Cpu,
        device => device,
    };
    let flat: Vec<Tensor> = scalars.iter().map(|s| s.to_device(device).to_kind(Kind::Double).view([1])).collect();
    Ok(Vec::<f64>::try_from(Tensor::f_cat(&flat, 0)?)?)
}

/// The rows of a matrix, row-major.
pub(crate) fn host_rows(x: &Tensor) -> Result<Vec<f32>, Error> {
    let host = x.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut values = vec![0f32; host.numel()];
    host.f_copy_data(&mut values, host.numel())?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_directions_have_a_spread_of_about_one() {
        // A coordinate of a uniform unit vector has variance 1 / D; 4000 x 32 values estimate it to about 1 %.
        let wild = (Tensor::arange(4000 * 32, (Kind::Double, Device::Cpu)) * 12.9898).sin() * 43758.5453; // a hash
        let centred = invar_nn::unit_length(&(wild.frac().abs() - 0.5).view([4000, 32]));
        assert!((embedding_std(&[&centred]).double_value(&[]) - 1.0).abs() < 0.02);
        assert!(embedding_std(&[&Tensor::ones([10, 4], (Kind::Double, Device::Cpu))]).double_value(&[]) < 1e-10);
    }
}
