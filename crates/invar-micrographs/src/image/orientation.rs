use serde::{Deserialize, Serialize};

/// How the stored rows and columns of a picture are oriented: tag 274 of TIFF and of EXIF (TIFF 6.0, section 8), 1 to
/// 8.
///
/// 1 is upright; 2 mirrored; 3 rotated by 180 degrees; 4 upside down; 5 to 8 are the same with rows and columns
/// exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Orientation(u8);

impl Orientation {
    /// The first row is at the top, the first column at the left.
    pub const UPRIGHT: Self = Self(1);

    /// The orientation with that number; upright if it is invalid, as in all readers.
    pub fn of_tag(number: u64) -> Self {
        match number {
            2..=8 => Self(number as u8),
            _ => Self::UPRIGHT,
        }
    }

    /// 1 to 8.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Whether nothing needs to be turned.
    pub fn is_upright(self) -> bool {
        self == Self::UPRIGHT
    }

    /// Whether the stored rows are the columns of the upright picture.
    pub fn is_transposed(self) -> bool {
        self.0 >= 5
    }
}

impl Default for Orientation {
    fn default() -> Self {
        Self::UPRIGHT
    }
}
