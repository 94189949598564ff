//! GFA 1 and 2 (specifications at github.com/GFA-spec) and, by its first character, FASTG.
//!
//! ```text
//! GFA 1   S  name  bases or *  LN:i:9  ...         L  a  +  b  -  97M or *            P  path  a+,b-  overlaps
//! GFA 2   S  name  length  bases or *  ...         E  edge  a+  b-  803  900$  0  97  97M or *      O  path  a+ b-
//! ```
//! An edge of GFA 2 is a link if what it aligns is the end of one segment and the beginning of the other, in the
//! orientations that are given; positions are those of the segments as written, and `$` is the end of one. An ordered
//! group is a path if it names segments only. Lines of other types (containments, walks, jumps, gaps, comments) are left
//! out.

use std::collections::HashMap;

use super::{Graph, Link, Segment, Step, digest, fastg};
use crate::{Error, error::Place, memory, stored::Lines};

/// Longest beginning of a line that an error shows.
const SHOWN: usize = 60;

/// Reads a graph.
///
/// # Errors
/// If it is neither GFA 1 nor FASTG, a line is cut, a name is repeated, or a link or a path names a segment that is not
/// there.
pub(crate) fn parse(lines: &mut Lines) -> Result<Graph, Error> {
    let mut reading = Reading::default();
    let (mut is_first, mut num_lines) = (true, 0usize);
    while let Some((line, text)) = lines.next_text()? {
        if std::mem::take(&mut is_first) && text.starts_with('>') {
            return fastg::parse(lines, line, text);
        }
        let place = Place::line(lines.path(), line);
        reading.take(&text, place)?;
        num_lines += 1;
        if num_lines.is_multiple_of(memory::LOOK_EVERY) {
            reading.check_memory()?;
        }
    }
    reading.finish(lines)
}

/// A link or path by the names of its segments, and its line.
struct Named<T> {
    line: u64,
    of: T,
}

/// A segment by its name, and whether it is reversed.
type Oriented = (String, bool);

#[derive(Default)]
struct Reading {
    graph: Graph,
    numbers: HashMap<String, u32>,
    links: Vec<Named<([Oriented; 2], Option<u32>)>>,
    paths: Vec<Named<(String, Vec<Oriented>)>>,
    /// Ordered groups of GFA 2, of segments or of something else.
    groups: Vec<(String, Vec<Oriented>)>,
}

impl Reading {
    fn take(&mut self, text: &str, place: Place) -> Result<(), Error> {
        let fields: Vec<&str> = text.split('\t').collect();
        let line = place.line.unwrap_or(0);
        match fields[0] {
            "H" => match fields.iter().find_map(|field| field.strip_prefix("VN:Z:")) {
                Some(version) if !version.starts_with(['1', '2']) => {
                    let found = format!("version {version}");
                    Err(Error::bad(place, "format of the graph", "GFA 1, GFA 2 or FASTG", found))
                }
                _ => Ok(()),
            },
            "S" => self.segment(&fields, place),
            "L" => {
                let [_, from, from_strand, to, to_strand, overlap, ..] = fields[..] else {
                    return Err(cut(place, text, 6));
                };
                let ends = [(from.into(), strand(from_strand, &place)?), (to.into(), strand(to_strand, &place)?)];
                let overlap = overlap_bp(overlap, &place)?;
                self.links.push(Named { line, of: (ends, overlap) });
                Ok(())
            }
            "P" => {
                let [_, name, steps, ..] = fields[..] else { return Err(cut(place, text, 3)) };
                let steps = steps.split([',', ';']).filter(|step| !step.is_empty()).map(|step| oriented(step, &place));
                let steps = steps.collect::<Result<_, _>>()?;
                self.paths.push(Named { line, of: (name.into(), steps) });
                Ok(())
            }
            "E" => {
                let [_, _, one, other, positions @ ..] = &fields[..] else { return Err(cut(place, text, 9)) };
                let [a, b, c, d, ..] = positions else { return Err(cut(place, text, 9)) };
                let ends = [oriented(one, &place)?, oriented(other, &place)?];
                let aligned = [Aligned::new(a, b, &place)?, Aligned::new(c, d, &place)?];
                self.links.extend(dovetail(ends, aligned).map(|of| Named { line, of }));
                Ok(())
            }
            "O" => {
                let [_, name, steps, ..] = fields[..] else { return Err(cut(place, text, 3)) };
                let steps = steps.split_ascii_whitespace().map(|step| oriented(step, &place));
                self.groups.push((name.into(), steps.collect::<Result<_, _>>()?));
                Ok(())
            }
            "C" | "W" | "J" | "F" | "G" | "U" => Ok(()),
            other if other.starts_with('#') => Ok(()),
            other => {
                let found = format!("{:?}", other.chars().take(SHOWN).collect::<String>());
                Err(Error::bad(place, "type of the line", "one of GFA (H, S, L, P, C, W, J, E, F, G, O, U, #)", found))
            }
        }
    }

    fn check_memory(&self) -> Result<(), Error> {
        let of_paths = self.paths.iter().map(|named| named.of.1.len());
        let num_steps = of_paths.chain(self.groups.iter().map(|(_, steps)| steps.len())).sum();
        let name_bytes = self.graph.segments.iter().map(|segment| segment.name.len()).sum();
        Ok(memory::check_graph(self.graph.segments.len(), self.links.len(), num_steps, name_bytes)?)
    }

    fn segment(&mut self, fields: &[&str], place: Place) -> Result<(), Error> {
        let [_, name, bases, tags @ ..] = fields else { return Err(cut(place, &fields.join("\t"), 3)) };
        // GFA 2 has the length before the bases.
        let (bases, stated) = match tags {
            [of_second, ..] if bases.starts_with(|letter: char| letter.is_ascii_digit()) => (of_second, Some(*bases)),
            _ => (bases, tags.iter().find_map(|tag| tag.strip_prefix("LN:i:"))),
        };
        let stated = match stated {
            Some(text) => Some(text.parse::<u32>().map_err(|_| {
                Error::bad(
                    place.clone().named(*name),
                    "length of the segment",
                    "a number of bases",
                    format!("{text:?}"),
                )
            })?),
            None => None,
        };
        let bases = (*bases != "*").then_some(bases.as_bytes());
        if let Some(bases) = bases
            && let Some(bad) = bases.iter().find(|letter| !letter.is_ascii_alphabetic())
        {
            let found = format!("{:?}", char::from(*bad));
            return Err(Error::bad(place.named(*name), "bases of the segment", "letters, or *", found));
        }
        if let (Some(bases), Some(stated)) = (bases, stated)
            && bases.len() != stated as usize
        {
            return Err(Error::bad(
                place.named(*name),
                "bases of the segment",
                format!("{stated}, as stated"),
                bases.len(),
            ));
        }
        let number = self.graph.segments.len() as u32;
        if let Some(first) = self.numbers.insert((*name).into(), number) {
            let expected = format!("one, number {}", first + 1);
            return Err(Error::bad(place.named(*name), "segment of this name", expected, "a second one"));
        }
        let length_bp = bases.map(|bases| bases.len() as u32).or(stated);
        self.graph.segments.push(Segment { name: (*name).into(), length_bp, digest: bases.map(digest) });
        Ok(())
    }

    fn finish(self, lines: &Lines) -> Result<Graph, Error> {
        let Self { mut graph, numbers, links, paths, groups } = self;
        let step = |(name, is_reverse): Oriented, line, of: &str| match numbers.get(&name) {
            Some(&segment) => Ok(Step { segment, is_reverse }),
            None => {
                let place = Place::line(lines.path(), line).named(name);
                Err(Error::bad(place, format!("segment of a {of}"), "an S line with this name", "none"))
            }
        };
        for Named { line, of: ([from, to], overlap_bp) } in links {
            let link = Link { from: step(from, line, "link")?, to: step(to, line, "link")?, overlap_bp };
            graph.links.push(link.canonical());
        }
        graph.links.sort_unstable();
        graph.links.dedup();
        for Named { line, of: (name, steps) } in paths {
            let steps = steps.into_iter().map(|named| step(named, line, "path")).collect::<Result<_, _>>()?;
            graph.paths.push((name, steps));
        }
        for (name, steps) in groups {
            let step = |(of, is_reverse): &Oriented| Some(Step { segment: *numbers.get(of)?, is_reverse: *is_reverse });
            graph.paths.extend(steps.iter().map(step).collect::<Option<_>>().map(|steps| (name, steps)));
        }
        Ok(graph)
    }
}

/// The stretch of a segment that an edge of GFA 2 aligns.
#[derive(Clone, Copy, Debug)]
struct Aligned {
    len_bp: u32,
    /// Whether it begins with the segment, and ends with it.
    is_first: bool,
    is_last: bool,
}

impl Aligned {
    fn new(start: &str, end: &str, place: &Place) -> Result<Self, Error> {
        let number = |text: &str| text.strip_suffix('$').unwrap_or(text).parse::<u32>().ok();
        let bad = || {
            let expected = "two positions, ascending, `$` behind that of the end";
            Error::bad(place.clone(), "what the edge aligns", expected, format!("{start:?} and {end:?}"))
        };
        let (first, last) = number(start).zip(number(end)).filter(|(first, last)| first <= last).ok_or_else(bad)?;
        Ok(Self { len_bp: last - first, is_first: first == 0, is_last: end.ends_with('$') })
    }

    /// The same of the reverse complement.
    fn flipped(self) -> Self {
        Self { is_first: self.is_last, is_last: self.is_first, ..self }
    }
}

/// The link that an edge of GFA 2 is, if it joins an end and a beginning.
fn dovetail([one, other]: [Oriented; 2], [a, b]: [Aligned; 2]) -> Option<([Oriented; 2], Option<u32>)> {
    let a = if one.1 { a.flipped() } else { a };
    let b = if other.1 { b.flipped() } else { b };
    if a.is_last && b.is_first {
        Some(([one, other], Some(a.len_bp)))
    } else {
        (b.is_last && a.is_first).then_some(([other, one], Some(b.len_bp)))
    }
}

fn cut(place: Place, text: &str, expected: usize) -> Error {
    let found = format!("{:?}", text.chars().take(SHOWN).collect::<String>());
    Error::bad(place, "fields", format!("at least {expected}, separated by tabs"), found)
}

fn strand(text: &str, place: &Place) -> Result<bool, Error> {
    match text {
        "+" => Ok(false),
        "-" => Ok(true),
        _ => Err(Error::bad(place.clone(), "orientation", "+ or -", format!("{text:?}"))),
    }
}

/// A segment with its orientation as last character.
fn oriented(text: &str, place: &Place) -> Result<Oriented, Error> {
    let (name, sign) = text.split_at(text.char_indices().last().map_or(0, |(at, _)| at));
    Ok((name.into(), strand(sign, place)?))
}

/// Bases of the first segment that an overlap (CIGAR) takes; `None` for `*`.
fn overlap_bp(text: &str, place: &Place) -> Result<Option<u32>, Error> {
    if text == "*" {
        return Ok(None);
    }
    let bad = || Error::bad(place.clone(), "overlap", "a CIGAR or *", format!("{text:?}"));
    let (mut sum, mut number) = (0u32, None::<u32>);
    for letter in text.chars() {
        match (letter.to_digit(10), letter) {
            (Some(digit), _) => {
                let before = number.unwrap_or(0).checked_mul(10);
                number = Some(before.and_then(|ten| ten.checked_add(digit)).ok_or_else(bad)?);
            }
            (None, 'M' | '=' | 'X' | 'D' | 'N') => {
                sum = number.take().and_then(|number| sum.checked_add(number)).ok_or_else(bad)?;
            }
            (None, 'I' | 'S' | 'H' | 'P') => _ = number.take().ok_or_else(bad)?,
            _ => return Err(bad()),
        }
    }
    // Some assemblers write 0 without a letter.
    match number {
        None => Ok(Some(sum)),
        Some(0) if sum == 0 => Ok(Some(0)),
        Some(_) => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Graph, Error> {
        parse(&mut Lines::of_bytes("g.gfa", text.as_bytes()))
    }

    fn step(segment: u32, is_reverse: bool) -> Step {
        Step { segment, is_reverse }
    }

    #[test]
    fn a_graph_by_hand() {
        let text = "H\tVN:Z:1.0\n# x\nL\ta\t+\tb\t-\t3M1D\nL\tb\t+\ta\t-\t4M\nS\ta\tACGT\tdp:f:3\nS\tb\t*\tLN:i:900\n\
                    S\tc\t*\nL\tc\t+\tc\t+\t*\nL\ta\t+\tc\t+\t0\nP\tp\ta+,b-\t*\nC\ta\t+\tb\t+\t2\t4M\n";
        let graph = read(text).unwrap();
        let segments: Vec<_> = graph.segments.iter().map(|s| (&*s.name, s.length_bp, s.digest.is_some())).collect();
        assert_eq!(segments, [("a", Some(4), true), ("b", Some(900), false), ("c", None, false)]);
        // The first two lines are one link, written from either side.
        let links = [
            Link { from: step(0, false), to: step(1, true), overlap_bp: Some(4) },
            Link { from: step(0, false), to: step(2, false), overlap_bp: Some(0) },
            Link { from: step(2, false), to: step(2, false), overlap_bp: None },
        ];
        assert_eq!(graph.links, links);
        assert_eq!(graph.paths, [("p".into(), vec![step(0, false), step(1, true)])]);
        assert_eq!(read("").unwrap(), Graph::default());
    }

    #[test]
    fn the_second_version_says_the_same() {
        let first = "H\tVN:Z:1.0\nS\ta\tACGTACGT\nS\tb\t*\tLN:i:900\nS\tc\t*\tLN:i:50\n\
                     L\ta\t+\tb\t-\t4M\nL\tc\t-\ta\t+\t3M\nL\tb\t+\tb\t+\t0M\nP\tp\ta+,b-\t*\n";
        // c- a+ is written as it is, and as a- c+; an alignment inside a segment is no link, and groups of edges are no paths.
        let second = "H\tVN:Z:2.0\nS\ta\t8\tACGTACGT\nS\tb\t900\t*\nS\tc\t50\t*\n\
                      E\t*\ta+\tb-\t4\t8$\t896\t900$\t4M\nE\te\tc-\ta+\t0\t3\t0\t3\t*\nE\te2\ta-\tc+\t0\t3\t0\t3\t*\n\
                      E\t*\tb+\tb+\t900$\t900$\t0\t0\t*\nE\t*\ta+\tb+\t2\t6\t0\t4\t*\n\
                      O\tp\ta+ b-\nO\tq\te+\nG\t*\ta+\tb+\t10\t*\nU\tu\ta b\nF\ta\tr+\t0\t8$\t0\t8\t*\n";
        assert_eq!(read(first).unwrap(), read(second).unwrap());
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert!(error("S\ta\t5\tACGT").ends_with("bases of the segment: expected 5, as stated, found 4"));
        assert!(error("E\t*\ta+\tb+\t5\t2\t0\t4\t*").ends_with("found \"5\" and \"2\""));
        assert!(error("E\t*\ta+\tb+\t5").contains("at least 9"));
        assert!(error("S\ta\t5\t*\nE\t*\ta+\tz+\t1\t5$\t0\t4\t*").contains("\"z\": segment of a link"));
    }

    #[test]
    fn errors_name_the_line_and_both_values() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(
            error("S\ta\t*\nL\ta\t+\tb\t+\t*"),
            r#"g.gfa, line 2: "b": segment of a link: expected an S line with this name, found none"#
        );
        assert!(error("P\tp\tx+\t*").contains(r#""x": segment of a path"#));
        assert!(error("S\ta\t*\nS\ta\tAC").contains("found a second one"));
        assert!(error("S\ta\tACG\tLN:i:4").ends_with("bases of the segment: expected 4, as stated, found 3"));
        assert!(error("S\ta\tAC-G").ends_with("expected letters, or *, found '-'"));
        assert!(error("S\ta\tAC\tLN:i:x").contains("length of the segment"));
        assert!(error("S\ta").contains("expected at least 3"));
        assert!(error("L\ta\t+\tb\t?\t*").contains(r#"orientation: expected + or -, found "?""#));
        for overlap in ["M", "9", "5Q", "99999999999M", "4294967295M2D"] {
            assert!(error(&format!("L\ta\t+\tb\t+\t{overlap}")).contains("expected a CIGAR or *"), "{overlap}");
        }
        assert!(error("H\tVN:Z:3.0").contains("found version 3.0"));
        assert!(error("@SQ\tSN:x").contains("type of the line"));
        assert!(error("P\tp\té\t*").contains("orientation"));
    }
}
