//! What a picture consists of, on its way from a file to a view.

use serde::{Deserialize, Serialize};

mod note;
mod orientation;

pub use note::{LeftOut, Note, Preview};
pub use orientation::Orientation;

/// The number type of a pixel in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum SampleType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// Pixel values as stored in the file, channels interleaved: `[rows, width, channels]`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Samples {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// A description of one picture of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct PageInfo {
    /// Name of the page, if the file gives one.
    pub name: Option<String>,
    /// Width, in pixels.
    pub width: u32,
    /// Height, in pixels.
    pub height: u32,
    /// Values per pixel: 1 for grey, 3 for RGB; an alpha channel is dropped.
    pub channels: u16,
    /// Number type.
    pub sample_type: SampleType,
    /// Physical size of a pixel, if the file states one. Never guessed.
    pub pixel_size: Option<PixelSize>,
    /// Whether the compression changes values (JPEG): such a page cannot hold labels.
    pub is_lossy: bool,
    /// How the file's rows and columns are oriented. Pixels are returned upright; all other fields describe the upright
    /// picture.
    pub orientation: Orientation,
    /// What was decided in reading the page, where the file leaves a choice.
    pub notes: Vec<Note>,
}

impl PageInfo {
    /// The page as returned if its stored rows and columns have this orientation.
    pub(crate) fn turned(mut self, orientation: Orientation) -> Self {
        if orientation.is_upright() {
            return self;
        }
        if orientation.is_transposed() {
            std::mem::swap(&mut self.width, &mut self.height);
            self.pixel_size = self.pixel_size.map(|size| PixelSize { x_nm: size.y_nm, y_nm: size.x_nm, ..size });
        }
        self.orientation = orientation;
        self.notes.push(Note::Turned { orientation });
        self
    }

    /// `[rows, columns]` as stored.
    pub(crate) fn stored_size(&self) -> [u32; 2] {
        if self.orientation.is_transposed() { [self.width, self.height] } else { [self.height, self.width] }
    }
}

/// Physical size of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PixelSize {
    /// Distance between neighbouring columns, in nanometres.
    pub x_nm: f64,
    /// Distance between neighbouring rows, in nanometres.
    pub y_nm: f64,
    /// Where it comes from.
    pub source: PixelSizeSource,
}

/// The source of a pixel size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelSizeSource {
    /// OME-XML, `PhysicalSizeX`.
    Ome,
    /// ImageJ's description and resolution tags.
    Imagej,
    /// FEI / Thermo Fisher tags 34680 and 34682.
    Fei,
    /// Zeiss tag 34118.
    Zeiss,
    /// Olympus SIS tag 33560.
    Olympus,
    /// JEOL SightX text.
    Jeol,
    /// TESCAN tag 50431.
    Tescan,
    /// TVIPS EM-MENU tag 37706.
    Tvips,
    /// MetaMorph STK tag 33628.
    Metamorph,
    /// Aperio's description, `MPP`.
    Aperio,
    /// TIFF's resolution tags or PNG's `pHYs`, if they are finer than anything printed.
    Resolution,
    /// MRC header, cell size over sampling.
    Mrc,
    /// Digital Micrograph calibration, in DM files or the TIFFs that the program writes.
    Dm,
    /// A column of the sample sheet.
    Sheet,
    /// The command line or the recipe.
    User,
}

impl PixelSizeSource {
    /// Its name in the column `pixel_size_source`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ome => "ome",
            Self::Imagej => "imagej",
            Self::Fei => "fei",
            Self::Zeiss => "zeiss",
            Self::Olympus => "olympus",
            Self::Jeol => "jeol",
            Self::Tescan => "tescan",
            Self::Tvips => "tvips",
            Self::Metamorph => "metamorph",
            Self::Aperio => "aperio",
            Self::Resolution => "resolution",
            Self::Mrc => "mrc",
            Self::Dm => "dm",
            Self::Sheet => "sheet",
            Self::User => "user",
        }
    }
}

/// A picture in memory or in a mapped file.
#[derive(Clone, Copy, Debug)]
pub struct ImageRef<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Planes.
    pub channels: usize,
    /// Values, plane by plane: `[channels, height, width]`.
    pub pixels: PixelsRef<'a>,
}

/// Stored pixels: 8 and 16 bits unchanged, every other number type as single precision.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum PixelsRef<'a> {
    U8(&'a [u8]),
    U16(&'a [u16]),
    F32(&'a [f32]),
}

/// The values that become 0 and 1 in views: the 1st and 99th percentile of the whole image by default. One pair per
/// image, so that no tile or grain is stretched separately.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    /// Becomes 0.
    pub low: f32,
    /// Becomes 1; greater than `low`, even if the image has a single value.
    pub high: f32,
}
