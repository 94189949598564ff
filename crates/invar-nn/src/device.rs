//! Which device computes, and why.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device};

use crate::Error;

/// `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// CUDA if there is a GPU, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA device `N`, 0-based.
    Cuda(usize),
    /// Apple's Metal.
    Mps,
}

/// A device, and the sentence that explains the choice to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The device.
    pub device: Device,
    /// "device: CPU, 2 LibTorch threads; CUDA not used: no NVIDIA driver or device is visible".
    pub sentence: String,
}

impl DeviceChoice {
    /// Chooses the device.
    ///
    /// # Errors
    /// If a device is asked for by name and cannot be used; the reason is given.
    pub fn resolve(self) -> Result<Chosen, Error> {
        let unusable = |reason: String| Error::Device { asked: self.to_string(), reason };
        match self {
            Self::Cpu => Ok(on_cpu("the CPU was asked for")),
            Self::Auto => match why_not_cuda(0) {
                None => Ok(on_cuda(0)),
                Some(reason) => Ok(on_cpu(&reason)),
            },
            Self::Cuda(index) => match why_not_cuda(index) {
                None => Ok(on_cuda(index)),
                Some(reason) => Err(unusable(reason)),
            },
            Self::Mps if tch::utils::has_mps() => {
                Ok(Chosen { device: Device::Mps, sentence: "device: Metal (mps)".into() })
            }
            Self::Mps => Err(unusable("this LibTorch has no Metal build, or there is no Metal device".into())),
        }
    }
}

fn on_cpu(why_not_cuda: &str) -> Chosen {
    Chosen { device: Device::Cpu, sentence: format!("device: CPU; CUDA not used: {why_not_cuda}") }
}

fn on_cuda(index: usize) -> Chosen {
    let sentence = format!("device: CUDA {index} of {}", Cuda::device_count());
    Chosen { device: Device::Cuda(index), sentence }
}

/// The reason why CUDA device `index` cannot be used, or `None` if it can.
pub fn why_not_cuda(index: usize) -> Option<String> {
    if let Err(reason) = invar_torch::load_cuda() {
        return Some(format!("this LibTorch has no CUDA build that can be loaded ({reason})"));
    }
    let count = Cuda::device_count().max(0) as usize;
    if index < count && Cuda::is_available() {
        return None;
    }
    Some(if !tch::utils::has_cudart() {
        "the CUDA build of this LibTorch did not register itself".into()
    } else if count > 0 {
        format!("device {index} was asked for, {count} visible (0 to {})", count - 1)
    } else {
        match std::env::var("CUDA_VISIBLE_DEVICES") {
            Ok(value) => format!("no device is visible (CUDA_VISIBLE_DEVICES={value:?})"),
            Err(_) => "no device is visible (no NVIDIA GPU, or no driver for it)".into(),
        }
    })
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "mps" => Ok(Self::Mps),
            other => other
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| Error::config("device", "auto, cpu, cuda, cuda:N or mps", format!("{other:?}"))),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Mps => f.write_str("mps"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_printed() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:3", DeviceChoice::Cuda(3)),
            ("mps", DeviceChoice::Mps),
        ] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        let error = "gpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert_eq!(error, "device must be auto, cpu, cuda, cuda:N or mps, got \"gpu\"");
    }

    #[test]
    fn the_cpu_is_always_there_and_a_missing_device_says_why() {
        assert_eq!(DeviceChoice::Cpu.resolve().unwrap().device, Device::Cpu);
        let error = DeviceChoice::Cuda(99).resolve().unwrap_err().to_string();
        assert!(error.starts_with("device cuda:99 cannot be used: "), "{error}");
        let chosen = DeviceChoice::Auto.resolve().unwrap();
        assert_eq!(chosen.device.is_cuda(), !chosen.sentence.contains("CUDA not used: "));
    }
}
