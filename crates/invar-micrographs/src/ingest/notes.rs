//! What was decided in reading the image files: one sentence per kind of decision, with the first file it applies to.

use std::mem::{Discriminant, discriminant};

use super::page::Task;
use crate::{ImageFile, LeftOut, Note, Preview};

/// Notes about a file as a whole.
#[derive(Debug, Default)]
pub(super) struct OfFile {
    left_out: Vec<LeftOut>,
    notes: Vec<Note>,
}

impl OfFile {
    pub(super) fn new(file: &ImageFile) -> Self {
        Self { left_out: file.left_out().to_vec(), notes: file.notes().to_vec() }
    }
}

/// Decisions of one kind.
#[derive(PartialEq, Eq)]
enum Kind {
    LeftOut(Preview),
    Note(Discriminant<Note>),
}

/// One sentence per kind, in the order of first occurrence.
pub(super) fn sentences(tasks: &[Task<'_>]) -> Vec<String> {
    let mut kinds: Vec<(Kind, u64, String)> = Vec::new();
    let mut add = |kind: Kind, sentence: &dyn Fn() -> String| match kinds.iter_mut().find(|(other, ..)| *other == kind)
    {
        Some((_, count, _)) => *count += 1,
        None => kinds.push((kind, 1, sentence())),
    };
    for task in tasks {
        let path = task.source.path.display();
        for page in &task.of_file.left_out {
            add(Kind::LeftOut(page.what), &|| format!("{path}: {page}"));
        }
        for note in &task.of_file.notes {
            add(Kind::Note(discriminant(note)), &|| format!("{path}: {note}"));
        }
        for note in &task.info.notes {
            add(Kind::Note(discriminant(note)), &|| format!("{}: {note}", task.described()));
        }
    }
    let sentence = |(_, count, first): (Kind, u64, String)| match count {
        1 => first,
        _ => format!("{first} ({count} pages in all; `invar info` describes each file)"),
    };
    kinds.into_iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use invar_dataset::NoProgress;

    use crate::{IngestConfig, Inputs, Segmentation, ingest};

    #[test]
    fn what_was_left_out_or_turned_is_said() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/micrographs/corpus");
        let files = ["slide.svs", "orientation-3.tif", "orientation-6.png", "next-rubbish.tif"];
        let inputs = Inputs::paths(files.map(|file| corpus.join(file)));
        let config = IngestConfig { segment: Segmentation::WholeImage {}, ..IngestConfig::default() };
        let out = tempfile::tempdir().unwrap();
        let summary = ingest(&inputs, &out.path().join("data"), &config, &NoProgress).unwrap();
        let warnings = summary.facts.warnings;
        let is_said = |words: &[&str]| warnings.iter().any(|text| words.iter().all(|word| text.contains(word)));
        assert!(is_said(&["slide.svs: page 2", "smaller copy", "2 pages in all"]), "{warnings:#?}");
        assert!(
            is_said(&["slide.svs: page 4", "label"]) && is_said(&["slide.svs: page 5", "whole slide"]),
            "{warnings:#?}"
        );
        assert!(is_said(&["orientation-3.tif: turned upright", "2 pages in all"]), "{warnings:#?}");
        assert!(is_said(&["next-rubbish.tif", "byte 4294967295"]), "{warnings:#?}");
        assert_eq!(summary.facts.images.len(), 4);
    }
}
