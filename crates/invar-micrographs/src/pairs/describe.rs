//! Describes a pair in words, to show what is drawn.

use std::fmt::Write as _;

use invar_dataset::{Dataset as _, DatasetError, seed};

use super::{DrawnView, GrainPairs};

impl GrainPairs {
    /// The pair that [`PairSource::pair`](invar_dataset::PairSource::pair) returns for `(index, seed)`, as text: the
    /// kind, and for each view its centre, what it shows, the angle and how the intensities were varied.
    ///
    /// # Errors
    /// As `pair`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn describe(&self, index: usize, seed: u64) -> Result<String, DatasetError> {
        let grain = self.grains.get(index)?;
        let (kind, views) = self.draw(index, &grain, &mut seed::rng(seed, index as u64))?;
        let mut text = format!("sample {index} ({}): {} pair\n", grain.id(), kind.name());
        for (number, DrawnView { placement, detail, augmentation }) in views.iter().enumerate() {
            let [row, column] = placement.center_px;
            let [height, width] = placement.step_px.map(|step| step * self.fields.whole().size() as f64);
            let mirrored = if placement.mirror { ", mirrored" } else { "" };
            let _ = writeln!(
                text,
                "  view {}: {height:.1} x {width:.1} px around row {row:.1}, column {column:.1}, turned by {:.1} degrees{mirrored}\n          {augmentation}",
                number + 1,
                placement.angle_deg,
            );
            if let Some((maker, placement)) = self.fields.detail().zip(detail.as_ref()) {
                let [row, column] = placement.center_px;
                let [height, width] = placement.step_px.map(|step| step * maker.size() as f64);
                let _ = writeln!(
                    text,
                    "          detail: {height:.1} x {width:.1} px around row {row:.1}, column {column:.1}, turned by {:.1} degrees",
                    placement.angle_deg,
                );
            }
        }
        Ok(text)
    }
}
