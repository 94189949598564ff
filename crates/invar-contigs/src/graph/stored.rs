//! The stored graph of a dataset.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
};

use invar_dataset::{
    DatasetError,
    manifest::Shard,
    sections::{self, Format, Sections, column},
};

use super::{Graph, Link, Matched, Step};
use crate::Error;

/// Segments that are looked at between a contig and its neighbours, at most.
const MOST_LOOKED_AT: usize = 1000;

const FORMAT: Format = Format { magic: *b"INVLINKS", version: 2 };
const NAMES: u32 = 1;
const NAME_ENDS: u32 = 2;
/// Number of the segment, shifted by one, and its orientation, of both ends; overlap plus one, 0 for none: u32 each.
const LINKS: u32 = 3;
/// Steps of the contigs, as those of links.
const STEPS: u32 = 4;
const STEP_ENDS: u32 = 5;

/// The links and paths of a dataset's graph.
#[derive(Debug)]
pub(crate) struct GraphFile {
    links: Vec<Link>,
    /// The segments that each contig runs through; empty if it is not in the graph.
    paths: Vec<Vec<Step>>,
}

impl GraphFile {
    /// Writes a graph and the paths of the contigs as `file` of `directory`.
    pub fn write(graph: &Graph, matched: &Matched, directory: &Path, file: &str) -> Result<Shard, Error> {
        let names: String = graph.segments.iter().map(|segment| segment.name.as_str()).collect();
        let ends = |lengths: &mut dyn Iterator<Item = usize>| -> Vec<u32> {
            lengths
                .scan(0, |end, len| {
                    *end += len as u32;
                    Some(*end)
                })
                .collect()
        };
        let name_ends = ends(&mut graph.segments.iter().map(|segment| segment.name.len()));
        let word = |step: Step| (step.segment << 1) | u32::from(step.is_reverse);
        let links: Vec<[u32; 3]> = graph
            .links
            .iter()
            .map(|link| [word(link.from), word(link.to), link.overlap_bp.map_or(0, |bp| bp.saturating_add(1))])
            .collect();
        let steps: Vec<u32> = matched.paths.iter().flatten().map(|&step| word(step)).collect();
        let step_ends = ends(&mut matched.paths.iter().map(Vec::len));
        let sections: [(u32, &[u8]); 5] = [
            (NAMES, names.as_bytes()),
            (NAME_ENDS, column(&name_ends)),
            (LINKS, column(&links)),
            (STEPS, column(&steps)),
            (STEP_ENDS, column(&step_ends)),
        ];
        Ok(sections::write(&directory.join(file), &FORMAT, matched.paths.len() as u64, &sections)?)
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is damaged, or of another number of contigs.
    pub fn open(path: &Path, num_contigs: usize) -> Result<Self, DatasetError> {
        let file = Sections::open(path, &FORMAT)?;
        if file.num_rows() != num_contigs {
            return Err(file.corrupt("number of contigs", num_contigs, file.num_rows()));
        }
        let num_segments = file.all::<u32>(NAME_ENDS)?.len();
        let step = |word: u32| {
            let step = Step { segment: word >> 1, is_reverse: word & 1 == 1 };
            let is_there = (step.segment as usize) < num_segments;
            is_there.then_some(step).ok_or_else(|| file.corrupt("segment", format!("below {num_segments}"), word >> 1))
        };
        let link = |&[from, to, overlap]: &[u32; 3]| {
            Ok(Link { from: step(from)?, to: step(to)?, overlap_bp: overlap.checked_sub(1) })
        };
        let links = file.all::<[u32; 3]>(LINKS)?.iter().map(link).collect::<Result<_, DatasetError>>()?;
        let ends = file.column::<u32>(STEP_ENDS, num_contigs)?;
        let path = |row| file.item::<u32>(STEPS, ends, row)?.iter().map(|&word| step(word)).collect();
        let paths = (0..num_contigs).map(path).collect::<Result<_, DatasetError>>()?;
        Ok(Self { links, paths })
    }

    /// Whether contig `row` is in the graph.
    pub fn has(&self, row: usize) -> bool {
        !self.paths[row].is_empty()
    }

    /// The contigs that each contig's ends lead to, ascending, itself among them if it is a circle: over a link, or over
    /// several with segments between at which no contig begins, at most `through` of them. Those are mostly repeats, and
    /// what was too short to be kept.
    pub fn neighbors(&self, through: usize) -> Vec<Vec<u32>> {
        // What begins with a step, read either way.
        let mut begins: HashMap<Step, Vec<u32>> = HashMap::new();
        for (path, row) in self.paths.iter().zip(0..) {
            if let (Some(&first), Some(&last)) = (path.first(), path.last()) {
                begins.entry(first).or_default().push(row);
                begins.entry(last.flipped()).or_default().push(row);
            }
        }
        let mut next: HashMap<Step, Vec<Step>> = HashMap::new();
        for link in &self.links {
            next.entry(link.from).or_default().push(link.to);
            next.entry(link.to.flipped()).or_default().push(link.from.flipped());
        }
        let of = |path: &Vec<Step>| {
            let mut rows = BTreeSet::new();
            let mut seen = HashSet::new();
            let mut ends: Vec<Step> = path.first().map(|first| first.flipped()).into_iter().collect();
            ends.extend(path.last());
            for _ in 0..=through {
                let mut open = vec![];
                for step in ends.iter().filter_map(|end| next.get(end)).flatten() {
                    match begins.get(step) {
                        Some(begun) => rows.extend(begun.iter().copied()),
                        None if seen.len() < MOST_LOOKED_AT && seen.insert(*step) => open.push(*step),
                        None => {}
                    }
                }
                ends = open;
            }
            rows
        };
        let mut found: Vec<BTreeSet<u32>> = self.paths.iter().map(of).collect();
        // A segment in which a contig begins can still be passed the other way: both are neighbours then.
        let edges = found.iter().zip(0..).flat_map(|(rows, row)| rows.iter().map(move |&other| (other, row)));
        for (row, other) in edges.collect::<Vec<(u32, u32)>>() {
            found[row as usize].insert(other);
        }
        found.into_iter().map(|rows| rows.into_iter().collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{graph::parse, stored::Lines};

    #[test]
    fn neighbours_of_contigs_follow_from_the_ends_of_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        let text = "S\ta\t*\nS\tb\t*\nS\tc\t*\nS\td\t*\nL\ta\t+\tb\t+\t9M\nL\tb\t+\tc\t-\t*\nL\td\t+\td\t+\t0M\n";
        let graph = parse(&mut Lines::of_bytes("g", text.as_bytes())).unwrap();
        let step = |segment, is_reverse| Step { segment, is_reverse };
        // Contigs a b, c, d, and one that is not in the graph.
        let paths = vec![vec![step(0, false), step(1, false)], vec![step(2, false)], vec![step(3, true)], vec![]];
        let matched = Matched { paths, ..Matched::default() };
        let shard = GraphFile::write(&graph, &matched, dir.path(), "g").unwrap();
        assert_eq!(shard.num_rows, 4);
        let stored = GraphFile::open(&dir.path().join("g"), 4).unwrap();
        assert_eq!((&stored.links, &stored.paths), (&graph.links, &matched.paths));
        // The end of a b leads into c backwards, whose end leads back; d is a circle.
        assert_eq!(stored.neighbors(0), [vec![1], vec![0], vec![2], vec![]]);
        assert_eq!(stored.neighbors(9), stored.neighbors(0));
        assert!(stored.has(2) && !stored.has(3));
        assert!(GraphFile::open(&dir.path().join("g"), 5).is_err());
    }

    #[test]
    fn segments_of_no_contig_are_passed_through() {
        let dir = tempfile::tempdir().unwrap();
        // a - r - b and c, r a repeat; c - s - t - d.
        let text = "S\ta\t*\nS\tb\t*\nS\tc\t*\nS\td\t*\nS\tr\t*\nS\ts\t*\nS\tt\t*\n\
            L\ta\t+\tr\t+\t*\nL\tr\t+\tb\t-\t*\nL\tr\t+\tc\t+\t*\n\
            L\tc\t+\ts\t+\t*\nL\ts\t+\tt\t+\t*\nL\tt\t+\td\t+\t*\n";
        let graph = parse(&mut Lines::of_bytes("g", text.as_bytes())).unwrap();
        let paths = (0..4).map(|segment| vec![Step { segment, is_reverse: false }]).collect();
        let matched = Matched { paths, ..Matched::default() };
        GraphFile::write(&graph, &matched, dir.path(), "g").unwrap();
        let stored = GraphFile::open(&dir.path().join("g"), 4).unwrap();
        let [none, one, two] = [0, 1, 2].map(|through| stored.neighbors(through));
        assert_eq!(none, vec![Vec::<u32>::new(); 4]);
        // b and c lie on the same side of r: neither continues into the other.
        assert_eq!(one, [vec![1, 2], vec![0], vec![0], vec![]]);
        assert_eq!(two, [vec![1, 2], vec![0], vec![0, 3], vec![2]]);
    }
}
