use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{DepthConfig, Error, error::Place, markers, stored};

/// What is kept of an assembly, and how depth is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Shorter contigs are left out. Composition and depth of a few hundred bases are mostly chance.
    pub min_length_bp: u32,
    /// Which alignments count, and which bases.
    pub depth: DepthConfig,
    /// Whether another dataset at the output is replaced. Not a parameter of the dataset.
    #[serde(skip)]
    pub force: bool,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self { min_length_bp: 1000, depth: DepthConfig::default(), force: false }
    }
}

/// The files of an assembly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// The contigs: FASTA, plain or compressed by gzip, BGZF or zstd.
    pub fasta: PathBuf,
    /// BAM or CRAM of each sample, sorted by position.
    pub alignments: Vec<PathBuf>,
    /// Tables of depth, whose samples come after those of the alignments.
    pub tables: Vec<PathBuf>,
    /// The assembly graph: GFA (1 or 2) or FASTG.
    pub graph: Option<PathBuf>,
    /// How contigs run through it: `contigs.paths` of SPAdes or `assembly_info.txt` of Flye.
    pub paths: Option<PathBuf>,
    /// Single-copy marker genes in the contigs: tables of hmmsearch, of CheckM, or of two columns.
    pub markers: Option<PathBuf>,
}

impl Inputs {
    /// Tells by their content which file is what: one FASTA of contigs; alignments, tables of depth, a graph and paths
    /// through it, as many as there are.
    ///
    /// # Errors
    /// If a file is none of these or cannot be read, there is no FASTA, or there are two of what may be there once.
    pub fn told_apart(files: &[PathBuf]) -> Result<Self, Error> {
        let (mut inputs, mut fasta) = (Self::default(), None);
        for file in files {
            let second = |what: &str, first: &PathBuf| {
                Err(Error::bad(Place::file(file), what, format!("one, {}", first.display()), "a second one"))
            };
            match Kind::of(file)? {
                Kind::Alignments => inputs.alignments.push(file.clone()),
                Kind::Table => inputs.tables.push(file.clone()),
                Kind::Contigs => {
                    if let Some(first) = fasta.replace(file.clone()) {
                        return second("FASTA of contigs", &first);
                    }
                }
                Kind::Graph => {
                    if let Some(first) = inputs.graph.replace(file.clone()) {
                        return second("assembly graph", &first);
                    }
                }
                Kind::Markers => {
                    if let Some(first) = inputs.markers.replace(file.clone()) {
                        return second("table of markers", &first);
                    }
                }
                Kind::Paths => {
                    if let Some(first) = inputs.paths.replace(file.clone()) {
                        return second("file of paths", &first);
                    }
                }
            }
        }
        let found = files.first().cloned().unwrap_or_default();
        let none = || Error::bad(Place::file(found), "files of an assembly", "a FASTA of contigs among them", "none");
        inputs.fasta = fasta.ok_or_else(none)?;
        Ok(inputs)
    }

    /// All files, in the order of the manifest.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        let of_graph = self.graph.iter().chain(&self.paths);
        [&self.fasta].into_iter().chain(&self.alignments).chain(&self.tables).chain(of_graph).chain(&self.markers)
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Contigs,
    Alignments,
    Table,
    Graph,
    Paths,
    Markers,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, Error> {
        let head = stored::head(path)?;
        let text = String::from_utf8_lossy(&head);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let is_graph = ["H\t", "S\t", "L\t", "#\t"].iter().any(|start| line.starts_with(start));
        let is_table = ["contigName\t", "Contig\t", "contig\t", "contig_name,", "contig_name\t", ",", "\t"];
        Ok(match line {
            _ if head.starts_with(b"BAM\x01") || head.starts_with(b"CRAM") => Self::Alignments,
            // A header of FASTG ends in `;`.
            _ if line.starts_with('>') => {
                if line.ends_with(';') {
                    Self::Graph
                } else {
                    Self::Contigs
                }
            }
            _ if markers::is_table(line) => Self::Markers,
            _ if is_graph => Self::Graph,
            _ if is_table.iter().any(|start| line.starts_with(start)) => Self::Table,
            _ if line.starts_with("#seq_name") || line.starts_with("NODE") => Self::Paths,
            _ => {
                let known = "FASTA, BAM, CRAM, GFA, FASTG, a table of depth, of markers or a file of paths";
                let found = format!("{:?}", line.chars().take(40).collect::<String>());
                return Err(Error::bad(Place::file(path), "beginning of the file", known, found));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_content() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = [
            write("1", b"contigName\tcontigLen\ttotalAvgDepth\n"),
            write("2", &zstd::encode_all(&b"\n>c1\nACGT\n"[..], 1).unwrap()),
            write("3", b"S\t1\tACGT\n"),
            write("4", b"CRAM\x03"),
            write("5", b"NODE_1\n1+\n"),
            write("6", b",S1_mean\n"),
            write("10", b"contig\tmarker\n"),
        ];
        let inputs = Inputs::told_apart(&files).unwrap();
        assert_eq!((&inputs.fasta, &inputs.alignments[..]), (&files[1], &files[3..4]));
        assert_eq!(inputs.markers.as_ref(), Some(&files[6]));
        assert_eq!(
            (inputs.tables, inputs.graph, inputs.paths),
            (vec![files[0].clone(), files[5].clone()], Some(files[2].clone()), Some(files[4].clone()))
        );
        let error = |files: &[PathBuf]| Inputs::told_apart(files).unwrap_err().to_string();
        assert!(error(&files[2..]).contains("a FASTA of contigs among them"));
        let other = write("7", b">c9\nAC\n");
        assert!(error(&[files[1].clone(), other]).contains("found a second one"));
        assert!(error(&[write("8", b"hello")]).ends_with("found \"hello\""));
        assert!(Inputs::told_apart(&[write("9", b">NODE_1:NODE_2;\nAC\n"), files[1].clone()]).unwrap().graph.is_some());
    }
}
