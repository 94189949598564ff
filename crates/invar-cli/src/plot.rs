//! The picture of a clustering: the 2-D projection, coloured.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::palette;

/// Above this number, points are thinned evenly: a picture of more is a blot, and slow.
const MAX_POINTS: usize = 6_000;

/// Draws points `(x, y)` coloured by `group`, -1 (noise) in grey, as SVG text. The axes are labelled `axis` 1 and 2.
///
/// # Errors
/// If the drawing library fails.
pub fn scatter(title: &str, axis: &str, xy: &[(f32, f32)], groups: &[i32]) -> Result<String> {
    let mut svg = String::new();
    let fail = |error: &dyn std::fmt::Display| anyhow!("drawing the projection: {error}");
    {
        let root = SVGBackend::with_string(&mut svg, (900, 700)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| fail(&e))?;
        let (x_range, y_range) = (padded(xy.iter().map(|p| p.0)), padded(xy.iter().map(|p| p.1)));
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(x_range, y_range)
            .map_err(|e| fail(&e))?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc(format!("{axis} 1"))
            .y_desc(format!("{axis} 2"))
            .draw()
            .map_err(|e| fail(&e))?;
        let step = xy.len().div_ceil(MAX_POINTS).max(1);
        let mut names: Vec<i32> = groups.to_vec();
        names.sort_unstable();
        names.dedup();
        for &name in &names {
            let colour = colour(name);
            let members = (0..xy.len()).step_by(step).filter(|&i| groups[i] == name);
            chart
                .draw_series(members.map(|i| Circle::new(xy[i], 2, colour.filled())))
                .map_err(|e| fail(&e))?
                .label(if name < 0 { "noise".to_owned() } else { name.to_string() })
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        }
        if (2..=24).contains(&names.len()) {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()
                .map_err(|e| fail(&e))?;
        }
        root.present().map_err(|e| fail(&e))?;
    }
    Ok(svg)
}

/// The same colours as in every other picture.
fn colour(group: i32) -> RGBAColor {
    let [red, green, blue] = palette::colour(group);
    RGBColor(red, green, blue).mix(if group < 0 { 0.5 } else { 0.75 })
}

fn padded(values: impl Iterator<Item = f32>) -> std::ops::Range<f32> {
    let (low, high) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return -1.0..1.0;
    }
    let pad = ((high - low) * 0.05).max(1e-3);
    low - pad..high + pad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_drawn_and_no_points_are_fine() {
        let empty = scatter("none", "UMAP", &[], &[]).unwrap();
        let svg = scatter("three", "UMAP", &[(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)], &[0, 1, -1]).unwrap();
        // Three points and three legend marks.
        assert_eq!(svg.matches("<circle").count() - empty.matches("<circle").count(), 6);
    }
}
