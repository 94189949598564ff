//! GFA 1 (specification at github.com/GFA-spec) and, by its first character, FASTG.
//!
//! ```text
//! H  VN:Z:1.0                          S  name  bases or *  LN:i:9  ...
//! L  a  +  b  -  97M or *              P  path  a+,b-  overlaps
//! ```
//! Lines of other types (containments, walks, jumps, comments) are left out.

use std::collections::HashMap;

use super::{Graph, Link, Segment, Step, digest, fastg};
use crate::{Error, error::Place, stored::Lines};

/// Longest beginning of a line that an error shows.
const SHOWN: usize = 60;

/// Reads a graph.
///
/// # Errors
/// If it is neither GFA 1 nor FASTG, a line is cut, a name is repeated, or a link or a path names a segment that is not
/// there.
pub(crate) fn parse(lines: &mut Lines) -> Result<Graph, Error> {
    let mut reading = Reading::default();
    let mut is_first = true;
    while let Some((line, text)) = lines.next_text()? {
        if std::mem::take(&mut is_first) && text.starts_with('>') {
            return fastg::parse(lines, line, text);
        }
        let place = Place::line(lines.path(), line);
        reading.take(&text, place)?;
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
}

impl Reading {
    fn take(&mut self, text: &str, place: Place) -> Result<(), Error> {
        let fields: Vec<&str> = text.split('\t').collect();
        let line = place.line.unwrap_or(0);
        match fields[0] {
            "H" => match fields.iter().find_map(|field| field.strip_prefix("VN:Z:")) {
                Some(version) if !version.starts_with('1') => {
                    let found = format!("version {version}");
                    Err(Error::bad(place, "format of the graph", "GFA 1 or FASTG", found))
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
            "C" | "W" | "J" => Ok(()),
            "E" | "F" | "G" | "O" | "U" => {
                Err(Error::bad(place, "format of the graph", "GFA 1 or FASTG", "a line of GFA 2"))
            }
            other if other.starts_with('#') => Ok(()),
            other => {
                let found = format!("{:?}", other.chars().take(SHOWN).collect::<String>());
                Err(Error::bad(place, "type of the line", "one of GFA 1 (H, S, L, P, C, W, J, #)", found))
            }
        }
    }

    fn segment(&mut self, fields: &[&str], place: Place) -> Result<(), Error> {
        let [_, name, bases, tags @ ..] = fields else { return Err(cut(place, &fields.join("\t"), 3)) };
        let stated = tags.iter().find_map(|tag| tag.strip_prefix("LN:i:"));
        let stated = match stated {
            Some(text) => Some(text.parse::<u32>().map_err(|_| {
                Error::bad(place.clone().named(*name), "length LN", "a number of bases", format!("{text:?}"))
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
            return Err(Error::bad(place.named(*name), "bases of the segment", format!("{stated} (LN)"), bases.len()));
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
        let Self { mut graph, numbers, links, paths } = self;
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
        Ok(graph)
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
    fn errors_name_the_line_and_both_values() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(
            error("S\ta\t*\nL\ta\t+\tb\t+\t*"),
            r#"g.gfa, line 2: "b": segment of a link: expected an S line with this name, found none"#
        );
        assert!(error("P\tp\tx+\t*").contains(r#""x": segment of a path"#));
        assert!(error("S\ta\t*\nS\ta\tAC").contains("found a second one"));
        assert!(error("S\ta\tACG\tLN:i:4").ends_with("bases of the segment: expected 4 (LN), found 3"));
        assert!(error("S\ta\tAC-G").ends_with("expected letters, or *, found '-'"));
        assert!(error("S\ta\tAC\tLN:i:x").contains("length LN"));
        assert!(error("S\ta").contains("expected at least 3"));
        assert!(error("L\ta\t+\tb\t?\t*").contains(r#"orientation: expected + or -, found "?""#));
        for overlap in ["M", "9", "5Q", "99999999999M", "4294967295M2D"] {
            assert!(error(&format!("L\ta\t+\tb\t+\t{overlap}")).contains("expected a CIGAR or *"), "{overlap}");
        }
        assert!(error("H\tVN:Z:2.0").contains("found version 2.0"));
        assert!(error("E\t*\ta+\tb+\t0\t1\t0\t1\t*").contains("GFA 2"));
        assert!(error("@SQ\tSN:x").contains("type of the line"));
        assert!(error("P\tp\té\t*").contains("orientation"));
    }
}
