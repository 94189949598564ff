//! What a person should know of the images of a dataset, in sentences.

use std::collections::HashSet;

use invar_dataset::manifest::Input;

use super::{inputs::ImageInput, notes, page::Task};
use crate::{GrainFacts, GrainKind, ImageFacts, MaskReading, PixelSize};

/// What a person should know before comparing these images with each other.
pub(super) fn of_images(images: &[ImageFacts], tasks: &[Task<'_>]) -> Vec<String> {
    let mut warnings = notes::sentences(tasks);
    let sizes: Vec<PixelSize> = images.iter().filter_map(|image| image.pixel_size).collect();
    let range = |of: fn(&PixelSize) -> f64| {
        sizes.iter().map(of).fold((f64::INFINITY, 0f64), |(least, most), size| (least.min(size), most.max(size)))
    };
    let [across, down] = [range(|size| size.x_nm), range(|size| size.y_nm)];
    if let Some((least, most)) = [across, down].into_iter().find(|(least, most)| *most > least * (1.0 + 1e-3)) {
        warnings.push(format!("pixel sizes are mixed: {least:.6} to {most:.6} nm"));
    }
    let mut stretched = sizes.iter().filter(|size| size.x_nm != size.y_nm);
    if let Some(PixelSize { x_nm, y_nm, .. }) = stretched.next() {
        let num_images = 1 + stretched.count();
        warnings.push(format!(
            "pixels of {} are not square (first: {x_nm} nm wide, {y_nm} nm high): lengths in micrometres, \
             aspect_ratio, eccentricity and orientation_deg are those of the specimen, columns in px those of the grid",
            counted(num_images, "image")
        ));
    }
    if !sizes.is_empty() && sizes.len() < images.len() {
        warnings.push(format!("{} of {} images have no known pixel size", images.len() - sizes.len(), images.len()));
    }
    let stacks = tasks.iter().filter(|task| task.num_pages > 1 && task.page == 0);
    let (num_stacks, num_pages) = stacks.fold((0, 0), |(files, pages), task| (files + 1, pages + task.num_pages));
    if num_stacks > 0 {
        let files = counted(num_stacks, "file");
        warnings.push(format!("{files} of several pages: {num_pages} pages became images of their own"));
    }
    warnings.extend(mask_warnings(images));
    warnings.extend(several_kinds(images));
    warnings.extend(doubts(images));
    let banners = images.iter().filter(|image| image.banner.is_some()).count();
    if banners > 0 {
        let images = counted(banners, "image");
        warnings.push(format!("a data bar at the bottom of {images} was cut off (--no-banner keeps it)"));
    }
    warnings
}

/// A sentence if files given as different images hold the same bytes.
pub(super) fn of_copies(sources: &[ImageInput], inputs: &[Input]) -> Option<String> {
    let mut seen = HashSet::new();
    // The images come before masks and sheet.
    let copies: Vec<&Input> =
        inputs.iter().take(sources.len()).filter(|input| !seen.insert(input.sha256.as_str())).collect();
    let copy = copies.first()?;
    let original = inputs.iter().find(|input| input.sha256 == copy.sha256)?;
    Some(format!(
        "{} copied from another, byte for byte (first: {} from {}): each counts as an image",
        counted(copies.len(), "file"),
        copy.path,
        original.path
    ))
}

/// A sentence for each way of reading masks that should be checked, with the first of them.
fn mask_warnings(images: &[ImageFacts]) -> Vec<String> {
    let mut by_reading: Vec<(MaskReading, usize, String)> = Vec::new();
    for (image, mask) in images.iter().filter_map(|image| Some((image, image.mask.as_ref()?))) {
        if mask.notes.is_empty() {
            continue;
        }
        match by_reading.iter_mut().find(|(reading, ..)| *reading == mask.reading) {
            Some((_, count, _)) => *count += 1,
            None => by_reading.push((mask.reading, 1, format!("mask of {}: {}", image.image, mask.notes.join("; ")))),
        }
    }
    by_reading.into_iter().map(|(_, count, first)| likewise(count, first)).collect()
}

/// A sentence if images were segmented in different ways: a set of one kind would have been cut by two measures.
fn several_kinds(images: &[ImageFacts]) -> Option<String> {
    let mut kinds: Vec<(GrainKind, usize, &str)> = Vec::new();
    for (image, found) in chosen(images) {
        match kinds.iter_mut().find(|(kind, ..)| *kind == found.kind) {
            Some((_, count, _)) => *count += 1,
            None => kinds.push((found.kind, 1, &image.image)),
        }
    }
    if kinds.len() < 2 {
        return None;
    }
    kinds.sort_by_key(|&(kind, count, _)| (std::cmp::Reverse(count), kind));
    let list: Vec<String> =
        kinds.iter().map(|(kind, count, first)| format!("{count} as {} (first: {first})", kind.words())).collect();
    Some(format!(
        "images were segmented in different ways: {}; if they are of one kind, say which (--segment lines|steps|particles|learned)",
        list.join(", ")
    ))
}

/// A sentence for each reason not to trust the grains, with the first of its images.
fn doubts(images: &[ImageFacts]) -> Vec<String> {
    let mut by_doubt: Vec<(std::mem::Discriminant<crate::Doubt>, usize, String)> = Vec::new();
    for (image, doubt) in chosen(images).flat_map(|(image, found)| found.doubts.iter().map(move |doubt| (image, doubt)))
    {
        let alike = std::mem::discriminant(doubt);
        match by_doubt.iter_mut().find(|(other, ..)| *other == alike) {
            Some((_, count, _)) => *count += 1,
            None => by_doubt.push((alike, 1, format!("grains of {} are not to be trusted: {doubt}", image.image))),
        }
    }
    by_doubt.into_iter().map(|(_, count, first)| likewise(count, first)).collect()
}

/// Images for which something was decided.
fn chosen(images: &[ImageFacts]) -> impl Iterator<Item = (&ImageFacts, &GrainFacts)> {
    images.iter().filter_map(|image| Some((image, image.segmentation.as_ref()?)))
}

/// The first of several similar cases, with their number.
fn likewise(count: usize, first: String) -> String {
    match count {
        1 => first,
        _ => format!("{first}; likewise of {} more (manifest.json has them all)", counted(count - 1, "image")),
    }
}

/// `1 image`, `2 images`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
