use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, Write},
    path::Path,
};

use invar_dataset::{
    atomic::AtomicFile,
    manifest::{self, Shard},
};
use sha2::{Digest, Sha256};

use super::{ALIGNMENT, ENTRY_BYTES, HEADER_BYTES, MAGIC, Section, VERSION};
use crate::{
    Error,
    packed::NRun,
    rows::{FLAG_ALIGNED, Rows},
};

/// Names of the reference sequences that the rows of one shard are aligned to, in the order of their first use.
#[derive(Clone, Debug, Default)]
pub(crate) struct References {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl References {
    /// Index of a name in this dictionary.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }
}

/// Writes shard `file` of `directory`, completely or not at all.
pub(crate) fn write(directory: &Path, file: &str, rows: &Rows, references: &References) -> Result<Shard, Error> {
    let path = directory.join(file);
    let sections = sections(rows, references);
    let write = || -> io::Result<(u64, String)> {
        let mut out = Hashed { file: AtomicFile::create(&path)?, hasher: Sha256::new(), size_bytes: 0 };
        write_sections(&mut out, rows, &sections)?;
        out.file.commit()?;
        Ok((out.size_bytes, manifest::hex(&out.hasher.finalize())))
    };
    let (size_bytes, sha256) = write().map_err(Error::io(&path))?;
    Ok(Shard { file: file.into(), num_rows: rows.len() as u64, size_bytes, sha256 })
}

struct Hashed {
    file: AtomicFile,
    hasher: Sha256,
    size_bytes: u64,
}

impl Hashed {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size_bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

fn write_sections(out: &mut Hashed, rows: &Rows, sections: &[(Section, Cow<'_, [u8]>)]) -> io::Result<()> {
    let mut head = Vec::new();
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    head.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    head.extend_from_slice(&rows.total_bp.to_le_bytes());
    let mut offset = HEADER_BYTES + ENTRY_BYTES * sections.len();
    for (section, bytes) in sections {
        offset = offset.next_multiple_of(ALIGNMENT);
        head.extend_from_slice(&(*section as u32).to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&(offset as u64).to_le_bytes());
        head.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        offset += bytes.len();
    }
    out.put(&head)?;
    for (_, bytes) in sections {
        let size = out.size_bytes as usize;
        out.put(&[0; ALIGNMENT][..size.next_multiple_of(ALIGNMENT) - size])?;
        out.put(bytes)?;
    }
    Ok(())
}

fn sections<'a>(rows: &'a Rows, references: &References) -> Vec<(Section, Cow<'a, [u8]>)> {
    let mut sections = vec![
        (Section::LengthBp, words(&rows.lengths_bp)),
        (Section::Packed, Cow::from(&rows.packed)),
        (Section::PackedEnds, words(&rows.packed_ends)),
        (Section::NRuns, words(&rows.n_runs)),
        (Section::NRunEnds, ends(&rows.n_runs, &rows.n_run_ends)),
        (Section::MeanError, words(&rows.mean_errors)),
        (Section::Gc, words(&rows.gcs)),
        (Section::Flags, Cow::from(&rows.flags)),
        (Section::Names, Cow::from(&rows.names)),
        (Section::NameEnds, words(&rows.name_ends)),
        (Section::Descriptions, Cow::from(&rows.descriptions)),
        (Section::DescriptionEnds, ends(&rows.descriptions, &rows.description_ends)),
        (Section::Source, words(&rows.sources)),
    ];
    if rows.flags.iter().any(|flags| flags & FLAG_ALIGNED != 0) {
        let mut end = 0;
        let name_ends = references.names.iter().map(|name| {
            end += name.len() as u32;
            end
        });
        let name_ends: Vec<u32> = name_ends.collect();
        sections.extend([
            (Section::Reference, words(&rows.references)),
            (Section::Position, words(&rows.positions)),
            (Section::SpanBp, words(&rows.spans_bp)),
            (Section::MappingQuality, Cow::from(&rows.mapping_qualities)),
            (Section::ReferenceNames, references.names.concat().into_bytes().into()),
            (Section::ReferenceNameEnds, words(&name_ends).into_owned().into()),
        ]);
    }
    sections
}

/// The ends of rows, unless all are empty.
fn ends<'a, T>(items: &[T], ends: &'a [u32]) -> Cow<'a, [u8]> {
    words(if items.is_empty() { &[] } else { ends })
}

/// A 32-bit number, or a pair of them.
trait Word: Copy {
    fn to_le_bytes(self) -> impl IntoIterator<Item = u8>;
}

impl Word for u32 {
    fn to_le_bytes(self) -> impl IntoIterator<Item = u8> {
        u32::to_le_bytes(self)
    }
}

impl Word for f32 {
    fn to_le_bytes(self) -> impl IntoIterator<Item = u8> {
        f32::to_le_bytes(self)
    }
}

impl Word for NRun {
    fn to_le_bytes(self) -> impl IntoIterator<Item = u8> {
        [self.start, self.len].into_iter().flat_map(u32::to_le_bytes)
    }
}

/// The little-endian bytes of numbers: on most machines those in memory.
fn words<T: Word>(values: &[T]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        // SAFETY: the three types consist of 32-bit numbers without padding, so every byte is initialised.
        let (head, bytes, tail) = unsafe { values.align_to::<u8>() };
        debug_assert!(head.is_empty() && tail.is_empty());
        Cow::from(bytes)
    } else {
        values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }
}
