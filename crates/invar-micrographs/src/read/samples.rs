//! Typed pixels from the bytes of a file.

use half::f16;

use crate::{Error, SampleType, Samples};

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// The sample type itself.
    As(SampleType),
    /// Half precision, returned as single precision.
    F16,
    /// One byte, in which anything but 0 is 1.
    Bool,
}

impl Stored {
    /// Bytes per number.
    pub(crate) fn num_bytes(self) -> usize {
        match self {
            Self::As(kind) => kind.num_bytes(),
            Self::F16 => 2,
            Self::Bool => 1,
        }
    }

    /// The type in which it is returned.
    pub(crate) fn sample_type(self) -> SampleType {
        match self {
            Self::As(kind) => kind,
            Self::F16 => SampleType::F32,
            Self::Bool => SampleType::U8,
        }
    }
}

impl SampleType {
    /// Bytes per number.
    pub fn num_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Its NumPy name.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }
}

macro_rules! each {
    ($samples:expr, $values:ident => $body:expr) => {
        match $samples {
            Samples::U8($values) => $body,
            Samples::I8($values) => $body,
            Samples::U16($values) => $body,
            Samples::I16($values) => $body,
            Samples::U32($values) => $body,
            Samples::I32($values) => $body,
            Samples::U64($values) => $body,
            Samples::I64($values) => $body,
            Samples::F32($values) => $body,
            Samples::F64($values) => $body,
        }
    };
}

impl Samples {
    /// `len` zeros.
    pub fn zeros(kind: SampleType, len: usize) -> Self {
        match kind {
            SampleType::U8 => Self::U8(vec![0; len]),
            SampleType::I8 => Self::I8(vec![0; len]),
            SampleType::U16 => Self::U16(vec![0; len]),
            SampleType::I16 => Self::I16(vec![0; len]),
            SampleType::U32 => Self::U32(vec![0; len]),
            SampleType::I32 => Self::I32(vec![0; len]),
            SampleType::U64 => Self::U64(vec![0; len]),
            SampleType::I64 => Self::I64(vec![0; len]),
            SampleType::F32 => Self::F32(vec![0.0; len]),
            SampleType::F64 => Self::F64(vec![0.0; len]),
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number type.
    pub fn sample_type(&self) -> SampleType {
        match self {
            Self::U8(_) => SampleType::U8,
            Self::I8(_) => SampleType::I8,
            Self::U16(_) => SampleType::U16,
            Self::I16(_) => SampleType::I16,
            Self::U32(_) => SampleType::U32,
            Self::I32(_) => SampleType::I32,
            Self::U64(_) => SampleType::U64,
            Self::I64(_) => SampleType::I64,
            Self::F32(_) => SampleType::F32,
            Self::F64(_) => SampleType::F64,
        }
    }

    /// Their memory, in the byte order of the machine.
    pub fn as_ne_bytes(&self) -> &[u8] {
        each!(self, values => bytemuck::cast_slice(values))
    }

    /// See [`Samples::as_ne_bytes`]. Every bit pattern is a valid value.
    pub(crate) fn as_ne_bytes_mut(&mut self) -> &mut [u8] {
        each!(self, values => bytemuck::cast_slice_mut(values))
    }
}

/// Converts stored numbers of `size` bytes in place to the byte order of the machine.
pub(crate) fn to_native(bytes: &mut [u8], size: usize, big_endian: bool) {
    if big_endian == cfg!(target_endian = "big") {
        return;
    }
    match size {
        2 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|n| n.reverse()),
        4 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|n| n.reverse()),
        8 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|n| n.reverse()),
        _ => {}
    }
}

/// Up to 16 bits of a row, most significant first.
pub(crate) fn bits_at(row: &[u8], first: usize, bits: u16) -> u16 {
    let byte = |index: usize| u32::from(row.get(first / 8 + index).copied().unwrap_or(0));
    let word = byte(0) << 16 | byte(1) << 8 | byte(2);
    let shift = 24 - (first % 8) as u32 - u32::from(bits);
    (word >> shift & ((1 << bits) - 1)) as u16
}

/// Samples of `stored` numbers in the byte order of the machine; `fill` writes their bytes.
pub(crate) fn collect(
    stored: Stored,
    len: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
) -> Result<Samples, Error> {
    match stored {
        Stored::As(kind) => {
            let mut samples = Samples::zeros(kind, len);
            fill(samples.as_ne_bytes_mut())?;
            Ok(samples)
        }
        Stored::F16 => {
            let mut halves = vec![0u16; len];
            fill(bytemuck::cast_slice_mut(&mut halves))?;
            Ok(Samples::F32(halves.into_iter().map(|bits| f16::from_bits(bits).to_f32()).collect()))
        }
        Stored::Bool => {
            let mut bytes = vec![0; len];
            fill(&mut bytes)?;
            bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
            Ok(Samples::U8(bytes))
        }
    }
}
