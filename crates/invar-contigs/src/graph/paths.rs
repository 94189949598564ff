//! How contigs run through the graph, as assemblers tell.
//!
//! ```text
//! SPAdes, contigs.paths        NODE_1_length_900_cov_3       one block for each orientation; only the first is taken
//!                              12+,7-;                       `;` is a gap, after which the next line continues
//!                              3+
//!                              NODE_1_length_900_cov_3'
//!                              ...
//! Flye, assembly_info.txt      #seq_name length cov. circ. repeat mult. alt_group graph_path
//!                              contig_1  900 30 N N 1 *  *,1,-2,??,3,*          edge_1+ edge_2- edge_3+
//! ```

use std::collections::HashMap;

use super::{Path, Step};
use crate::{Error, error::Place, stored::Lines};

/// Reads a file of paths; segments are numbered by `numbers`.
///
/// # Errors
/// If it is neither of those above, or names a segment that the graph does not have.
pub(crate) fn parse(lines: &mut Lines, numbers: &HashMap<&str, u32>) -> Result<Vec<Path>, Error> {
    let Some((line, text)) = lines.next_text()? else {
        return Err(Error::bad(Place::file(lines.path()), "file of paths", "contigs", "an empty file"));
    };
    if text.starts_with("#seq_name") { of_flye(lines, &text, line, numbers) } else { of_spades(lines, text, numbers) }
}

fn of_spades(lines: &mut Lines, first: String, numbers: &HashMap<&str, u32>) -> Result<Vec<Path>, Error> {
    let mut paths: Vec<Path> = vec![];
    let mut is_forward = true;
    let mut next = Some((1, first));
    while let Some((line, text)) = next {
        if text.starts_with("NODE") || paths.is_empty() {
            is_forward = !text.ends_with('\'');
            if is_forward {
                paths.push((text, vec![]));
            } else if paths.is_empty() {
                let found = format!("{text:?}");
                return Err(Error::bad(Place::line(lines.path(), line), "first line", "the name of a contig", found));
            }
        } else if is_forward && let Some((name, steps)) = paths.last_mut() {
            for step in text.split([',', ';']).filter(|step| !step.is_empty()) {
                let place = || Place::line(lines.path(), line).named(name.as_str());
                let segment = step.strip_suffix('+').map(|name| (name, false));
                let segment = segment.or_else(|| step.strip_suffix('-').map(|name| (name, true)));
                let Some((segment, is_reverse)) = segment else {
                    let found = format!("{step:?}");
                    return Err(Error::bad(place(), "step of the path", "a segment with + or -", found));
                };
                let Some(&segment) = numbers.get(segment) else {
                    return Err(Error::bad(place(), "segment of the path", "one of the graph", format!("{segment:?}")));
                };
                steps.push(Step { segment, is_reverse });
            }
        }
        next = lines.next_text()?;
    }
    Ok(paths)
}

fn of_flye(lines: &mut Lines, header: &str, line: u64, numbers: &HashMap<&str, u32>) -> Result<Vec<Path>, Error> {
    let column = header.split('\t').position(|name| name == "graph_path").ok_or_else(|| {
        Error::bad(Place::line(lines.path(), line), "columns", "one named graph_path", format!("{header:?}"))
    })?;
    let mut paths = vec![];
    while let Some((line, text)) = lines.next_text()? {
        let cells: Vec<&str> = text.split('\t').collect();
        let place = || Place::line(lines.path(), line).named(cells[0]);
        let Some(path) = cells.get(column) else {
            return Err(Error::bad(place(), "columns", format!("at least {}", column + 1), cells.len()));
        };
        let mut steps = vec![];
        // `*` is an end, `??` a gap.
        for edge in path.split(',').filter(|edge| !matches!(*edge, "*" | "??" | "")) {
            let (number, is_reverse) = edge.strip_prefix('-').map_or((edge, false), |number| (number, true));
            let Some(&segment) = numbers.get(format!("edge_{number}").as_str()) else {
                return Err(Error::bad(
                    place(),
                    "segment of the path",
                    "one of the graph",
                    format!("\"edge_{number}\""),
                ));
            };
            steps.push(Step { segment, is_reverse });
        }
        paths.push((cells[0].to_owned(), steps));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, names: &[&str]) -> Result<Vec<Path>, Error> {
        let numbers = names.iter().copied().zip(0..).collect();
        parse(&mut Lines::of_bytes("p", text.as_bytes()), &numbers)
    }

    fn step(segment: u32, is_reverse: bool) -> Step {
        Step { segment, is_reverse }
    }

    #[test]
    fn paths_of_spades_and_flye() {
        let spades = "NODE_1\n12+,7-;\n3+\nNODE_1'\n3-;\n7+,12-\nNODE_2\n3-\n";
        let expected = [
            ("NODE_1".into(), vec![step(0, false), step(1, true), step(2, false)]),
            ("NODE_2".into(), vec![step(2, true)]),
        ];
        assert_eq!(read(spades, &["12", "7", "3"]).unwrap(), expected);
        let flye = "#seq_name\tlength\tcov.\tcirc.\trepeat\tmult.\talt_group\tgraph_path\n\
                    contig_1\t900\t30\tN\tN\t1\t*\t*,1,-2,??,1,*\n";
        let expected = [("contig_1".into(), vec![step(0, false), step(1, true), step(0, false)])];
        assert_eq!(read(flye, &["edge_1", "edge_2"]).unwrap(), expected);
    }

    #[test]
    fn a_path_through_nothing_is_refused() {
        let error = |text: &str| read(text, &["1", "edge_1"]).unwrap_err().to_string();
        assert_eq!(
            error("NODE_1\n1+,2-"),
            r#"p, line 2: "NODE_1": segment of the path: expected one of the graph, found "2""#
        );
        assert!(error("NODE_1\n1").contains("a segment with + or -"));
        assert!(error("#seq_name\tgraph_path\nc\t1,-7").contains("edge_7"));
        assert!(error("#seq_name\tx\nc\t1").contains("graph_path"));
        assert!(error("#seq_name\tgraph_path\nc").contains("at least 2"));
        assert!(error("").contains("an empty file"));
        assert!(error("NODE_1'\n1+").contains("the name of a contig"));
    }
}
