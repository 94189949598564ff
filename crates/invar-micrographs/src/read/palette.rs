//! Palettes, for TIFF and PNG alike: for a picture the colours are returned, or grey if all colours are grey; for a
//! label mask the indices are.

use crate::{Error, Samples};

/// The purpose for which a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Viewing: what the pixels look like.
    Picture,
    /// Identifying pixels: the stored numbers.
    Labels,
}

/// The colours of a palette.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Palette {
    colours: Vec<[u8; 3]>,
}

impl Palette {
    pub(crate) fn new(colours: Vec<[u8; 3]>) -> Self {
        Self { colours }
    }

    /// 1 if all colours are grey, else 3.
    pub(crate) fn channels(&self) -> u16 {
        if self.colours.iter().all(|[red, green, blue]| red == green && green == blue) { 1 } else { 3 }
    }

    /// The colours of indices; the error is the first index without one.
    pub(crate) fn colours(&self, indices: &Samples) -> Result<Samples, usize> {
        match indices {
            Samples::U8(indices) => self.look_up(indices.iter().map(|&index| usize::from(index))),
            Samples::U16(indices) => self.look_up(indices.iter().map(|&index| usize::from(index))),
            other => Ok(other.clone()),
        }
    }

    fn look_up(&self, indices: impl Iterator<Item = usize>) -> Result<Samples, usize> {
        let channels = usize::from(self.channels());
        let mut values = Vec::with_capacity(indices.size_hint().0 * channels);
        for index in indices {
            let colour = self.colours.get(index).ok_or(index)?;
            values.extend_from_slice(&colour[..channels]);
        }
        Ok(Samples::U8(values))
    }

    /// The error for an index.
    pub(crate) fn error(&self, index: usize, corrupt: impl FnOnce(&str, String, usize) -> Error) -> Error {
        corrupt("an index of the palette", format!("less than the {} colours", self.colours.len()), index)
    }
}
