//! Which mask and which class map belong to which image.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use invar_dataset::object;

use super::{
    ImageInput, map_names,
    walk::{self, Identity, LeftOut},
};
use crate::Error;

/// Gives each image its mask or class map, by name. Maps that lie among the images are not images. A single file may
/// have any name if there is a single image.
///
/// # Errors
/// If an image has no map, or several.
pub(super) fn with_maps(
    sources: Vec<ImageInput>,
    maps: &Path,
    what: &str,
    map_of: fn(&mut ImageInput) -> &mut Option<PathBuf>,
    out: &Path,
) -> Result<Vec<ImageInput>, Error> {
    let is_file = maps.is_file() || (object::is_url(maps) && !walk::is_directory(maps));
    let mut files = walk::expand(maps, out, &mut LeftOut::default())?;
    if files == [maps] && !is_file {
        return Err(Error::io(maps)(io::ErrorKind::NotFound.into()));
    }
    if !is_file {
        files.retain(|path| !map_names::is_other_result(path));
    }
    let bad = |image: &Path, found: String| Error::Sheet {
        path: maps.into(),
        what: format!("{what} of {}", image.display()),
        expected: "one file of the same name".into(),
        found,
    };
    let mut by_name: HashMap<String, Vec<&PathBuf>> = HashMap::new();
    for file in &files {
        by_name.entry(map_names::folded(&map_names::stem(file))).or_default().push(file);
    }
    let of = |image: &Path| -> Vec<&PathBuf> {
        let this = Identity::of(image);
        let names: HashSet<String> = map_names::of_image(image).into_iter().collect();
        let mut found: Vec<&PathBuf> = names.iter().filter_map(|name| by_name.get(name)).flatten().copied().collect();
        found.retain(|map| Identity::of(map) != this);
        // `a` and `A`, `a_1` and `a-1` may be two images: then the exact spelling decides.
        let exact = |map: &&PathBuf| map_names::stem(map).starts_with(&map_names::stem(image));
        if found.len() > 1 && found.iter().any(&exact) {
            found.retain(|map| exact(map));
        }
        found.sort();
        found
    };
    let of_others: HashSet<Identity> =
        sources.iter().flat_map(|source| of(&source.path)).map(|map| Identity::of(map)).collect();
    let mut kept: Vec<ImageInput> =
        sources.into_iter().filter(|source| !of_others.contains(&Identity::of(&source.path))).collect();
    let is_for_all = is_file && kept.len() == 1;
    for source in &mut kept {
        if map_of(source).is_some() {
            continue;
        }
        let found = if is_for_all { files.iter().collect() } else { of(&source.path) };
        *map_of(source) = match found.as_slice() {
            [one] => Some((*one).clone()),
            [] => {
                let nearest = map_names::nearest(&source.path, &files);
                let nearest =
                    if nearest.is_empty() { String::new() } else { format!("; nearest: {}", nearest.join(", ")) };
                return Err(bad(&source.path, format!("none among {} files{nearest}", files.len())));
            }
            [one, two, ..] => {
                return Err(bad(&source.path, format!("{} and {}", one.display(), two.display())));
            }
        };
    }
    Ok(kept)
}
