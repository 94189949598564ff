//! Units of length as microscopes write them.

use crate::{PixelSize, PixelSizeSource};

pub(crate) const NM_PER_ANGSTROM: f64 = 0.1;
pub(crate) const NM_PER_METRE: f64 = 1e9;

/// How many nanometres a unit is; nothing for pixels, reciprocal lengths, and units of paper such as inches.
pub(crate) fn nanometres(unit: &str) -> Option<f64> {
    let unit = unit.trim().replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace('μ', "µ");
    Some(match unit.as_str() {
        "m" => 1e9,
        "cm" => 1e7,
        "mm" | "millimeter" | "millimetre" => 1e6,
        "µm" | "um" | "micron" | "microns" | "micrometer" | "micrometre" => 1e3,
        "nm" | "nanometer" | "nanometre" => 1.0,
        "Å" | "\u{212b}" | "A" | "Angstrom" | "angstrom" => NM_PER_ANGSTROM,
        "pm" => 1e-3,
        "fm" => 1e-6,
        _ => return None,
    })
}

impl PixelSize {
    /// A size that makes sense, or nothing.
    pub(crate) fn new(x_nm: f64, y_nm: f64, source: PixelSizeSource) -> Option<Self> {
        let is_length = |nm: f64| nm.is_finite() && nm > 0.0;
        (is_length(x_nm) && is_length(y_nm)).then_some(Self { x_nm, y_nm, source })
    }
}
