//! Shards: the bases and names of contigs.

use std::path::Path;

use invar_bases::packed::{NRun, PackedSlice, pack_into};
use invar_dataset::{
    DatasetError,
    manifest::Shard,
    sections::{self, Format, Sections, column},
};

use crate::{Error, fasta::Entry};

const FORMAT: Format = Format { magic: *b"INVCNTGS", version: 2 };

const LENGTH_BP: u32 = 1;
const PACKED: u32 = 2;
const PACKED_ENDS: u32 = 3;
/// `start` u32, `len` u32 for each run.
const N_RUNS: u32 = 4;
const N_RUN_ENDS: u32 = 5;
/// f32, of the known bases.
const GC: u32 = 6;
const NAMES: u32 = 7;
const NAME_ENDS: u32 = 8;
const DESCRIPTIONS: u32 = 9;
const DESCRIPTION_ENDS: u32 = 10;

/// Bases in a shard at which it is closed.
pub(crate) const SHARD_BP: u64 = 1 << 28;
/// Bytes of names and descriptions at which it is closed.
pub(crate) const SHARD_TEXT_BYTES: usize = 64 << 20;

/// Contigs on their way to a shard. `x_ends[i]` is where row `i` ends in `x`.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    lengths_bp: Vec<u32>,
    packed: Vec<u8>,
    packed_ends: Vec<u32>,
    n_runs: Vec<NRun>,
    n_run_ends: Vec<u32>,
    gcs: Vec<f32>,
    names: String,
    name_ends: Vec<u32>,
    descriptions: String,
    description_ends: Vec<u32>,
    total_bp: u64,
}

impl Rows {
    /// Number of contigs.
    pub fn len(&self) -> usize {
        self.lengths_bp.len()
    }

    /// Appends a contig.
    ///
    /// # Errors
    /// If a letter is not a nucleotide, or there are more than 2^32 - 1.
    pub fn push(&mut self, entry: &Entry, path: &Path) -> Result<(), Error> {
        let (first_byte, first_run) = (self.packed.len(), self.n_runs.len());
        pack_into(&entry.letters, &mut self.packed, &mut self.n_runs)
            .map_err(|error| Error::bad(entry.place(path), "sequence", "letters of nucleotides", error))?;
        let sequence = PackedSlice::new(&self.packed[first_byte..], entry.letters.len(), &self.n_runs[first_run..])
            .expect("what was packed is a sequence");
        self.gcs.push(gc(sequence));
        self.lengths_bp.push(entry.letters.len() as u32);
        self.total_bp += entry.letters.len() as u64;
        self.packed_ends.push(self.packed.len() as u32);
        self.n_run_ends.push(self.n_runs.len() as u32);
        self.names.push_str(&entry.name);
        self.name_ends.push(self.names.len() as u32);
        self.descriptions.push_str(&entry.description);
        self.description_ends.push(self.descriptions.len() as u32);
        Ok(())
    }

    /// Whether the shard is to be closed.
    pub fn is_full(&self) -> bool {
        self.total_bp >= SHARD_BP || self.names.len() + self.descriptions.len() >= SHARD_TEXT_BYTES
    }

    /// Writes them as `file` of `directory`.
    pub fn write(&self, directory: &Path, file: &str) -> Result<Shard, Error> {
        let runs: Vec<[u32; 2]> = self.n_runs.iter().map(|run| [run.start, run.len]).collect();
        let sections: [(u32, &[u8]); 10] = [
            (LENGTH_BP, column(&self.lengths_bp)),
            (PACKED, &self.packed),
            (PACKED_ENDS, column(&self.packed_ends)),
            (N_RUNS, column(&runs)),
            (N_RUN_ENDS, column(&self.n_run_ends)),
            (GC, column(&self.gcs)),
            (NAMES, self.names.as_bytes()),
            (NAME_ENDS, column(&self.name_ends)),
            (DESCRIPTIONS, self.descriptions.as_bytes()),
            (DESCRIPTION_ENDS, column(&self.description_ends)),
        ];
        Ok(sections::write(&directory.join(file), &FORMAT, self.len() as u64, &sections)?)
    }
}

/// The fraction of G and C among the known bases; 0 if there are none.
fn gc(sequence: PackedSlice<'_>) -> f32 {
    const LOW: u8 = 0x55;
    // C is 01 and G is 10: those of which one bit is set. Unknown bases are stored as A.
    let num: u64 = sequence.bytes().iter().map(|byte| u64::from(((byte ^ (byte >> 1)) & LOW).count_ones())).sum();
    let known = sequence.len() - sequence.num_n();
    if known == 0 { 0.0 } else { (num as f64 / known as f64) as f32 }
}

/// A stored shard.
#[derive(Debug)]
pub(crate) struct ShardFile {
    file: Sections,
}

impl ShardFile {
    /// Maps a shard and compares it with the manifest.
    pub fn open(directory: &Path, shard: &Shard) -> Result<Self, DatasetError> {
        let file = Sections::open(&directory.join(&shard.file), &FORMAT)?;
        file.check(shard)?;
        let rows = file.num_rows();
        for ends in [LENGTH_BP, PACKED_ENDS, N_RUN_ENDS, NAME_ENDS, DESCRIPTION_ENDS, GC] {
            file.column::<u32>(ends, rows)?;
        }
        Ok(Self { file })
    }

    pub fn length_bp(&self, row: usize) -> u32 {
        self.words(LENGTH_BP)[row]
    }

    pub fn gc(&self, row: usize) -> f32 {
        f32::from_bits(self.words(GC)[row])
    }

    pub fn name(&self, row: usize) -> Result<&str, DatasetError> {
        self.file.text(NAMES, self.words(NAME_ENDS), row)
    }

    pub fn description(&self, row: usize) -> Result<&str, DatasetError> {
        self.file.text(DESCRIPTIONS, self.words(DESCRIPTION_ENDS), row)
    }

    pub fn sequence(&self, row: usize) -> Result<PackedSlice<'_>, DatasetError> {
        let bytes = self.file.item(PACKED, self.words(PACKED_ENDS), row)?;
        let runs: &[[u32; 2]] = self.file.item(N_RUNS, self.words(N_RUN_ENDS), row)?;
        let corrupt = |found: &dyn ToString| {
            self.file.corrupt(&format!("sequence of row {row}"), "a packed sequence", found.to_string())
        };
        let runs = NRun::slice_from_bytes(column(runs)).ok_or_else(|| corrupt(&"runs out of place"))?;
        PackedSlice::new(bytes, self.length_bp(row) as usize, runs).map_err(|error| corrupt(&error))
    }

    /// A column of 32 bits, whose length was checked at opening.
    fn words(&self, id: u32) -> &[u32] {
        self.file.all(id).expect("checked at opening")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contigs_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut rows = Rows::default();
        let all = [("a", "circular", "ACGTNNGGC"), ("empty", "", ""), ("n", "x y", "NNN"), ("b", "", "acgtu")];
        for (name, description, letters) in all {
            let entry = Entry { line: 1, name: name.into(), description: description.into(), letters: letters.into() };
            rows.push(&entry, Path::new("x.fa")).unwrap();
        }
        let shard = rows.write(dir.path(), "s").unwrap();
        let file = ShardFile::open(dir.path(), &shard).unwrap();
        for (row, (name, description, letters)) in all.into_iter().enumerate() {
            assert_eq!((file.name(row).unwrap(), file.description(row).unwrap()), (name, description));
            let expected = letters.to_uppercase().replace('U', "T");
            assert_eq!(file.sequence(row).unwrap().to_ascii(), expected.as_bytes());
            assert_eq!(file.length_bp(row) as usize, letters.len());
        }
        // ACGT GGC: 5 of 7; acgtu: 2 of 5.
        assert_eq!([0, 1, 2, 3].map(|row| file.gc(row)), [5.0 / 7.0, 0.0, 0.0, 0.4]);
        let entry = Entry { line: 7, name: "p".into(), letters: b"ACGL".to_vec(), ..Entry::default() };
        let error = rows.push(&entry, Path::new("x.fa")).unwrap_err().to_string();
        assert!(
            error.starts_with(r#"x.fa, line 7: "p": sequence: expected letters of nucleotides, found base 4"#),
            "{error}"
        );
    }
}
