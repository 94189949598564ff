//! Tables of single-copy marker genes that other programs find in contigs.
//!
//! ```text
//! hmmsearch --tblout, --domtblout    a line for each hit: CONTIG_17 (a protein that Prodigal called), the marker, ...
//! CheckM, marker_gene_stats.tsv      CONTIG, a tab, {'CONTIG_17': {'PF00162.14': [[3, 380]]}, ...}
//! others                             a header `contig`, a tab, `marker`; then both
//! ```
//! A marker that a contig has in two proteins is there twice; hits of one protein count once for each marker. Which hits
//! count is the other program's to say (`hmmsearch --cut_tc`).

use std::{collections::BTreeSet, path::Path};

use invar_dataset::{
    DatasetError,
    manifest::Shard,
    sections::{self, Format, Sections, column},
};

use crate::{
    Error,
    contigs::{Known, Names},
    error::Place,
    stored::Lines,
};

/// The header of a table of two columns.
const HEADER: &str = "contig\tmarker";
/// Columns of hmmsearch: the protein, and the query in `--tblout` and `--domtblout`.
const OF_HITS: [(&str, usize); 2] =
    [("# target name accession query name", 2), ("# target name accession tlen query name", 3)];

/// The markers in each contig: names in order, one for each copy.
pub(crate) type Markers = Vec<Vec<String>>;

const FORMAT: Format = Format { magic: *b"INVMARKS", version: 1 };
/// The markers of all contigs, separated by spaces within each.
const TEXT: u32 = 1;
const TEXT_ENDS: u32 = 2;

/// The stored markers of a dataset.
pub(crate) struct MarkerFile(Sections);

impl MarkerFile {
    /// Writes them as `path`.
    pub fn write(markers: &Markers, path: &Path) -> Result<Shard, DatasetError> {
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(markers.len()));
        for of in markers {
            text += &of.join(" ");
            let too_long =
                |_| DatasetError::corrupt(path, "bytes of all markers", format!("at most {}", u32::MAX), text.len());
            ends.push(u32::try_from(text.len()).map_err(too_long)?);
        }
        let sections: [(u32, &[u8]); 2] = [(TEXT, text.as_bytes()), (TEXT_ENDS, column(&ends))];
        sections::write(path, &FORMAT, markers.len() as u64, &sections)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// If it is damaged, or of another number of contigs.
    pub fn open(path: &Path, num_contigs: usize) -> Result<Self, DatasetError> {
        let file = Sections::open(path, &FORMAT)?;
        if file.num_rows() != num_contigs {
            return Err(file.corrupt("number of contigs", num_contigs, file.num_rows()));
        }
        let stored = Self(file);
        (0..num_contigs).try_for_each(|row| stored.of(row).map(|_| ()))?;
        Ok(stored)
    }

    /// The markers of contig `row`, separated by spaces.
    ///
    /// # Errors
    /// If the stored bytes are damaged.
    pub fn of(&self, row: usize) -> Result<&str, DatasetError> {
        let ends = self.0.column::<u32>(TEXT_ENDS, self.0.num_rows())?;
        self.0.text(TEXT, ends, row)
    }
}

/// How the markers of a contig are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// The line over the header of `Hits`.
    OverHits,
    /// A line for each hit, with the query in this column.
    Hits(usize),
    CheckM,
    TwoColumns,
}

/// Whether a table of markers begins with this line.
pub(crate) fn is_table(line: &str) -> bool {
    Layout::of(line).is_some()
}

impl Layout {
    fn of(line: &str) -> Option<Self> {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((_, column)) = OF_HITS.iter().find(|(head, _)| words.starts_with(head)) {
            return Some(Self::Hits(*column));
        }
        if words.starts_with("# --- full sequence ---") || words.starts_with("# ---- full sequence") {
            return Some(Self::OverHits);
        }
        if line.trim_end() == HEADER {
            return Some(Self::TwoColumns);
        }
        let (_, rest) = line.split_once('\t')?;
        (rest.trim_start().starts_with('{') && rest.trim_end().ends_with('}')).then_some(Self::CheckM)
    }
}

/// Reads a table. Contigs without a marker need not be in it.
///
/// # Errors
/// If the layout is none of those above, or a contig is not in the FASTA file.
pub(crate) fn parse(lines: &mut Lines, names: &Names) -> Result<Markers, Error> {
    let path = lines.path().to_path_buf();
    let known = "a table of hmmsearch (--tblout or --domtblout), of CheckM, or a header `contig`, tab, `marker`";
    let mut layout = None;
    // Of each contig that is kept, its proteins and what they hit.
    let mut hits: Vec<BTreeSet<(String, String)>> = vec![BTreeSet::new(); names.num_kept()];
    let (mut strange, mut num_contigs) = (BTreeSet::new(), BTreeSet::new());
    let mut number = 0_u64;
    while let Some((line, text)) = lines.next_text()? {
        let begins = Layout::of(&text);
        match (layout, begins) {
            (None | Some(Layout::OverHits), Some(Layout::Hits(_)))
            | (None, Some(Layout::OverHits | Layout::TwoColumns)) => {
                layout = begins;
                continue;
            }
            (None, Some(Layout::CheckM)) => layout = begins,
            _ => {}
        }
        let found = match layout {
            Some(Layout::Hits(_)) if text.starts_with('#') => continue,
            Some(Layout::Hits(column)) => hit(&text, column),
            Some(Layout::CheckM) => of_checkm(&text),
            Some(Layout::TwoColumns) => text.split_once('\t').map(|(contig, marker)| {
                number += 1;
                (contig.trim().to_owned(), vec![(number.to_string(), marker.trim().to_owned())])
            }),
            _ => {
                let found = format!("{:?}", text.chars().take(40).collect::<String>());
                return Err(Error::bad(Place::line(&path, line), "table of markers", known, found));
            }
        };
        let is_word = |marker: &str| !marker.is_empty() && !marker.contains(char::is_whitespace);
        let Some((contig, found)) = found.filter(|(_, found)| found.iter().all(|(_, marker)| is_word(marker))) else {
            let found = format!("{:?}", text.chars().take(40).collect::<String>());
            return Err(Error::bad(
                Place::line(&path, line),
                "row of a table of markers",
                "a contig and a marker",
                found,
            ));
        };
        num_contigs.insert(contig.clone());
        match names.get(&contig) {
            None => _ = strange.insert(contig),
            Some(Known { row: Some(row), .. }) => hits[row as usize].extend(found),
            Some(_) => {}
        }
    }
    if layout.is_none() {
        return Err(Error::bad(Place::file(&path), "table of markers", known, "an empty file"));
    }
    if !strange.is_empty() {
        let (names_of, of) = (strange.into_iter().collect(), num_contigs.len());
        let remedy = "give the table of this assembly";
        return Err(Error::Unmatched { path, other: names.path.clone(), what: "contigs", names: names_of, of, remedy });
    }
    let markers = |of: BTreeSet<(String, String)>| {
        let mut markers: Vec<String> = of.into_iter().map(|(_, marker)| marker).collect();
        markers.sort_unstable();
        markers
    };
    Ok(hits.into_iter().map(markers).collect())
}

/// The contig of a hit, its protein and the marker.
fn hit(text: &str, column: usize) -> Option<(String, Vec<(String, String)>)> {
    let mut words = text.split_whitespace();
    let protein = words.next()?;
    let marker = words.nth(column - 1)?;
    let (contig, _) = protein.rsplit_once('_')?;
    Some((contig.to_owned(), vec![(protein.to_owned(), marker.to_owned())]))
}

/// The contig of a line of CheckM, its proteins and their markers: a dictionary as Python prints it.
fn of_checkm(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let (contig, proteins) = text.split_once('\t')?;
    let proteins = serde_json::from_str::<serde_json::Map<_, _>>(&proteins.replace('\'', "\"")).ok()?;
    let mut found = vec![];
    for (protein, markers) in proteins {
        found.extend(markers.as_object()?.keys().map(|marker| (protein.clone(), marker.clone())));
    }
    Some((contig.trim().to_owned(), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Markers, Error> {
        let mut names = Names::new("x.fa".into());
        for (name, is_kept) in [("c_1", true), ("short", false), ("c_2", true)] {
            names.add(name, 1, 1000, is_kept);
        }
        parse(&mut Lines::of_bytes("m.tbl", text.as_bytes()), &names)
    }

    #[test]
    fn tables_of_all_programs_are_read() {
        let expected = [vec!["PF1.2", "PF1.2", "TIGR9"], vec!["PF1.2"]];
        let tblout = "#                                --- full sequence ----\n\
            # target name        accession  query name           accession    E-value\n#----\n\
            c_1_1 - PF1.2 PF1 1e-9 80 0\nc_1_2 - PF1.2 PF1 1e-9 80 0\nc_1_2 - TIGR9 - 1e-9 80 0\nshort_1 - PF1.2 - 1 1 1\n\
            c_2_7 - PF1.2 PF1 1e-9 80 0\n# Program: hmmsearch\n";
        assert_eq!(read(tblout).unwrap(), expected);
        // Two domains of one protein are one copy.
        let domtblout = "#         --- full sequence --- -------------- this domain -------------\n\
            # target name        accession   tlen query name           accession   qlen\n#----\n\
            c_1_1 - 300 PF1.2 - 200 1\nc_1_1 - 300 PF1.2 - 200 1\nc_1_2 - 300 PF1.2 - 9\nc_1_2 - 300 TIGR9 - 9\nc_2_7 - 9 PF1.2 -\n";
        assert_eq!(read(domtblout).unwrap(), expected);
        let checkm = "c_1\t{'c_1_1': {'PF1.2': [[3, 380]]}, 'c_1_2': {'PF1.2': [[1, 2], [3, 4]], 'TIGR9': [[1, 2]]}}\n\
            short\t{}\nc_2\t{'c_2_7': {'PF1.2': [[1, 2]]}}\n";
        assert_eq!(read(checkm).unwrap(), expected);
        let columns = "contig\tmarker\nc_1\tPF1.2\nc_1\tTIGR9\nc_1\tPF1.2\nc_2\tPF1.2\n";
        assert_eq!(read(columns).unwrap(), expected);
        assert_eq!(read("contig\tmarker\n").unwrap(), [[""; 0]; 2]);
    }

    #[test]
    fn errors_name_the_file_the_line_and_both_values() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert!(error("").ends_with("found an empty file"));
        assert!(error("hello\n").starts_with("m.tbl, line 1: table of markers: expected a table of hmmsearch"));
        assert!(error("contig\tmarker\nc_1\n").starts_with("m.tbl, line 2: row of a table of markers"));
        assert!(error("contig\tmarker\nc_1\ta b\n").contains("found \"c_1\\ta b\""));
        assert!(error("c_1\t{'c_1_1': 3}\n").contains("line 1: row of a table"));
        assert_eq!(
            error("contig\tmarker\nc_1\tA\nz\tA\ny\tB\n"),
            "m.tbl: 2 of its 3 contigs are not in x.fa: \"y\", \"z\"; give the table of this assembly"
        );
    }
}
