//! The entry points of the fuzz targets (`fuzz/`): the parsers without files. Not for other use.

use std::path::PathBuf;

use crate::{
    contigs::Names,
    depth,
    fasta::{Entry, Fasta},
    graph, markers,
    stored::Lines,
};

/// Reads FASTA.
pub fn fasta(bytes: &[u8]) {
    let Ok(mut fasta) = Fasta::new(Lines::of_bytes("x", bytes)) else { return };
    let mut entry = Entry::default();
    while fasta.next(&mut entry).is_ok_and(|is_there| is_there) {
        assert!(!entry.name.is_empty() && entry.letters.len() <= bytes.len());
    }
}

/// Reads a table of the depth of two contigs.
pub fn depth_table(bytes: &[u8]) {
    let mut names = Names::new(PathBuf::from("x"));
    names.add("a", 1, 1000, true);
    names.add("b", 3, 2000, true);
    if let Ok(samples) = depth::parse(&mut Lines::of_bytes("x", bytes), &names) {
        assert!(!samples.is_empty());
        for sample in samples {
            assert_eq!((sample.mean.len(), sample.variance.len(), sample.breadth.len()), (2, 2, 2));
            assert!(sample.mean.iter().chain(&sample.variance).all(|value| value.is_finite() && *value >= 0.0));
        }
    }
}

/// Reads a graph, GFA or FASTG.
pub fn graph(bytes: &[u8]) {
    if let Ok(graph) = graph::parse(&mut Lines::of_bytes("x", bytes)) {
        let num = graph.segments.len() as u32;
        assert!(graph.links.iter().all(|link| link.from.segment < num && link.to.segment < num));
        assert!(graph.paths.iter().flat_map(|(_, steps)| steps).all(|step| step.segment < num));
    }
}

/// Reads a file of paths through a graph of two segments.
pub fn paths(bytes: &[u8]) {
    let numbers = [("1", 0), ("edge_1", 0), ("2", 1), ("edge_2", 1)].into();
    if let Ok(paths) = graph::parse_paths(&mut Lines::of_bytes("x", bytes), &numbers) {
        assert!(paths.iter().flat_map(|(_, steps)| steps).all(|step| step.segment < 2));
    }
}

/// Reads a table of the markers of two contigs.
pub fn markers(bytes: &[u8]) {
    let mut names = Names::new(PathBuf::from("x"));
    names.add("a", 1, 1000, true);
    names.add("b", 3, 2000, true);
    if let Ok(markers) = markers::parse(&mut Lines::of_bytes("x", bytes), &names) {
        assert_eq!(markers.len(), 2);
        assert!(markers.iter().flatten().all(|marker| !marker.is_empty() && !marker.contains(char::is_whitespace)));
    }
}
