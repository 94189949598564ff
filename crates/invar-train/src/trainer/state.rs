//! What a checkpoint holds besides tensors, and how a run resumes from it.

use std::path::Path;

use invar_torch::ProcessGroup;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

use crate::{
    Alarms, Error, Observer, Step,
    checkpoint::{self, Checkpoints},
    identity::refuse_difference,
};

/// What a checkpoint holds besides tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) step: u64,
    pub(super) best_loss: Option<f64>,
    pub(super) best_step: u64,
    pub(super) validations_without_gain: u64,
    pub(super) early_stopped: bool,
    pub(super) alarms: Alarms,
    pub(super) identity: Value,
}

impl State {
    pub(super) fn new(identity: Value, alarms: Alarms) -> Self {
        Self {
            step: 0,
            best_loss: None,
            best_step: 0,
            validations_without_gain: 0,
            early_stopped: false,
            alarms,
            identity,
        }
    }

    /// Loads the newest intact checkpoint into the step: the first process reads it and sends it to the others.
    pub(super) fn resume(
        checkpoints: Option<&Checkpoints>,
        identity: &Value,
        step: &mut dyn Step,
        group: &ProcessGroup,
        observer: &dyn Observer,
    ) -> Result<Option<Self>, Error> {
        let state = checkpoints.map(|own| read_newest(own, identity, step, observer)).transpose()?.flatten();
        if group.size() == 1 {
            return Ok(state);
        }
        let mut text = serde_json::to_vec(&state).expect("a state is plain numbers and strings");
        let mut length = Tensor::from(text.len() as i64).to_device(step.device());
        group.broadcast(&mut length)?;
        text.resize(length.int64_value(&[]) as usize, 0);
        let mut bytes = Tensor::from_slice(&text).to_device(step.device());
        group.broadcast(&mut bytes)?;
        let state: Option<Self> = serde_json::from_slice(&Vec::<u8>::try_from(bytes)?).expect("the first one's state");
        // Even in a fresh run: the weights are drawn from one seed, but not necessarily on the same kind of machine.
        for (_, mut tensor) in step.tensors() {
            tch::no_grad(|| group.broadcast(&mut tensor))?;
        }
        Ok(state)
    }
}

/// What determined the weights of a checkpoint.
///
/// # Errors
/// If it cannot be read or is damaged.
pub(crate) fn identity_of(path: &Path) -> Result<Value, Error> {
    Ok(checkpoint::read_state::<State>(path)?.identity)
}

fn read_newest(
    checkpoints: &Checkpoints,
    identity: &Value,
    step: &mut dyn Step,
    observer: &dyn Observer,
) -> Result<Option<State>, Error> {
    let mut complain = |error: &Error| observer.warning(&format!("skipped a damaged checkpoint: {error}"));
    let Some((path, tensors, state)) = checkpoints.newest::<State>(&mut complain)? else { return Ok(None) };
    refuse_difference(&path, &state.identity, identity)?;
    let corrupt =
        |found| Error::Corrupt { path, what: "tensors".into(), expected: "those of the recipe".into(), found };
    step.load(&tensors).map_err(corrupt)?;
    Ok(Some(state))
}
