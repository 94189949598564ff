//! The pixel size as written into TIFF by microscope vendors and programs.

use std::collections::BTreeMap;

use crate::{
    PixelSize, PixelSizeSource,
    read::{
        ByteSource,
        tiff::directory::{Directory, Header, tag},
        units::{self, NM_PER_METRE},
    },
};

mod structures;
mod text;

#[cfg(feature = "fuzzing")]
pub(crate) use text::any;
use text::{aperio, fei, jeol_magnification, tescan, thermo_xml, zeiss};

const FEI_TAGS: [u16; 3] = [34680, 34682, 34683];
const ZEISS_TAG: u16 = 34118;
const TESCAN_TAG: u16 = 50431;
/// Tags of Digital Micrograph for unit and scale: of columns, then of rows.
const DM_TAGS: [(u16, u16); 2] = [(65003, 65009), (65004, 65010)];

/// A page as seen by the readers of vendor tags.
#[derive(Clone, Copy)]
pub(crate) struct Tags<'a> {
    pub(crate) source: &'a ByteSource,
    pub(crate) header: &'a Header,
    pub(crate) directory: &'a Directory,
    /// Width of the page.
    pub(crate) width: u32,
}

impl Tags<'_> {
    /// The pixel size stated in one of the vendors' tags.
    pub(crate) fn pixel_size(&self) -> Option<PixelSize> {
        FEI_TAGS
            .iter()
            .find_map(|&tag| self.text(tag).and_then(|text| fei(&text).or_else(|| thermo_xml(&text))))
            .or_else(|| zeiss(&self.text(ZEISS_TAG)?, self.width))
            .or_else(|| self.tescan())
            .or_else(|| self.olympus())
            .or_else(|| self.tvips())
            .or_else(|| self.metamorph())
            .or_else(|| self.lsm())
            .or_else(|| self.jeol())
            .or_else(|| self.digital_micrograph())
            .or_else(|| aperio(&self.text(tag::DESCRIPTION)?))
            .or_else(|| self.imagej())
            .or_else(|| self.resolution())
    }

    /// The text follows a short binary header.
    fn tescan(&self) -> Option<PixelSize> {
        let bytes = self.directory.bytes(self.source, TESCAN_TAG).ok()??;
        tescan(&super::directory::decode_text(&bytes))
    }

    /// The unit of the resolution tags in nanometres.
    fn resolution_unit_nm(&self) -> Option<f64> {
        match self.directory.number(self.source, self.header, tag::RESOLUTION_UNIT).ok()?? {
            2 => Some(0.0254 * NM_PER_METRE),
            3 => Some(0.01 * NM_PER_METRE),
            _ => None,
        }
    }

    /// Plain resolution tags; but ImageJ uses another unit, JEOL's are those of the camera, and a Digital Micrograph
    /// unit that is not a length is ignored.
    fn resolution(&self) -> Option<PixelSize> {
        let is_imagej = self.text(tag::DESCRIPTION).is_some_and(|text| ImageJ::parse(&text).is_some());
        let is_of_camera = self.text(tag::MAKE).is_some_and(|make| make.starts_with("JEOL"));
        if is_imagej || is_of_camera || self.directory.has(DM_TAGS[0].0) {
            return None;
        }
        let unit_nm = self.resolution_unit_nm()?;
        let length = |tag: u16| Some(unit_nm / self.real(tag)?);
        units::of_resolution(length(tag::X_RESOLUTION)?, length(tag::Y_RESOLUTION)?)
    }

    fn text(&self, tag: u16) -> Option<String> {
        self.directory.text(self.source, tag)
    }

    fn real(&self, tag: u16) -> Option<f64> {
        self.directory.real(self.source, self.header, tag)
    }

    /// SightX: the resolution is that of the camera, to be divided by the magnification.
    fn jeol(&self) -> Option<PixelSize> {
        if !self.text(tag::MAKE)?.starts_with("JEOL") {
            return None;
        }
        let magnification = jeol_magnification(&self.text(tag::DESCRIPTION)?)?;
        let unit_nm = self.resolution_unit_nm()?;
        let length = |tag: u16| Some(unit_nm / self.real(tag)? / magnification);
        PixelSize::new(length(tag::X_RESOLUTION)?, length(tag::Y_RESOLUTION)?, PixelSizeSource::Jeol)
    }

    fn digital_micrograph(&self) -> Option<PixelSize> {
        let [x_nm, y_nm] = DM_TAGS.map(|(unit, scale)| Some(self.real(scale)? * units::nanometres(&self.text(unit)?)?));
        PixelSize::new(x_nm?, y_nm?, PixelSizeSource::Dm)
    }

    /// The unit is in the description, the pixels per unit in the resolution tags.
    fn imagej(&self) -> Option<PixelSize> {
        let unit_nm = units::nanometres(ImageJ::parse(&self.text(tag::DESCRIPTION)?)?.unit.as_deref()?)?;
        let length = |tag: u16| Some(unit_nm / self.real(tag)?);
        PixelSize::new(length(tag::X_RESOLUTION)?, length(tag::Y_RESOLUTION)?, PixelSizeSource::Imagej)
    }
}

/// What ImageJ writes into the description.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ImageJ {
    pub(crate) unit: Option<String>,
    /// Number of pictures in the file, which may share one directory.
    pub(crate) num_images: Option<u64>,
}

impl ImageJ {
    pub(crate) fn parse(description: &str) -> Option<Self> {
        if !description.starts_with("ImageJ=") {
            return None;
        }
        let fields: BTreeMap<&str, &str> = description.lines().filter_map(|line| line.split_once('=')).collect();
        Some(Self {
            unit: fields.get("unit").map(|&unit| unit.into()),
            num_images: fields.get("images").and_then(|number| number.trim().parse().ok()),
        })
    }
}
