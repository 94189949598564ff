//! Joins the mates of BAM records by name.

use std::collections::{BTreeMap, HashMap};

use super::bam::{BamSlab, BamSpan, FIRST, Fixed, Fragment, LAST, NOT_PRIMARY, PAIRED, name};

/// First mates that wait for the second. A paired record leaves together with its mate; the oldest ones leave alone
/// when too much is waiting, and all at the end.
#[derive(Default)]
pub(super) struct Waiting {
    by_name: HashMap<Box<[u8]>, u64>,
    records: BTreeMap<u64, Vec<u8>>,
    num_bytes: u64,
    limit_bytes: u64,
}

/// What a waiting record takes beside its own bytes and its name.
const OVERHEAD_BYTES: u64 = 128;

impl Waiting {
    /// Lets records of at most so many bytes wait.
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, ..Self::default() }
    }

    /// Puts `record` into the slab, alone or with its mate, or lets it wait.
    pub fn take(&mut self, record: &[u8], span: BamSpan, slab: &mut BamSlab) {
        let flags = Fixed::of(record).flags;
        if flags & PAIRED == 0 || flags & NOT_PRIMARY != 0 {
            slab.fragments.push(Fragment { first: span, second: None, is_singleton: false });
            return;
        }
        if let Some((other, other_number)) = self.remove(name(record)) {
            let sides = (Fixed::of(&other).flags & (FIRST | LAST), flags & (FIRST | LAST));
            let other = slab.push_waited(&other, other_number);
            let (first, second) = match sides {
                (FIRST, LAST) => (other, span),
                (LAST, FIRST) => (span, other),
                _ => {
                    // Two records of one name that are no R1 and R2: the earlier one will find no mate.
                    slab.fragments.push(Fragment { first: other, second: None, is_singleton: true });
                    return self.wait(record, span.record, slab);
                }
            };
            slab.fragments.push(Fragment { first, second: Some(second), is_singleton: false });
            return;
        }
        self.wait(record, span.record, slab);
    }

    fn wait(&mut self, record: &[u8], number: u64, slab: &mut BamSlab) {
        self.num_bytes += waiting_bytes(record);
        self.by_name.insert(name(record).into(), number);
        self.records.insert(number, record.to_vec());
        while self.num_bytes > self.limit_bytes && self.release_oldest(slab) {}
    }

    fn remove(&mut self, name: &[u8]) -> Option<(Vec<u8>, u64)> {
        if self.by_name.is_empty() {
            return None;
        }
        let number = self.by_name.remove(name)?;
        let record = self.records.remove(&number)?;
        self.num_bytes -= waiting_bytes(&record);
        Some((record, number))
    }

    /// Lets the oldest record go alone; `false` when none waits.
    pub fn release_oldest(&mut self, slab: &mut BamSlab) -> bool {
        let Some((number, record)) = self.records.pop_first() else { return false };
        self.by_name.remove(name(&record));
        self.num_bytes -= waiting_bytes(&record);
        let first = slab.push_waited(&record, number);
        slab.fragments.push(Fragment { first, second: None, is_singleton: true });
        true
    }
}

fn waiting_bytes(record: &[u8]) -> u64 {
    (record.len() + name(record).len()) as u64 + OVERHEAD_BYTES
}
