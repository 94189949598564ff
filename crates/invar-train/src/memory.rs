//! How much memory training takes, and how much is available.

use serde::Serialize;

use crate::{Error, TrainConfig};

/// An estimate of the memory of a training process besides the program itself, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Weights, their gradients, the optimizer's two means, and the moving average if there is one.
    pub weights: usize,
    /// What is kept between the forward and the backward pass of a chunk. Measured on the CPU with two small batches
    /// and extrapolated; `None` if the system does not report the memory of a process.
    pub activations: Option<usize>,
    /// Views of the batch in training and of the chunks queued for it, on the host.
    pub views: usize,
}

impl Memory {
    /// The sum of all.
    pub fn total(&self) -> usize {
        self.weights + self.activations.unwrap_or(0) + self.views
    }

    /// [`Memory::weights`] for this many trained and fixed numbers, in single precision.
    pub(crate) fn of_weights(num_trained: usize, num_fixed: usize, num_losses: usize, config: &TrainConfig) -> usize {
        let averages = if config.ema_decay > 0.0 { 1 } else { 0 };
        // Weights, two means, and the gradient; or one gradient per loss, and their combination.
        let gradients = if config.harmony.is_apart() { 1 + num_losses } else { 1 };
        4 * (num_trained * (3 + gradients + averages) + num_fixed * (1 + averages))
    }
}

/// Refuses to use more than the memory of the host, if that is known.
///
/// # Errors
/// [`DatasetError::TooLarge`](invar_dataset::DatasetError::TooLarge), with both figures and the settings to lower.
pub(crate) fn check_host(needed: usize, config: &TrainConfig) -> Result<(), Error> {
    Ok(invar_dataset::check_memory(needed, || "training".into(), || what_to_lower(config))?)
}

/// Runs a part of training. Panics become errors, and running out of memory is reported with the settings to lower.
pub(crate) fn guarded<T>(
    config: &TrainConfig,
    during: &str,
    body: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let result = invar_torch::caught(body).unwrap_or_else(|panic| Err(panic.into()));
    result.map_err(|error| explained(error, during, || what_to_lower(config)))
}

/// The error itself, or what to do about too little memory.
pub(crate) fn explained(error: Error, during: &str, remedy: impl FnOnce() -> String) -> Error {
    match error {
        Error::OutOfMemory { .. } => error,
        error if error.is_out_of_memory() => {
            Error::OutOfMemory { during: during.into(), refusal: Box::new(error), remedy: remedy() }
        }
        error => error,
    }
}

/// The settings that determine how much memory training takes.
pub(crate) fn what_to_lower(config: &TrainConfig) -> String {
    let TrainConfig { chunk_pairs, batch_size, .. } = config;
    let chunks = match chunk_pairs {
        0 => format!("set train.chunk_pairs (0: all {batch_size} pairs of a batch at a time)"),
        pairs => format!("lower train.chunk_pairs ({pairs})"),
    };
    format!("{chunks}, lower train.batch_size ({batch_size}), or make the encoder smaller")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_figures() {
        let config = TrainConfig { batch_size: 4096, ..TrainConfig::default() };
        assert!(check_host(16, &config).is_ok());
        if cfg!(target_os = "linux") {
            let error = check_host(usize::MAX, &config).unwrap_err().to_string();
            assert!(
                error.starts_with("training takes about 18446744073710 MB of memory, this machine has "),
                "{error}"
            );
            let remedy = " MB; set train.chunk_pairs (0: all 4096 pairs of a batch at a time), lower train.batch_size \
                          (4096), or make the encoder smaller";
            assert!(error.ends_with(remedy), "{error}");
        }
    }

    #[test]
    fn too_little_memory_is_told_with_the_remedy_and_any_other_error_as_it_is() {
        let config = TrainConfig { chunk_pairs: 64, ..TrainConfig::default() };
        let huge = || Ok(tch::Tensor::empty([1 << 54], (tch::Kind::Float, tch::Device::Cpu)).numel());
        let error = guarded(&config, "step 3", huge).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::OutOfMemory { .. }) && !error.is_bad_input());
        assert!(text.starts_with("step 3: LibTorch: ") && text.contains("72057594037927936 bytes"), "{text}");
        assert!(
            text.ends_with("; lower train.chunk_pairs (64), lower train.batch_size (512), or make the encoder smaller")
        );
        assert_eq!(text.lines().count(), 1);
        let other = guarded(&config, "step 3", || Err::<(), _>(Error::NoView(7))).unwrap_err();
        assert!(matches!(other, Error::NoView(7)));
    }
}
