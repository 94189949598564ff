//! Reads and bases of FASTQ or FASTA files, plain or compressed, by needletail on one thread: `count-needletail FILE...`
//!
//! Prints `reads<TAB>bases`.

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut reads, mut bases) = (0u64, 0u64);
    for path in env::args_os().skip(1) {
        let mut reader = needletail::parse_fastx_file(path)?;
        while let Some(record) = reader.next() {
            reads += 1;
            bases += record?.num_bases() as u64;
        }
    }
    println!("{reads}\t{bases}");
    Ok(())
}
