//! Tables of depth that other programs write.
//!
//! ```text
//! jgi, MetaBAT    contigName contigLen totalAvgDepth S1.bam S1.bam-var S2.bam ...
//! CoverM          Contig, then for each sample `S1 Mean`, `S1 Variance`, `S1 Covered Fraction`, others (left out)
//! SemiBin         (empty), then `S1.bam_mean`, `S1.bam_var` or `S1.bam_cov`, by commas
//! ```
//! Columns are separated by tabs or commas. Variances that a table lacks are taken from the mean, as if bases were hit
//! independently; breadth is then unknown.

use std::path::Path;

use super::{SampleDepth, USUAL_READ_BP, sample_name};
use crate::{Error, contigs::Names, error::Place, memory, stored::Lines};

/// A table of depth: its samples, and the file as listed in the manifest.
pub(crate) type Table = Vec<SampleDepth>;

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
enum Meaning {
    Mean(String),
    Variance(String),
    Breadth(String),
    /// The length of the contig.
    Length,
    /// Something else.
    Other,
}

/// Reads a table; every contig of the dataset must have a row, and every row a contig.
///
/// # Errors
/// If the layout is none of those above, a contig is missing on either side or repeated, lengths differ, or a value is
/// not a finite number of at least 0.
pub(crate) fn parse(lines: &mut Lines, names: &Names) -> Result<Table, Error> {
    let path = lines.path().to_path_buf();
    let Some((line, header)) = lines.next_text()? else {
        return Err(Error::bad(Place::file(path), "table of depth", "a header", "an empty file"));
    };
    let separator = if header.contains('\t') { '\t' } else { ',' };
    let meanings = meanings(&header, separator).ok_or_else(|| {
        let known = "that of jgi_summarize_bam_contig_depths (contigName, contigLen, totalAvgDepth, ...), CoverM (Contig, \
                     `S Mean`, `S Variance`, ...) or SemiBin (`S_mean`, `S_var`, ...)";
        Error::bad(Place::line(&path, line), "header of a table of depth", known, format!("{header:?}"))
    })?;
    memory::check_table(names, meanings.iter().filter(|meaning| matches!(meaning, Meaning::Mean(_))).count())?;
    let mut samples = Vec::<SampleDepth>::new();
    let columns = columns(&meanings, &mut samples, names.num_kept(), &path, line)?;
    let mut is_there = vec![false; names.num_kept()];
    let (mut strange, mut num_rows) = (vec![], 0);
    while let Some((line, text)) = lines.next_text()? {
        num_rows += 1;
        let cells: Vec<&str> = text.split(separator).collect();
        let place = || Place::line(&path, line).named(cells[0]);
        if cells.len() != meanings.len() {
            return Err(Error::bad(place(), "columns", meanings.len(), cells.len()));
        }
        // As in FASTA, the first word is the name.
        let name = cells[0].split_whitespace().next().unwrap_or_default();
        let Some(known) = names.get(name) else {
            strange.push(name.to_owned());
            continue;
        };
        let mut numbers = Vec::with_capacity(cells.len());
        for (cell, meaning) in cells.iter().zip(&meanings) {
            let number = match meaning {
                Meaning::Other => 0.0,
                _ => number(cell).ok_or_else(|| {
                    Error::bad(place(), "value", "a finite number of at least 0", format!("{cell:?}"))
                })?,
            };
            numbers.push(number);
        }
        let length = meanings.iter().position(|meaning| *meaning == Meaning::Length).map(|at| numbers[at]);
        if let Some(found) = length.filter(|&length| length != f64::from(known.length_bp)) {
            let expected = format!("{} bp, as in {}, line {}", known.length_bp, names.path.display(), known.line);
            return Err(Error::bad(place(), "length of the contig", expected, format!("{found} bp")));
        }
        let Some(row) = known.row.map(|row| row as usize) else { continue };
        if std::mem::replace(&mut is_there[row], true) {
            return Err(Error::bad(place(), "row of the contig", "one", "a second one"));
        }
        for (sample, of) in samples.iter_mut().zip(&columns) {
            sample.mean[row] = numbers[of.mean] as f32;
            sample.variance[row] = numbers[of.variance.unwrap_or(of.mean)] as f32;
            sample.breadth[row] = of.breadth.map_or(f32::NAN, |at| numbers[at] as f32);
        }
    }
    let unmatched = |path: &Path, other: &Path, what, names, of| {
        let remedy = "give the table of this assembly";
        Err(Error::Unmatched { path: path.into(), other: other.into(), what, names, of, remedy })
    };
    if !strange.is_empty() {
        return unmatched(&path, &names.path, "rows", strange, num_rows);
    }
    let missing = names.missing(&is_there);
    if !missing.is_empty() {
        return unmatched(&names.path, &path, "contigs", missing, names.num_kept());
    }
    Ok(samples)
}

/// The columns of a sample.
struct Columns {
    mean: usize,
    variance: Option<usize>,
    breadth: Option<usize>,
}

/// Finds the columns of each sample, in the order of their means.
fn columns(
    meanings: &[Meaning],
    samples: &mut Vec<SampleDepth>,
    num_contigs: usize,
    path: &Path,
    line: u64,
) -> Result<Vec<Columns>, Error> {
    let mut columns = vec![];
    for (mean, meaning) in meanings.iter().enumerate() {
        let Meaning::Mean(name) = meaning else { continue };
        if samples.iter().any(|sample| sample.name == *name) {
            return Err(Error::bad(Place::line(path, line).named(name), "column of the sample", "one", "a second one"));
        }
        let find = |wanted: Meaning| meanings.iter().position(|meaning| *meaning == wanted);
        let (variance, breadth) = (find(Meaning::Variance(name.clone())), find(Meaning::Breadth(name.clone())));
        columns.push(Columns { mean, variance, breadth });
        samples.push(SampleDepth { read_bp: USUAL_READ_BP, ..SampleDepth::new(name, num_contigs) });
    }
    Ok(columns)
}

/// What the columns of a header hold; `None` if the layout is not known.
fn meanings(header: &str, separator: char) -> Option<Vec<Meaning>> {
    let cells: Vec<&str> = header.split(separator).map(str::trim).collect();
    let (first, rest) = cells.split_first()?;
    let of = |rest: &[&str], read: &dyn Fn(&str) -> Meaning| -> Vec<Meaning> {
        std::iter::once(Meaning::Other).chain(rest.iter().map(|cell| read(cell))).collect()
    };
    let name = |text: &str| sample_name(text).to_owned();
    let meanings = match *first {
        "contigName" if rest.starts_with(&["contigLen", "totalAvgDepth"]) => {
            let mut meanings = of(&rest[2..], &|cell| match cell.strip_suffix("-var") {
                Some(sample) => Meaning::Variance(name(sample)),
                None => Meaning::Mean(name(cell)),
            });
            meanings.splice(1..1, [Meaning::Length, Meaning::Other]);
            meanings
        }
        "Contig" => of(rest, &|cell| {
            let suffix = |end| cell.strip_suffix(end).map(name);
            // `Trimmed Mean` is another figure.
            match (suffix(" Mean").filter(|_| !cell.ends_with(" Trimmed Mean")), suffix(" Variance")) {
                (Some(sample), _) => Meaning::Mean(sample),
                (_, Some(sample)) => Meaning::Variance(sample),
                _ => suffix(" Covered Fraction").map_or(Meaning::Other, Meaning::Breadth),
            }
        }),
        "" | "contig" | "contig_name" => of(rest, &|cell| {
            let suffix = |end| cell.strip_suffix(end).map(name);
            match (suffix("_mean").or_else(|| suffix("_cov")), suffix("_var")) {
                (Some(sample), _) => Meaning::Mean(sample),
                (_, Some(sample)) => Meaning::Variance(sample),
                _ => Meaning::Other,
            }
        }),
        _ => return None,
    };
    meanings.iter().any(|meaning| matches!(meaning, Meaning::Mean(_))).then_some(meanings)
}

/// A finite number of at least 0 that 32 bits can hold.
fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|value| *value >= 0.0 && *value <= f64::from(f32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::new("x.fa".into());
        for (name, length, is_kept) in [("a", 1000, true), ("short", 100, false), ("b", 2000, true)] {
            names.add(name, 1, length, is_kept);
        }
        names
    }

    fn read(text: &str) -> Result<Table, Error> {
        parse(&mut Lines::of_bytes("d.tsv", text.as_bytes()), &names())
    }

    #[test]
    fn tables_of_all_programs_are_read() {
        let jgi = "contigName\tcontigLen\ttotalAvgDepth\tx/S1.bam\tx/S1.bam-var\tS2.bam\tS2.bam-var\n\
                   b\t2000\t9\t4\t5\t6\t7\nshort\t100\t1\t1\t1\t1\t1\na\t1e3\t9\t1\t2\t3\t0\n";
        let samples = read(jgi).unwrap();
        assert_eq!(samples.iter().map(|sample| sample.name.as_str()).collect::<Vec<_>>(), ["S1", "S2"]);
        assert_eq!((&*samples[0].mean, &*samples[0].variance), (&[1.0, 4.0][..], &[2.0, 5.0][..]));
        assert_eq!((&*samples[1].mean, &*samples[1].variance), (&[3.0, 6.0][..], &[0.0, 7.0][..]));
        assert!(samples[0].breadth.iter().all(|breadth| breadth.is_nan()));
        let coverm =
            "Contig\tS1 Mean\tS1 Trimmed Mean\tS1 Covered Fraction\tS1 Variance\na\t1\t9\t0.5\t2\nb\t4\t9\t1\t5\n";
        let samples = read(coverm).unwrap();
        assert_eq!((&*samples[0].mean, &*samples[0].variance), (&[1.0, 4.0][..], &[2.0, 5.0][..]));
        assert_eq!(samples[0].breadth, [0.5, 1.0]);
        let semibin = ",S1.bam_mean,S1.bam_var\na,1,2\nb,4,5\n";
        assert_eq!(read(semibin).unwrap()[0].variance, [2.0, 5.0]);
        // Without variances those of bases that are hit independently.
        assert_eq!(read(",S1.bam_cov\na,1\nb,4\n").unwrap()[0].variance, [1.0, 4.0]);
    }

    #[test]
    fn errors_name_the_file_the_contig_and_both_values() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        let head = "contigName\tcontigLen\ttotalAvgDepth\tS\tS-var\n";
        let rows = |a: &str| error(&format!("{head}{a}\nb\t2000\t1\t1\t1\n"));
        assert_eq!(
            rows("a\t999\t1\t1\t1"),
            r#"d.tsv, line 2: "a": length of the contig: expected 1000 bp, as in x.fa, line 1, found 999 bp"#
        );
        assert_eq!(
            rows("a\t1000\t1\tnan\t1"),
            r#"d.tsv, line 2: "a": value: expected a finite number of at least 0, found "nan""#
        );
        assert!(rows("a\t1000\t1\t-1\t1").contains(r#"found "-1""#));
        assert_eq!(rows("a\t1000\t1\t1"), r#"d.tsv, line 2: "a": columns: expected 5, found 4"#);
        assert!(rows("b\t2000\t1\t1\t1").ends_with("row of the contig: expected one, found a second one"));
        assert_eq!(
            error(&format!("{head}b\t2000\t1\t1\t1\n")),
            r#"x.fa: 1 of its 2 contigs is not in d.tsv: "a"; give the table of this assembly"#
        );
        assert_eq!(
            rows("a\t1000\t1\t1\t1\nc\t5\t1\t1\t1\nd\t5\t1\t1\t1"),
            r#"d.tsv: 2 of its 4 rows are not in x.fa: "c", "d"; give the table of this assembly"#
        );
        assert!(error("").ends_with("found an empty file"));
        assert!(error("a\t1\n").contains("header of a table of depth"));
        assert!(error("Contig\tS Length\na\t1\n").contains("header of a table of depth"));
        assert!(error(",S_mean,S_mean\na,1,1\n").contains("a second one"));
    }
}
