//! CRAM (specification 3.0 and 3.1), decoded by noodles and passed on as decompressed BAM, so that there is a single
//! path from alignment records to rows.
//!
//! The decoder is given one container at a time (see [`container`]), so that its differences from samtools can be
//! corrected, and an error can name the record.

use std::{borrow::Cow, io, path::Path};

use invar_dataset::guarded;
use noodles::{
    bam, cram,
    sam::{
        self,
        alignment::{Record as _, RecordBuf, io::Write as _},
    },
};

use crate::{
    Error,
    error::Place,
    source::{Block, InputReader, InputStream, Outlet, Stop},
};

mod container;
mod reference;

use container::{Container, SliceReference};
use reference::Complaint;
pub(crate) use reference::Reference;

/// Decompressed bytes per block.
const BLOCK_BYTES: usize = 1 << 20;

/// How far a read may extend past the end of its reference: this much memory is spent on each sequence.
const MAX_OVERHANG_BP: usize = 1 << 26;

/// The same if the bases of the reference are not needed, in which case reads extend past its end from the first base
/// on.
const MAX_UNNEEDED_BP: usize = 1 << 22;

/// A source of the records of a CRAM file; `start` are the bytes already taken from `source`.
pub(crate) fn convert(source: InputStream, start: Vec<u8>, reference: Reference) -> InputStream {
    let path = source.path().to_path_buf();
    InputStream::generate(&path, move |outlet| {
        let mut stored = InputReader::new(source, start);
        let mut conversion = Conversion { reference: &reference, outlet, num_records: 0, name: None };
        match conversion.run(&mut stored) {
            Ok(()) => stored.source().digest().cloned().ok_or(Stop::Unwanted),
            Err(Failure::Unwanted) => Err(Stop::Unwanted),
            Err(failure) => Err(conversion.explain(failure, &mut stored).into()),
        }
    })
}

enum Failure {
    Unwanted,
    Read(io::Error),
    /// The decoder panicked.
    Decoder(String),
    /// The file ends without the end-of-file container.
    NoEnd,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// The state of the conversion of a file.
struct Conversion<'a> {
    reference: &'a Reference,
    outlet: &'a Outlet,
    /// Number of records sent.
    num_records: u64,
    /// The name of the next one, if it could be read.
    name: Option<String>,
}

impl Conversion<'_> {
    fn run(&mut self, stored: &mut InputReader) -> Result<(), Failure> {
        let header = guarded(|| cram::io::Reader::new(&mut *stored).read_header()).map_err(Failure::Decoder)??;
        self.reference.expect(&header);
        let mut writer = bam::io::Writer::from(Vec::new());
        writer.write_header(&header)?;
        let mut marks_end = false;
        while let Some(mut container) = container::read(stored)? {
            marks_end = container.marks_end;
            if !container.is_empty() {
                self.container(&header, &mut container, &mut writer)?;
            }
        }
        self.send(writer.into_inner())?;
        if marks_end { Ok(()) } else { Err(Failure::NoEnd) }
    }

    fn send(&self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.outlet.send(Block::Ready(bytes)).map_err(|_| Failure::Unwanted)
    }

    fn container(
        &mut self,
        header: &sam::Header,
        container: &mut Container,
        writer: &mut bam::io::Writer<Vec<u8>>,
    ) -> Result<(), Failure> {
        let is_needed = container.needs_reference();
        let references = container.take_references();
        self.reference.set_needed(is_needed);
        for reference in references.iter().flatten().filter(|_| is_needed) {
            self.reference.check_slice(header, reference)?;
        }
        let whole = guarded(|| {
            let mut whole = cram::io::reader::Container::default();
            let mut bytes = container.bytes.as_slice();
            cram::io::Reader::new(&mut bytes).read_container(&mut whole)?;
            let compression_header = whole.compression_header()?;
            Ok::<_, io::Error>((whole, compression_header))
        });
        let (whole, compression_header) = whole.map_err(Failure::Decoder)??;
        let mut slices = whole.slices();
        for reference in references {
            let Some(slice) = guarded(|| slices.next()).map_err(Failure::Decoder)?.transpose()? else { break };
            let blocks = guarded(|| slice.decode_blocks()).map_err(Failure::Decoder)??;
            let (core, mut external) = blocks;
            loop {
                if let Some(reference) = reference.as_ref() {
                    pad_embedded(reference, &mut external, self.reference.padding_bp());
                }
                let repository = self.reference.repository();
                let records = guarded(|| slice.records(repository, header, &compression_header, &core, &external));
                let records = records.map_err(Failure::Decoder)??;
                let overhang = match &reference {
                    // The decoder requests no sequence.
                    Some(reference) if !is_needed && reference.embedded.is_none() => 0,
                    reference => self.overhang(header, &records, reference.as_ref(), &external),
                };
                if overhang > if is_needed { MAX_OVERHANG_BP } else { MAX_UNNEEDED_BP } {
                    return Err(Failure::Decoder(format!("a read that ends {overhang} bases after its reference")));
                }
                if overhang <= self.reference.padding_bp() {
                    self.records(header, &records, writer)?;
                    break;
                }
                drop(records);
                self.reference.pad(overhang.next_multiple_of(1 << 12));
            }
        }
        self.reference.forget_old();
        Ok(())
    }

    /// The maximum number of bases by which records extend past the end of their reference.
    fn overhang(
        &self,
        header: &sam::Header,
        records: &[cram::Record<'_>],
        reference: Option<&SliceReference>,
        external: &[External<'_>],
    ) -> usize {
        let embedded = reference.and_then(|reference| {
            let block = external.iter().find(|(block, _)| Some(*block) == reference.embedded)?;
            Some(reference.start + block.1.len() - 1 - self.reference.padding_bp())
        });
        let of_record = |record: &cram::Record<'_>| {
            let is_aligned = record.flags().is_ok_and(|flags| !flags.is_unmapped());
            let end = guarded(|| record.alignment_end()).ok()??.ok().filter(|_| is_aligned)?;
            let number = record.reference_sequence_id(header)?.ok()?;
            let (name, _) = header.reference_sequences().get_index(number)?;
            Some(usize::from(end).saturating_sub(embedded.unwrap_or_else(|| self.reference.length_bp(name))))
        };
        records.iter().filter_map(of_record).max().unwrap_or(0)
    }

    fn records(
        &mut self,
        header: &sam::Header,
        records: &[cram::Record<'_>],
        writer: &mut bam::io::Writer<Vec<u8>>,
    ) -> Result<(), Failure> {
        for record in records {
            self.name = record.name().map(ToString::to_string);
            let record = guarded(|| RecordBuf::try_from_alignment_record(header, record)).map_err(Failure::Decoder)?;
            let mut record = record?;
            // The decoder returns zeros for missing qualities, for which htslib returns none.
            let qualities = record.quality_scores_mut().as_mut();
            if qualities.iter().all(|&quality| quality == 0) {
                qualities.clear();
            }
            guarded(|| writer.write_alignment_record(header, &record)).map_err(Failure::Decoder)??;
            self.num_records += 1;
            self.name = None;
            if writer.get_ref().len() >= BLOCK_BYTES {
                self.send(std::mem::take(writer.get_mut()))?;
            }
        }
        Ok(())
    }

    /// Converts a failure into an error of ours.
    fn explain(&self, failure: Failure, stored: &mut InputReader) -> Error {
        let path = stored.source().path();
        let place = Place { record: Some(self.num_records + 1), name: self.name.clone(), ..Place::file(path) };
        if let Some(failure) = stored.failure.take() {
            return failure;
        }
        match self.reference.complaint() {
            Some(Complaint::Missing { name, found }) => {
                return Error::MissingReference { place: place.into(), reference: name, found };
            }
            Some(Complaint::Another { what, expected, found }) => return Error::corrupt(place, what, expected, found),
            None => {}
        }
        let is_cut = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
        match failure {
            Failure::Decoder(text) => Error::corrupt(
                place,
                "CRAM record",
                "one that the decoder of noodles knows (`samtools view -b` may convert it to BAM)",
                text,
            ),
            Failure::Read(error) if !is_cut(&error) => {
                Error::corrupt(place, "CRAM container", "an intact container", error)
            }
            _ => Error::Truncated {
                place: place.into(),
                expected: "the CRAM container that marks the end of the file".into(),
                found: "the end of the file".into(),
            },
        }
    }
}

/// An external block of a slice: number and bytes.
type External<'a> = (i32, Cow<'a, [u8]>);

/// Appends `N`s to the bases of the reference that a slice carries.
fn pad_embedded(reference: &SliceReference, external: &mut [External<'_>], padding_bp: usize) {
    let block = external.iter_mut().find(|(block, _)| Some(*block) == reference.embedded);
    if let Some((_, bases)) = block.filter(|_| padding_bp > 0) {
        let padded = bases.len() + padding_bp;
        bases.to_mut().resize(padded, b'N');
    }
}

/// Opens the reference for CRAM files.
pub(crate) fn open_reference(
    path: Option<&Path>,
    open: impl FnOnce(&Path) -> Result<InputStream, Error>,
    scratch: &Path,
) -> Result<Reference, Error> {
    match path {
        None => Ok(Reference::none()),
        Some(path) => Reference::read(InputReader::new(open(path)?, Vec::new()), path, scratch),
    }
}
