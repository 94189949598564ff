//! FASTG as SPAdes and MEGAHIT write it: a segment in one orientation, and what follows its end.
//!
//! ```text
//! >NODE_1_length_9_cov_3:NODE_2_length_7_cov_4',NODE_3_length_8_cov_3;      ' is the reverse complement
//! ACGTACGTA
//! ```
//! A segment is written in both orientations, or in one. Links have no overlap; the `k` of the assembler would be it.

use std::collections::HashMap;

use super::{Graph, Link, Segment, Step, digest};
use crate::{Error, error::Place, memory, stored::Lines};

/// Reads the rest of a file, whose first header is `text` in `line`.
pub(super) fn parse(lines: &mut Lines, line: u64, text: String) -> Result<Graph, Error> {
    let mut reading = Reading::default();
    let mut header = Some((line, text));
    while let Some((line, text)) = header.take() {
        let place = Place::line(lines.path(), line);
        let mut bases = Vec::new();
        while let Some((line, text)) = lines.next_text()? {
            if text.starts_with('>') {
                header = Some((line, text));
                break;
            }
            bases.extend(text.bytes());
        }
        reading.take(text[1..].trim_end_matches(';'), &bases, place)?;
        let Graph { segments, links, .. } = &reading.graph;
        if segments.len().is_multiple_of(memory::LOOK_EVERY) {
            let name_bytes = segments.iter().map(|segment| segment.name.len()).sum();
            memory::check_graph(segments.len(), links.len(), 0, name_bytes)?;
        }
    }
    for (name, number, place) in &reading.mentioned {
        if reading.graph.segments[*number as usize].length_bp.is_none() {
            let place = place.clone().named(name);
            return Err(Error::bad(place, "segment of a link", "a record with this name", "none"));
        }
    }
    let mut graph = reading.graph;
    graph.links.sort_unstable();
    graph.links.dedup();
    Ok(graph)
}

#[derive(Default)]
struct Reading {
    graph: Graph,
    numbers: HashMap<String, u32>,
    /// Segments that came after a link to them, and the first of these.
    mentioned: Vec<(String, u32, Place)>,
}

impl Reading {
    fn take(&mut self, header: &str, bases: &[u8], place: Place) -> Result<(), Error> {
        let (name, next) = header.split_once(':').unwrap_or((header, ""));
        let from = self.step(name, &place)?;
        let segment = &mut self.graph.segments[from.segment as usize];
        let (length_bp, digest) = (bases.len() as u32, digest(bases));
        match segment.digest {
            Some(before) if before != digest => {
                let (what, name) = ("bases of the segment in its other orientation", segment.name.clone());
                let expected = format!("the reverse complement of {} bp", segment.length_bp.unwrap_or(0));
                return Err(Error::bad(
                    place.named(name),
                    what,
                    expected,
                    format!("another sequence of {length_bp} bp"),
                ));
            }
            _ => (segment.length_bp, segment.digest) = (Some(length_bp), Some(digest)),
        }
        for name in next.split(',').filter(|name| !name.is_empty()) {
            let to = self.step(name, &place)?;
            self.graph.links.push(Link { from, to, overlap_bp: None }.canonical());
        }
        Ok(())
    }

    fn step(&mut self, text: &str, place: &Place) -> Result<Step, Error> {
        let (name, is_reverse) = text.strip_suffix('\'').map_or((text, false), |name| (name, true));
        if name.is_empty() {
            return Err(Error::bad(place.clone(), "name of a segment", "one", "none"));
        }
        let segments = &mut self.graph.segments;
        let segment = *self.numbers.entry(name.into()).or_insert_with(|| {
            segments.push(Segment { name: name.into(), length_bp: None, digest: None });
            let number = segments.len() as u32 - 1;
            self.mentioned.push((name.into(), number, place.clone()));
            number
        });
        Ok(Step { segment, is_reverse })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse, *};

    fn read(text: &str) -> Result<Graph, Error> {
        parse(&mut Lines::of_bytes("g.fastg", text.as_bytes()))
    }

    #[test]
    fn both_orientations_are_one_segment() {
        let graph = read(">a:b';\nAC\nG\n>a':a;\nCGT\n>b;\nTT\n>b':a';\nAA\n").unwrap();
        let step = |segment, is_reverse| Step { segment, is_reverse };
        let lengths: Vec<_> = graph.segments.iter().map(|s| (&*s.name, s.length_bp)).collect();
        assert_eq!(lengths, [("a", Some(3)), ("b", Some(2))]);
        let link = |from, to| Link { from, to, overlap_bp: None };
        // a+ b- is the same as b+ a-, which is not b- a-.
        let expected = [
            link(step(0, false), step(1, false)),
            link(step(0, false), step(1, true)),
            link(step(0, true), step(0, false)),
        ];
        assert_eq!(graph.links, expected);
    }

    #[test]
    fn a_link_to_nothing_and_orientations_that_differ_are_refused() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(
            error(">a:c;\nAC\n"),
            r#"g.fastg, line 1: "c": segment of a link: expected a record with this name, found none"#
        );
        assert!(error(">a;\nAC\n>a';\nGG\n").contains("another sequence of 2 bp"));
        assert!(error(">:b;\nAC\n").contains("name of a segment"));
    }
}
