//! Processes that train together, connected by PyTorch's c10d or by memory shared on one machine.
//!
//! Every process calls the same operations in the same order, with tensors of the same shape and kind. A tensor that
//! the backend cannot handle, because it is on another device or is not contiguous, is copied.

mod connection;
mod rendezvous;
#[cfg(target_os = "linux")]
mod shared_memory;

use std::time::Duration;

use tch::Tensor;

use crate::Error;
use connection::Connection;
pub use rendezvous::Rendezvous;

/// What carries the tensors between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Shared memory if all processes are on one Linux machine, else [`Backend::Gloo`]; the processes decide when they
    /// connect. Tensors on other devices are copied to the CPU and back.
    Host,
    /// Sockets, for tensors on the CPU. Those on other devices are copied to the CPU and back.
    Gloo,
    /// NVIDIA's library, for tensors on CUDA devices; process `local_rank` of a machine uses the device of that number.
    /// Tensors on the CPU are sent as with [`Backend::Gloo`]. Needs the cargo feature `nccl`.
    Nccl,
}

/// The processes of one training run. A single process is a group of one, for which every operation is the identity.
pub struct ProcessGroup {
    rank: usize,
    size: usize,
    connection: Option<Connection>,
}

impl ProcessGroup {
    /// A group of one process.
    pub fn solo() -> Self {
        Self { rank: 0, size: 1, connection: None }
    }

    /// Connects to the other processes and returns when all are there. Each wait, here and in every later operation,
    /// ends after `timeout`.
    ///
    /// Processes on several machines use the network on which they reach the meeting point, or the interface named by
    /// `GLOO_SOCKET_IFNAME` or `NCCL_SOCKET_IFNAME`. Their messages are neither encrypted nor authenticated.
    ///
    /// With [`Backend::Nccl`] this sets `TORCH_NCCL_BLOCKING_WAIT` in the environment: call it before other threads
    /// read the environment.
    ///
    /// # Errors
    /// If a process does not arrive in time, the meeting point cannot be reached or the port is taken; and for
    /// [`Backend::Nccl`] in a build without it.
    ///
    /// # Panics
    /// If the rank is not below the number of processes.
    pub fn connect(backend: Backend, rendezvous: &Rendezvous, timeout: Duration) -> Result<Self, Error> {
        let Rendezvous { rank, size, .. } = *rendezvous;
        assert!(rank < size, "rank {rank} of {size} processes");
        if backend == Backend::Nccl && cfg!(not(feature = "nccl")) {
            return Err(Error::NoNccl);
        }
        if size == 1 {
            return Ok(Self::solo());
        }
        let connection = Connection::open(backend, rendezvous, timeout).map_err(|message| Error::Connect {
            rank,
            size,
            host: rendezvous.host.clone(),
            port: rendezvous.port,
            timeout,
            message,
        })?;
        Ok(Self { rank, size, connection: Some(connection) })
    }

    /// The rank of this process, 0-based.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of processes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this process writes files and output for the user.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// What carries the tensors, in words.
    pub fn transport(&self) -> &'static str {
        self.connection.as_ref().map_or("nothing", Connection::transport)
    }

    /// Sums a tensor over all processes, in place, on each of them. Adds in the tensor's own kind: bf16 rounds at every
    /// process, integers wrap.
    ///
    /// # Errors
    /// If a peer died or did not respond in time, or LibTorch fails. After the loss of a peer the group is closed, so
    /// that the other peers notice at once; every later operation fails.
    pub fn all_reduce(&self, tensor: &mut Tensor) -> Result<(), Error> {
        match &self.connection {
            Some(connection) if tensor.numel() > 0 => connection.all_reduce(tensor),
            _ => Ok(()),
        }
    }

    /// The tensors `[n, ..]` of all processes, concatenated in rank order: `[size * n, ..]`. No gradient flows through.
    ///
    /// # Errors
    /// As [`ProcessGroup::all_reduce`], and if the tensor has no dimensions.
    pub fn all_gather(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        if tensor.dim() == 0 {
            return Err(Error::Tensor {
                operation: "all-gather",
                what: "the tensor".into(),
                expected: "[n, ..]".into(),
                found: "[]".into(),
            });
        }
        match &self.connection {
            Some(connection) => connection.all_gather(tensor),
            None => Ok(tensor.detach()),
        }
    }

    /// Copies the first process's tensor to every other, in place.
    ///
    /// # Errors
    /// As [`ProcessGroup::all_reduce`].
    pub fn broadcast(&self, tensor: &mut Tensor) -> Result<(), Error> {
        match &self.connection {
            Some(connection) if tensor.numel() > 0 => connection.broadcast(tensor),
            _ => Ok(()),
        }
    }

    /// Whether a condition holds in any of the processes.
    ///
    /// # Errors
    /// As [`ProcessGroup::all_reduce`].
    pub fn any(&self, here: bool) -> Result<bool, Error> {
        let mut count = Tensor::from(i64::from(here));
        self.all_reduce(&mut count)?;
        Ok(count.int64_value(&[]) > 0)
    }

    /// The value of the first process.
    ///
    /// # Errors
    /// As [`ProcessGroup::all_reduce`].
    pub fn broadcast_from_first(&self, value: f64) -> Result<f64, Error> {
        let mut value = Tensor::from(value);
        self.broadcast(&mut value)?;
        Ok(value.double_value(&[]))
    }

    /// Waits until every process has arrived here.
    ///
    /// # Errors
    /// As [`ProcessGroup::all_reduce`].
    pub fn barrier(&self) -> Result<(), Error> {
        self.connection.as_ref().map_or(Ok(()), Connection::barrier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn a_group_of_one_changes_nothing() {
        let rendezvous = Rendezvous { rank: 0, size: 1, local_rank: 0, host: "nowhere.invalid".into(), port: 1 };
        let group = ProcessGroup::connect(Backend::Gloo, &rendezvous, Duration::from_secs(1)).unwrap();
        assert_eq!((group.rank(), group.size(), group.is_first()), (0, 1, true));
        let mut tensor = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
        group.all_reduce(&mut tensor).unwrap();
        group.broadcast(&mut tensor).unwrap();
        group.barrier().unwrap();
        assert_eq!(
            (group.any(true).unwrap(), group.any(false).unwrap(), group.broadcast_from_first(0.5).unwrap()),
            (true, false, 0.5)
        );
        let gathered = group.all_gather(&tensor).unwrap();
        assert_eq!((&gathered, gathered.requires_grad()), (&tensor, false));
        assert!(matches!(group.all_gather(&tensor.sum(Kind::Float)), Err(Error::Tensor { .. })));
    }

    #[test]
    fn a_group_moves_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<ProcessGroup>();
    }

    #[cfg(not(feature = "nccl"))]
    #[test]
    fn a_build_without_nccl_says_so() {
        let rendezvous = Rendezvous { rank: 0, size: 2, local_rank: 0, host: "127.0.0.1".into(), port: 1 };
        let found = ProcessGroup::connect(Backend::Nccl, &rendezvous, Duration::from_secs(1));
        assert!(matches!(found, Err(Error::NoNccl)));
    }
}
