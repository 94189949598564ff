//! Overlaps stored with their dataset, so that not every command has to find them anew.
//!
//! ```text
//! "INVAROVL" | version u32 | k u32 | usual share f64 (0: none) | reads u64 | components u64
//! neighbours in all u64 | homologs in all u64 | SHA-256 of what they were made of
//! of each read:       component u32 (2^32 - 1: none), then depth f32, then number of neighbours u32
//! neighbours u32
//! of each component:  probable genome u32, then number of homologs u32
//! homologs u32
//! SHA-256 of all this
//! ```
//! Everything is little-endian. The same overlaps give the same bytes.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use invar_dataset::{
    DatasetError, atomic,
    manifest::{Manifest, hex},
};
use sha2::{Digest, Sha256};

use super::{ALONE, Lists, MAX_K, Overlaps, OverlapsConfig};
use crate::ReadDataset;

/// File name inside the (first) dataset directory.
const FILE_NAME: &str = "overlaps.bin";
const MAGIC: &[u8; 8] = b"INVAROVL";
/// Version of this layout, and of the rules by which overlaps are found: overlaps of another version are recomputed. A
/// test shows when it has to change.
pub(super) const VERSION: u32 = 4;
const HEADER_BYTES: usize = 56 + DIGEST_BYTES;
const DIGEST_BYTES: usize = 32;

/// The file that stores the overlaps of a dataset: in its directory, or the first of several.
#[derive(Debug)]
pub struct KeptOverlaps {
    path: PathBuf,
    made_of: [u8; DIGEST_BYTES],
}

impl KeptOverlaps {
    /// The file for these reads and this configuration. It need not exist.
    ///
    /// # Panics
    /// If the reads are those of no directory.
    pub fn of(reads: &ReadDataset, config: &OverlapsConfig) -> Self {
        let (directory, _) = reads.manifests().next().expect("reads of a directory");
        let made_of = made_of(reads.manifests().map(|(_, manifest)| manifest), config);
        Self { path: directory.join(FILE_NAME), made_of }
    }

    /// Where it is, or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stored overlaps; `None` if there are none, or they are of other reads, or found by other rules.
    ///
    /// # Errors
    /// If the file is damaged, not written by Invar, or cannot be read.
    pub fn read(&self) -> Result<Option<Overlaps>, DatasetError> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            // A file for other reads need not be read to its end.
            file.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
            let is_current = bytes.len() < HEADER_BYTES || !has_magic(&bytes) || self.is_current(&bytes);
            if is_current {
                file.read_to_end(&mut bytes)?;
            }
            Ok(is_current)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DatasetError::Io { path: self.path.clone(), source: error }),
            Ok(false) => Ok(None),
            Ok(true) => from_bytes(&bytes).map(|(overlaps, _)| Some(overlaps)).map_err(|wrong| wrong.of(&self.path)),
        }
    }

    /// Reads all of the file, if there is one, and compares its checksum, whatever reads it is of.
    ///
    /// # Errors
    /// If it is damaged, or cannot be read.
    pub fn verify(&self) -> Result<(), DatasetError> {
        match std::fs::read(&self.path) {
            Ok(bytes) => checked(&bytes).map(drop).map_err(|wrong| wrong.of(&self.path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(DatasetError::Io { path: self.path.clone(), source: error }),
        }
    }

    /// Stores overlaps, atomically.
    ///
    /// # Errors
    /// If it cannot be written, or a file of its name exists that Invar did not write.
    pub fn write(&self, overlaps: &Overlaps) -> io::Result<()> {
        let mut start = [0; MAGIC.len()];
        if let Ok(mut there) = File::open(&self.path)
            && there.metadata()?.len() > 0
            && !(there.read_exact(&mut start).is_ok() && has_magic(&start))
        {
            return Err(io::Error::other("there is a file of this name that holds no overlaps"));
        }
        atomic::write(&self.path, &to_bytes(overlaps, &self.made_of))
    }

    fn is_current(&self, header: &[u8]) -> bool {
        u32_at(header, 8) == VERSION && header[56..HEADER_BYTES] == self.made_of
    }
}

/// What overlaps depend on: every base of the reads, their order, and how they are searched for.
fn made_of<'a>(manifests: impl Iterator<Item = &'a Manifest>, config: &OverlapsConfig) -> [u8; DIGEST_BYTES] {
    let OverlapsConfig { max_kmers } = config;
    let mut hasher = Sha256::new();
    hasher.update((*max_kmers as u64).to_le_bytes());
    for manifest in manifests {
        hasher.update((manifest.shards.len() as u64).to_le_bytes());
        for shard in &manifest.shards {
            hasher.update(shard.num_rows.to_le_bytes());
            hasher.update(&shard.sha256);
        }
    }
    hasher.finalize().into()
}

/// Why bytes are not valid overlaps.
#[derive(Debug)]
pub(crate) struct Wrong {
    what: &'static str,
    expected: String,
    found: String,
}

impl Wrong {
    fn new(what: &'static str, expected: impl ToString, found: impl ToString) -> Self {
        Self { what, expected: expected.to_string(), found: found.to_string() }
    }

    fn of(self, path: &Path) -> DatasetError {
        DatasetError::Corrupt { path: path.into(), what: self.what.into(), expected: self.expected, found: self.found }
    }
}

pub(crate) fn to_bytes(overlaps: &Overlaps, made_of: &[u8; DIGEST_BYTES]) -> Vec<u8> {
    let Overlaps { component_of, members, neighbours, depths, homologs, genomes, usual_share, k } = overlaps;
    let num_homologs: usize = homologs.iter().map(Vec::len).sum();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(k.to_le_bytes());
    bytes.extend(usual_share.unwrap_or(0.0).to_le_bytes());
    for number in [component_of.len(), members.len(), neighbours.items.len(), num_homologs] {
        bytes.extend((number as u64).to_le_bytes());
    }
    bytes.extend(made_of);
    let words = component_of
        .iter()
        .copied()
        .chain(depths.iter().map(|depth| depth.to_bits()))
        .chain(neighbours.ends.windows(2).map(|ends| (ends[1] - ends[0]) as u32))
        .chain(neighbours.items.iter().copied())
        .chain(genomes.iter().copied())
        .chain(homologs.iter().map(|list| list.len() as u32))
        .chain(homologs.iter().flatten().copied());
    words.for_each(|word| bytes.extend(word.to_le_bytes()));
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// The bytes before the checksum, if it is right.
fn checked(bytes: &[u8]) -> Result<&[u8], Wrong> {
    if !has_magic(bytes) {
        let found = String::from_utf8_lossy(&bytes[..bytes.len().min(MAGIC.len())]).into_owned();
        return Err(Wrong::new("magic", String::from_utf8_lossy(MAGIC), format!("{found:?}")));
    }
    let least = HEADER_BYTES + DIGEST_BYTES;
    if bytes.len() < least {
        return Err(Wrong::new("size in bytes", format!("at least {least}"), bytes.len()));
    }
    let (body, stored) = bytes.split_at(bytes.len() - DIGEST_BYTES);
    let digest = Sha256::digest(body);
    if digest[..] != *stored {
        return Err(Wrong::new("SHA-256", hex(stored), hex(&digest)));
    }
    Ok(body)
}

/// Also returns what they were made from.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<(Overlaps, [u8; DIGEST_BYTES]), Wrong> {
    let body = checked(bytes)?;
    if u32_at(body, 8) != VERSION {
        return Err(Wrong::new("version", VERSION, u32_at(body, 8)));
    }
    let (k, usual_share) = (u32_at(body, 12), f64::from_bits(u64_at(body, 16)));
    let is_none = usual_share.to_bits() == 0;
    let is_share = usual_share > 0.0 && usual_share <= 1.0 && k > 0;
    if !(is_none || is_share) || k > MAX_K {
        return Err(Wrong::new(
            "usual share of k-mers",
            format!("0 to 1, k to {MAX_K}"),
            format!("{usual_share}, {k}"),
        ));
    }
    let [reads, components, neighbours, homologs] = [24, 32, 40, 48].map(|at| u64_at(body, at));
    let words =
        (u128::from(reads) * 3 + u128::from(neighbours) + u128::from(components) * 2 + u128::from(homologs)) * 4;
    let found = (body.len() - HEADER_BYTES) as u128;
    if words != found {
        return Err(Wrong::new("bytes of the lists", words, found));
    }
    let mut rest = &body[HEADER_BYTES..];
    // No more than there are bytes.
    let mut take = |count: u64| -> Vec<u32> {
        let (words, behind) = rest.split_at(4 * count as usize);
        rest = behind;
        words.chunks_exact(4).map(|word| u32_at(word, 0)).collect()
    };
    let component_of = take(reads);
    let depths: Vec<f32> = take(reads).into_iter().map(f32::from_bits).collect();
    let neighbours = lists("neighbours", take(reads), take(neighbours), reads)?;
    let genomes = take(components);
    let homologs = lists("homologs", take(components), take(homologs), components)?;
    if let Some(depth) = depths.iter().find(|depth| !(depth.is_finite() && **depth >= 1.0)) {
        return Err(Wrong::new("depth", "1 or more", depth));
    }
    if let Some(&genome) = genomes.iter().find(|&&genome| u64::from(genome) >= components) {
        return Err(Wrong::new("probable genome", format!("below {components}"), genome));
    }
    let homologs = (0..homologs.len()).map(|component| homologs.get(component).to_vec()).collect();
    let members = members(&component_of, components as usize)?;
    let usual_share = (!is_none).then_some(usual_share);
    let made_of = body[56..HEADER_BYTES].try_into().expect("32 bytes");
    Ok((Overlaps { component_of, members, neighbours, depths, homologs, genomes, usual_share, k }, made_of))
}

/// The reads of each component, by the component of each read.
fn members(component_of: &[u32], num_components: usize) -> Result<Lists, Wrong> {
    let mut members = vec![Vec::new(); num_components];
    for (read, &component) in component_of.iter().enumerate().filter(|(_, component)| **component != ALONE) {
        let Some(of) = members.get_mut(component as usize) else {
            return Err(Wrong::new("component of a read", format!("below {num_components}"), component));
        };
        of.push(read as u32);
    }
    if let Some(few) = members.iter().find(|members| members.len() < 2) {
        return Err(Wrong::new("reads of a component", "2 or more", few.len()));
    }
    Ok(members.into_iter().collect())
}

/// Lists of numbers below `limit`, each ascending.
fn lists(what: &'static str, lengths: Vec<u32>, items: Vec<u32>, limit: u64) -> Result<Lists, Wrong> {
    let mut ends = vec![0];
    ends.extend(lengths.iter().scan(0, |end, &length| {
        *end += length as usize;
        Some(*end)
    }));
    let total = ends[lengths.len()];
    if total != items.len() {
        return Err(Wrong::new(what, items.len(), total));
    }
    let lists = Lists { ends, items };
    let is_good = |list: &[u32]| list.is_sorted() && list.last().is_none_or(|&item| u64::from(item) < limit);
    match (0..lists.len()).find(|&i| !is_good(lists.get(i))) {
        Some(i) => Err(Wrong::new(what, format!("ascending, below {limit}"), format!("{:?}", lists.get(i)))),
        None => Ok(lists),
    }
}

fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
