use super::Layer;

/// First bytes of a file of weights.
const MAGIC: &[u8; 8] = b"INVARBN1";
/// No network of ours is larger; a greater length means a damaged file, not a need for memory.
const MAX_CHANNELS: usize = 1024;
const MAX_LEVELS: usize = 8;

/// Why bytes are not a boundary network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// It begins with something else.
    #[error("not a file of boundary network weights: it begins with {0:?}, expected \"INVARBN1\"")]
    Magic(String),
    /// The number of bytes does not match the header.
    #[error("boundary network weights of {found} bytes, expected {expected}")]
    Length {
        /// The number required by the header.
        expected: usize,
        /// The actual number of bytes.
        found: usize,
    },
    /// An invalid number in the header.
    #[error("boundary network weights with {what} {found}, expected 1 to {most}")]
    Header {
        /// Which number.
        what: &'static str,
        /// The actual number.
        found: u32,
        /// The largest allowed.
        most: usize,
    },
    /// The bytes were changed.
    #[error("boundary network weights of checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// The stored checksum.
        expected: u32,
        /// That of the bytes.
        found: u32,
    },
    /// The convolutions are not those of a U-Net with two inputs and one output.
    #[error("convolution {index} of shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which convolution, 0-based.
        index: usize,
        /// Channels out, channels in, side of the kernel, as required.
        expected: [usize; 3],
        /// The actual ones.
        found: [usize; 3],
    },
    /// A weight is not a number.
    #[error("boundary network weight {index} is {found}, expected a finite number")]
    NotFinite {
        /// Which weight, 0-based.
        index: usize,
        /// The weight.
        found: String,
    },
}

/// `[out, in, side]` of the convolutions of a U-Net whose levels have `channels`.
pub(super) fn shapes(channels: &[usize]) -> Vec<[usize; 3]> {
    let inputs = std::iter::once(super::NUM_INPUTS).chain(channels.iter().copied());
    let down = inputs.zip(channels).flat_map(|(from, &to)| [[to, from, 3], [to, to, 3]]);
    let up = channels.windows(2).rev().flat_map(|two| [[two[0], two[0] + two[1], 3], [two[0], two[0], 3]]);
    down.chain(up).chain(channels.first().map(|&first| [1, first, 1])).collect()
}

/// Magic, number of levels, channels of each (u32), the weights of each convolution, kernel first (f32), CRC-32 of
/// everything before; little-endian.
pub(super) fn write(channels: &[usize], layers: &[Layer]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend((channels.len() as u32).to_le_bytes());
    channels.iter().for_each(|&channels| bytes.extend((channels as u32).to_le_bytes()));
    for value in layers.iter().flat_map(|layer| layer.kernel.iter().chain(&layer.bias)) {
        bytes.extend(value.to_le_bytes());
    }
    let checksum = checksum(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

pub(super) fn read(bytes: &[u8]) -> Result<(Vec<usize>, Vec<Layer>), WeightsError> {
    let start = bytes.get(..8).unwrap_or(bytes);
    if start != MAGIC {
        return Err(WeightsError::Magic(String::from_utf8_lossy(start).into_owned()));
    }
    let word = |at: usize| {
        let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
        word.ok_or(WeightsError::Length { expected: at + 4, found: bytes.len() })
    };
    let bounded = |what, found: u32, most: usize| match found as usize {
        number if (1..=most).contains(&number) => Ok(number),
        _ => Err(WeightsError::Header { what, found, most }),
    };
    let num_levels = bounded("levels", word(8)?, MAX_LEVELS)?;
    let channels = (0..num_levels).map(|level| bounded("channels", word(12 + 4 * level)?, MAX_CHANNELS));
    let channels = channels.collect::<Result<Vec<usize>, _>>()?;
    let shapes = shapes(&channels);
    let head = 12 + 4 * num_levels;
    let num_values: usize = shapes.iter().map(|[out, num_in, side]| out * (num_in * side * side + 1)).sum();
    let expected = head + 4 * num_values + 4;
    if bytes.len() != expected {
        return Err(WeightsError::Length { expected, found: bytes.len() });
    }
    let (body, stored) = (&bytes[..expected - 4], word(expected - 4)?);
    if checksum(body) != stored {
        return Err(WeightsError::Checksum { expected: stored, found: checksum(body) });
    }
    let values = body[head..].chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let values: Vec<f32> = values.collect();
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(WeightsError::NotFinite { index, found: values[index].to_string() });
    }
    let mut rest = values.into_iter();
    let layers = shapes.into_iter().map(|extents| {
        let [out, num_in, side] = extents;
        let kernel = rest.by_ref().take(out * num_in * side * side).collect();
        Layer { extents, kernel, bias: rest.by_ref().take(out).collect() }
    });
    Ok((channels, layers.collect()))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
