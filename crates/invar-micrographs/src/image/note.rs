use std::fmt;

use serde::{Deserialize, Serialize};

use super::Orientation;

/// Something a person should know about how a file or a page was read. `Display` gives a sentence without a final
/// period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Note {
    /// The page was turned upright, according to its tag, as in image viewers.
    Turned {
        /// The orientation in the tag.
        orientation: Orientation,
    },
    /// The pixels are indices of a palette; its colours are returned. For a label mask, the indices are.
    Palette,
    /// Bytes that the format defines as signed are read as unsigned, because the header mentions values above 127.
    UnsignedBytes {
        /// The smallest value, according to the header.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// Columns and rows of the file are not x and y: the pixels are returned as stored, and so is the order of the
    /// pixel sizes.
    Axes {
        /// The axis that runs along a row: 'x', 'y' or 'z'.
        columns: char,
        /// The axis that runs down a column.
        rows: char,
    },
    /// Only the width of a pixel is stated; pixels are assumed to be square.
    SquarePixels,
    /// The file claims more pictures than it holds.
    FewerPictures {
        /// The number in the description.
        said: u64,
        /// The actual number.
        found: u64,
    },
    /// Only the first frame of an animation or a collection is read.
    FirstFrame {
        /// The number of frames.
        num_frames: u64,
    },
    /// The chain of directories leads nowhere after the last page.
    BrokenChain {
        /// The byte offset it leads to.
        offset: u64,
    },
    /// A part of the file that is not a picture was left out.
    NoPicture {
        /// What it is.
        what: String,
    },
    /// The page looks like a smaller copy of another, but the file does not say so.
    LooksLikeCopy {
        /// The larger page, 1-based in the file.
        of: u32,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Turned { orientation } => write!(f, "turned upright, following orientation {}", orientation.number()),
            Self::Palette => f.write_str("a palette: its colours are read (as a label mask, the indices are)"),
            Self::UnsignedBytes { min, max } => {
                write!(f, "bytes read as unsigned, because the header gives values of {min} to {max}")
            }
            Self::Axes { columns, rows } => write!(f, "columns run along {columns} and rows along {rows}, as stored"),
            Self::SquarePixels => f.write_str("only the width of a pixel is stated: pixels are assumed to be square"),
            Self::FewerPictures { said, found } => {
                write!(f, "the description mentions {said} pictures, the file holds {found}")
            }
            Self::FirstFrame { num_frames } => write!(f, "the first of {num_frames} frames is read"),
            Self::BrokenChain { offset } => {
                write!(
                    f,
                    "the chain of directories leads to byte {offset}, where there is none: the pages before it are read"
                )
            }
            Self::NoPicture { what } => write!(f, "{what} was left out"),
            Self::LooksLikeCopy { of } => write!(f, "has the shape of page {of} made smaller"),
        }
    }
}

/// A page of a file that is not a separate picture and was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its number in the file, 1-based.
    pub page: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// What it is.
    pub what: Preview,
}

/// What a page that is not a separate picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preview {
    /// A smaller copy of another page: a level of a pyramid, or a thumbnail.
    Reduced,
    /// A transparency mask of another page.
    Mask,
    /// A photograph of the label of a slide.
    Label,
    /// A photograph of the whole slide.
    Macro,
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reduced => "a smaller copy of another page",
            Self::Mask => "a transparency mask",
            Self::Label => "a picture of the slide's label",
            Self::Macro => "a picture of the whole slide",
        })
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {} ({} x {} px), {}, was left out", self.page, self.width, self.height, self.what)
    }
}
