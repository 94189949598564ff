//! CRAM (specification 3.0 and 3.1), decoded by noodles and handed on as decompressed BAM, so that there is one way
//! from alignment records to rows.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use noodles::{bam, cram, sam::alignment::io::Write as _};

use crate::{
    Error,
    error::Place,
    source::{Block, InputDigest, Outlet, Source, SourceReader, Stop},
};

mod reference;

use reference::Complaint;
pub(crate) use reference::Reference;

/// Decompressed bytes in a block.
const BLOCK_BYTES: usize = 1 << 20;

/// Bytes after the header of the container that marks the end (section 9), which noodles leaves unread.
const END_BYTES: u64 = 15;

/// A source of the records of a CRAM file; `start` are the bytes that were taken from `source` already.
pub(crate) fn convert(source: Source, start: Vec<u8>, reference: Reference) -> Source {
    let path = source.path().to_path_buf();
    let place = Place::file(&path);
    Source::generate(&path, move |outlet| {
        // The decoder asserts what a damaged file can break.
        catch_unwind(AssertUnwindSafe(|| decode(SourceReader::new(source, start), &reference, outlet))).unwrap_or_else(
            |panic| Err(Error::corrupt(place, "CRAM container", "an intact container", panic_text(&*panic)).into()),
        )
    })
}

fn decode(stored: SourceReader, reference: &Reference, outlet: &Outlet) -> Result<InputDigest, Stop> {
    let mut reader = cram::io::reader::Builder::default()
        .set_reference_sequence_repository(reference.repository())
        .build_from_reader(stored);
    let mut num_records = 0;
    let result = send_records(&mut reader, reference, outlet, &mut num_records);
    let mut stored = reader.into_inner();
    let result = result.and_then(|()| io::copy(&mut stored, &mut io::sink()).map_err(Failure::Read));
    match result {
        Ok(END_BYTES) => stored.source().digest().cloned().ok_or(Stop::Unwanted),
        Ok(0..END_BYTES) => {
            let error = io::ErrorKind::UnexpectedEof.into();
            Err(Stop::Failed(explain(error, &mut stored, reference, num_records)))
        }
        Ok(found) => {
            let place = Place::file(stored.source().path());
            Err(Error::corrupt(place, "bytes in the last CRAM container", END_BYTES, found).into())
        }
        Err(Failure::Unwanted) => Err(Stop::Unwanted),
        Err(Failure::Read(error)) => Err(Stop::Failed(explain(error, &mut stored, reference, num_records))),
    }
}

enum Failure {
    Unwanted,
    Read(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn send_records(
    reader: &mut cram::io::Reader<SourceReader>,
    reference: &Reference,
    outlet: &Outlet,
    num_records: &mut u64,
) -> Result<(), Failure> {
    let header = reader.read_header()?;
    reference.expect(&header);
    let mut writer = bam::io::Writer::from(Vec::new());
    writer.write_header(&header)?;
    let send = |bytes: Vec<u8>| outlet.send(Block::Ready(bytes)).map_err(|_| Failure::Unwanted);
    for record in reader.records(&header) {
        writer.write_alignment_record(&header, &record?)?;
        *num_records += 1;
        if writer.get_ref().len() >= BLOCK_BYTES {
            send(std::mem::take(writer.get_mut()))?;
            reference.forget_old();
        }
    }
    send(writer.into_inner())
}

/// Turns what the decoder says into an error of ours.
fn explain(error: io::Error, stored: &mut SourceReader, reference: &Reference, num_records: u64) -> Error {
    let place = Place { record: Some(num_records + 1), ..Place::file(stored.source().path()) };
    if let Some(failure) = stored.failure.take() {
        return failure;
    }
    match reference.complaint() {
        Some(Complaint::Missing { name, found }) => {
            return Error::MissingReference { place: place.into(), reference: name, found };
        }
        Some(Complaint::Another { name, expected, found }) => {
            return Error::corrupt(place, format!("MD5 of reference sequence {name:?}"), expected, found);
        }
        None => {}
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated {
            place: place.into(),
            expected: "the CRAM container that marks the end of the file".into(),
            found: "the end of the file".into(),
        },
        _ => Error::corrupt(place, "CRAM container", "an intact container", error),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "one that breaks the decoder".into())
}

/// Opens the reference of CRAM files.
pub(crate) fn open_reference(
    path: Option<&Path>,
    open: impl FnOnce(&Path) -> Result<Source, Error>,
    scratch: &Path,
) -> Result<Reference, Error> {
    match path {
        None => Ok(Reference::none()),
        Some(path) => Reference::read(SourceReader::new(open(path)?, Vec::new()), path, scratch),
    }
}
