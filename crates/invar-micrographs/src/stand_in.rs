//! Until segmentation lands: the least that ingest needs of it.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, ImageRef, LabelMap, Levels, Neighbors, PixelsRef, Region};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Segmentation {
    Otsu {},
    Tiles { size_px: u32, overlap_px: u32 },
    WholeImage,
    Labels,
}

impl Default for Segmentation {
    fn default() -> Self {
        Self::Otsu {}
    }
}

pub enum Segments {
    Labels(LabelMap),
    Boxes(Vec<[u32; 4]>),
}

fn value(image: ImageRef<'_>, at: usize) -> f64 {
    match image.pixels {
        PixelsRef::U8(v) => v[at].into(),
        PixelsRef::U16(v) => v[at].into(),
        PixelsRef::F32(v) => v[at].into(),
    }
}

pub fn segment(image: ImageRef<'_>, levels: Levels, config: &Segmentation) -> Result<Segments, Error> {
    let (w, h) = (image.width, image.height);
    match config {
        Segmentation::Otsu {} => {
            let middle = f64::from(levels.low + levels.high) / 2.0;
            let mut labels = vec![0u32; w * h];
            let mut next = 0;
            for start in 0..w * h {
                if labels[start] != 0 || value(image, start) <= middle {
                    continue;
                }
                next += 1;
                labels[start] = next;
                let mut open = vec![start];
                while let Some(at) = open.pop() {
                    let (r, c) = (at / w, at % w);
                    let mut visit = |n: usize| {
                        if labels[n] == 0 && value(image, n) > middle {
                            labels[n] = next;
                            open.push(n);
                        }
                    };
                    if r > 0 {
                        visit(at - w);
                    }
                    if r + 1 < h {
                        visit(at + w);
                    }
                    if c > 0 {
                        visit(at - 1);
                    }
                    if c + 1 < w {
                        visit(at + 1);
                    }
                }
            }
            Ok(Segments::Labels(LabelMap { width: w, height: h, labels }))
        }
        Segmentation::Tiles { size_px, overlap_px } => {
            let step = (size_px - overlap_px).max(1);
            let mut boxes = vec![];
            let mut r = 0;
            while r + size_px <= h as u32 {
                let mut c = 0;
                while c + size_px <= w as u32 {
                    boxes.push([r, c, r + size_px, c + size_px]);
                    c += step;
                }
                r += step;
            }
            Ok(Segments::Boxes(boxes))
        }
        Segmentation::WholeImage | Segmentation::Labels => Ok(Segments::Boxes(vec![[0, 0, h as u32, w as u32]])),
    }
}

fn empty(label: u32) -> Region {
    Region {
        label,
        bbox_px: [u32::MAX, u32::MAX, 0, 0],
        area_px: 0,
        centroid_px: [0.0; 2],
        equivalent_diameter_px: 0.0,
        major_axis_px: 0.0,
        minor_axis_px: 0.0,
        eccentricity: 0.0,
        orientation_rad: 0.0,
        perimeter_px: 0.0,
        solidity: 1.0,
        mean_intensity: 0.0,
        min_intensity: f64::INFINITY,
        max_intensity: f64::NEG_INFINITY,
        touches_border: false,
        num_neighbors: 0,
    }
}

fn take(region: &mut Region, image: Option<ImageRef<'_>>, r: usize, c: usize, (w, h): (usize, usize)) {
    let b = &mut region.bbox_px;
    *b = [b[0].min(r as u32), b[1].min(c as u32), b[2].max(r as u32 + 1), b[3].max(c as u32 + 1)];
    region.area_px += 1;
    region.centroid_px[0] += r as f64;
    region.centroid_px[1] += c as f64;
    region.touches_border |= r == 0 || c == 0 || r + 1 == h || c + 1 == w;
    if let Some(image) = image {
        let v = (0..image.channels).map(|p| value(image, p * w * h + r * w + c)).sum::<f64>() / image.channels as f64;
        region.mean_intensity += v;
        region.min_intensity = region.min_intensity.min(v);
        region.max_intensity = region.max_intensity.max(v);
    }
}

fn done(mut region: Region) -> Region {
    let n = region.area_px as f64;
    region.centroid_px = region.centroid_px.map(|s| s / n);
    region.mean_intensity /= n;
    region.equivalent_diameter_px = (4.0 * n / std::f64::consts::PI).sqrt();
    region.major_axis_px = region.equivalent_diameter_px;
    region.minor_axis_px = region.equivalent_diameter_px;
    region
}

pub fn regions(map: &LabelMap, image: Option<ImageRef<'_>>) -> Vec<Region> {
    let mut found: BTreeMap<u32, Region> = BTreeMap::new();
    for (at, &label) in map.labels.iter().enumerate().filter(|&(_, &label)| label > 0) {
        let region = found.entry(label).or_insert_with(|| empty(label));
        take(region, image, at / map.width, at % map.width, (map.width, map.height));
    }
    found.into_values().map(done).collect()
}

pub fn regions_of_boxes(boxes: &[[u32; 4]], image: ImageRef<'_>) -> Vec<Region> {
    let one = |(n, b): (usize, &[u32; 4])| {
        let mut region = empty(n as u32 + 1);
        for r in b[0]..b[2] {
            for c in b[1]..b[3] {
                take(&mut region, Some(image), r as usize, c as usize, (image.width, image.height));
            }
        }
        done(region)
    };
    boxes.iter().enumerate().map(one).collect()
}

pub fn neighbors(map: &LabelMap, _gap: u32) -> Vec<Neighbors> {
    let mut edges: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for at in 0..map.labels.len() {
        let a = map.labels[at];
        for n in [(at % map.width + 1 < map.width).then_some(at + 1), Some(at + map.width)].into_iter().flatten() {
            if let Some(&b) = map.labels.get(n).filter(|&&b| a != 0 && b != 0 && a != b) {
                *edges.entry((a.min(b), a.max(b))).or_default() += 1;
            }
        }
    }
    edges.into_iter().map(|((a, b), boundary_px)| Neighbors { a, b, boundary_px }).collect()
}
