//! Which files are below a directory, match a pattern, or are named.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use invar_dataset::{ingest, manifest::Manifest, object};

use super::map_names;
use crate::{Error, own_pictures};

/// Extensions looked for in directories; files that are named or matched by a pattern are read whatever their name.
const EXTENSIONS: [&str; 16] = [
    "tif", "tiff", "btf", "tf8", "png", "jpg", "jpeg", "mrc", "mrcs", "map", "rec", "st", "ali", "dm3", "dm4", "preali",
];

/// Why something below a directory is not an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    Dataset,
    OwnPicture,
    Map,
    Again,
}

/// What was left out, by reason.
#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeMap<Reason, Vec<PathBuf>>);

impl LeftOut {
    pub fn add(&mut self, reason: Reason, path: &Path) {
        self.0.entry(reason).or_default().push(path.into());
    }

    /// A sentence for each reason.
    pub fn notes(&self) -> Vec<String> {
        let note = |(reason, paths): (&Reason, &Vec<PathBuf>)| {
            let which = format!("({}{})", if paths.len() > 1 { "first " } else { "" }, paths[0].display());
            let counted = |noun: &str| crate::ingest::warnings::counted(paths.len(), noun);
            match reason {
                Reason::Dataset => format!("left out: {} of Invar {which}", counted("dataset")),
                Reason::OwnPicture => format!("left out: {} drawn by Invar {which}", counted("picture")),
                Reason::Map => format!(
                    "left out: {} called as a mask or another result of an image beside it {which}; what is named is taken in, \
                     --labels reads masks",
                    counted("file")
                ),
                Reason::Again => {
                    format!("taken once: {} that came again by another name or place {which}", counted("file"))
                }
            }
        };
        self.0.iter().map(note).collect()
    }
}

/// The files that `path` stands for: those below a directory or matching a pattern in the order of their names, or the
/// file itself.
///
/// # Errors
/// If a directory cannot be read, or a pattern is invalid or matches no file.
pub(super) fn expand(path: &Path, out: &Path, left_out: &mut LeftOut) -> Result<Vec<PathBuf>, Error> {
    if object::is_url(path) {
        return expand_url(path);
    }
    if path.is_dir() {
        let mut files = Vec::new();
        walk(path, out, &mut files, left_out)?;
        files.sort();
        return Ok(without_own_pictures(files, left_out));
    }
    let text = path.to_string_lossy();
    if path.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![path.into()]);
    }
    let bad = |found: String| Error::Config { what: "inputs".into(), expected: "a pattern".into(), found };
    let matches = glob::glob(&text).map_err(|error| bad(format!("{text}: {error}")))?;
    let mut files: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|path| path.is_file()).collect();
    files.sort();
    if files.is_empty() { Err(bad(format!("{text}, which matches no file"))) } else { Ok(files) }
}

/// The object itself, or all images below a URL that ends with a slash. Objects have names only: what is a dataset or a
/// picture of Invar among them is not looked for.
fn expand_url(url: &Path) -> Result<Vec<PathBuf>, Error> {
    if !is_directory(url) {
        return Ok(vec![url.into()]);
    }
    let mut files = object::list(url).map_err(Error::io(url))?;
    files.retain(|file| is_image(&file.to_string_lossy().to_lowercase()));
    Ok(files)
}

/// Whether it stands for what is below it.
pub(super) fn is_directory(path: &Path) -> bool {
    if object::is_url(path) { path.to_string_lossy().ends_with('/') } else { path.is_dir() }
}

fn is_image(name: &str) -> bool {
    EXTENSIONS.iter().any(|extension| name.ends_with(&format!(".{extension}")))
}

/// Files below a directory, except those that are hidden, or in the output or in another dataset.
fn walk(directory: &Path, out: &Path, files: &mut Vec<PathBuf>, left_out: &mut LeftOut) -> Result<(), Error> {
    if same_place(directory, out) {
        return Ok(());
    }
    for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
        let path = entry.map_err(Error::io(directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if name.starts_with('.') {
            continue;
        }
        // A link to a directory could lead back here.
        if path.is_dir() && !path.is_symlink() {
            if is_dataset(&path) && !same_place(&path, out) {
                left_out.add(Reason::Dataset, &path);
            } else {
                walk(&path, out, files, left_out)?;
            }
        } else if path.is_file() && is_image(&name) {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether the directory was made, or begun, by an ingest. Other programs have files called `manifest.json` too.
fn is_dataset(directory: &Path) -> bool {
    ingest::is_unfinished(directory) || (Manifest::exists(directory) && Manifest::read(directory).is_ok())
}

/// Removes contact sheets, galleries and painted images, and the label maps next to the latter.
fn without_own_pictures(files: Vec<PathBuf>, left_out: &mut LeftOut) -> Vec<PathBuf> {
    let own: HashSet<PathBuf> = files.iter().filter(|path| own_pictures::is_own_png(path)).cloned().collect();
    let is_own = |path: &PathBuf| {
        own.contains(path) || (own.contains(&path.with_extension("png")) && own_pictures::is_own_label_map(path))
    };
    let (out, kept): (Vec<_>, Vec<_>) = files.into_iter().partition(is_own);
    out.iter().for_each(|path| left_out.add(Reason::OwnPicture, path));
    kept
}

/// Removes whatever is, according to its name, a mask or another result for an image among `files`.
pub(super) fn without_maps(files: Vec<PathBuf>, left_out: &mut LeftOut) -> Vec<PathBuf> {
    let mut names: HashMap<String, Vec<&PathBuf>> = HashMap::new();
    for path in &files {
        for name in map_names::bases(path) {
            names.entry(name).or_default().push(path);
        }
    }
    let is_map = |path: &&PathBuf| {
        map_names::images_of_result(path)
            .iter()
            .any(|base| names.get(base).is_some_and(|others| others.iter().any(|other| other != path)))
            || (map_names::is_in_map_directory(path)
                && map_names::bases(path).iter().any(|base| {
                    names[base]
                        .iter()
                        .any(|other| other.parent() != path.parent() && !map_names::is_in_map_directory(other))
                }))
    };
    let maps: HashSet<PathBuf> = files.iter().filter(is_map).cloned().collect();
    files.iter().filter(|path| maps.contains(*path)).for_each(|path| left_out.add(Reason::Map, path));
    files.into_iter().filter(|path| !maps.contains(path)).collect()
}

/// The identity of a file, whatever its name: two names of one file have the same identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// Device and inode number of an existing file.
    Inode(u64, u64),
    /// If the system has no such numbers, or the file does not exist.
    Path(PathBuf),
}

impl Identity {
    pub fn of(path: &Path) -> Self {
        #[cfg(unix)]
        if let Ok(metadata) = fs::metadata(path) {
            use std::os::unix::fs::MetadataExt;
            return Self::Inode(metadata.dev(), metadata.ino());
        }
        Self::Path(fs::canonicalize(path).unwrap_or_else(|_| path.into()))
    }
}

pub(super) fn same_place(a: &Path, b: &Path) -> bool {
    (object::is_url(a) && a == b)
        || matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
        || (a.exists() && Identity::of(a) == Identity::of(b))
}
