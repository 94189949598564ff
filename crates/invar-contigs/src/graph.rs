//! The graph of an assembly: *segments* of DNA, *links* between their ends, and the *paths* through them that were
//! written as contigs.
//!
//! ```text
//! segment   a node. Orientation +: as written, -: its reverse complement
//! link      a+ b-     the end of a (as written) continues into b, read backwards; the same as b+ a-
//! path      c: a+ b-  contig c runs through a and then b backwards
//! ```
//! Contigs are found in the graph by the assembler's file of paths, by the paths in the graph itself, by name, or by
//! sequence, in this order: SPAdes and Flye write a file, in the graphs of hifiasm and metaMDBG contigs are segments of the
//! same name, and MEGAHIT numbers its segments anew.

mod fastg;
mod gfa;
mod matching;
mod paths;
mod stored;

use std::collections::HashMap;

pub(crate) use self::{
    gfa::parse,
    matching::{Matched, match_contigs},
    paths::parse as parse_paths,
    stored::GraphFile,
};

/// A segment in one of its orientations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// Number of the segment.
    pub segment: u32,
    /// Whether it is read backwards.
    pub is_reverse: bool,
}

impl Step {
    /// The other orientation.
    #[must_use]
    pub fn flipped(self) -> Self {
        Self { is_reverse: !self.is_reverse, ..self }
    }
}

/// The end of one segment continues into the beginning of another, or of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// What comes first.
    pub from: Step,
    /// What comes next.
    pub to: Step,
    /// Bases that both share; `None` if it is not known.
    pub overlap_bp: Option<u32>,
}

impl Link {
    /// The same link, written the other way round if that comes first.
    fn canonical(self) -> Self {
        let other = Self { from: self.to.flipped(), to: self.from.flipped(), ..self };
        self.min(other)
    }
}

/// A segment of the graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    pub name: String,
    /// `None` if the file says neither bases nor length.
    pub length_bp: Option<u32>,
    /// What identifies its bases, whichever strand is written; `None` if they are not there.
    pub digest: Option<Digest>,
}

/// A checksum of a sequence that its reverse complement shares.
pub(crate) type Digest = [u8; 32];

/// A path: its name and the segments that it runs through.
pub(crate) type Path = (String, Vec<Step>);

/// The graph as it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Graph {
    pub segments: Vec<Segment>,
    /// Each once, in ascending order.
    pub links: Vec<Link>,
    pub paths: Vec<Path>,
}

impl Graph {
    /// The number of each segment by its name.
    pub fn numbers(&self) -> HashMap<&str, u32> {
        self.segments.iter().zip(0..).map(|(segment, number)| (segment.name.as_str(), number)).collect()
    }
}

/// The checksum of letters and of their reverse complement alike. Letters other than A, C, G and T are all the same.
pub(crate) fn digest(letters: &[u8]) -> Digest {
    use sha2::Digest as _;
    let code = |letter: u8| match letter.to_ascii_uppercase() {
        b'A' => 0,
        b'C' => 1,
        b'G' => 2,
        b'T' | b'U' => 3,
        _ => 4u8,
    };
    let forward: Vec<u8> = letters.iter().map(|&letter| code(letter)).collect();
    let mut reverse = forward.clone();
    invar_bases::packed::reverse_complement_codes(&mut reverse);
    sha2::Sha256::digest(forward.min(reverse)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_and_its_reverse_complement_have_one_checksum() {
        assert_eq!(digest(b"ACCGTN"), digest(b"nacggu"));
        assert_ne!(digest(b"ACCGTN"), digest(b"ACCGTA"));
    }

    #[test]
    fn a_link_has_one_form() {
        let step = |segment, is_reverse| Step { segment, is_reverse };
        let link = Link { from: step(2, false), to: step(1, true), overlap_bp: Some(9) };
        let other = Link { from: step(1, false), to: step(2, true), overlap_bp: Some(9) };
        assert_eq!(link.canonical(), other.canonical());
        let own = Link { from: step(1, true), to: step(1, true), overlap_bp: None };
        assert_eq!(own.canonical(), Link { from: step(1, false), to: step(1, false), overlap_bp: None });
    }
}
