//! `invar gallery`: a contact sheet of clusters.

use anyhow::{Context, Result};
use invar_dataset::{atomic::AtomicFile, path};
use invar_micrographs::Grain;
use serde_json::json;

use super::clustered::{self, Clustered};
use crate::{
    cli::{Common, Gallery},
    exit::Usage,
    output,
    palette::{self, Rgb},
    picture::{LETTER_PX, Look, Picture},
    ui::{Summary, Ui, counted, thousands},
};

/// Maximum number of clusters per sheet, largest first.
const MAX_CLUSTERS: usize = 60;

const PAPER: Rgb = [255, 255, 255];
const INK: Rgb = [20, 20, 20];
/// Colour where a window extends beyond its image.
const OUTSIDE: Rgb = [60, 60, 60];

/// Width of the column of names, of the gaps between cells, and of the margin, in pixels.
const NAMES_PX: u32 = 136;
const GAP_PX: u32 = 4;
const MARGIN_PX: u32 = 12;

/// `invar gallery`
pub fn run(args: &Gallery, common: &Common, _: &Ui) -> Result<Summary> {
    output::check_file(&args.out, common, &[&args.of.clusters])?;
    if !(16..=1024).contains(&args.cell) || !(1..=100).contains(&args.each) {
        return Err(Usage("--cell: expected 16 to 1024 pixels; --each: expected 1 to 100 grains".into()).into());
    }
    let file = AtomicFile::create(&args.out).with_context(|| args.out.display().to_string())?;
    let clustered = Clustered::open(&args.of.clusters, &args.of.data)?;
    let picture = sheet(&clustered, args.each, args.cell);
    picture.write_png_to(file)?;
    let num_clusters = clustered.sizes.len();
    let mut text = format!(
        "{}: {} of {}, {} x {} pixels",
        args.out.display(),
        counted(num_clusters.min(MAX_CLUSTERS) as u64, "cluster"),
        counted(clustered.num_clustered() as u64, "grain"),
        picture.width(),
        picture.height()
    );
    if num_clusters > MAX_CLUSTERS {
        text += &format!("\n  the {MAX_CLUSTERS} largest of {num_clusters}");
    }
    let json = json!({
        "out": path::text(&args.out), "num_clusters": num_clusters, "num_shown": num_clusters.min(MAX_CLUSTERS),
        "num_grains": clustered.num_clustered(), "width_px": picture.width(), "height_px": picture.height(),
    });
    Ok(Summary { text, json })
}

/// One row per cluster: its name and share, the `each` grains nearest to its centre, then the `each` farthest, farthest
/// last. Reads only the pixels that it shows.
pub fn sheet(clustered: &Clustered, each: usize, cell_px: u32) -> Picture {
    let shown = &clustered.sizes[..clustered.sizes.len().min(MAX_CLUSTERS)];
    let (pitch, row_px) = (cell_px + GAP_PX, cell_px + LETTER_PX + 3 * GAP_PX);
    let half_px = each as u32 * pitch;
    let farthest_x = MARGIN_PX + NAMES_PX + half_px + 2 * MARGIN_PX;
    let head_px = MARGIN_PX + 2 * LETTER_PX;
    let width = farthest_x + half_px + MARGIN_PX;
    let mut picture = Picture::new(width, head_px + row_px * shown.len() as u32 + MARGIN_PX, PAPER);
    picture.text(MARGIN_PX + NAMES_PX, MARGIN_PX, "nearest to the centre", INK);
    picture.text(farthest_x, MARGIN_PX, "farthest", INK);
    for (number, &(cluster, size)) in shown.iter().enumerate() {
        let y = head_px + number as u32 * row_px;
        let colour = palette::colour(cluster);
        picture.fill(MARGIN_PX, y, LETTER_PX, cell_px, colour);
        let share = 100.0 * size as f64 / clustered.num_clustered() as f64;
        let title = if cluster < 0 { "noise".into() } else { format!("cluster {}", clustered::name(cluster)) };
        for (line, text) in [title, thousands(size as u64), format!("{share:.1} %")].iter().enumerate() {
            picture.text(MARGIN_PX + 2 * LETTER_PX, y + line as u32 * (LETTER_PX + 4), text, INK);
        }
        let (nearest, farthest) = ends(clustered, cluster, each);
        for (x, grains) in [(MARGIN_PX + NAMES_PX, nearest), (farthest_x, farthest)] {
            for (column, grain) in (0..).zip(grains) {
                let corner = [x + column * pitch, y];
                let width = thumbnail(&mut picture, corner, cell_px, &clustered.dataset.grain(grain), colour);
                picture.text(corner[0], y + cell_px + GAP_PX / 2, &width, INK);
            }
        }
    }
    picture
}

/// The `each` grains nearest to the centre, and of the others the `each` farthest, farthest last.
fn ends(clustered: &Clustered, cluster: i32, each: usize) -> (Vec<usize>, Vec<usize>) {
    let of_cluster = |&grain: &usize| clustered.clusters[grain] == Some(cluster);
    let mut grains: Vec<usize> = (0..clustered.clusters.len()).filter(of_cluster).collect();
    grains.sort_by(|&a, &b| clustered.distance[a].total_cmp(&clustered.distance[b]).then(a.cmp(&b)));
    let nearest = grains[..each.min(grains.len())].to_vec();
    let farthest = grains[nearest.len().max(grains.len().saturating_sub(each))..].to_vec();
    (nearest, farthest)
}

/// Draws the grain in a window of its image that is square on the specimen, with its outline in the colour of the
/// cluster and its upper left corner at `[x, y]`, and returns how wide the window is.
pub fn thumbnail(picture: &mut Picture, [x, y]: [u32; 2], cell_px: u32, grain: &Grain, colour: Rgb) -> String {
    let [top, left, bottom, right] = grain.region().bbox_px.map(f64::from);
    let mask = grain.mask();
    let context = if mask.is_full() { 1.0 } else { 1.25 };
    let [tall, broad] = grain.image.aspect();
    let side = (((bottom - top) / tall).max((right - left) / broad) * context).max(8.0);
    let scale = side / f64::from(cell_px);
    let look = Look::at_image(&grain.image);
    let row = |at: f64| (top + bottom - side * tall) / 2.0 + (at + 0.5) * scale * tall;
    let column = |at: f64| (left + right - side * broad) / 2.0 + (at + 0.5) * scale * broad;
    let belongs = |i: i64, j: i64| {
        let (row, column) = (row(i as f64).floor(), column(j as f64).floor());
        row >= 0.0 && column >= 0.0 && mask.contains(row as u32, column as u32)
    };
    for i in 0..cell_px {
        for j in 0..cell_px {
            let shade = look.colour(column(j.into()), row(i.into()), scale);
            let (down, across) = (i64::from(i), i64::from(j));
            let is_outline = !mask.is_full()
                && belongs(down, across)
                && [(-1, 0), (1, 0), (0, -1), (0, 1)].iter().any(|(di, dj)| !belongs(down + di, across + dj));
            picture.set(x + j, y + i, if is_outline { colour } else { shade.unwrap_or(OUTSIDE) });
        }
    }
    match grain.image.pixel_um() {
        Some(pixel_um) if side * pixel_um >= 1.0 => format!("{:.3} \u{b5}m", Short(side * pixel_um)),
        Some(pixel_um) => format!("{:.0} nm", side * pixel_um * 1000.0),
        None => format!("{side:.0} px"),
    }
}

/// A length in three digits.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decimals = if self.0 < 10.0 { 2 } else { usize::from(self.0 < 100.0) };
        write!(f, "{:.decimals$}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::clustered::tests::squares;

    #[test]
    fn the_nearest_and_the_farthest_are_shown_once() {
        let mut clustered = squares();
        // Grains 0, 2, 4, ... are in cluster 0, and each is farther from its centre than the one before.
        clustered.distance = (0..clustered.clusters.len()).map(|at| at as f32).collect();
        assert_eq!(ends(&clustered, 0, 2), (vec![0, 2], vec![12, 14]));
        assert_eq!(ends(&clustered, 0, 5), (vec![0, 2, 4, 6, 8], vec![10, 12, 14]));
        assert_eq!(ends(&clustered, 0, 50).1, Vec::<usize>::new());
    }

    #[test]
    fn a_sheet_has_a_row_and_a_colour_a_cluster() {
        let clustered = squares();
        let picture = sheet(&clustered, 3, 32);
        assert_eq!(picture.width(), 12 + 136 + 3 * 36 + 24 + 3 * 36 + 12);
        assert_eq!(picture.height(), 12 + 16 + 2 * (32 + 8 + 12) + 12);
        for (row, cluster) in [0, 1].into_iter().enumerate() {
            let y = 28 + row as u32 * 52;
            let cell = (0..32).flat_map(|dy| (0..32).map(move |dx| (148 + dx, y + dy)));
            let outline = cell.clone().filter(|&(x, y)| picture.at(x, y) == palette::colour(cluster)).count();
            // The outline of a square of 8 pixels at 32 / 10 the size: about 4 * 25.
            assert!((80..130).contains(&outline), "{outline}");
            // The grain itself is white, its surroundings black.
            assert!(cell.clone().any(|(x, y)| picture.at(x, y) == [255; 3]));
        }
    }

    #[test]
    fn no_grain_and_no_cluster_make_a_sheet() {
        let none = Clustered::new(invar_micrographs::GrainDataset::from_images(vec![]), vec![], vec![]);
        assert!(sheet(&none, 3, 32).height() > 0);
    }
}
