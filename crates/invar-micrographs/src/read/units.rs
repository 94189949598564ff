//! Units of length as written by microscopes.

use crate::{PixelSize, PixelSizeSource};

pub(crate) const NM_PER_ANGSTROM: f64 = 0.1;
pub(crate) const NM_PER_METRE: f64 = 1e9;

/// The length of a unit in nanometres; `None` for pixels, reciprocal lengths, and units of paper such as inches. Words
/// may be plural, and in any case.
pub(crate) fn nanometres(unit: &str) -> Option<f64> {
    // The micro sign as escaped by Java, as the Greek letter, and as UTF-8 read as Latin-1.
    let unit = unit.trim().replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace('μ', "µ");
    let unit = unit.replace("Âµ", "µ").replace("Î¼", "µ").replace("Ã…", "Å");
    // Here the case matters: 'Mm' and 'Pm' are a million metres and more.
    if matches!(unit.as_str(), "Mm" | "Pm" | "Fm" | "M") {
        return None;
    }
    let unit = unit.to_lowercase();
    let singular = if unit.len() > 3 { unit.strip_suffix('s').unwrap_or(&unit) } else { &unit };
    Some(match singular {
        "m" | "meter" | "metre" => 1e9,
        "cm" | "centimeter" | "centimetre" => 1e7,
        "mm" | "millimeter" | "millimetre" => 1e6,
        "µm" | "um" | "µ" | "micron" | "micrometer" | "micrometre" => 1e3,
        "nm" | "nanometer" | "nanometre" => 1.0,
        "å" | "a" | "ang" | "angstrom" | "ångström" | "ångstrom" => NM_PER_ANGSTROM,
        "pm" | "picometer" | "picometre" => 1e-3,
        "fm" | "femtometer" | "femtometre" => 1e-6,
        _ => return None,
    })
}

/// The size of a pixel from a resolution meant for printing or scanning, if it is finer than anything printed: at least
/// 2540 pixels per inch. Coarser ones are those of paper and screens, and do not describe a specimen.
pub(crate) fn of_resolution(x_nm: f64, y_nm: f64) -> Option<PixelSize> {
    let is_fine = |nm: f64| nm <= 1e4 * (1.0 + 1e-6);
    PixelSize::new(x_nm, y_nm, PixelSizeSource::Resolution).filter(|size| is_fine(size.x_nm) && is_fine(size.y_nm))
}

impl PixelSize {
    /// A size, if it is valid.
    pub(crate) fn new(x_nm: f64, y_nm: f64, source: PixelSizeSource) -> Option<Self> {
        let is_length = |nm: f64| nm.is_finite() && nm > 0.0;
        (is_length(x_nm) && is_length(y_nm)).then_some(Self { x_nm, y_nm, source })
    }
}
