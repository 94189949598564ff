//! `invar paint`: clusters painted back over the images.

use std::{collections::HashSet, path::Path, sync::Arc};

use anyhow::Result;
use invar_dataset::{Progress, path};
use invar_micrographs::{Grain, LabelMap, StoredImage, write_label_map};
use serde_json::json;

use super::{
    clustered::{self, Clustered},
    listed::Listed,
};
use crate::{
    cli::{Common, Paint},
    exit::{Interrupted, Usage},
    palette::{self, Rgb},
    picture::{LETTER_PX, Look, Picture},
    ui::{Summary, Ui, Unit, counted},
};

/// The output directories with painted images.
const PAINTED: Listed = Listed { command: "invar paint", list: "painted.json" };
/// Opacity of the cluster's colour over the image.
const OPACITY: f32 = 0.4;
const PAPER: Rgb = [255, 255, 255];
const INK: Rgb = [20, 20, 20];
const LEGEND_LINE_PX: u32 = LETTER_PX + 6;

/// `invar paint`
pub fn run(args: &Paint, common: &Common, ui: &Ui) -> Result<Summary> {
    if args.max_side < 16 {
        return Err(Usage(format!("--max-side {}: expected at least 16 pixels", args.max_side)).into());
    }
    let out = PAINTED.hold(&args.out, common)?;
    let clustered = Clustered::open(&args.of.clusters, &args.of.data)?;
    let num_images = out.write(|out| paint_all(&clustered, out, args.max_side, ui))?;
    let text = format!(
        "{}: {} with {}; NAME.png for viewing, NAME.tif with cluster + 1 in every pixel (0 is noise \
         or background)",
        args.out.display(),
        counted(num_images as u64, "image"),
        counted(clustered.sizes.len() as u64, "cluster")
    );
    let json = json!({"out": path::text(&args.out), "num_images": num_images, "num_clusters": clustered.sizes.len()});
    Ok(Summary { text, json })
}

/// One image at a time, so that only one is in memory.
fn paint_all(clustered: &Clustered, out: &Path, max_side: u32, ui: &Ui) -> Result<usize> {
    let bar = ui.bar("paint", Unit::Items);
    let num_images = clustered.dataset.num_images();
    bar.set_total(num_images as u64);
    let mut taken = HashSet::new();
    for index in 0..num_images {
        if bar.is_cancelled() {
            return Err(Interrupted.into());
        }
        let image = clustered.dataset.image(index);
        let of_grains = &clustered.clusters[clustered.dataset.grains_of(index)];
        let name = file_name(&image.name, &mut taken);
        let map = Painting::new(image, of_grains);
        map.overlay(image, &clustered.sizes, max_side).write_png(&out.join(format!("{name}.png")))?;
        write_label_map(out.join(format!("{name}.tif")), &map.into_labels())?;
        bar.advance(1);
    }
    Ok(num_images)
}

/// Which grain each pixel of an image shows: 4 bytes per pixel.
pub struct Painting<'a> {
    width: usize,
    height: usize,
    /// Index of the grain + 1; 0 is background. `[height, width]`.
    owners: Vec<u32>,
    clusters: &'a [Option<i32>],
}

impl<'a> Painting<'a> {
    /// For the image's grains, which have these clusters. Where tiles overlap, a pixel shows the one whose centre is
    /// nearest.
    ///
    /// # Panics
    /// If the numbers of clusters and grains differ.
    pub fn new(image: &Arc<StoredImage>, clusters: &'a [Option<i32>]) -> Self {
        assert_eq!(clusters.len(), image.regions().len(), "clusters of the image's grains");
        let pixels = image.pixels();
        let (width, height) = (pixels.width, pixels.height);
        let boxes: Vec<[u32; 4]> = image.regions().iter().map(|region| region.bbox_px).collect();
        let grain = |index_in_image| Grain { image: Arc::clone(image), index_in_image };
        let mut owners = vec![0; width * height];
        for number in 0..boxes.len() {
            let grain = grain(number);
            let mask = grain.mask();
            cover(&mut owners, width, &boxes, number, |row, column| mask.contains(row, column));
        }
        Self { width, height, owners, clusters }
    }

    /// Cluster + 1 of every pixel; 0 where there is no grain, or it is noise or was not clustered. In place.
    pub fn into_labels(mut self) -> LabelMap {
        let mut labels = std::mem::take(&mut self.owners);
        for label in &mut labels {
            *label = u32::try_from(self.cluster(*label).unwrap_or(-1) + 1).unwrap_or(0);
        }
        LabelMap { width: self.width, height: self.height, labels }
    }

    /// The label of the grain that every pixel shows, as in the image's own table of grains; 0 where there is none, or
    /// it was not clustered. In place.
    pub fn into_instances(mut self, image: &StoredImage) -> LabelMap {
        let mut labels = std::mem::take(&mut self.owners);
        for owner in &mut labels {
            let grain = self.cluster(*owner).map(|_| *owner as usize - 1);
            *owner = grain.map_or(0, |grain| image.regions()[grain].label);
        }
        LabelMap { width: self.width, height: self.height, labels }
    }

    fn cluster(&self, owner: u32) -> Option<i32> {
        self.clusters.get((owner as usize).checked_sub(1)?).copied().flatten()
    }

    /// The image under its clusters: a translucent fill, solid outlines of the grains, and the legend below. At most
    /// about `max_side` pixels wide and high.
    pub fn overlay(&self, image: &StoredImage, sizes: &[(i32, usize)], max_side: u32) -> Picture {
        let look = Look::at_image(image);
        let step = self.width.max(self.height).div_ceil(max_side as usize).max(1);
        let (width, height) = (self.width.div_ceil(step) as u32, self.height.div_ceil(step) as u32);
        let legend = Legend::new(sizes, width);
        let mut picture = Picture::new(width, height + legend.height_px(), PAPER);
        let owner = |x: u32, y: u32| {
            let (column, row) = (x as usize * step + step / 2, y as usize * step + step / 2);
            self.owners[row.min(self.height - 1) * self.width + column.min(self.width - 1)]
        };
        for y in 0..height {
            for x in 0..width {
                let centre = |at: u32, end: usize| ((f64::from(at) + 0.5) * step as f64).min(end as f64 - 0.5);
                let shade = look.colour(centre(x, self.width), centre(y, self.height), step as f64).unwrap_or(PAPER);
                let own = owner(x, y);
                let Some(cluster) = self.cluster(own) else {
                    picture.set(x, y, shade);
                    continue;
                };
                let colour = palette::colour(cluster);
                // The upper and the left edge of an image are not outlines.
                let is_outline = x > 0 && owner(x - 1, y) != own
                    || y > 0 && owner(x, y - 1) != own
                    || x + 1 < width && owner(x + 1, y) == 0
                    || y + 1 < height && owner(x, y + 1) == 0;
                picture.set(x, y, if is_outline { colour } else { palette::mixed(shade, colour, OPACITY) });
            }
        }
        legend.draw(&mut picture, height);
        picture
    }
}

/// Assigns the pixels of box `number` that belong to its grain to it, except those nearer to the centre of another
/// grain that already has them.
fn cover(owners: &mut [u32], width: usize, boxes: &[[u32; 4]], number: usize, belongs: impl Fn(u32, u32) -> bool) {
    let [top, left, bottom, right] = boxes[number];
    for row in top..bottom {
        for column in (left..right).filter(|&column| belongs(row, column)) {
            let owner = &mut owners[row as usize * width + column as usize];
            let away = |of: usize| from_centre(boxes[of], row, column);
            if *owner == 0 || away(number) < away(*owner as usize - 1) {
                *owner = number as u32 + 1;
            }
        }
    }
}

/// Four times the squared distance of a pixel to the centre of a box.
fn from_centre([top, left, bottom, right]: [u32; 4], row: u32, column: u32) -> u64 {
    let off = |at: u32, from: u32, to: u32| (2 * i64::from(at) + 1 - i64::from(from) - i64::from(to)).unsigned_abs();
    off(row, top, bottom).pow(2) + off(column, left, right).pow(2)
}

/// The clusters of all images with their colours and shares, in lines of the picture's width.
struct Legend {
    /// `(column, line, cluster, text)`
    entries: Vec<(u32, u32, i32, String)>,
    num_lines: u32,
}

impl Legend {
    fn new(sizes: &[(i32, usize)], width: u32) -> Self {
        let total: usize = sizes.iter().map(|&(_, size)| size).sum();
        let (mut x, mut line) = (4, 0);
        let mut entries = Vec::with_capacity(sizes.len());
        for &(cluster, size) in sizes {
            let text = format!("{} {:.0}%", clustered::name(cluster), 100.0 * size as f64 / total as f64);
            let width_px = (text.len() as u32 + 3) * LETTER_PX;
            if x > 4 && x + width_px > width {
                (x, line) = (4, line + 1);
            }
            entries.push((x, line, cluster, text));
            x += width_px;
        }
        Self { num_lines: if entries.is_empty() { 0 } else { line + 1 }, entries }
    }

    fn height_px(&self) -> u32 {
        if self.num_lines == 0 { 0 } else { self.num_lines * LEGEND_LINE_PX + 6 }
    }

    fn draw(&self, picture: &mut Picture, top: u32) {
        for (x, line, cluster, text) in &self.entries {
            let y = top + 6 + line * LEGEND_LINE_PX;
            picture.fill(*x, y, LETTER_PX, LETTER_PX, palette::colour(*cluster));
            picture.text(x + LETTER_PX + 4, y, text, INK);
        }
    }
}

/// A unique name for the files of an image, without directories.
pub fn file_name(name: &str, taken: &mut HashSet<String>) -> String {
    let plain = name.replace(['/', '\\'], "_");
    let mut candidate = plain.clone();
    let mut number = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{plain}-{number}");
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests;
