//! Which contig is which path through the graph.

use std::collections::HashMap;

use super::{Graph, Path, Step, digest};
use crate::{
    Error,
    contigs::{Contigs, Names},
    error::Place,
};

/// The contigs in the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Matched {
    /// The segments that each contig runs through; empty if it was not found.
    pub paths: Vec<Vec<Step>>,
    /// Contigs that were found by a path, by name and by sequence.
    pub found: [usize; 3],
    /// Names of the contigs that were not found.
    pub contigs_left: Vec<String>,
    /// Names of the paths, or else of the segments, that are of no contig.
    pub others_left: Vec<String>,
}

/// Finds each contig of the dataset in the graph of `path`. `told` are the paths that the assembler told apart from it.
///
/// # Errors
/// If a segment that has the name of a contig has another length, or nothing matches at all.
pub(crate) fn match_contigs(
    graph: &Graph,
    told: &[Path],
    names: &Names,
    contigs: &Contigs,
    path: &std::path::Path,
) -> Result<Matched, Error> {
    let by_path: HashMap<&str, &Vec<Step>> =
        graph.paths.iter().chain(told).map(|(name, steps)| (name.as_str(), steps)).collect();
    let by_name = graph.numbers();
    let by_digest: HashMap<_, u32> =
        graph.segments.iter().zip(0..).filter_map(|(segment, number)| Some((segment.digest?, number))).collect();
    let mut matched = Matched::default();
    let mut is_taken = vec![false; graph.segments.len()];
    for row in 0..contigs.len() {
        let name = contigs.name(row)?;
        let single = |segment| vec![Step { segment, is_reverse: false }];
        let (how, steps) = if let Some(steps) = by_path.get(name) {
            (Some(0), (*steps).clone())
        } else if let Some(&segment) = by_name.get(name) {
            let (there, own) = (graph.segments[segment as usize].length_bp, contigs.length_bp(row));
            if let Some(there) = there.filter(|&there| there != own) {
                let place = Place::file(path).named(name);
                let expected = format!("{own} bp, as in {}", names.path.display());
                return Err(Error::bad(place, "length of the segment", expected, format!("{there} bp")));
            }
            (Some(1), single(segment))
        } else if let Some(&segment) = (!by_digest.is_empty())
            .then(|| contigs.sequence(row).map(|sequence| by_digest.get(&digest(&sequence.to_ascii()))))
            .transpose()?
            .flatten()
        {
            (Some(2), single(segment))
        } else {
            (None, vec![])
        };
        match how {
            Some(how) => matched.found[how] += 1,
            None => matched.contigs_left.push(name.into()),
        }
        steps.iter().for_each(|step| is_taken[step.segment as usize] = true);
        matched.paths.push(steps);
    }
    if matched.found == [0; 3] && contigs.len() > 0 {
        let segments = graph.segments.iter().take(3).map(|segment| format!("{:?}", segment.name));
        let found = format!("segments {}", segments.collect::<Vec<_>>().join(", "));
        let expected =
            format!("contigs of {}, such as {:?} (--paths tells how they run)", names.path.display(), contigs.name(0)?);
        return Err(Error::bad(Place::file(path), "names and sequences of the graph", expected, found));
    }
    let left = graph.segments.iter().zip(&is_taken).filter(|(_, is_taken)| !**is_taken);
    matched.others_left = left.map(|(segment, _)| segment.name.clone()).collect();
    let unknown = by_path.keys().filter(|name| names.get(name).is_none()).map(|name| (*name).to_owned());
    matched.others_left.extend(unknown);
    matched.others_left.sort_unstable();
    Ok(matched)
}
