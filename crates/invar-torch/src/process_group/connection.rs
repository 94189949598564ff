use std::{
    cell::RefCell,
    ffi::{CString, c_char},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket},
    ptr,
    time::Duration,
};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

#[cfg(target_os = "linux")]
use super::shared_memory::SharedMemory;
use super::{Backend, Rendezvous};
use crate::{
    Error,
    error::{first_line, owned_text},
};

// c10d takes 0 to mean "for ever", and adds the timeout to the time of day.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The connection to the peers; `None` once one of them is lost.
pub(super) struct Connection(RefCell<Option<Transport>>);

enum Transport {
    /// Sockets.
    Gloo(C10d),
    /// NCCL for tensors on the devices, sockets for those on the hosts.
    Nccl { devices: C10d, hosts: C10d },
    #[cfg(target_os = "linux")]
    SharedMemory(SharedMemory),
}

impl Connection {
    /// The error is the first line of what went wrong.
    pub(super) fn open(backend: Backend, rendezvous: &Rendezvous, timeout: Duration) -> Result<Self, String> {
        let timeout_ms = timeout.clamp(SHORTEST, LONGEST).as_millis() as i64;
        let store = Store::meet(rendezvous, timeout_ms)?;
        let mut transport = None;
        #[cfg(target_os = "linux")]
        if backend == Backend::Host {
            transport = SharedMemory::agree(&store, rendezvous, timeout.min(LONGEST))?.map(Transport::SharedMemory);
        }
        let transport = match transport {
            Some(transport) => transport,
            None => {
                let open = |backend| C10d::open(backend, &store, rendezvous, timeout_ms);
                match backend {
                    Backend::Nccl => Transport::Nccl { devices: open(Backend::Nccl)?, hosts: open(Backend::Gloo)? },
                    Backend::Gloo | Backend::Host => Transport::Gloo(open(Backend::Gloo)?),
                }
            }
        };
        let connection = Self(RefCell::new(Some(transport)));
        // The first process hosts the store: it must not leave before the last one has read what it needs.
        connection.barrier().map_err(|error| match error {
            Error::Peer { message, .. } | Error::Exception { message, .. } => message,
            other => other.to_string(),
        })?;
        Ok(connection)
    }

    pub(super) fn transport(&self) -> &'static str {
        match &*self.0.borrow() {
            Some(Transport::Gloo(_)) => "Gloo",
            Some(Transport::Nccl { .. }) => "NCCL",
            #[cfg(target_os = "linux")]
            Some(Transport::SharedMemory(_)) => "shared memory",
            None => "nothing",
        }
    }

    pub(super) fn all_reduce(&self, tensor: &mut Tensor) -> Result<(), Error> {
        let is_on_host = tensor.device() == Device::Cpu;
        self.run("all-reduce", |transport| match transport {
            Transport::Gloo(group) => group.all_reduce(tensor),
            Transport::Nccl { hosts, .. } if is_on_host => hosts.all_reduce(tensor),
            Transport::Nccl { devices, .. } => devices.all_reduce(tensor),
            #[cfg(target_os = "linux")]
            Transport::SharedMemory(memory) => memory.all_reduce(tensor),
        })
    }

    pub(super) fn all_gather(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        let is_on_host = tensor.device() == Device::Cpu;
        self.run("all-gather", |transport| match transport {
            Transport::Gloo(group) => group.all_gather(tensor),
            Transport::Nccl { hosts, .. } if is_on_host => hosts.all_gather(tensor),
            Transport::Nccl { devices, .. } => devices.all_gather(tensor),
            #[cfg(target_os = "linux")]
            Transport::SharedMemory(memory) => memory.all_gather(tensor),
        })
    }

    pub(super) fn broadcast(&self, tensor: &mut Tensor) -> Result<(), Error> {
        let is_on_host = tensor.device() == Device::Cpu;
        self.run("broadcast", |transport| match transport {
            Transport::Gloo(group) => group.broadcast(tensor),
            Transport::Nccl { hosts, .. } if is_on_host => hosts.broadcast(tensor),
            Transport::Nccl { devices, .. } => devices.broadcast(tensor),
            #[cfg(target_os = "linux")]
            Transport::SharedMemory(memory) => memory.broadcast(tensor),
        })
    }

    pub(super) fn barrier(&self) -> Result<(), Error> {
        self.run("barrier", |transport| match transport {
            Transport::Gloo(group) | Transport::Nccl { devices: group, .. } => group.barrier(),
            #[cfg(target_os = "linux")]
            Transport::SharedMemory(memory) => memory.barrier(),
        })
    }

    /// A process that has lost a peer leaves, so that the other peers notice.
    fn run<T>(&self, operation: &'static str, call: impl FnOnce(&Transport) -> Result<T, Error>) -> Result<T, Error> {
        let result = match &*self.0.borrow() {
            Some(transport) => call(transport),
            None => {
                let message = "the group was closed when an earlier operation failed".into();
                return Err(Error::Peer { operation, message });
            }
        };
        if matches!(result, Err(Error::Peer { .. })) {
            self.0.take();
        }
        result
    }
}

/// A process group of c10d.
struct C10d(*mut Group);

// SAFETY: c10d's backends may be called from one thread at a time, whichever it is, and a raw pointer keeps this from
// being shared.
unsafe impl Send for C10d {}

impl C10d {
    fn open(backend: Backend, store: &Store, rendezvous: &Rendezvous, timeout_ms: i64) -> Result<Self, String> {
        let mut group = ptr::null_mut();
        let Rendezvous { rank, size, .. } = *rendezvous;
        first_line(match backend {
            Backend::Gloo | Backend::Host => {
                let address = c_string(&store.agree_on_address(rendezvous)?.to_string())?;
                // SAFETY: the store is live, and `group` is ours to write.
                unsafe { invar_torch_group_gloo(store.0, rank, size, address.as_ptr(), timeout_ms, &raw mut group) }
            }
            #[cfg(feature = "nccl")]
            Backend::Nccl => {
                crate::load_cuda()?;
                // SAFETY: as above.
                unsafe {
                    invar_torch_group_nccl(store.0, rank, size, rendezvous.local_rank, timeout_ms, &raw mut group)
                }
            }
            #[cfg(not(feature = "nccl"))]
            Backend::Nccl => unreachable!("refused before"),
        })
        .map_err(|message| plain(&message))?;
        Ok(Self(group))
    }

    fn all_reduce(&self, tensor: &mut Tensor) -> Result<(), Error> {
        let tensor = tensor.as_mut_ptr();
        // SAFETY: the group and the tensor are live.
        checked("all-reduce", |lost| unsafe { invar_torch_all_reduce(self.0, tensor, lost) })
    }

    fn all_gather(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        let mut gathered = ptr::null_mut();
        // SAFETY: the group and the tensor are live, and `gathered` is ours to write.
        checked("all-gather", |lost| unsafe {
            invar_torch_all_gather(self.0, tensor.as_ptr(), &raw mut gathered, lost)
        })?;
        // SAFETY: on success it is a new tensor, which nothing else owns.
        Ok(unsafe { Tensor::from_ptr(gathered) })
    }

    fn broadcast(&self, tensor: &mut Tensor) -> Result<(), Error> {
        let tensor = tensor.as_mut_ptr();
        // SAFETY: the group and the tensor are live.
        checked("broadcast", |lost| unsafe { invar_torch_broadcast(self.0, tensor, lost) })
    }

    fn barrier(&self) -> Result<(), Error> {
        // SAFETY: the group is live.
        checked("barrier", |lost| unsafe { invar_torch_barrier(self.0, lost) })
    }
}

impl Drop for C10d {
    fn drop(&mut self) {
        // SAFETY: the group is live, and is not used again.
        unsafe { invar_torch_group_free(self.0) }
    }
}

/// The result of a call of the shim, which reports whether a peer was lost.
fn checked(operation: &'static str, call: impl FnOnce(*mut bool) -> *mut c_char) -> Result<(), Error> {
    let mut lost_peer = false;
    first_line(call(&raw mut lost_peer)).map_err(|message| {
        if lost_peer {
            Error::Peer { operation, message: plain(&message) }
        } else {
            Error::Exception { operation, message }
        }
    })
}

/// Names and values that the processes share while they connect; the first one hosts them.
pub(super) struct Store(*mut CStore);

impl Store {
    fn meet(rendezvous: &Rendezvous, timeout_ms: i64) -> Result<Self, String> {
        let Rendezvous { rank, size, ref host, port, .. } = *rendezvous;
        let host = c_string(host)?;
        let mut store = ptr::null_mut();
        // SAFETY: on success `store` is a new store that we own.
        let message = unsafe { invar_torch_store(host.as_ptr(), port, size, rank == 0, timeout_ms, &raw mut store) };
        first_line(message).map_err(|message| plain(&message))?;
        Ok(Self(store))
    }

    /// The address at which the peers reach this process.
    ///
    /// A host often resolves its own name to a loopback address. If a peer is on another host, its address shows which
    /// network they share.
    fn agree_on_address(&self, rendezvous: &Rendezvous) -> Result<IpAddr, String> {
        let Rendezvous { rank, size, ref host, port, .. } = *rendezvous;
        let route_to = |host: &str| source_address(host, port).map_err(|e| format!("no route to {host}: {e}"));
        let own = route_to(host)?;
        self.set(&format!("address/{rank}"), &own.to_string())?;
        if !own.is_loopback() {
            return Ok(own);
        }
        for peer in (0..size).filter(|&peer| peer != rank) {
            let address = self.get(&format!("address/{peer}"))?;
            if address.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback()) {
                return route_to(&address);
            }
        }
        Ok(own)
    }

    pub(super) fn set(&self, key: &str, value: &str) -> Result<(), String> {
        let (key, value) = (c_string(key)?, c_string(value)?);
        // SAFETY: the store is live, and the strings are C strings.
        first_line(unsafe { invar_torch_store_set(self.0, key.as_ptr(), value.as_ptr()) })
    }

    pub(super) fn get(&self, key: &str) -> Result<String, String> {
        let key = c_string(key)?;
        let mut value = ptr::null_mut();
        // SAFETY: the store is live, the key is a C string, and `value` is ours to write.
        first_line(unsafe { invar_torch_store_get(self.0, key.as_ptr(), &raw mut value) })?;
        // SAFETY: on success it is a C string that the shim allocated for us.
        Ok(unsafe { owned_text(value) })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: not used again; a group that needs the store holds a reference to it.
        unsafe { invar_torch_store_free(self.0) }
    }
}

/// The address from which this host reaches another.
fn source_address(host: &str, port: u16) -> io::Result<IpAddr> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in (host, port).to_socket_addrs()? {
        let any = if target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        // A datagram socket chooses its route when it connects, and sends nothing.
        match UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(target).and_then(|()| socket.local_addr())) {
            Ok(address) => return Ok(address.ip()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A message without the source location that Gloo prefixes: `[.../pair.cc:547] Connection closed`.
fn plain(message: &str) -> String {
    match message.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((place, text)) if place.contains(".cc:") || place.contains(".cpp:") => text.to_owned(),
        _ => message.to_owned(),
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} holds a zero byte"))
}

/// The shim's `Group`.
#[repr(C)]
struct Group {
    _opaque: [u8; 0],
}

/// c10d's `Store`.
#[repr(C)]
struct CStore {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn invar_torch_store(
        host: *const c_char,
        port: u16,
        size: usize,
        is_server: bool,
        timeout_ms: i64,
        out: *mut *mut CStore,
    ) -> *mut c_char;
    fn invar_torch_store_set(store: *mut CStore, key: *const c_char, value: *const c_char) -> *mut c_char;
    fn invar_torch_store_get(store: *mut CStore, key: *const c_char, value: *mut *mut c_char) -> *mut c_char;
    fn invar_torch_store_free(store: *mut CStore);
    fn invar_torch_group_gloo(
        store: *mut CStore,
        rank: usize,
        size: usize,
        address: *const c_char,
        timeout_ms: i64,
        out: *mut *mut Group,
    ) -> *mut c_char;
    #[cfg(feature = "nccl")]
    fn invar_torch_group_nccl(
        store: *mut CStore,
        rank: usize,
        size: usize,
        local_rank: usize,
        timeout_ms: i64,
        out: *mut *mut Group,
    ) -> *mut c_char;
    fn invar_torch_group_free(group: *mut Group);
    fn invar_torch_all_reduce(group: *const Group, tensor: *mut C_tensor, lost_peer: *mut bool) -> *mut c_char;
    fn invar_torch_broadcast(group: *const Group, tensor: *mut C_tensor, lost_peer: *mut bool) -> *mut c_char;
    fn invar_torch_all_gather(
        group: *const Group,
        tensor: *const C_tensor,
        out: *mut *mut C_tensor,
        lost_peer: *mut bool,
    ) -> *mut c_char;
    fn invar_torch_barrier(group: *const Group, lost_peer: *mut bool) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_a_message_is_left_out() {
        assert_eq!(plain("[/pytorch/gloo/tcp/pair.cc:547] Connection closed by peer"), "Connection closed by peer");
        assert_eq!(plain("[fe80::1] is down"), "[fe80::1] is down");
        assert_eq!(plain("The client timed out"), "The client timed out");
    }

    #[test]
    fn a_host_reaches_itself_by_its_loopback() {
        assert_eq!(source_address("127.0.0.1", 9).unwrap(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(source_address("nowhere.invalid", 9).is_err());
    }
}
