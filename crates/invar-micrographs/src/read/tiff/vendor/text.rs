//! Pixel sizes in vendors' texts.

use std::collections::BTreeMap;

#[cfg(feature = "fuzzing")]
use crate::read::tiff::directory::decode_text;
use crate::{
    PixelSize, PixelSizeSource,
    read::units::{self, NM_PER_METRE},
};

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

/// `AP_IMAGE_PIXEL_SIZE`, on the line after its name: "Image Pixel Size = 1.117 nm"; old programs wrote only
/// `AP_PIXEL_SIZE`, that of the screen. The fourth of the unnamed numbers has more digits, in metres for the 1024
/// columns of the screen; it is used if the two agree, and shows how an image stored wider than the screen differs from
/// it.
pub(crate) fn zeiss(text: &str, width: u32) -> Option<PixelSize> {
    let value_nm = |name: &str| {
        let mut lines = text.lines().map(str::trim).skip_while(|line| *line != name);
        let (_, value) = lines.nth(1)?.split_once('=')?;
        let value = value.trim();
        let (number, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c))?);
        Some(number.trim().parse::<f64>().ok()? * units::nanometres(unit)?)
    };
    let unnamed = text.lines().nth(3).and_then(|line| line.trim().parse::<f64>().ok());
    let screen_nm = unnamed.map(|metres| metres * NM_PER_METRE);
    let of_image = |nm: f64| nm * SCREEN_COLUMNS / f64::from(width);
    let agrees = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b;
    let length_nm = match (value_nm("AP_IMAGE_PIXEL_SIZE"), value_nm("AP_PIXEL_SIZE")) {
        (Some(rounded), _) => screen_nm.map(of_image).filter(|&exact| agrees(exact, rounded)).unwrap_or(rounded),
        (None, Some(rounded)) => match screen_nm.filter(|&exact| agrees(exact, rounded)) {
            // The widths in which images are stored.
            Some(exact) if f64::from(width) % (SCREEN_COLUMNS / 2.0) == 0.0 => of_image(exact),
            _ => rounded,
        },
        (None, None) => return None,
    };
    PixelSize::new(length_nm, length_nm, PixelSizeSource::Zeiss)
}

const SCREEN_COLUMNS: f64 = 1024.0;

/// TESCAN: `key=value` lines in metres, after a few bytes that are not text.
pub(crate) fn tescan(text: &str) -> Option<PixelSize> {
    let length = |key: &str| {
        let value =
            |line: &str| line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().parse::<f64>().ok();
        text.lines().find_map(value).map(|metres| metres * NM_PER_METRE)
    };
    PixelSize::new(length("PixelSizeX")?, length("PixelSizeY")?, PixelSizeSource::Tescan)
}

/// XML of newer Thermo Fisher microscopes, alone or after the older text: `PixelSize` with `X` and `Y`, or `pixelWidth`
/// and `pixelHeight`, each with its unit.
pub(crate) fn thermo_xml(text: &str) -> Option<PixelSize> {
    let start = ["<?xml", "<Metadata", "<FeiImage"].iter().filter_map(|mark| text.find(mark)).min()?;
    let document = roxmltree::Document::parse(&text[start..=text.rfind('>')?]).ok()?;
    let named = |name: &'static str| move |node: &roxmltree::Node<'_, '_>| node.tag_name().name() == name;
    let length = |node: roxmltree::Node<'_, '_>| {
        Some(node.text()?.trim().parse::<f64>().ok()? * units::nanometres(node.attribute("unit")?)?)
    };
    let of_result = || {
        let size = document.descendants().find(named("PixelSize"))?;
        Some((length(size.children().find(named("X"))?)?, length(size.children().find(named("Y"))?)?))
    };
    let of_image = || {
        let of = |name| length(document.descendants().find(named(name))?);
        Some((of("pixelWidth")?, of("pixelHeight")?))
    };
    let (x_nm, y_nm) = of_result().or_else(of_image)?;
    PixelSize::new(x_nm, y_nm, PixelSizeSource::Fei)
}

/// Aperio: `|MPP = 0.2638|`, micrometres per pixel.
pub(crate) fn aperio(description: &str) -> Option<PixelSize> {
    let fields = description.starts_with("Aperio").then(|| description.split('|'))?;
    let value =
        |field: &str| field.trim().strip_prefix("MPP")?.trim_start().strip_prefix('=')?.trim().parse::<f64>().ok();
    let length_nm = fields.into_iter().find_map(value)? * 1e3;
    PixelSize::new(length_nm, length_nm, PixelSizeSource::Aperio)
}

/// The magnification, if the picture is an image of the specimen and not a diffraction pattern.
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

/// Parses the text of a tag from its bytes.
#[cfg(feature = "fuzzing")]
pub(crate) fn any(bytes: &[u8]) {
    let text = decode_text(bytes);
    let _ = (fei(&text), zeiss(&text, 1024), jeol_magnification(&text), super::ImageJ::parse(&text));
    let _ = (tescan(&text), thermo_xml(&text), aperio(&text));
}
