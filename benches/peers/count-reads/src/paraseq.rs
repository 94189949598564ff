//! Reads and bases of FASTQ or FASTA files, plain or compressed, by paraseq on two threads: `count-paraseq FILE...`
//!
//! Prints `reads<TAB>bases`.

use std::{
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use paraseq::{ReaderBuilder, prelude::*};

const THREADS: usize = 2;

/// One worker's sums, added to the shared ones after each batch of records.
#[derive(Clone, Default)]
struct Count {
    reads: u64,
    bases: u64,
    all_reads: Arc<AtomicU64>,
    all_bases: Arc<AtomicU64>,
}

impl<R: Record> ParallelProcessor<R> for Count {
    fn process_record(&mut self, record: R) -> paraseq::Result<()> {
        self.reads += 1;
        self.bases += record.seq().len() as u64;
        Ok(())
    }

    fn on_batch_complete(&mut self) -> paraseq::Result<()> {
        self.all_reads.fetch_add(std::mem::take(&mut self.reads), Ordering::Relaxed);
        self.all_bases.fetch_add(std::mem::take(&mut self.bases), Ordering::Relaxed);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut count = Count::default();
    for path in env::args().skip(1) {
        ReaderBuilder::path(&path).build()?.process_parallel(&mut count, THREADS)?;
    }
    println!("{}\t{}", count.all_reads.load(Ordering::Relaxed), count.all_bases.load(Ordering::Relaxed));
    Ok(())
}
