//! The table "How a newcomer adds ..." of ARCHITECTURE.md is complete: everything that exists now is named in the files
//! that it lists and in no others.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The files that a row of the table names, whether new or edited. `crates/invar-cli/src/` before a list of names in
/// backquotes applies to the following ones that do not start with a directory of the root.
fn listed(row: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("| {row} |"))).expect("a row of the table");
    let mut inside = "";
    let mut files = BTreeSet::new();
    for name in line.split('`').skip(1).step_by(2) {
        if name.ends_with("/src/") {
            inside = name;
        } else if name.ends_with('/') {
            continue;
        } else if ["crates/", "docs/", "pipelines/", "test-data/", "Cargo.toml"]
            .iter()
            .any(|start| name.starts_with(start))
        {
            files.insert(name.to_owned());
        } else if name.ends_with(".rs") {
            files.insert(format!("{inside}{name}"));
        }
    }
    files
}

/// All Rust sources and manifests below `crates/*/src` and beside it, and the manifest of the workspace, by path from the root.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut open: Vec<PathBuf> = vec![root.join("Cargo.toml")];
    for krate in fs::read_dir(root.join("crates")).unwrap() {
        let krate = krate.unwrap().path();
        open.extend([krate.join("Cargo.toml"), krate.join("src")]);
    }
    let mut found = vec![];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "toml") {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.len() > 200, "{} files", found.len());
    found
}

/// Whether `word` occurs in `text` outside comments and test modules, and not as part of a longer word.
fn names(text: &str, word: &str) -> bool {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(word).any(|(at, _)| {
            !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(|c| is_part(c) || c == '-')
        })
    })
}

/// The files in which one of `words` occurs, except those whose path starts with one of `home`.
fn users(sources: &[(String, String)], words: &[&str], home: &[&str]) -> BTreeSet<String> {
    let is_user = |(name, text): &&(String, String)| {
        !home.iter().any(|home| name.starts_with(home)) && words.iter().any(|word| names(text, word))
    };
    sources.iter().filter(is_user).map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_domain_is_named_where_the_table_says() {
    let sources = sources();
    let expected = listed("an input domain");
    let pictures = listed("a command that one domain has");
    for domain in ["reads", "micrographs", "contigs", "graphs"] {
        let (krate, module) = (format!("invar-{domain}"), format!("invar_{domain}"));
        let users = users(&sources, &[&krate, &module], &[&format!("crates/{krate}/")]);
        let is_listed = |file: &&String| {
            expected.contains(&file.replace(&format!("/{domain}.rs"), "/<domain>.rs")) || pictures.contains(*file)
        };
        let unlisted: Vec<_> = users.iter().filter(|file| !is_listed(file)).collect();
        assert!(unlisted.is_empty(), "{domain} is also named in {unlisted:?}");
        // At least both manifests and the source of the recipes: the search works.
        for file in ["crates/invar-cli/Cargo.toml", "crates/invar/Cargo.toml", "crates/invar/src/learn/source.rs"] {
            assert!(users.contains(file), "{domain} is not named in {file}");
        }
    }
    // A domain without pictures needs no more than its row.
    let reads = users(&sources, &["invar-reads", "invar_reads"], &["crates/invar-reads/"]);
    let reads: BTreeSet<String> = reads.into_iter().map(|file| file.replace("/reads.rs", "/<domain>.rs")).collect();
    assert!(reads.is_subset(&expected), "{reads:?}");
}

/// The types `...Config` declared in the files of `directory`, each with its file.
fn configs(sources: &[(String, String)], directory: &str) -> Vec<(String, String)> {
    let declared = |(name, text): &(String, String)| {
        let names = text.split("pub struct ").skip(1).filter_map(|rest| rest.split([' ', '<', '(']).next());
        names.filter(|config| config.ends_with("Config")).map(|config| (config.to_owned(), name.clone())).collect()
    };
    let files = sources.iter().filter(|(name, _)| {
        name.strip_prefix(directory).is_some_and(|file| !file.contains('/') && file.ends_with(".rs"))
    });
    files.flat_map(|file| -> Vec<(String, String)> { declared(file) }).collect()
}

#[test]
fn a_loss_and_an_encoder_are_named_in_one_file_each() {
    let sources = sources();
    for (row, directory, least) in
        [("a loss", "crates/invar-loss/src/", 6), ("an encoder", "crates/invar-nn/src/encoder/", 4)]
    {
        let expected = listed(row);
        let configs = configs(&sources, directory);
        assert!(configs.len() >= least, "{configs:?}");
        for (config, file) in configs {
            // Its own file, and the folder of the same name with its parts and tests.
            let home = file.strip_suffix(".rs").unwrap();
            // From another library, which has a type of this name: `tch::nn::ConvConfig`.
            let elsewhere = sources.iter().filter(|(_, text)| !names(text, &format!("nn::{config}"))).cloned();
            let users = users(&elsewhere.collect::<Vec<_>>(), &[&config], &[home]);
            assert!(users.is_subset(&expected), "{config} is also named in {users:?}");
            assert!(!users.is_empty(), "{config} is named nowhere");
        }
    }
}
