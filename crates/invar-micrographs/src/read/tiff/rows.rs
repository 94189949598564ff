//! Decompressed rows to numbers: byte order, predictors (TIFF 6.0 section 14; Technical Note 3), packed bits.

use std::borrow::Cow;

use crate::read::{
    samples::{bits_at, to_native},
    tiff::layout::{Layout, Predictor},
};

impl Layout {
    /// Bytes per number, once unpacked.
    pub(crate) fn value_bytes(&self) -> usize {
        self.stored.num_bytes()
    }

    /// Whether decompressed rows hold the numbers in their final size.
    pub(crate) fn is_whole_bytes(&self) -> bool {
        self.bits.is_multiple_of(8)
    }

    /// Converts decompressed rows of whole bytes in place to numbers in the byte order of the machine.
    pub(crate) fn finish(&self, rows: &mut [u8]) {
        let size = self.value_bytes();
        let row_bytes = self.row_bytes() as usize;
        let stride = self.per_pixel() as usize;
        match self.predictor {
            Predictor::None => to_native(rows, size, self.big_endian),
            Predictor::Horizontal => {
                to_native(rows, size, self.big_endian);
                for row in rows.chunks_exact_mut(row_bytes) {
                    add_left(row, size, stride);
                }
            }
            Predictor::Float => {
                let mut scratch = vec![0; row_bytes];
                for row in rows.chunks_exact_mut(row_bytes) {
                    join_float_bytes(row, &mut scratch, size, stride);
                }
            }
        }
    }

    /// The same for numbers of any number of bits: converts rows of `row_bytes` to rows of whole-byte numbers.
    pub(crate) fn unpack<'a>(&self, rows: &'a mut [u8]) -> Cow<'a, [u8]> {
        if self.is_whole_bytes() {
            self.finish(rows);
            return Cow::Borrowed(rows);
        }
        let row_len = self.chunk_width as usize * self.per_pixel() as usize;
        let row_bytes = self.row_bytes() as usize;
        let mut values = Vec::with_capacity(rows.len() / row_bytes * row_len * self.value_bytes());
        for row in rows.chunks_exact(row_bytes) {
            for index in 0..row_len {
                let value = bits_at(row, index * usize::from(self.bits), self.bits);
                match self.value_bytes() {
                    1 => values.push(value as u8),
                    _ => values.extend_from_slice(&value.to_ne_bytes()),
                }
            }
        }
        Cow::Owned(values)
    }
}

/// Undoes horizontal differencing: each number is the sum of those before it in its channel.
fn add_left(row: &mut [u8], size: usize, stride: usize) {
    macro_rules! add {
        ($type:ty) => {{
            let (values, _) = row.as_chunks_mut::<{ size_of::<$type>() }>();
            if stride == 1 {
                let mut sum: $type = 0;
                for value in values {
                    sum = sum.wrapping_add(<$type>::from_ne_bytes(*value));
                    *value = sum.to_ne_bytes();
                }
            } else {
                for index in stride..values.len() {
                    let left = <$type>::from_ne_bytes(values[index - stride]);
                    values[index] = <$type>::from_ne_bytes(values[index]).wrapping_add(left).to_ne_bytes();
                }
            }
        }};
    }
    match size {
        1 => add!(u8),
        2 => add!(u16),
        4 => add!(u32),
        _ => add!(u64),
    }
}

/// Undoes the floating-point predictor: differenced bytes, sorted by significance, most significant first.
fn join_float_bytes(row: &mut [u8], scratch: &mut [u8], size: usize, stride: usize) {
    add_left(row, 1, stride);
    scratch.copy_from_slice(row);
    let num_values = row.len() / size;
    for (index, value) in row.chunks_exact_mut(size).enumerate() {
        for (byte, out) in value.iter_mut().enumerate() {
            let significance = if cfg!(target_endian = "big") { byte } else { size - 1 - byte };
            *out = scratch[significance * num_values + index];
        }
    }
}
