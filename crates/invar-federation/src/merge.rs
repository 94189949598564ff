//! A round's updates to the next global model.

use std::{collections::HashSet, path::PathBuf};

use crate::{Contribution, Error, Global, GlobalFacts, PrivacySpent, Refusal, Update, Weights, bank};

/// A change of the weights so many times as long as the weights themselves, or as the median of the sites' changes, is no
/// result of training.
const EXPLODED: f64 = 10.0;

/// A merged round.
#[derive(Debug)]
pub struct Merge {
    /// The next global model.
    pub global: Global,
    /// The updates that were left out, and why.
    pub refused: Vec<Error>,
}

/// Averages the weights of updates, by their number of rows, and puts their keys into the bank. Updates are taken in the
/// order of their sites' names: the order in which they are given changes nothing. `bytes` is the size of each.
///
/// An update is refused if it is of another recipe, another round or another model than the global one, of a site that has
/// sent one already, has other tensors, holds a value that is not finite, is longer than any training makes it, is not as
/// long as it says, or sends keys that are not its own and new.
///
/// # Errors
/// If no update is left.
pub fn merge(
    global: &Global,
    updates: Vec<(PathBuf, Update)>,
    bytes: &[u64],
    tool_version: &str,
) -> Result<Merge, Error> {
    let mut refused = vec![];
    let mut taken: Vec<(PathBuf, Update, u64, f64)> = vec![];
    let num_given = updates.len();
    let mut updates: Vec<((PathBuf, Update), u64)> = updates.into_iter().zip(bytes.iter().copied()).collect();
    updates.sort_by(|((a, one), _), ((b, other), _)| (&one.facts.site, a).cmp(&(&other.facts.site, b)));
    let length = global.model.norm();
    for ((path, update), bytes) in updates {
        let twice = taken.iter().find(|(_, other, ..)| other.facts.site == update.facts.site);
        let reason = match twice {
            Some((other, ..)) => Err(format!("the site has sent {} already", other.display())),
            None => norm_of(global, &update, length),
        };
        match reason {
            Ok(norm) => taken.push((path, update, bytes, norm)),
            Err(reason) => refused.push(Error::Refused { path, site: update.facts.site, reason }),
        }
    }
    // One of many that changed the weights far more than the others did.
    let mut norms: Vec<f64> = taken.iter().map(|(.., norm)| *norm).collect();
    norms.sort_by(f64::total_cmp);
    if let Some(&median) = norms.get(norms.len() / 2).filter(|_| norms.len() >= 3) {
        taken.retain(|(path, update, _, norm)| {
            let is_sound = *norm <= EXPLODED * median || median == 0.0;
            if !is_sound {
                let reason = format!(
                    "its change of the weights has a norm of {norm:.4}, expected at most {EXPLODED} times the sites' median \
                     {median:.4}"
                );
                refused.push(Error::Refused { path: path.clone(), site: update.facts.site.clone(), reason });
            }
            is_sound
        });
    }
    if taken.is_empty() {
        return Err(refused.pop().filter(|_| num_given == 1).unwrap_or(Error::NothingLeft { refused: num_given }));
    }
    let rows: f64 = taken.iter().map(|(_, update, ..)| update.facts.rows as f64).sum();
    let shares: Vec<f64> = taken.iter().map(|(_, update, ..)| update.facts.rows as f64 / rows).collect();
    let all: Vec<&Weights> = taken.iter().map(|(_, update, ..)| &update.weights).collect();
    let average = Weights::combined(&all, |values| {
        values.zip(&shares).map(|(value, share)| f64::from(value) * share).sum::<f64>() as f32
    });
    let merged = taken.iter().zip(&shares).map(|((_, update, bytes, norm), &weight)| Contribution {
        site: update.facts.site.clone(),
        rows: update.facts.rows,
        weight,
        steps: update.facts.steps,
        loss: update.facts.loss,
        norm: *norm,
        divergence: update.weights.distance(&average),
        keys: update.facts.keys,
        bytes: *bytes,
        privacy: update.facts.privacy.clone(),
    });
    let merged = merged.collect();
    let (model, velocity) = with_momentum(global, average);
    let (round, federation) = (global.facts.round + 1, &global.facts.federation);
    let fresh = taken.iter().map(|(_, update, ..)| &update.keys);
    let bank = bank::merged(&global.bank, fresh, round, federation.keys_per_site, federation.max_age);
    let refusals = refused.iter().filter_map(|error| match error {
        Error::Refused { site, reason, .. } => Some(Refusal { site: site.clone(), reason: reason.clone() }),
        _ => None,
    });
    let facts = GlobalFacts {
        tool_version: tool_version.into(),
        round,
        merged,
        refused: refusals.collect(),
        ..global.facts.clone()
    };
    // What the model file says of itself comes with the weights: the steps that they were trained.
    let model = Weights { header: taken[0].1.weights.header.clone(), ..model };
    Ok(Merge { global: Global { facts, recipe: global.recipe.clone(), model, bank, velocity }, refused })
}

/// The norm of an update's change of the weights, if nothing is wrong with it.
fn norm_of(global: &Global, update: &Update, length: f64) -> Result<f64, String> {
    let (facts, of_global) = (&update.facts, &global.facts);
    if facts.recipe != of_global.recipe {
        return Err(format!("it is of recipe {}, the global model of {}", facts.recipe, of_global.recipe));
    }
    let next = of_global.round + 1;
    if facts.round != next {
        return Err(format!("it is of round {}, expected round {next}", facts.round));
    }
    if facts.global != of_global.model_sha256 {
        return Err(format!("it began with model {}, the global model is {}", facts.global, of_global.model_sha256));
    }
    if facts.rows == 0 {
        return Err("it was trained on 0 rows".into());
    }
    if let Some((expected, found)) = update.weights.first_misfit(&global.model) {
        return Err(format!("its weights hold {found}, expected {expected}"));
    }
    if let Some((name, value)) = update.weights.first_non_finite() {
        return Err(format!("its weights hold {value} in {name}"));
    }
    if !facts.loss.is_finite() {
        return Err(format!("its loss is {}", facts.loss));
    }
    let norm = update.weights.distance(&global.model);
    if norm > EXPLODED * length {
        return Err(format!(
            "its change of the weights has a norm of {norm:.4}, expected at most {EXPLODED} times that of the weights, {length:.4}"
        ));
    }
    if (norm - facts.norm).abs() > 1e-3 * norm.max(1e-6) {
        return Err(format!("it states a change of the weights of norm {:.6}, its weights have {norm:.6}", facts.norm));
    }
    check_privacy(global, facts.privacy.as_ref())?;
    check_keys(global, update)?;
    Ok(norm)
}

/// A site that was asked for noise must have added it.
fn check_privacy(global: &Global, found: Option<&PrivacySpent>) -> Result<(), String> {
    let stated = found.map(|found| (found.clip, found.noise_multiplier));
    let asked = global.facts.federation.privacy.as_ref().map(|asked| (asked.clip, asked.noise_multiplier));
    let words = |of: Option<(f64, f64)>| match of {
        None => "no noise".to_owned(),
        Some((clip, noise)) => format!("clip {clip} and noise multiplier {noise}"),
    };
    if stated == asked { Ok(()) } else { Err(format!("it states {}, the recipe {}", words(stated), words(asked))) }
}

/// Fresh keys are the site's own, of this round, unlike those in the bank, of one width, of unit length.
fn check_keys(global: &Global, update: &Update) -> Result<(), String> {
    let (facts, keys, most) = (&update.facts, &update.keys, global.facts.federation.keys);
    if keys.len() > most {
        return Err(format!("it has {} keys, expected at most {most}", keys.len()));
    }
    if keys.is_empty() {
        return Ok(());
    }
    if !global.bank.is_empty() && keys.width != global.bank.width {
        return Err(format!("its keys have {} numbers, those of the bank {}", keys.width, global.bank.width));
    }
    if let Some(site) = keys.sites.iter().find(|site| **site != facts.site) {
        return Err(format!("it has a key of site {site}"));
    }
    if let Some(round) = keys.rounds.iter().find(|round| **round != facts.round) {
        return Err(format!("it has a key of round {round}, expected round {}", facts.round));
    }
    let known: HashSet<i64> = global.bank.key_ids.iter().copied().collect();
    let mut own = HashSet::new();
    if let Some(id) = keys.key_ids.iter().find(|id| known.contains(id) || !own.insert(**id)) {
        return Err(format!("key {id} is in the bank already, or twice in the update"));
    }
    let length = |key: usize| keys.key(key).iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    match (0..keys.len()).map(length).find(|length| (length - 1.0).abs() > 1e-2) {
        Some(length) => Err(format!("a key has length {length:.4}, expected 1")),
        None => Ok(()),
    }
}

/// FedAvgM: `v = momentum v + (average - global)`, `global + v`. Without momentum the average, bit for bit.
fn with_momentum(global: &Global, average: Weights) -> (Weights, Option<Weights>) {
    let momentum = global.facts.federation.server_momentum;
    if momentum == 0.0 {
        return (average, None);
    }
    let change = |values: &mut dyn Iterator<Item = f32>| {
        let [average, global, before] = [(); 3].map(|()| f64::from(values.next().unwrap_or(0.0)));
        (momentum * before + (average - global)) as f32
    };
    let velocity = match &global.velocity {
        Some(before) => Weights::combined(&[&average, &global.model, before], change),
        None => Weights::combined(&[&average, &global.model], change),
    };
    let model = Weights::combined(&[&global.model, &velocity], |values| values.sum());
    (model, Some(velocity))
}

#[cfg(test)]
mod tests {
    use invar_embeddings::Bank;
    use proptest::prelude::*;

    use super::*;
    use crate::{FederationConfig, UpdateFacts, VERSION};

    fn weights(values: &[f32]) -> Weights {
        let (first, second) = values.split_at(1);
        let tensors = [("trunk.a", first), ("trunk.b", second)];
        let of = |(name, values): (&str, &[f32])| (name.to_owned(), (vec![values.len()], values.to_vec()));
        Weights { tensors: tensors.map(of).into(), header: "{}".into() }
    }

    fn global(values: &[f32], federation: FederationConfig) -> Global {
        let facts = GlobalFacts {
            version: VERSION,
            tool_version: "0".into(),
            round: 4,
            recipe: "r".into(),
            federation,
            recipe_sha256: String::new(),
            model_sha256: "m".into(),
            bank_sha256: None,
            velocity_sha256: None,
            merged: vec![],
            refused: vec![],
        };
        Global { facts, recipe: String::new(), model: weights(values), bank: Bank::default(), velocity: None }
    }

    fn update(global: &Global, site: &str, rows: u64, values: &[f32]) -> (PathBuf, Update) {
        let weights = weights(values);
        let mut keys = Bank::default();
        keys.push(site.bytes().map(i64::from).sum(), site, 5, &[0.6, 0.8]);
        let facts = UpdateFacts {
            version: VERSION,
            tool_version: "0".into(),
            site: site.into(),
            round: 5,
            recipe: "r".into(),
            global: "m".into(),
            rows,
            steps: 3,
            loss: 1.5,
            norm: weights.distance(&global.model),
            keys: 1,
            weights_sha256: String::new(),
            keys_sha256: None,
            privacy: None,
        };
        (format!("update-{site}").into(), Update { facts, weights, keys })
    }

    fn merged(global: &Global, updates: Vec<(PathBuf, Update)>) -> Merge {
        let bytes = vec![7; updates.len()];
        merge(global, updates, &bytes, "1").unwrap()
    }

    fn refused(global: &Global, change: impl Fn(&mut Update)) -> String {
        let mut bad = update(global, "bad", 1, &[2.0, 3.0, 4.0]);
        change(&mut bad.1);
        let found = merged(global, vec![update(global, "good", 1, &[2.0, 3.0, 4.0]), bad]);
        assert_eq!(found.global.model, weights(&[2.0, 3.0, 4.0]));
        assert_eq!(found.global.facts.refused[0].site, "bad");
        found.refused[0].to_string()
    }

    #[test]
    fn sites_count_by_their_rows() {
        let before = global(&[1.0, 2.0, 3.0], FederationConfig::default());
        let sites = [("a", 1, [1.0, 2.0, 0.0]), ("b", 3, [2.0, -2.0, 4.0])];
        let updates: Vec<_> = sites.iter().map(|(site, rows, values)| update(&before, site, *rows, values)).collect();
        let found = merged(&before, updates.clone());
        assert_eq!(found.global.model, weights(&[1.75, -1.0, 3.0]));
        assert_eq!(
            (found.global.facts.round, found.global.bank.sites.as_slice()),
            (5, &["a".to_owned(), "b".into()][..])
        );
        let [a, b] = &found.global.facts.merged[..] else { panic!("two sites") };
        assert_eq!((a.weight, b.weight, b.bytes), (0.25, 0.75, 7));
        assert!((b.divergence - (0.0625f64 + 1.0 + 1.0).sqrt()).abs() < 1e-6);
        let reversed = updates.into_iter().rev().collect();
        assert_eq!(merged(&before, reversed).global, found.global);
    }

    #[test]
    fn momentum_goes_on_in_the_direction_of_the_last_change() {
        let config = FederationConfig { server_momentum: 0.5, ..FederationConfig::default() };
        let before = global(&[1.0, 2.0, 3.0], config);
        let first = merged(&before, vec![update(&before, "a", 1, &[2.0, 2.0, 1.0])]).global;
        // The first change is whole: there was none before.
        assert_eq!(
            (&first.model, first.velocity.as_ref().unwrap()),
            (&weights(&[2.0, 2.0, 1.0]), &weights(&[1.0, 0.0, -2.0]))
        );
        let again = Global { facts: before.facts.clone(), bank: Bank::default(), ..first };
        let second = merged(&again, vec![update(&again, "a", 1, &[2.0, 3.0, 1.0])]).global;
        // v = 0.5 (1, 0, -2) + (0, 1, 0).
        assert_eq!(second.velocity.unwrap(), weights(&[0.5, 1.0, -1.0]));
        assert_eq!(second.model, weights(&[2.5, 3.0, 0.0]));
    }

    #[test]
    fn what_cannot_be_is_refused_with_both_values() {
        let before = global(&[1.0, 2.0, 3.0], FederationConfig::default());
        type Change = fn(&mut Update);
        let cases: [(Change, &str); 13] = [
            (|u| u.facts.recipe = "s".into(), "it is of recipe s, the global model of r"),
            (|u| u.facts.round = 3, "it is of round 3, expected round 5"),
            (|u| u.facts.global = "n".into(), "it began with model n, the global model is m"),
            (|u| u.facts.rows = 0, "it was trained on 0 rows"),
            (|u| u.weights = weights(&[1.0, 2.0]), "its weights hold trunk.b [1], expected trunk.b [2]"),
            (|u| u.weights = weights(&[1.0, f32::INFINITY, 0.0]), "its weights hold inf in trunk.b"),
            (|u| u.facts.loss = f64::NAN, "its loss is NaN"),
            (|u| u.weights = weights(&[1.0, 200.0, 0.0]), "expected at most 10 times that of the weights, 3.7417"),
            (|u| u.facts.norm = 9.0, "it states a change of the weights of norm 9.000000, its weights have 1.732051"),
            (|u| u.keys.sites[0] = "good".into(), "it has a key of site good"),
            (|u| u.keys.rounds[0] = 4, "it has a key of round 4, expected round 5"),
            (
                |u| u.keys.push(u.keys.key_ids[0], "bad", 5, &[1.0, 0.0]),
                "is in the bank already, or twice in the update",
            ),
            (|u| u.keys.keys[0] = 3.0, "a key has length 3.1048, expected 1"),
        ];
        for (change, reason) in cases {
            let error = refused(&before, change);
            assert!(error.contains("update-bad: update of site bad: ") && error.contains(reason), "{reason}: {error}");
        }
        let [one, mut other] = [(); 2].map(|()| update(&before, "good", 1, &[2.0, 3.0, 4.0]));
        other.0 = "zzz".into();
        let error = merged(&before, vec![other, one]).refused[0].to_string();
        assert!(error.contains("zzz: update of site good: the site has sent update-good already"), "{error}");
    }

    #[test]
    fn one_of_many_that_went_far_off_is_refused() {
        let before = global(&[1.0, 2.0, 3.0], FederationConfig::default());
        let near = |site| update(&before, site, 1, &[1.01, 2.0, 3.0]);
        let far = update(&before, "far", 1, &[2.0, 2.0, 3.0]);
        let found = merged(&before, vec![near("a"), far.clone(), near("b")]);
        assert_eq!((found.global.facts.merged.len(), found.refused.len()), (2, 1));
        assert!(found.refused[0].to_string().contains("site far: its change of the weights has a norm of 1.0000"));
        // Of two, nobody knows which is right.
        assert!(merged(&before, vec![near("a"), far]).refused.is_empty());
        let nothing = merge(&before, vec![], &[], "1").unwrap_err().to_string();
        assert_eq!(nothing, "no update is left to merge: 0 refused");
    }

    proptest! {
        #[test]
        fn the_average_lies_between_the_sites_and_one_site_is_itself(
            sites in prop::collection::vec((1u64..1000, prop::array::uniform3(-1.0f32..1.0)), 1..6),
        ) {
            let before = global(&[0.5, 0.5, -0.5], FederationConfig::default());
            let updates: Vec<_> = (0..).zip(&sites).map(|(number, (rows, values))| {
                update(&before, &format!("site-{number}"), *rows, values)
            }).collect();
            let found = merged(&before, updates);
            let kept: Vec<[f32; 3]> = found.global.facts.merged.iter().map(|site| {
                sites[site.site[5..].parse::<usize>().unwrap()].1
            }).collect();
            for (place, value) in found.global.model.values().enumerate() {
                let of_sites = kept.iter().map(|values| values[place]);
                let (low, high) = (of_sites.clone().fold(f32::INFINITY, f32::min), of_sites.fold(f32::NEG_INFINITY, f32::max));
                prop_assert!(low - 1e-6 <= value && value <= high + 1e-6);
            }
            if kept.len() == 1 {
                prop_assert_eq!(found.global.model.values().collect::<Vec<_>>(), kept[0].to_vec());
            }
        }
    }
}
