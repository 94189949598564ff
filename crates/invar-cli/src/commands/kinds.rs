//! What groups of grains suggest about the specimens, in plain words.

use anyhow::Result;
use invar_cluster::{
    Candidate,
    groups::{Contrast, Group, GroupTable},
};
use invar_dataset::manifest::Manifest;
use serde_json::Value;

use super::{
    cluster::groups::{NamedGroups, share},
    report::telling_shortcuts,
};
use crate::{
    result_dir::ResultDir,
    ui::{counted, thousands},
};

/// Maximum number of groups whose distinguishing features are described.
const DESCRIBED: usize = 8;
/// Maximum number of images that are named.
const NAMED: usize = 5;

/// How many kinds of grains, how certain, what is in doubt and why, and what to look at next. `found` is what the
/// clustering tried, `evaluation` what was measured afterwards.
///
/// # Errors
/// If the dataset's manifest cannot be read.
pub fn in_words(
    table: &GroupTable,
    found: &Value,
    evaluation: &Value,
    results: &ResultDir,
    has_pictures: bool,
) -> Result<String> {
    let manifest = Manifest::read(&results.data())?;
    let doubtful = manifest.facts.get("images").map(doubtful_images).unwrap_or_default();
    let pictures = if has_pictures { where_to_look(results) } else { String::new() };
    Ok(words(table, found, &telling_shortcuts(evaluation), &doubtful, &pictures, results))
}

fn words(
    table: &GroupTable,
    found: &Value,
    shortcuts: &[String],
    doubtful: &[(String, String)],
    pictures: &str,
    results: &ResultDir,
) -> String {
    let total: usize = table.groups.iter().map(|group| group.members).sum();
    let (groups, noise): (Vec<&Group>, Vec<&Group>) = table.groups.iter().partition(|group| group.cluster >= 0);
    let noun = &table.noun;
    let mut text = match &groups[..] {
        [] => return format!("no kinds of {noun}: there are no samples, or all are in no cluster"),
        [_] => format!(
            "1 kind: the {} {noun} are not distinguished, or what sets them apart is not found again",
            thousands(total as u64)
        ),
        [largest, .., least] => format!(
            "{} kinds of {noun}: the largest has {} of {} ({}), the smallest {}",
            groups.len(),
            thousands(largest.members as u64),
            thousands(total as u64),
            share(largest.members, total),
            thousands(least.members as u64),
        ),
    };
    let in_none: usize = noise.iter().map(|group| group.members).sum();
    if in_none > 0 {
        text += &format!("\n  {} are in none", thousands(in_none as u64));
    }
    text += &runner_up(found);
    let unsure = NamedGroups::not_found_again(groups.iter().copied());
    match unsure {
        Some(unsure) => {
            text += &format!(
                "\n  {} of the kinds are not found again in halves of the {noun}, and may be pieces or mixtures: {unsure}",
                unsure.number
            );
        }
        None if groups.len() > 1 => text += &format!("\n  all of them are found again in halves of the {noun}"),
        None => {}
    }
    let in_doubt: usize = groups.iter().filter_map(|group| group.doubtful).sum();
    if in_doubt > 0 {
        text += &format!(
            "\n  {} of the {noun} ({}) are in doubt: most of what is similar to them is of other kinds",
            share(in_doubt, total),
            thousands(in_doubt as u64)
        );
    }
    let described = groups.iter().filter(|group| !group.apart.is_empty()).take(DESCRIBED);
    for group in described.filter(|_| groups.len() > 1) {
        let apart: Vec<String> = group.apart.iter().map(Contrast::in_words).collect();
        text += &format!("\n  kind {}: {}", group.cluster, apart.join("; "));
    }
    for shortcut in shortcuts {
        text += &format!("\n  caution: the kinds may reflect how the samples were taken: {shortcut}");
    }
    if let [(_, reason), ..] = doubtful {
        let names: Vec<&str> = doubtful.iter().take(NAMED).map(|(name, _)| name.as_str()).collect();
        let more = if doubtful.len() > NAMED { ", ..." } else { "" };
        text += &format!(
            "\n  the outlines of {} are not to be trusted as they are: {}{more} ({reason})",
            counted(doubtful.len() as u64, "image"),
            names.join(", ")
        );
    }
    text += pictures;
    text += &format!(
        "\n  for more or fewer kinds: invar cluster {} --k N --out kinds.parquet",
        results.embeddings().display()
    );
    text
}

/// The pictures of a run, as a line.
fn where_to_look(results: &ResultDir) -> String {
    let at = |path: std::path::PathBuf| path.display().to_string();
    format!(
        "\nnext: look at what is in each kind in {}, where it lies in {}, and at the outlines in {}",
        at(results.gallery()),
        at(results.painted()),
        at(results.data().join("segmented")),
    )
}

/// The next best number of groups, if it is close.
fn runner_up(found: &Value) -> String {
    let tried: Vec<Candidate> = serde_json::from_value(found["candidates"].clone()).unwrap_or_default();
    let Some(taken) = tried.iter().find(|one| one.chosen) else { return String::new() };
    let others = tried.iter().filter(|one| one.num_clusters != taken.num_clusters);
    let Some(next) = others.filter(|one| one.score.is_some()).max_by(|a, b| score(a).total_cmp(&score(b))) else {
        return String::new();
    };
    let (ours, theirs, number) = (score(taken), score(next), next.num_clusters);
    let words = if theirs > CLOSE * ours { "close" } else { "behind" };
    format!("\n  the next best number is {number}, {words} (score {theirs:.2} to {ours:.2})")
}

/// Fraction of the best score from which another is close.
const CLOSE: f64 = 0.9;

fn score(one: &Candidate) -> f64 {
    one.score.unwrap_or(f64::NEG_INFINITY)
}

/// The images whose segmentation is in doubt, each with the first reason.
fn doubtful_images(images: &Value) -> Vec<(String, String)> {
    let doubt = |image: &Value| {
        let reason = image["segmentation"]["doubts"].as_array()?.first()?.as_str()?;
        Some((image["image"].as_str()?.to_owned(), reason.to_owned()))
    };
    images.as_array().into_iter().flatten().filter_map(doubt).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn group(cluster: i32, members: usize, confidence: f32) -> Group {
        let apart = Contrast { column: "class".into(), value: Some("1".into()), own: 0.9, others: 0.1, effect: 0.8 };
        Group {
            cluster,
            members,
            figures: vec![],
            confidence: (cluster >= 0).then_some(confidence),
            doubtful: (cluster >= 0).then_some(cluster as usize),
            nearest: None,
            distance: None,
            exemplars: vec![],
            apart: if cluster == 0 { vec![apart] } else { vec![] },
        }
    }

    fn said(groups: Vec<Group>, doubtful: &[(String, String)]) -> String {
        let table = GroupTable { noun: "grains".into(), figures: vec![], groups };
        let one = |num_clusters: usize, score: f64, chosen: bool| {
            json!({"method": "kmeans", "resolution": null, "num_clusters": num_clusters, "silhouette": score,
                   "reproducibility": 1.0, "score": score, "chosen": chosen})
        };
        let found = json!({"candidates": [one(2, 0.8, true), one(3, 0.78, false), one(4, 0.5, false)]});
        let results = ResultDir::new(Path::new("out"));
        words(&table, &found, &["image 80 %".into()], doubtful, &where_to_look(&results), &results)
    }

    #[test]
    fn kinds_what_is_in_doubt_and_what_to_look_at() {
        let doubtful = [("a".to_owned(), "its boundaries are as thin as noise".to_owned())];
        let text = said(vec![group(0, 90, 0.95), group(1, 8, 0.4), group(-1, 2, 0.0)], &doubtful);
        assert_eq!(
            text,
            "2 kinds of grains: the largest has 90 of 100 (90 %), the smallest 8\n  \
             2 are in none\n  \
             the next best number is 3, close (score 0.78 to 0.80)\n  \
             1 of the kinds are not found again in halves of the grains, and may be pieces or mixtures: 1\n  \
             1 % of the grains (1) are in doubt: most of what is similar to them is of other kinds\n  \
             kind 0: class 1 90 %, others 10 %\n  \
             caution: the kinds may reflect how the samples were taken: image 80 %\n  \
             the outlines of 1 image are not to be trusted as they are: a (its boundaries are as thin as noise)\n\
             next: look at what is in each kind in out/gallery.png, where it lies in out/painted, and at the outlines in \
             out/data/segmented\n  \
             for more or fewer kinds: invar cluster out/embeddings --k N --out kinds.parquet"
        );
    }

    #[test]
    fn one_kind_and_none() {
        let text = said(vec![group(0, 5, 1.0)], &[]);
        assert!(text.starts_with("1 kind: the 5 grains are not distinguished") && !text.contains("kind 0"), "{text}");
        assert!(said(vec![], &[]).starts_with("no kinds of grains"));
    }
}
