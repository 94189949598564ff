//! Warnings about inputs that can be read, but look as if something were wrong with them.

use std::path::Path;

use invar_dataset::manifest::Input;

use crate::{
    Error,
    decode::Evidence,
    error::Place,
    quality::{Encoding, QualityEncoding, QualityRange},
    source::{InputDigest, Oddity},
};

/// What is known once all records of a unit have been read.
pub(super) struct UnitEnd {
    /// The checksums of its files.
    pub digests: Vec<InputDigest>,
    /// How its qualities were read.
    pub encoding: Encoding,
    pub warnings: Vec<String>,
}

/// Warns about the end of a compressed file.
///
/// # Errors
/// Problems that are only tolerable after text: trailing bytes that are not gzip.
pub(super) fn of_end(path: &Path, digest: &InputDigest, is_bam: bool) -> Result<Vec<String>, Error> {
    let in_words = |oddity: &Oddity| match *oddity {
        Oddity::NoEndBlock => Ok(format!(
            "{}: the BGZF block that marks the end is missing: every record is whole, but more may have followed",
            path.display()
        )),
        Oddity::Garbage { offset, .. } if is_bam => {
            let place = Place { offset: Some(offset), ..Place::file(path) };
            Err(Error::corrupt(place, "BGZF block", "1f 8b 08 04", "bytes that are none"))
        }
        Oddity::Garbage { offset, size_bytes } => Ok(format!(
            "{}: the {size_bytes} bytes from byte {offset} on are no gzip and were passed over",
            path.display()
        )),
    };
    digest.oddities.iter().map(in_words).collect()
}

/// Warns about qualities that were recognised as being in an unusual encoding.
pub(super) fn read_as(paths: &[&Path], encoding: Encoding, range: &QualityRange) -> String {
    format!(
        "{}: qualities were read as {}, not as Phred+33: the first ones are {} (--quality-encoding chooses another)",
        names(paths),
        encoding.name(),
        range.in_words()
    )
}

/// Warns about what only shows in all records of a unit together.
pub(super) fn of_evidence(
    paths: &[&Path],
    evidence: &Evidence,
    read_as: Encoding,
    asked_for: QualityEncoding,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let is_open = asked_for == QualityEncoding::Auto && matches!(read_as, Encoding::Phred33 | Encoding::Raw);
    if let Some(encoding) = evidence.qualities.suspected().filter(|_| is_open) {
        let (name, words) = (encoding.name(), evidence.qualities.in_words());
        warnings.push(if read_as == Encoding::Raw {
            format!(
                "{}: qualities seem to have been {name} when the file was made, and taken for Phred+33: they are {words}, \
                 so that mean_quality is 31 too high",
                names(paths)
            )
        } else {
            let option = if encoding == Encoding::Solexa { "solexa" } else { "phred64" };
            format!(
                "{}: qualities were read as Phred+33 but may be {name}: they are {words} (--quality-encoding {option})",
                names(paths)
            )
        });
    }
    if evidence.num_pairs > 0 && evidence.num_equal_pairs == evidence.num_pairs {
        warnings.push(format!(
            "{}: in all {} pairs the mates have the same sequence: were the same reads given twice?",
            names(paths),
            evidence.num_pairs
        ));
    }
    warnings
}

/// Warns about inputs that are copies of each other.
pub(super) fn of_copies(inputs: &[Input]) -> Vec<String> {
    let copy = |(number, input): (usize, &Input)| {
        let first = inputs[..number].iter().find(|before| before.sha256 == input.sha256)?;
        Some(format!("{} and {} are the same, byte for byte: their reads are included twice", first.path, input.path))
    };
    inputs.iter().enumerate().filter_map(copy).collect()
}

fn names(paths: &[&Path]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
}
