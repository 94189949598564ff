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
    rows::{FLAG_ALIGNED, NO_MAPPING_QUALITY, Rows},
};

/// Names of the reference sequences that the rows of one shard lie on, in the order of their first use.
#[derive(Clone, Debug, Default)]
pub(crate) struct References {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl References {
    /// Number of a name in this dictionary.
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

/// Writes shard `file` of `directory`, whole or not at all.
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
    let runs = rows.n_runs.iter().flat_map(|run| [run.start, run.len]);
    let mut sections = vec![
        (Section::LengthBp, words(rows.lengths_bp.iter().copied())),
        (Section::Packed, Cow::from(&rows.packed)),
        (Section::PackedEnds, words(rows.packed_ends.iter().copied())),
        (Section::NRuns, words(runs)),
        (Section::NRunEnds, words(rows.n_run_ends.iter().copied())),
        (Section::MeanQuality, words(rows.mean_qualities.iter().map(|q| q.to_bits()))),
        (Section::Gc, words(rows.gcs.iter().map(|gc| gc.to_bits()))),
        (Section::Flags, Cow::from(&rows.flags)),
        (Section::Names, Cow::from(&rows.names)),
        (Section::NameEnds, words(rows.name_ends.iter().copied())),
        (Section::Descriptions, Cow::from(&rows.descriptions)),
        (Section::DescriptionEnds, words(rows.description_ends.iter().copied())),
        (Section::Source, words(rows.sources.iter().copied())),
    ];
    if rows.flags.iter().any(|flags| flags & FLAG_ALIGNED != 0) {
        sections.extend(alignment_sections(rows, references));
    }
    sections
}

fn alignment_sections(rows: &Rows, references: &References) -> [(Section, Cow<'static, [u8]>); 6] {
    let placements = || rows.placements.iter();
    let qualities = placements().zip(&rows.flags).map(|(placement, flags)| match flags & FLAG_ALIGNED {
        0 => NO_MAPPING_QUALITY,
        _ => placement.mapping_quality,
    });
    let mut end = 0;
    let name_ends = references.names.iter().map(|name| {
        end += name.len() as u32;
        end
    });
    [
        (Section::Reference, words(placements().map(|placement| placement.reference))),
        (Section::Position, words(placements().map(|placement| placement.position))),
        (Section::SpanBp, words(placements().map(|placement| placement.span_bp))),
        (Section::MappingQuality, qualities.collect::<Vec<_>>().into()),
        (Section::ReferenceNames, references.names.concat().into_bytes().into()),
        (Section::ReferenceNameEnds, words(name_ends)),
    ]
}

fn words(values: impl Iterator<Item = u32>) -> Cow<'static, [u8]> {
    let mut bytes = Vec::with_capacity(4 * values.size_hint().0);
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.into()
}
