//! AdamW with a state that can be saved: LibTorch's fused kernel on tensors that this module owns.

use std::collections::HashMap;

use invar_torch::{AdamW, AdamWState, fused_adamw};
use tch::{Device, Kind, Tensor};

use crate::{Error, TrainConfig};

const EPS: f64 = 1e-8;

/// AdamW over named parameters in two groups: matrices, which decay, and the rest (biases, norms, temperatures), which
/// do not.
pub struct Optimizer {
    prefix: String,
    groups: [Group; 2],
    betas: [f64; 2],
}

struct Group {
    weight_decay: f64,
    names: Vec<String>,
    params: Vec<Tensor>,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
    steps: Vec<Tensor>,
}

impl Optimizer {
    /// Optimizes `(name, parameter)` pairs, whose order is kept, with the betas and the weight decay of `config`. The
    /// names of its state start with `prefix`; if a step has several optimizers, each needs its own.
    pub fn new(prefix: &str, config: &TrainConfig, params: Vec<(String, Tensor)>) -> Self {
        let (matrices, rest) = params.into_iter().partition(|(_, param)| param.dim() >= 2);
        let groups = [Group::new(config.weight_decay, matrices), Group::new(0.0, rest)];
        Self { prefix: prefix.into(), groups, betas: config.betas }
    }

    /// The parameters, in the order of [`Optimizer::step`]'s gradients.
    pub fn params(&self) -> Vec<&Tensor> {
        self.groups.iter().flat_map(|group| &group.params).collect()
    }

    /// The names of [`Optimizer::params`], in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| &group.names).map(String::as_str)
    }

    /// One step along `gradients`, one for each of [`Optimizer::params`]. A parameter with an undefined gradient is not
    /// changed.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn step(&mut self, gradients: &[Tensor], learning_rate: f64) -> Result<(), Error> {
        let mut gradients = gradients;
        for group in &self.groups {
            let (own, others) = gradients.split_at(group.params.len());
            gradients = others;
            group.step(own, learning_rate, self.betas)?;
        }
        Ok(())
    }

    /// The state, named `<prefix>.<part>.<parameter>`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.named_state().map(|(name, tensor)| (name, tensor.shallow_clone())).collect()
    }

    /// Loads a state that [`Optimizer::state`] returned.
    ///
    /// # Errors
    /// The name of a tensor that is missing or of another shape.
    pub fn load_state(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
        for (name, own) in self.named_state() {
            copy_named(tensors, &name, own)?;
        }
        Ok(())
    }

    fn named_state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let prefix = &self.prefix;
        self.groups.iter().flat_map(move |group| {
            group.names.iter().enumerate().flat_map(move |(i, name)| {
                [
                    (format!("{prefix}.exp_avg.{name}"), &group.exp_avgs[i]),
                    (format!("{prefix}.exp_avg_sq.{name}"), &group.exp_avg_sqs[i]),
                    (format!("{prefix}.step.{name}"), &group.steps[i]),
                ]
            })
        })
    }
}

impl Group {
    fn new(weight_decay: f64, params: Vec<(String, Tensor)>) -> Self {
        let zeros = |size: &[i64], device: Device| Tensor::zeros(size, (Kind::Float, device));
        let exp_avgs = params.iter().map(|(_, p)| p.zeros_like().detach()).collect();
        let exp_avg_sqs = params.iter().map(|(_, p)| p.zeros_like().detach()).collect();
        let steps = params.iter().map(|(_, p)| zeros(&[], p.device())).collect();
        let (names, params) = params.into_iter().unzip();
        Self { weight_decay, names, params, exp_avgs, exp_avg_sqs, steps }
    }

    fn step(&self, gradients: &[Tensor], learning_rate: f64, [beta1, beta2]: [f64; 2]) -> Result<(), Error> {
        let defined: Vec<usize> = (0..gradients.len()).filter(|&i| gradients[i].defined()).collect();
        let pick = |list: &[Tensor]| defined.iter().map(|&i| list[i].shallow_clone()).collect::<Vec<_>>();
        let (exp_avgs, exp_avg_sqs) = (pick(&self.exp_avgs), pick(&self.exp_avg_sqs));
        let state = AdamWState { exp_avgs: &exp_avgs, exp_avg_sqs: &exp_avg_sqs, steps: &pick(&self.steps) };
        let adamw = AdamW { learning_rate, beta1, beta2, weight_decay: self.weight_decay, eps: EPS };
        Ok(fused_adamw(adamw, &pick(&self.params), &pick(gradients), &state)?)
    }
}

/// Copies the tensor of this name into `own`, across devices if necessary.
///
/// # Errors
/// The name, if it is missing or of another shape or kind.
pub fn copy_named(tensors: &HashMap<String, Tensor>, name: &str, own: &Tensor) -> Result<(), String> {
    let stored = tensors.get(name).ok_or_else(|| format!("tensor {name} is missing"))?;
    if stored.size() != own.size() || stored.kind() != own.kind() {
        let shape = |t: &Tensor| format!("{:?} {:?}", t.kind(), t.size());
        return Err(format!("tensor {name} is {}, not {}", shape(stored), shape(own)));
    }
    tch::no_grad(|| own.shallow_clone().copy_(stored));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_matrices_decay() {
        let matrix = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        let bias = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let config = TrainConfig { weight_decay: 0.5, ..TrainConfig::default() };
        let params = vec![("bias".into(), bias.shallow_clone()), ("weight".into(), matrix.shallow_clone())];
        let mut optimizer = Optimizer::new("optimizer", &config, params);
        let zeros: Vec<Tensor> = optimizer.params().iter().map(|p| p.zeros_like()).collect();
        optimizer.step(&zeros, 0.1).unwrap();
        // A zero gradient moves nothing; decay shrinks by learning rate times weight decay.
        assert_eq!(Vec::<f32>::try_from(&bias).unwrap(), [1.0, 1.0]);
        assert!((matrix.double_value(&[0, 0]) - 0.95).abs() < 1e-7);
    }

    #[test]
    fn a_wrong_state_is_refused_by_name() {
        let weights = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let mut optimizer = Optimizer::new("optimizer", &TrainConfig::default(), vec![("w".into(), weights)]);
        let mut state: HashMap<String, Tensor> = optimizer.state().into_iter().collect();
        optimizer.load_state(&state).unwrap();
        state.insert("optimizer.exp_avg.w".into(), Tensor::ones([3], (Kind::Float, Device::Cpu)));
        assert_eq!(optimizer.load_state(&state).unwrap_err(), "tensor optimizer.exp_avg.w is Float [3], not Float [2]");
    }
}
