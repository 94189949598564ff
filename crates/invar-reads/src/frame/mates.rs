//! Joins the mates of BAM records by name.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use super::{
    bam::{BamSlab, BamSpan, FIRST, Fixed, Fragment, LAST, NOT_PRIMARY, PAIRED, name},
    spill::{Merge, Numbered, Spill},
};
use crate::Error;

/// First mates waiting for the second. A paired record leaves together with its mate. If too much is waiting, the older
/// half goes to a file, and those of it whose mates came later leave at the end.
pub(super) struct Waiting {
    by_name: HashMap<Box<[u8]>, u64>,
    records: BTreeMap<u64, Vec<u8>>,
    num_bytes: u64,
    limit_bytes: u64,
    scratch: PathBuf,
    spill: Option<Spill>,
    /// Set once all records have been taken.
    merge: Option<Merge>,
    /// The last record of the merge, which may be the mate of the next.
    held: Option<Numbered>,
}

/// Overhead of a waiting record besides its own bytes and its name.
const OVERHEAD_BYTES: u64 = 128;

impl Waiting {
    /// Lets records of at most `limit_bytes` wait in memory, others in an unnamed file in `scratch`.
    pub fn new(limit_bytes: u64, scratch: &Path) -> Self {
        Self {
            by_name: HashMap::new(),
            records: BTreeMap::new(),
            num_bytes: 0,
            limit_bytes,
            scratch: scratch.into(),
            spill: None,
            merge: None,
            held: None,
        }
    }

    /// Puts `record` into the slab, alone or with its mate, or lets it wait.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn take(&mut self, record: &[u8], span: BamSpan, slab: &mut BamSlab) -> Result<(), Error> {
        let flags = Fixed::of(record).flags;
        if flags & PAIRED == 0 || flags & NOT_PRIMARY != 0 {
            slab.fragments.push(Fragment { first: span, second: None, is_singleton: false });
            return Ok(());
        }
        let Some((other_number, other)) = self.remove(name(record)) else { return self.wait(record, span.record) };
        let other_side = side(&other);
        let other = slab.push_waited(&other, other_number);
        match pair((other_side, other), (side(record), span)) {
            Some(fragment) => {
                slab.fragments.push(fragment);
                Ok(())
            }
            None => {
                slab.fragments.push(single(other));
                self.wait(record, span.record)
            }
        }
    }

    fn wait(&mut self, record: &[u8], number: u64) -> Result<(), Error> {
        self.num_bytes += waiting_bytes(record);
        self.by_name.insert(name(record).into(), number);
        self.records.insert(number, record.to_vec());
        if self.num_bytes > self.limit_bytes { self.spill(self.limit_bytes / 2) } else { Ok(()) }
    }

    fn remove(&mut self, name: &[u8]) -> Option<Numbered> {
        if self.by_name.is_empty() {
            return None;
        }
        let number = self.by_name.remove(name)?;
        let record = self.records.remove(&number)?;
        self.num_bytes -= waiting_bytes(&record);
        Some((number, record))
    }

    /// Removes the oldest record.
    fn pop(&mut self) -> Option<Numbered> {
        let (number, record) = self.records.pop_first()?;
        self.by_name.remove(name(&record));
        self.num_bytes -= waiting_bytes(&record);
        Some((number, record))
    }

    /// Moves the oldest records to the file, until the others take no more than `left_bytes`.
    fn spill(&mut self, left_bytes: u64) -> Result<(), Error> {
        let mut run = Vec::new();
        while self.num_bytes > left_bytes {
            run.extend(self.pop());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::new(&self.scratch)?),
        };
        spill.put(run)
    }

    /// After the last record was taken: releases the next fragment of those that still wait; `false` if there is none.
    ///
    /// # Errors
    /// If the file cannot be written or read.
    pub fn release(&mut self, slab: &mut BamSlab) -> Result<bool, Error> {
        if self.spill.is_some() && self.num_bytes > 0 {
            self.spill(0)?;
        }
        if let Some(spill) = self.spill.take() {
            self.merge = Some(spill.merge(self.limit_bytes)?);
        }
        let Some(merge) = &mut self.merge else {
            // The file was never used: what is left has no mate in this input.
            let Some((number, record)) = self.pop() else { return Ok(false) };
            let record = slab.push_waited(&record, number);
            slab.fragments.push(single(record));
            return Ok(true);
        };
        let next = merge.next()?;
        let (held, next) = match (self.held.take(), next) {
            (None, None) => return Ok(false),
            (None, next) => {
                self.held = next;
                return Ok(true);
            }
            (Some(held), next) => (held, next),
        };
        let first = slab.push_waited(&held.1, held.0);
        let fragment = match next {
            Some(next) if name(&next.1) == name(&held.1) && sides_differ(side(&held.1), side(&next.1)) => {
                let second = slab.push_waited(&next.1, next.0);
                pair((side(&held.1), first), (side(&next.1), second))
            }
            next => {
                self.held = next;
                None
            }
        };
        slab.fragments.push(fragment.unwrap_or(single(first)));
        Ok(true)
    }
}

/// Whether a record is first or second mate.
fn side(record: &[u8]) -> u16 {
    Fixed::of(record).flags & (FIRST | LAST)
}

fn sides_differ(one: u16, two: u16) -> bool {
    matches!((one, two), (FIRST, LAST) | (LAST, FIRST))
}

/// Two records of one name as a fragment, R1 first; `None` if they are not R1 and R2, so that the earlier one has no
/// mate.
fn pair((one_side, one): (u16, BamSpan), (two_side, two): (u16, BamSpan)) -> Option<Fragment> {
    let (first, second) = if one_side == FIRST { (one, two) } else { (two, one) };
    sides_differ(one_side, two_side).then_some(Fragment { first, second: Some(second), is_singleton: false })
}

fn single(record: BamSpan) -> Fragment {
    Fragment { first: record, second: None, is_singleton: true }
}

fn waiting_bytes(record: &[u8]) -> u64 {
    (record.len() + name(record).len()) as u64 + OVERHEAD_BYTES
}
