//! Converts pixel values from a file's number type to the stored one.

use crate::{PixelsRef, SampleType, Samples};

/// The number types that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredType {
    U8,
    U16,
    F32,
}

impl StoredType {
    /// 8 and 16 bits are unchanged; everything else becomes single precision, which holds integers up to 2^24 exactly.
    pub fn of(sample_type: SampleType) -> Self {
        match sample_type {
            SampleType::U8 => Self::U8,
            SampleType::U16 => Self::U16,
            _ => Self::F32,
        }
    }

    pub fn code(self) -> u32 {
        self as u32
    }

    pub fn from_code(code: u32) -> Option<Self> {
        [Self::U8, Self::U16, Self::F32].into_iter().find(|stored| stored.code() == code)
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }

    /// The bytes of pixels as numbers; `None` if they are not aligned, or on a big-endian machine.
    pub fn view(self, bytes: &[u8]) -> Option<PixelsRef<'_>> {
        if cfg!(target_endian = "big") && self != Self::U8 {
            return None;
        }
        match self {
            Self::U8 => Some(PixelsRef::U8(bytes)),
            Self::U16 => bytemuck::try_cast_slice(bytes).ok().map(PixelsRef::U16),
            Self::F32 => bytemuck::try_cast_slice(bytes).ok().map(PixelsRef::F32),
        }
    }
}

/// Non-finite values among those that were stored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct NotFinite {
    pub count: u64,
    /// Index of the first one's pixel in the band, and its value.
    pub first: Option<(usize, f64)>,
}

/// Writes the values of `channel`, of `channels` interleaved ones, to `out` in the stored type.
pub(crate) fn plane_bytes(samples: &Samples, channels: usize, channel: usize, out: &mut Vec<u8>) -> NotFinite {
    out.clear();
    let mut bad = NotFinite::default();
    macro_rules! singles {
        ($values:expr) => {
            for (pixel, &value) in $values.iter().skip(channel).step_by(channels).enumerate() {
                let single = value as f32;
                if !single.is_finite() {
                    bad.count += 1;
                    bad.first.get_or_insert((pixel, value as f64));
                }
                out.extend_from_slice(&single.to_le_bytes());
            }
        };
    }
    match samples {
        Samples::U8(values) if channels == 1 => out.extend_from_slice(values),
        Samples::U8(values) => out.extend(values.iter().skip(channel).step_by(channels)),
        Samples::U16(values) => {
            out.reserve(2 * values.len() / channels);
            out.extend(values.iter().skip(channel).step_by(channels).flat_map(|value| value.to_le_bytes()));
        }
        Samples::I8(values) => singles!(values),
        Samples::I16(values) => singles!(values),
        Samples::U32(values) => singles!(values),
        Samples::I32(values) => singles!(values),
        Samples::U64(values) => singles!(values),
        Samples::I64(values) => singles!(values),
        Samples::F32(values) => singles!(values),
        Samples::F64(values) => singles!(values),
    }
    bad
}
