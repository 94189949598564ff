//! Pictures of the segmentation: the outlines of the grains over the image, how it was segmented, and how many there
//! are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_micrographs::{GrainDataset, ImageFacts, LabelMap, SEGMENTED, StoredImage, read_label_map};

use crate::{
    palette::Rgb,
    picture::{LETTER_PX, Look, Picture},
};

/// Longest side of a picture, in pixels; larger images are reduced.
const MAX_SIDE: usize = 1600;
const PAPER: Rgb = [255, 255, 255];
const INK: Rgb = [20, 20, 20];
/// Colour of what is not to be trusted.
const WARNING: Rgb = [190, 30, 30];
const OUTLINE: Rgb = [255, 60, 40];
const LINE_PX: u32 = LETTER_PX + 4;
const MARGIN_PX: u32 = 4;

/// Draws the pictures that the manifest of a dataset directory lists and that are missing, one after the other.
///
/// # Errors
/// If the dataset is damaged or the disk is full.
pub fn draw_missing(directory: &Path) -> Result<()> {
    let dataset = GrainDataset::open(&[PathBuf::from(directory)])?;
    let listed = dataset.manifests().flat_map(|(_, manifest)| manifest.files.iter().map(|other| other.file.clone()));
    let missing: Vec<String> =
        listed.filter(|file| file.starts_with(&format!("{SEGMENTED}/")) && !directory.join(file).is_file()).collect();
    for index in 0..dataset.num_images() {
        let image = dataset.image(index);
        let file = format!("{SEGMENTED}/{}.png", image.name);
        let Some(facts) = image.facts.as_ref().filter(|_| missing.contains(&file)) else { continue };
        let labels = directory.join("labels").join(format!("{}.tif", image.name));
        let map = read_label_map(&labels, 1).with_context(|| labels.display().to_string())?;
        let path = directory.join(&file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        draw(image, &map, facts).write_png(&path)?;
    }
    Ok(())
}

/// The image with outlines, and text below. A pixel of a reduced picture is outline if the pixels it stands for contain
/// one.
fn draw(image: &StoredImage, map: &LabelMap, facts: &ImageFacts) -> Picture {
    let step = map.width.max(map.height).div_ceil(MAX_SIDE).max(1);
    let (width, height) = (map.width.div_ceil(step) as u32, map.height.div_ceil(step) as u32);
    let words = words(facts);
    // Wide enough for text even if the image is not.
    let paper_width = width.max(320);
    let lines: Vec<(String, Rgb)> = words
        .into_iter()
        .flat_map(|(text, colour)| wrapped(&text, paper_width).into_iter().map(move |line| (line, colour)))
        .collect();
    let mut picture = Picture::new(paper_width, height + 2 * MARGIN_PX + lines.len() as u32 * LINE_PX, PAPER);
    let look = Look::at_image(image);
    for y in 0..height {
        for x in 0..width {
            let colour = if is_outline(map, x as usize * step, y as usize * step, step) {
                OUTLINE
            } else {
                let centre = |at: u32, end: usize| ((f64::from(at) + 0.5) * step as f64).min(end as f64 - 0.5);
                look.colour(centre(x, map.width), centre(y, map.height), step as f64).unwrap_or(PAPER)
            };
            picture.set(x, y, colour);
        }
    }
    for (number, (line, colour)) in (0..).zip(lines) {
        picture.text(MARGIN_PX, height + MARGIN_PX + number * LINE_PX, &line, colour);
    }
    picture
}

/// Whether the label changes, to the right or downwards, in a square of side `step`. Between two background pixels
/// there is no change.
fn is_outline(map: &LabelMap, left: usize, top: usize, step: usize) -> bool {
    let label = |x: usize, y: usize| map.labels[y * map.width + x];
    (top..(top + step).min(map.height)).any(|y| {
        (left..(left + step).min(map.width)).any(|x| {
            let here = label(x, y);
            x + 1 < map.width && label(x + 1, y) != here || y + 1 < map.height && label(x, y + 1) != here
        })
    })
}

fn words(facts: &ImageFacts) -> Vec<(String, Rgb)> {
    let number = format!("{}: {} grains, {} at the border", facts.image, facts.grains, facts.border_grains);
    let mut words = vec![(number, INK)];
    if let Some(found) = &facts.segmentation {
        words.push((format!("{}: {}", found.kind.words(), found.reason), INK));
        words.extend(found.doubts.iter().map(|doubt| (format!("not to be trusted: {doubt}"), WARNING)));
    }
    words
}

/// Lines of whole words that fit into `width_px`; a word that does not fit gets a line of its own.
fn wrapped(text: &str, width_px: u32) -> Vec<String> {
    let most = ((width_px - 2 * MARGIN_PX) / LETTER_PX) as usize;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= most {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_is_where_labels_change_also_in_a_reduced_picture() {
        let map = LabelMap { width: 4, height: 3, labels: vec![1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 3, 0] };
        let found = |step| -> Vec<bool> {
            let places = (0..3usize.div_ceil(step)).flat_map(|y| (0..4usize.div_ceil(step)).map(move |x| (x, y)));
            places.map(|(x, y)| is_outline(&map, x * step, y * step, step)).collect()
        };
        let (no, yes) = (false, true);
        assert_eq!(found(1), [no, yes, no, no, yes, yes, yes, yes, no, no, yes, no]);
        assert_eq!(found(2), [yes, yes, no, yes]);
        assert_eq!(found(4), [yes]);
    }

    #[test]
    fn words_are_kept_whole() {
        assert_eq!(wrapped("dark lines are stronger", 100), ["dark lines", "are", "stronger"]);
        assert_eq!(wrapped("", 100), [""]);
    }
}
