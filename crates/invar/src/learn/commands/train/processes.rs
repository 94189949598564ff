//! Training in several processes, as started by torchrun, srun or the environment.

use std::time::Duration;

use anyhow::Result;
use invar_cli::{cli::Common, exit::Usage, ui::Ui};
use invar_nn::DeviceChoice;
use invar_torch::{Backend, ProcessGroup, Rendezvous};
use tch::Device;

/// What the launcher set up; `None` for a single process.
pub fn launched() -> Result<Option<Rendezvous>> {
    Rendezvous::from_env().map_err(|error| Usage(error.to_string()).into())
}

/// Chooses this process's device, and connects to the others.
pub fn join(rendezvous: &Rendezvous, timeout: Duration, common: &Common, ui: &Ui) -> Result<(Device, ProcessGroup)> {
    let local = DeviceChoice::Cuda(rendezvous.local_rank);
    let choice = match common.device.as_str() {
        "cuda" => local,
        "auto" if invar_nn::device::why_not_cuda(rendezvous.local_rank).is_none() => local,
        other => other.parse().map_err(|error| Usage(format!("--device {other}: {error}")))?,
    };
    let chosen = choice.resolve().map_err(|error| Usage(error.to_string()))?;
    let backend = if chosen.device.is_cuda() && cfg!(feature = "nccl") { Backend::Nccl } else { Backend::Host };
    let note = |text: &str| {
        if rendezvous.rank == 0 {
            ui.note(text)
        }
    };
    note(&format!("{}; {rendezvous}", chosen.sentence));
    let group = ProcessGroup::connect(backend, rendezvous, timeout)?;
    note(&format!("the processes communicate through {}", group.transport()));
    Ok((chosen.device, group))
}
