//! What other sites contribute to a step, in federated training.

use tch::Tensor;

use crate::{Error, gradients::Summed};

/// What other sites contribute to a step.
#[derive(Debug, Default)]
pub struct Others {
    /// Keys of their samples `[N, P]`, of unit length: further negatives.
    pub keys: Option<Tensor>,
    /// Adds `proximal / 2 |w - w0|^2` to what is minimised, where `w0` are the trained weights as they were when the step
    /// was told: FedProx (Li et al., *Federated optimization in heterogeneous networks*, 2020). 0 for nothing.
    pub proximal: f64,
}

/// The pull of trained weights towards where they were.
pub(crate) struct Proximal {
    weight: f64,
    from: Vec<Tensor>,
}

impl Proximal {
    /// Towards the weights as they are now.
    pub(crate) fn of(weight: f64, params: &[&Tensor]) -> Option<Self> {
        (weight > 0.0).then(|| Self { weight, from: params.iter().map(|param| param.detach().copy()).collect() })
    }

    /// Adds its gradient, `weight (w - w0)`.
    pub(crate) fn add_to(&self, gradients: Summed, params: &[&Tensor]) -> Summed {
        let pulled = |((gradient, param), from): ((&Tensor, &&Tensor), &Tensor)| {
            let pull = (param.detach() - from) * self.weight;
            if gradient.defined() { gradient + pull } else { pull }
        };
        tch::no_grad(|| gradients.as_slice().iter().zip(params).zip(&self.from).map(pulled).collect())
    }
}

/// Checks the keys of others beside a projection's width.
pub(crate) fn check_keys(keys: &Tensor, width: Option<usize>) -> Result<(), Error> {
    let found = format!("{:?} {:?}", keys.kind(), keys.size());
    match (&keys.size()[..], width) {
        (&[_, own], Some(width)) if own == width as i64 => Ok(()),
        (_, Some(width)) => Err(Error::Config { key: "the bank", expected: format!("keys of {width} numbers"), found }),
        (_, None) => {
            let expected = "none, or a loss that compares with them (info-nce)".into();
            Err(Error::Config { key: "the bank", expected, found })
        }
    }
}
