//! The bank: which keys are in it, and which of them a site compares with.

use invar_embeddings::Bank;

/// The bank after a round: what was in it, then the fresh keys of each site, oldest first; of each site the newest
/// `per_site`, and none that would be older than `max_age` in the next round.
pub fn merged<'a>(
    before: &Bank,
    fresh: impl IntoIterator<Item = &'a Bank>,
    round: u32,
    per_site: usize,
    max_age: u32,
) -> Bank {
    let mut all = before.clone();
    for keys in fresh {
        append(&mut all, keys, |_| true);
    }
    let mut kept = vec![false; all.len()];
    let mut of_site = std::collections::HashMap::<&str, usize>::new();
    for key in (0..all.len()).rev() {
        let number = of_site.entry(&all.sites[key]).or_default();
        *number += 1;
        kept[key] = *number <= per_site && (round + 1).saturating_sub(all.rounds[key]) <= max_age;
    }
    let mut bank = Bank::default();
    append(&mut bank, &all, |key| kept[key]);
    bank
}

/// The keys of the bank that a site compares with in a round: those of others that are not too old.
pub fn for_site(bank: &Bank, site: &str, round: u32, max_age: u32) -> Bank {
    let mut of_others = Bank::default();
    append(&mut of_others, bank, |key| bank.sites[key] != site && round.saturating_sub(bank.rounds[key]) <= max_age);
    of_others
}

/// How many rounds old the keys of a bank are in a round, on the mean; `None` if there are none.
pub fn mean_age(bank: &Bank, round: u32) -> Option<f64> {
    let ages = bank.rounds.iter().map(|made| f64::from(round.saturating_sub(*made)));
    (!bank.is_empty()).then(|| ages.sum::<f64>() / bank.len() as f64)
}

fn append(to: &mut Bank, from: &Bank, is_wanted: impl Fn(usize) -> bool) {
    for key in (0..from.len()).filter(|&key| is_wanted(key)) {
        to.push(from.key_ids[key], &from.sites[key], from.rounds[key], from.key(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(site: &str, round: u32, ids: std::ops::Range<i64>) -> Bank {
        let mut bank = Bank::default();
        ids.for_each(|id| bank.push(id, site, round, &[id as f32, 0.5]));
        bank
    }

    #[test]
    fn the_newest_of_each_site_stay() {
        let first = merged(&Bank::default(), [&keys("a", 1, 0..3), &keys("b", 1, 10..12)], 1, 4, 9);
        assert_eq!(first.key_ids, [0, 1, 2, 10, 11]);
        // Site b was lost in round 2: its keys stay until they are too old.
        let second = merged(&first, [&keys("a", 2, 3..6)], 2, 4, 9);
        assert_eq!(second.key_ids, [2, 10, 11, 3, 4, 5]);
        assert_eq!(second.key(0), [2.0, 0.5]);
        let late = merged(&second, [], 10, 4, 9);
        assert_eq!(late.key_ids, [3, 4, 5]);
        assert!(merged(&second, [], 11, 4, 9).is_empty());
    }

    #[test]
    fn a_site_is_given_keys_of_others_only() {
        let bank = merged(&Bank::default(), [&keys("a", 1, 0..2), &keys("b", 3, 2..4)], 3, 4, 9);
        assert_eq!(for_site(&bank, "a", 4, 9).key_ids, [2, 3]);
        assert_eq!(for_site(&bank, "b", 4, 9).key_ids, [0, 1]);
        assert_eq!(for_site(&bank, "b", 11, 9).key_ids, [] as [i64; 0]);
        assert_eq!(for_site(&bank, "c", 4, 1).key_ids, [2, 3]);
    }
}
