//! A memory bank: keys of past batches, which serve as negatives of later ones (Wu, Xiong, Yu and Lin, *Unsupervised
//! feature learning via non-parametric instance discrimination*, 2018; He et al., *Momentum contrast*, 2020).
//!
//! For each key it stores the sample, the sample of its query, the group, the origin and the step. An *origin* is a
//! client: a run with data of its own. Samples and groups are numbered within an origin, so number 7 at two clients
//! means two samples; the processes of one run, which share their numbering and hold the same bank, are one origin. The
//! *step* is the optimizer step at which the key was added, so that merging banks keeps the newest keys of all.
//!
//! ```
//! use invar_dataset::SampleId;
//! use invar_loss::{MemoryBank, bank::Keys};
//! use tch::{Device, Kind, Tensor};
//!
//! let samples = [SampleId(7), SampleId(8)];
//! let bank_of = |origin| {
//!     let mut bank = MemoryBank::new(3, 4, Device::Cpu);
//!     bank.set_origin(origin);
//!     let keys = Tensor::ones([2, 4], (Kind::Float, Device::Cpu));
//!     bank.push(&Keys { keys: &keys, samples: &samples, queries: &samples, groups: &[], step: origin });
//!     bank
//! };
//! let (mut one, two) = (bank_of(1), bank_of(2));
//! // Three fit: the oldest, of step 1, makes room.
//! assert_eq!(one.merge(&two)?, 2);
//! assert_eq!(one.origins()?, [1, 2, 2]);
//! // What was sent away and comes back is known.
//! assert_eq!(one.merge(&MemoryBank::import(&two.export()?)?)?, 0);
//! # Ok::<(), invar_loss::Error>(())
//! ```

use std::collections::{HashMap, HashSet};

use invar_dataset::{GroupId, SampleId};
use invar_nn::Weights;
use tch::{Device, Kind, Tensor, nn};

use crate::Error;

#[cfg(test)]
mod tests;

const KEYS: &str = "bank";
const IDS: &str = "ids";
const QUERY_IDS: &str = "query_ids";
const GROUPS: &str = "groups";
const ORIGINS: &str = "origins";
const STEPS: &str = "steps";
const FILLED: &str = "filled";
const POSITION: &str = "position";
const ORIGIN: &str = "origin";
const CAPACITY: &str = "capacity";
/// Names of what is stored per key.
const COLUMNS: [&str; 6] = [KEYS, IDS, QUERY_IDS, GROUPS, ORIGINS, STEPS];

/// The last `capacity` keys that were pushed. See the [module](self).
///
/// A ring buffer of slots. Integers are kept in tensors, as the bits of an i64, so that they are stored and sent like
/// weights.
#[derive(Debug)]
pub struct MemoryBank {
    /// `[capacity, P]`.
    keys: Weights,
    /// The samples of the keys `[capacity]`.
    ids: Weights,
    /// The samples that the keys were paired with `[capacity]`.
    query_ids: Weights,
    /// 1 and the group, or 0 and 0 for a key without one `[capacity, 2]`.
    groups: Weights,
    /// The origin of each key `[capacity]`.
    origins: Weights,
    /// The step at which each key was added `[capacity]`.
    steps: Weights,
    /// How many slots hold a key, from the first on: a scalar.
    filled: Weights,
    /// The slot of the next key: a scalar.
    position: Weights,
    /// The origin of keys to be pushed: a scalar.
    origin: Weights,
}

/// Keys pushed into a bank at once: `n` of them, oldest first, with their metadata.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// `[n, P]`.
    pub keys: &'a Tensor,
    /// The sample of each key.
    pub samples: &'a [SampleId],
    /// The sample that each key was paired with.
    pub queries: &'a [SampleId],
    /// The group of each key; empty if none has one.
    pub groups: &'a [Option<GroupId>],
    /// The step of the optimizer, 1-based.
    pub step: u64,
}

impl MemoryBank {
    /// An empty, standalone bank for `capacity` keys of `width` values, with origin 0.
    pub fn new(capacity: usize, width: usize, device: Device) -> Self {
        Self::under(&nn::VarStore::new(device).root(), capacity, width)
    }

    /// As [`MemoryBank::new`], but its tensors are buffers under `path`: they are stored, loaded and moved with the
    /// weights.
    pub fn under(path: &nn::Path, capacity: usize, width: usize) -> Self {
        let capacity = capacity as i64;
        let integers = |name: &str, size: &[i64]| {
            let mut tensor = path.zeros_no_train(name, size);
            tensor.set_data(&tensor.to_kind(Kind::Int64));
            Weights::from(tensor)
        };
        Self {
            keys: path.zeros_no_train(KEYS, &[capacity, width as i64]).into(),
            ids: integers(IDS, &[capacity]),
            query_ids: integers(QUERY_IDS, &[capacity]),
            groups: integers(GROUPS, &[capacity, 2]),
            origins: integers(ORIGINS, &[capacity]),
            steps: integers(STEPS, &[capacity]),
            filled: integers(FILLED, &[]),
            position: integers(POSITION, &[]),
            origin: integers(ORIGIN, &[]),
        }
    }

    /// Number of keys it holds.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn len(&self) -> Result<usize, Error> {
        Ok(self.filled.f_int64_value(&[])? as usize)
    }

    /// Whether it holds none.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Maximum number of keys it can hold.
    pub fn capacity(&self) -> usize {
        self.keys.size()[0] as usize
    }

    /// Length of a key, `P`.
    pub fn width(&self) -> usize {
        self.keys.size()[1] as usize
    }

    /// The origin of keys to be pushed; 0 unless set.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn origin(&self) -> Result<u64, Error> {
        Ok(self.origin.f_int64_value(&[])? as u64)
    }

    /// Sets the origin of keys pushed from now on. Clients that exchange keys must each have a number of their own, set
    /// before the first key: keys already in the bank keep theirs.
    pub fn set_origin(&mut self, origin: u64) {
        let _ = tch::no_grad(|| self.origin.fill_(origin as i64));
    }

    /// The keys `[len, P]`, slot by slot; not copied.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn keys(&self) -> Result<Tensor, Error> {
        self.used(&self.keys)
    }

    /// The samples of the keys, slot by slot.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn samples(&self) -> Result<Vec<SampleId>, Error> {
        Ok(self.numbers(&self.ids)?.into_iter().map(SampleId).collect())
    }

    /// The samples that the keys were paired with, slot by slot.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn queries(&self) -> Result<Vec<SampleId>, Error> {
        Ok(self.numbers(&self.query_ids)?.into_iter().map(SampleId).collect())
    }

    /// The groups of the keys, slot by slot.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn groups(&self) -> Result<Vec<Option<GroupId>>, Error> {
        let bits = self.numbers(&self.groups)?;
        Ok(bits.chunks_exact(2).map(|of_key| (of_key[0] == 1).then_some(GroupId(of_key[1]))).collect())
    }

    /// The origins of the keys, slot by slot.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn origins(&self) -> Result<Vec<u64>, Error> {
        self.numbers(&self.origins)
    }

    /// The steps at which the keys were added, slot by slot.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn steps(&self) -> Result<Vec<u64>, Error> {
        self.numbers(&self.steps)
    }

    /// Adds keys, replacing the oldest.
    ///
    /// # Panics
    /// If the numbers of samples, queries or groups differ from that of the keys, or the keys have another width.
    pub fn push(&mut self, new: &Keys) {
        let Keys { keys, samples, queries, groups, step } = *new;
        let num = keys.size()[0] as usize;
        let known = [samples.len(), queries.len(), if groups.is_empty() { num } else { groups.len() }];
        assert_eq!(known, [num; 3], "samples, queries and groups of {num} keys");
        assert_eq!(keys.size()[1], self.keys.size()[1], "the width of the keys");
        let ids = |ids: &[SampleId]| bits(ids.iter().map(|id| id.0));
        let of_groups = |group: &Option<GroupId>| group.map_or([0, 0], |group| [1, group.0]);
        let groups = if groups.is_empty() { &vec![None; num] } else { groups };
        tch::no_grad(|| {
            let origin = self.origin.to_device(Device::Cpu);
            self.put(&[
                keys.shallow_clone(),
                ids(samples),
                ids(queries),
                bits(groups.iter().flat_map(of_groups)).view([-1, 2]),
                origin.expand([num as i64], false),
                bits(std::iter::repeat_n(step, num)),
            ]);
        });
    }

    /// Everything it holds, oldest first, under the names used in checkpoints: `bank` `[len, P]`; `ids`, `query_ids`,
    /// `origins` and `steps` `[len]` and `groups` `[len, 2]`, bits as i64; and the scalars `capacity` and `origin`.
    /// Copies, on the host.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn export(&self) -> Result<HashMap<String, Tensor>, Error> {
        let columns = self.aged()?.into_iter().zip(COLUMNS).map(|(column, name)| (name.to_owned(), column));
        let scalars = [(CAPACITY, self.capacity() as u64), (ORIGIN, self.origin()?)];
        Ok(columns.chain(scalars.map(|(name, value)| (name.to_owned(), Tensor::from(value as i64)))).collect())
    }

    /// A standalone bank, on the CPU, from what [`MemoryBank::export`] returned.
    ///
    /// # Errors
    /// [`Error::Bank`], naming the tensor that is missing or of another shape or kind.
    pub fn import(tensors: &HashMap<String, Tensor>) -> Result<Self, Error> {
        let get = |name: &str| {
            let missing = || Error::Bank { name: name.into(), expected: "a tensor".into(), found: "none".into() };
            tensors.get(name).ok_or_else(missing)
        };
        let keys = get(KEYS)?;
        let (&[num, width], true) = (&keys.size()[..], keys.is_floating_point()) else {
            let (expected, found) = ("floats [len, P]".into(), format!("{:?} {:?}", keys.kind(), keys.size()));
            return Err(Error::Bank { name: KEYS.into(), expected, found });
        };
        let integers = |name: &str, size: &[i64]| {
            let tensor = get(name)?;
            if tensor.size() == size && tensor.kind() == Kind::Int64 {
                return Ok(tensor.f_to_device(Device::Cpu)?);
            }
            let (expected, found) = (format!("Int64 {size:?}"), format!("{:?} {:?}", tensor.kind(), tensor.size()));
            Err(Error::Bank { name: name.into(), expected, found })
        };
        let numbers = [
            integers(IDS, &[num])?,
            integers(QUERY_IDS, &[num])?,
            integers(GROUPS, &[num, 2])?,
            integers(ORIGINS, &[num])?,
            integers(STEPS, &[num])?,
        ];
        let capacity = integers(CAPACITY, &[])?.f_int64_value(&[])?;
        if capacity < num.max(1) {
            let (expected, found) = (format!("at least {}", num.max(1)), capacity.to_string());
            return Err(Error::Bank { name: CAPACITY.into(), expected, found });
        }
        let mut bank = Self::new(capacity as usize, width as usize, Device::Cpu);
        let of_kind = bank.keys.f_to_kind(keys.kind())?;
        bank.keys.set_data(&of_kind);
        bank.set_origin(integers(ORIGIN, &[])?.f_int64_value(&[])? as u64);
        let [ids, query_ids, groups, origins, steps] = numbers;
        tch::no_grad(|| bank.put(&[keys.to_device(Device::Cpu), ids, query_ids, groups, origins, steps]));
        Ok(bank)
    }

    /// Adds the keys of another bank, except those it holds already; returns how many of them it keeps. If not all fit,
    /// those of the latest steps stay; within one step, those of the higher origins.
    ///
    /// Two banks of different origins hold the same keys in the same order after merging each other, if both have
    /// enough room.
    ///
    /// # Errors
    /// [`Error::Bank`], if the keys of the other have another width.
    pub fn merge(&mut self, other: &Self) -> Result<usize, Error> {
        if other.width() != self.width() {
            let width = |bank: &Self| format!("keys of {} numbers", bank.width());
            return Err(Error::Bank { name: KEYS.into(), expected: width(self), found: width(other) });
        }
        let kind = self.keys.kind();
        let (own, mut others) = (self.aged()?, other.aged()?);
        others[0] = others[0].f_to_kind(kind)?;
        let held: HashSet<Vec<u8>> = rows(&own)?.collect();
        let is_new: Vec<bool> = rows(&others)?.map(|row| !held.contains(&row)).collect();
        let num_own = own[0].size()[0];
        let taken = (0..).zip(is_new).filter(|&(_, is_new)| is_new).map(|(row, _)| num_own + row);
        let mut order: Vec<i64> = (0..num_own).chain(taken).collect();
        let both: Vec<Tensor> =
            own.iter().zip(&others).map(|(own, other)| Tensor::f_cat(&[own, other], 0)).collect::<Result<_, _>>()?;
        let [origins, steps] = [Vec::<i64>::try_from(&both[4])?, Vec::<i64>::try_from(&both[5])?];
        order.sort_by_key(|&row| (steps[row as usize] as u64, origins[row as usize] as u64));
        order.drain(..order.len().saturating_sub(self.capacity()));
        let kept = order.iter().filter(|&&row| row >= num_own).count();
        let order = Tensor::from_slice(&order);
        let columns = both.iter().map(|column| column.f_index_select(0, &order)).collect::<Result<Vec<_>, _>>()?;
        tch::no_grad(|| {
            let _ = self.filled.fill_(0);
            let _ = self.position.fill_(0);
            self.put(&columns);
        });
        Ok(kept)
    }

    fn columns(&self) -> [&Weights; 6] {
        [&self.keys, &self.ids, &self.query_ids, &self.groups, &self.origins, &self.steps]
    }

    /// The slots that hold a key.
    fn used(&self, column: &Tensor) -> Result<Tensor, Error> {
        Ok(column.f_narrow(0, 0, self.filled.f_int64_value(&[])?)?)
    }

    fn numbers(&self, column: &Tensor) -> Result<Vec<u64>, Error> {
        let bits = Vec::<i64>::try_from(&self.used(column)?.f_to_device(Device::Cpu)?.f_view([-1])?)?;
        Ok(bits.into_iter().map(|bits| bits as u64).collect())
    }

    /// The columns, oldest key first: copies on the host.
    fn aged(&self) -> Result<[Tensor; 6], Error> {
        let (filled, position) = (self.len()? as i64, self.position.f_int64_value(&[])?);
        // Before the bank is full, the first slot is the oldest.
        let oldest = if filled == self.capacity() as i64 { position } else { 0 };
        let mut columns = self.columns().map(|_| Tensor::new());
        for (aged, column) in columns.iter_mut().zip(self.columns()) {
            let used = self.used(column)?.f_to_device(Device::Cpu)?;
            *aged = Tensor::f_cat(&[used.f_narrow(0, oldest, filled - oldest)?, used.f_narrow(0, 0, oldest)?], 0)?;
        }
        Ok(columns)
    }

    /// Writes columns into the next slots.
    fn put(&mut self, new: &[Tensor]) {
        let capacity = self.keys.size()[0];
        let all = new[0].size()[0];
        let num = all.min(capacity);
        let skipped = all - num; // would be overwritten at once
        let position = (self.position.int64_value(&[]) + skipped) % capacity;
        let until_end = num.min(capacity - position);
        for (from, to, length) in [(skipped, position, until_end), (skipped + until_end, 0, num - until_end)] {
            for (stored, new) in self.columns().into_iter().zip(new) {
                stored.narrow(0, to, length).copy_(&new.narrow(0, from, length));
            }
        }
        let filled = (self.filled.int64_value(&[]) + all).min(capacity);
        let _ = self.filled.fill_(filled);
        let _ = self.position.fill_((position + num) % capacity);
    }
}

/// Integers as the bits of a tensor's values; LibTorch has only the signed type.
fn bits(numbers: impl Iterator<Item = u64>) -> Tensor {
    Tensor::from_slice(&numbers.map(|number| number as i64).collect::<Vec<_>>())
}

/// The bytes of each key and its metadata.
fn rows(columns: &[Tensor; 6]) -> Result<impl Iterator<Item = Vec<u8>>, Error> {
    let num = columns[0].size()[0] as usize;
    let mut rows = vec![vec![]; num];
    for column in columns {
        let column = column.f_contiguous()?;
        let mut bytes = vec![0; column.numel() * column.kind().elt_size_in_bytes()];
        column.f_copy_data_u8(&mut bytes, column.numel())?;
        let width = (bytes.len() / num.max(1)).max(1);
        rows.iter_mut().zip(bytes.chunks_exact(width)).for_each(|(row, bytes)| row.extend_from_slice(bytes));
    }
    Ok(rows.into_iter())
}
