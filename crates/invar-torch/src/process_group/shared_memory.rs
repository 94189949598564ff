//! Processes on one machine exchange tensors through shared memory.
//!
//! A message through a socket takes 0.4 to 1.6 ms even if it is small and stays on the machine, and a training step has
//! half a dozen of them; through memory it takes microseconds.
//!
//! The memory is a file in Linux's `/dev/shm`, unlinked as soon as all have opened it. It holds, for each process, a
//! line with the number of exchanges it has reached, and two slots. A process's *own* line and slots are the ones only
//! it writes.
//!
//! ```text
//! | lines: 64 bytes x n, to whole pages | slots of even exchanges: SLOT x n | slots of odd ones: SLOT x n |
//! ```
//!
//! An exchange: fill the own slot, increment the count in the own line, wait until all have done so, read all slots. A
//! process that fills a slot again has seen all others reach the exchange in between, so they have finished reading it.
//!
//! Each process holds a lock on one byte of the file. The system releases it when the process ends, however it ends:
//! this is how the others notice while they wait.

use std::{
    cell::Cell,
    fs::{File, OpenOptions},
    hint,
    os::fd::AsRawFd,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use memmap2::{MmapOptions, MmapRaw};
use tch::{Device, Tensor};

use super::{Rendezvous, connection::Store};
use crate::Error;

const DIRECTORY: &str = "/dev/shm";
/// Bytes that a process sends at a time. A large tensor is sent in pieces, which stay in the caches.
const SLOT: usize = 1 << 20;
/// Bytes per process line: no two share a cache line.
const LINE: usize = 64;
const PAGE: usize = 4096;

/// How often to check the others' counts before yielding the core to other threads: about a tenth of a millisecond.
const SPINS: u32 = 5_000;
/// After this, waiting sleeps between two checks, and also checks whether the peer is alive.
const PATIENCE: Duration = Duration::from_millis(20);
const NAP: Duration = Duration::from_micros(500);

/// The memory, as one process sees it.
pub(super) struct SharedMemory {
    map: MmapRaw,
    file: File,
    rank: usize,
    size: usize,
    timeout: Duration,
    /// Exchanges that this process has reached.
    exchanges: Cell<u64>,
}

impl SharedMemory {
    /// The shared memory if all processes are on one machine; `None`, in all of them, if they are not, or if the system
    /// has too little of it.
    ///
    /// # Errors
    /// If a process does not arrive in time: the store's message.
    pub(super) fn agree(store: &Store, rendezvous: &Rendezvous, timeout: Duration) -> Result<Option<Self>, String> {
        let Rendezvous { rank, size, .. } = *rendezvous;
        let key = |rank: usize| format!("shared-memory/{rank}");
        let mut named = None;
        let path = if rank == 0 {
            named = create(length(size));
            let path = named.as_ref().map_or(String::new(), |file| file.path().to_string_lossy().into_owned());
            store.set("shared-memory", &path)?;
            path
        } else {
            store.get("shared-memory")?
        };
        let own = Self::open(Path::new(&path), rank, size, timeout);
        store.set(&key(rank), if own.is_some() { "here" } else { "elsewhere" })?;
        let mut all = true;
        for peer in 0..size {
            all &= store.get(&key(peer))? == "here";
        }
        drop(named); // removes the name
        Ok(own.filter(|_| all))
    }

    fn open(path: &Path, rank: usize, size: usize, timeout: Duration) -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        if file.metadata().ok()?.len() != length(size) as u64 || !hold(&file, rank) {
            return None;
        }
        let map = MmapOptions::new().len(length(size)).map_raw(&file).ok()?;
        Some(Self { map, file, rank, size, timeout, exchanges: Cell::new(0) })
    }

    pub(super) fn all_reduce(&self, tensor: &mut Tensor) -> Result<(), Error> {
        const OPERATION: &str = "all-reduce";
        let own = staged(tensor)?;
        let kind = own.kind();
        for (first, count) in pieces(own.numel(), SLOT / kind.elt_size_in_bytes()) {
            let piece = own.narrow(0, first, count);
            self.exchange(OPERATION, Some(bytes(&piece)), |slot| {
                // SAFETY: a slot holds this many numbers, aligned to their size, and is not written until the next
                // exchange but one.
                let of = |rank| unsafe { Tensor::from_blob(slot(rank), &[count], &[1], kind, Device::Cpu) };
                // In rank order, so that all have the same bits.
                let _ = of(0).f_add_out(&piece, &of(1)).map_err(|e| refusal(OPERATION, &e))?;
                for rank in 2..self.size {
                    let _ = piece.shallow_clone().f_add_(&of(rank)).map_err(|e| refusal(OPERATION, &e))?;
                }
                Ok(())
            })?;
        }
        give_back(&own, tensor);
        Ok(())
    }

    pub(super) fn all_gather(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        let own = staged(tensor)?;
        let mut shape = tensor.size();
        shape[0] *= self.size as i64;
        let gathered = Tensor::empty(&shape, (own.kind(), Device::Cpu));
        let (from, to) = (bytes(&own), bytes(&gathered));
        for (first, count) in pieces(from.len, SLOT) {
            self.exchange("all-gather", Some(from.piece(first, count)), |slot| {
                for rank in 0..self.size {
                    to.piece(rank as i64 * from.len as i64 + first, count).fill(slot(rank));
                }
                Ok(())
            })?;
        }
        Ok(gathered.to_device(tensor.device()))
    }

    pub(super) fn broadcast(&self, tensor: &mut Tensor) -> Result<(), Error> {
        let own = staged(tensor)?;
        let all = bytes(&own);
        for (first, count) in pieces(all.len, SLOT) {
            let piece = all.piece(first, count);
            self.exchange("broadcast", (self.rank == 0).then_some(piece), |slot| {
                if self.rank != 0 {
                    piece.fill(slot(0));
                }
                Ok(())
            })?;
        }
        give_back(&own, tensor);
        Ok(())
    }

    pub(super) fn barrier(&self) -> Result<(), Error> {
        self.exchange("barrier", None, |_| Ok(()))
    }

    /// Publishes something, waits until all have arrived, and reads what they published.
    fn exchange(
        &self,
        operation: &'static str,
        say: Option<Bytes>,
        hear: impl FnOnce(&dyn Fn(usize) -> *const u8) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let number = self.exchanges.get() + 1;
        self.exchanges.set(number);
        let slot = |rank: usize| {
            let slot = (number % 2) as usize * self.size + rank;
            // SAFETY: within the map, whose length is `length(size)`.
            unsafe { self.map.as_mut_ptr().add(lines(self.size) + slot * SLOT) }
        };
        if let Some(bytes) = say {
            debug_assert!(bytes.len <= SLOT);
            // SAFETY: the own slot, which nobody reads before the count allows it.
            unsafe { slot(self.rank).copy_from_nonoverlapping(bytes.start, bytes.len) };
        }
        self.count(self.rank).store(number, Ordering::Release);
        for peer in (0..self.size).filter(|&peer| peer != self.rank) {
            self.wait_for(peer, number).map_err(|message| Error::Peer { operation, message })?;
        }
        hear(&|rank| slot(rank).cast_const())
    }

    fn count(&self, rank: usize) -> &AtomicU64 {
        // SAFETY: within the map, aligned, and an atomic number for all processes.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(rank * LINE).cast()) }
    }

    fn wait_for(&self, peer: usize, number: u64) -> Result<(), String> {
        let has_come = || self.count(peer).load(Ordering::Acquire) >= number;
        for _ in 0..SPINS {
            if has_come() {
                return Ok(());
            }
            hint::spin_loop();
        }
        let start = Instant::now();
        while !has_come() {
            let waited = start.elapsed();
            if waited < PATIENCE {
                thread::yield_now();
                continue;
            }
            // Whatever it did before it ended counts.
            if !is_held(&self.file, peer) && !has_come() {
                return Err(format!("process {peer} has ended"));
            }
            if waited > self.timeout {
                return Err(format!("process {peer} did not come within {} s", self.timeout.as_secs_f64()));
            }
            thread::sleep(NAP);
        }
        Ok(())
    }
}

/// A file of this length in memory, fully allocated: a page missing later would kill the process.
fn create(length: usize) -> Option<tempfile::NamedTempFile> {
    let file = tempfile::Builder::new().prefix("invar-").tempfile_in(DIRECTORY).ok()?;
    // SAFETY: no pointers; the descriptor is open.
    let refused = unsafe { libc::posix_fallocate(file.as_file().as_raw_fd(), 0, length as libc::off_t) };
    (refused == 0).then_some(file)
}

fn lines(size: usize) -> usize {
    (size * LINE).next_multiple_of(PAGE)
}

fn length(size: usize) -> usize {
    lines(size) + 2 * size * SLOT
}

/// Locks the byte of process `rank` until the file is closed; returns whether it was free.
fn hold(file: &File, rank: usize) -> bool {
    let wanted = byte(rank);
    // SAFETY: the descriptor is open, and the call reads `wanted`, which is ours.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const wanted) == 0 }
}

/// Whether another process holds the byte of process `rank`; also true if the system does not tell.
fn is_held(file: &File, rank: usize) -> bool {
    let mut found = byte(rank);
    // SAFETY: the descriptor is open, and the call writes into `found`, which is ours.
    let refused = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut found) } != 0;
    refused || found.l_type != libc::F_UNLCK as libc::c_short
}

fn byte(rank: usize) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: rank as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

/// The values of a tensor, contiguous and on the host: its own storage if it is so, else a copy.
fn staged(tensor: &Tensor) -> Result<Tensor, Error> {
    let own = tensor.detach().f_to_device(Device::Cpu).and_then(|t| t.f_contiguous()).and_then(|t| t.f_view([-1]));
    own.map_err(|error| refusal("shared memory", &error))
}

/// Copies back what was staged, unless it is the tensor itself.
fn give_back(own: &Tensor, tensor: &mut Tensor) {
    if own.device() != tensor.device() || own.data_ptr() != tensor.data_ptr() {
        tch::no_grad(|| tensor.copy_(&own.view_as(tensor)));
    }
}

fn refusal(operation: &'static str, error: &tch::TchError) -> Error {
    Error::Exception { operation, message: error.to_string().lines().next().unwrap_or_default().to_owned() }
}

/// Start and length of each piece of `total`.
fn pieces(total: usize, most: usize) -> impl Iterator<Item = (i64, i64)> {
    (0..total).step_by(most).map(move |first| (first as i64, most.min(total - first) as i64))
}

/// The location of some values.
#[derive(Clone, Copy)]
struct Bytes {
    start: *mut u8,
    len: usize,
}

fn bytes(tensor: &Tensor) -> Bytes {
    debug_assert!(tensor.is_contiguous() && tensor.device() == Device::Cpu);
    Bytes { start: tensor.data_ptr().cast(), len: tensor.numel() * tensor.kind().elt_size_in_bytes() }
}

impl Bytes {
    fn piece(self, first: i64, count: i64) -> Self {
        assert!(first >= 0 && (first + count) as usize <= self.len, "{count} bytes at {first} of {}", self.len);
        // SAFETY: within the tensor.
        Self { start: unsafe { self.start.add(first as usize) }, len: count as usize }
    }

    /// Copies this many bytes from a slot.
    fn fill(self, slot: *const u8) {
        // SAFETY: the tensor is alive wherever this is used, and a slot has this many bytes.
        unsafe { self.start.copy_from_nonoverlapping(slot, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    /// Two processes' views of the same memory, in one process: locks belong to the open file, not to who opened it.
    fn two(timeout: Duration) -> [SharedMemory; 2] {
        let named = create(length(2)).expect("/dev/shm has room");
        [0, 1].map(|rank| SharedMemory::open(named.path(), rank, 2, timeout).unwrap())
    }

    #[test]
    fn tensors_of_many_slots_are_summed_gathered_and_broadcast() {
        let [first, second] = two(Duration::from_secs(60));
        let work = |memory: SharedMemory| {
            let rank = memory.rank as i64;
            let num = (5 * SLOT / 8 + 3) as i64;
            let own = Tensor::arange(num, (Kind::Double, Device::Cpu)) + rank;
            let mut sum = own.copy();
            memory.all_reduce(&mut sum).unwrap();
            assert_eq!(sum, Tensor::arange(num, (Kind::Double, Device::Cpu)) * 2 + 1);
            let gathered = memory.all_gather(&own).unwrap();
            assert_eq!(gathered.size(), [2 * num]);
            for peer in 0..2 {
                assert_eq!(gathered.narrow(0, peer * num, num), &own - rank + peer);
            }
            let mut said = own.copy();
            memory.broadcast(&mut said).unwrap();
            assert_eq!(said, &own - rank);
            // Many small ones: no slot is filled before it is read.
            for number in 0..2_000 {
                let mut sum = Tensor::from(number * (rank + 1));
                memory.all_reduce(&mut sum).unwrap();
                assert_eq!(sum.int64_value(&[]), 3 * number);
            }
            memory.barrier().unwrap();
        };
        thread::scope(|scope| {
            scope.spawn(|| work(second));
            work(first);
        });
    }

    #[test]
    fn who_has_ended_and_who_is_late_are_told_apart() {
        let [first, second] = two(Duration::from_millis(100));
        let message = |error: Error| match error {
            Error::Peer { message, .. } => message,
            other => panic!("{other}"),
        };
        assert_eq!(message(first.barrier().unwrap_err()), "process 1 did not come within 0.1 s");
        drop(second);
        assert_eq!(message(first.barrier().unwrap_err()), "process 1 has ended");
    }

    #[test]
    fn a_file_of_another_length_or_with_the_same_rank_is_refused() {
        let named = create(length(2)).unwrap();
        let open = |rank, size| SharedMemory::open(named.path(), rank, size, Duration::from_secs(1));
        assert!(open(0, 3).is_none());
        let _first = open(0, 2).unwrap();
        assert!(open(0, 2).is_none() && open(1, 2).is_some());
        assert!(SharedMemory::open(Path::new("/dev/shm/invar-nowhere"), 0, 2, Duration::ZERO).is_none());
    }
}
