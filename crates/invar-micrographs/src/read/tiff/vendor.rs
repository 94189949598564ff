//! The pixel size as the makers of microscopes and programs write it into TIFF.

use std::collections::BTreeMap;

use crate::{
    PixelSize, PixelSizeSource,
    read::{
        Source,
        tiff::directory::{Directory, Header, tag},
        units::{self, NM_PER_METRE},
    },
};

const FEI_TAGS: [u16; 2] = [34680, 34682];
const ZEISS_TAG: u16 = 34118;
const OLYMPUS_TAG: u16 = 33560;
/// Unit and scale of Digital Micrograph: of columns, then of rows.
const DM_TAGS: [(u16, u16); 2] = [(65003, 65009), (65004, 65010)];

/// A page as the readers of vendor tags see it.
#[derive(Clone, Copy)]
pub(crate) struct Tags<'a> {
    pub(crate) source: &'a Source,
    pub(crate) header: &'a Header,
    pub(crate) directory: &'a Directory,
    /// Columns of the page.
    pub(crate) width: u32,
}

impl Tags<'_> {
    /// The pixel size that one of the vendors' tags states.
    pub(crate) fn pixel_size(&self) -> Option<PixelSize> {
        FEI_TAGS
            .iter()
            .find_map(|&tag| fei(&self.text(tag)?))
            .or_else(|| zeiss(&self.text(ZEISS_TAG)?, self.width))
            .or_else(|| self.olympus())
            .or_else(|| self.jeol())
            .or_else(|| self.digital_micrograph())
            .or_else(|| self.imagej())
    }

    fn text(&self, tag: u16) -> Option<String> {
        self.directory.text(self.source, tag)
    }

    fn real(&self, tag: u16) -> Option<f64> {
        self.directory.real(self.source, self.header, tag)
    }

    /// The structure "SIS0" (`tifffile`, `read_sis`): a list of blocks, of which block 1 has the calibration.
    fn olympus(&self) -> Option<PixelSize> {
        // The value of the tag is where the structure lies.
        let start = self.directory.number(self.source, self.header, OLYMPUS_TAG).ok()??;
        let head = self.source.bytes_at(start, 60, "the Olympus structure").ok()?;
        if !head.starts_with(b"SIS0") {
            return None;
        }
        let num_blocks = u64::from(u16::from_le_bytes([head[58], head[59]]));
        let blocks = self.source.bytes_at(start.checked_add(60)?, 8 * num_blocks, "the Olympus blocks").ok()?;
        let block = blocks.chunks_exact(8).find(|block| block[..2] == [1, 0])?;
        let offset = u32::from_le_bytes(block[4..].try_into().ok()?);
        let data = self.source.bytes_at(u64::from(offset), 28, "the Olympus calibration").ok()?;
        let exponent = i16::from_le_bytes([data[10], data[11]]);
        let metres = 10f64.powi(i32::from(exponent));
        let length = |at: usize| Some(f64::from_le_bytes(data[at..at + 8].try_into().ok()?) * metres * NM_PER_METRE);
        PixelSize::new(length(12)?, length(20)?, PixelSizeSource::Olympus)
    }

    /// SightX: the resolution is that of the camera, to be divided by the magnification.
    fn jeol(&self) -> Option<PixelSize> {
        if !self.text(tag::MAKE)?.starts_with("JEOL") {
            return None;
        }
        let magnification = jeol_magnification(&self.text(tag::DESCRIPTION)?)?;
        let per_unit = match self.directory.number(self.source, self.header, tag::RESOLUTION_UNIT).ok()?? {
            2 => 0.0254,
            3 => 0.01,
            _ => return None,
        };
        let length = |tag: u16| Some(per_unit / self.real(tag)? / magnification * NM_PER_METRE);
        PixelSize::new(length(tag::X_RESOLUTION)?, length(tag::Y_RESOLUTION)?, PixelSizeSource::Jeol)
    }

    fn digital_micrograph(&self) -> Option<PixelSize> {
        let [x_nm, y_nm] = DM_TAGS.map(|(unit, scale)| Some(self.real(scale)? * units::nanometres(&self.text(unit)?)?));
        PixelSize::new(x_nm?, y_nm?, PixelSizeSource::Dm)
    }

    /// The unit is in the description, the pixels a unit in the resolution tags.
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
    /// Pictures in the file, which may share one directory.
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

/// Sections in brackets with `key=value` lines; `Scan.PixelWidth` is in metres.
pub(crate) fn fei(text: &str) -> Option<PixelSize> {
    let mut section = "";
    let mut fields = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once('=') {
            fields.insert((section, key.trim()), value.trim());
        }
    }
    let length = |section: &'static str, key: &'static str| fields.get(&(section, key))?.parse::<f64>().ok();
    let of_scan = || Some((length("Scan", "PixelWidth")?, length("Scan", "PixelHeight")?));
    let of_camera = || {
        let (width, height) = (length("Image", "ResolutionX")?, length("Image", "ResolutionY")?);
        Some((length("IRBeam", "HFW")? / width, length("IRBeam", "VFW")? / height))
    };
    let (x_m, y_m) = of_scan().or_else(of_camera)?;
    PixelSize::new(x_m * NM_PER_METRE, y_m * NM_PER_METRE, PixelSizeSource::Fei)
}

/// `AP_IMAGE_PIXEL_SIZE`, on the line after its name: "Image Pixel Size = 1.117 nm". `AP_PIXEL_SIZE` is that of the
/// screen. The fourth of the numbers without a name has more digits, in metres for an image of 1024 columns; it is
/// taken where the two agree.
pub(crate) fn zeiss(text: &str, width: u32) -> Option<PixelSize> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "AP_IMAGE_PIXEL_SIZE");
    let (_, value) = lines.nth(1)?.split_once('=')?;
    let value = value.trim();
    let (number, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c))?);
    let rounded_nm = number.trim().parse::<f64>().ok()? * units::nanometres(unit)?;
    let unnamed = text.lines().nth(3).and_then(|line| line.trim().parse::<f64>().ok());
    let exact_nm = unnamed.map(|metres| metres * NM_PER_METRE * 1024.0 / f64::from(width));
    let is_same = |exact_nm: &f64| (exact_nm - rounded_nm).abs() <= 1e-3 * rounded_nm;
    let length_nm = exact_nm.filter(is_same).unwrap_or(rounded_nm);
    PixelSize::new(length_nm, length_nm, PixelSizeSource::Zeiss)
}

/// The magnification, where the picture is an image of the specimen and no diffraction pattern.
pub(crate) fn jeol_magnification(description: &str) -> Option<f64> {
    let lines = description.trim_matches(|c: char| c.is_whitespace() || c < ' ');
    let document = roxmltree::Document::parse(lines).ok()?;
    let text = |parent: &str, name: &str| {
        let is_it = |node: &roxmltree::Node<'_, '_>| {
            node.tag_name().name() == name && node.parent().is_some_and(|node| node.tag_name().name() == parent)
        };
        document.descendants().find(is_it)?.text().map(str::trim)
    };
    let is_image = text("Eos", "EosMode")? == "eosTEM" && text("ImageFormingSystem", "ModeString")? == "MAG";
    is_image.then(|| text("ImageFormingSystem", "SelectorValue")?.parse().ok())?
}

/// Text of a tag by its bytes.
#[cfg(feature = "fuzzing")]
pub(crate) fn any(bytes: &[u8]) {
    let text = super::directory::decode_text(bytes);
    let _ = (fei(&text), zeiss(&text, 1024), jeol_magnification(&text), ImageJ::parse(&text));
}
