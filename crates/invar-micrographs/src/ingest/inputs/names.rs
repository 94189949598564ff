//! The names of images.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path},
};

use super::map_names::{letters, stem};

/// Names for the pages of all files: `(file, number of pages)` gives one name per page, without the extension; prefixed
/// with as many directories as needed to distinguish files, and with `-p2` for one of several pages. All are unique,
/// even ignoring capitals and the composition of letters, because they name files.
pub(in crate::ingest) fn names(files: &[(&Path, usize)]) -> Vec<Vec<String>> {
    let stems: Vec<Vec<String>> = files.iter().map(|(path, _)| parts(path)).collect();
    let mut depth = vec![1usize; files.len()];
    let name_of = |file: usize, depth: usize| stems[file][stems[file].len().saturating_sub(depth)..].join("/");
    loop {
        let mut seen: HashMap<String, Vec<usize>> = HashMap::new();
        for (file, &depth) in depth.iter().enumerate() {
            seen.entry(name_of(file, depth)).or_default().push(file);
        }
        let mut is_done = true;
        for same in seen.into_values().filter(|same| same.len() > 1) {
            for file in same {
                if depth[file] < stems[file].len() {
                    depth[file] += 1;
                    is_done = false;
                }
            }
        }
        if is_done {
            break;
        }
    }
    let mut taken = HashSet::new();
    // The name with the first number that makes all names of the file's pages new.
    let of_file = |(file, &(_, num_pages)): (usize, &(&Path, usize))| -> Vec<String> {
        let name = name_of(file, depth[file]);
        let of_pages = |name: &str| -> Vec<String> {
            let of_page = |page| if num_pages == 1 { name.to_owned() } else { format!("{name}-p{page}") };
            (1..=num_pages).map(of_page).collect()
        };
        let candidates = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}~{number}")));
        let mut free = candidates.map(|name| of_pages(&name));
        let names = free.find(|names| names.iter().all(|name| !taken.contains(&letters(name))));
        let names = names.expect("there are endless numbers");
        taken.extend(names.iter().map(|name| letters(name)));
        names
    };
    files.iter().enumerate().map(of_file).collect()
}

/// The directories and the stem of a path; no `.` and `..`, so that they can be directories below another.
fn parts(path: &Path) -> Vec<String> {
    let normal = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    let mut parts: Vec<String> = path.components().filter_map(normal).collect();
    if let Some(last) = parts.last_mut() {
        *last = stem(path);
    }
    if parts.is_empty() { vec!["image".into()] } else { parts }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn named(files: &[(&str, usize)]) -> Vec<Vec<String>> {
        names(&files.iter().map(|&(path, pages)| (Path::new(path), pages)).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_short_and_unique() {
        assert_eq!(named(&[("a/x.tif", 1), ("b/y.ome.tif", 2)]), [vec!["x"], vec!["y-p1", "y-p2"]]);
        assert_eq!(named(&[("r/a/x.tif", 1), ("r/b/x.tif", 1), ("r/y.png", 1)]), [["a/x"], ["b/x"], ["y"]]);
        // Two that differ only in their extension, and one file with two names.
        assert_eq!(named(&[("x.tif", 1), ("x.png", 1)]), [["x"], ["x~2"]]);
        assert_eq!(named(&[("../d/x.tif", 1), ("/d/x.tif", 1)]), [["d/x"], ["d/x~2"]]);
        // A page with the name of another file.
        assert_eq!(named(&[("a.tif", 2), ("a-p2.tif", 1)]), [vec!["a-p1", "a-p2"], vec!["a-p2~2"]]);
        assert_eq!(named(&[("a-p2.tif", 1), ("a.tif", 2)]), [vec!["a-p2"], vec!["a~2-p1", "a~2-p2"]]);
        // Ignoring capitals, these would be one file.
        assert_eq!(named(&[("a.tif", 1), ("A.tif", 1)]), [["a"], ["A~2"]]);
    }

    proptest! {
        #[test]
        fn all_names_of_all_pages_are_unique(
            files in prop::collection::vec(("(d/|D/|e/d/)?(a|A|a-p1|a-p2|a~2|a~2-p1|b.ome)[.](tif|TIF|png)", 1usize..4), 0..9),
        ) {
            let files: Vec<(PathBuf, usize)> = files.into_iter().map(|(path, pages)| (path.into(), pages)).collect();
            let names = names(&files.iter().map(|(path, pages)| (path.as_path(), *pages)).collect::<Vec<_>>());
            prop_assert!(names.iter().zip(&files).all(|(names, (_, pages))| names.len() == *pages));
            let all: Vec<String> = names.concat().iter().map(|name| name.to_lowercase()).collect();
            prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "{:?}", all);
        }
    }
}
