//! Which samples have labels, and which of them are learned from.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
};

use anyhow::Result;
use invar_cli::{
    commands::labels::{Labels, Named, as_labels},
    exit::{BadInput, Usage},
};
use invar_dataset::{PairSource, SampleTable, seed};
use invar_loss::LabelColumn;

use crate::names::{BLOCK_ROWS, Names};

/// Columns of samples that group them, the best first.
const GROUPS: [&str; 2] = ["image", "component"];

/// The samples with labels.
pub struct Labelled {
    /// Names and classes of the columns; counts are of the samples that are learned from.
    pub columns: Vec<LabelColumn>,
    /// The samples, in order.
    pub samples: Vec<Sample>,
    /// What they are grouped by.
    pub grouped_by: String,
}

/// A sample with a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its number among all.
    pub index: usize,
    /// Its key.
    pub key: u64,
    /// Its class in each column; at least one is known.
    pub classes: Vec<Option<u32>>,
    /// Its group: equal numbers are not learned from and measured on at the same time.
    pub group: u64,
    /// Whether it is not learned from.
    pub is_held_out: bool,
}

/// What all samples are called, and the columns that may group them, by name.
struct Described {
    names: Names,
    groups: BTreeMap<String, Vec<Option<String>>>,
}

/// What is asked for.
pub struct Wanted<'a> {
    /// The table.
    pub labels: &'a PathBuf,
    /// Its columns; none for the first.
    pub columns: &'a [String],
    /// A column of groups.
    pub group_column: Option<&'a str>,
    /// The share to be held out.
    pub held_out: f64,
    /// Number of groups that each class must have for that.
    pub held_out_from: usize,
    /// Determines which groups are held out.
    pub seed: u64,
}

impl Labelled {
    /// Finds the labels of `num_samples` samples.
    ///
    /// # Errors
    /// If the table fits no sample, a column has a single class, or one per name; if there is no column of groups of
    /// that name.
    pub fn find(wanted: &Wanted<'_>, table: &dyn SampleTable, num_samples: usize) -> Result<Self> {
        let Described { names, groups } = Described::read(table, num_samples, wanted.group_column)?;
        let named = names.named();
        let path = wanted.labels.display();
        let asked: Vec<Option<&str>> = match wanted.columns {
            [] => vec![None],
            columns => columns.iter().map(|column| Some(column.as_str())).collect(),
        };
        let mut columns: Vec<LabelColumn> = vec![];
        let mut classes = vec![vec![]; num_samples];
        for column in asked {
            let labels = Labels::read(wanted.labels, column)?;
            if columns.iter().any(|before| before.name == labels.column) {
                return Err(Usage(format!("--label-column {}: given twice", labels.column)).into());
            }
            let found = labels.of(&named)?;
            let known: BTreeSet<&str> = found.iter().flatten().copied().collect();
            let of_column = |what: String| format!("{path}: column {:?}: {what}", labels.column);
            let with_label = || found.iter().zip(&names.ids).filter_map(|(label, id)| Some(((*label)?, id)));
            if known.len() > 1 && with_label().all(|(label, id)| label == id) {
                let reason = "every label is the sample's own id: expected labels that several samples can have";
                return Err(BadInput(of_column(reason.into())).into());
            }
            if known.len() < 2 {
                let only = known.first().copied().unwrap_or_default();
                let reason = format!("expected at least two different labels, found only {only:?}");
                return Err(BadInput(of_column(reason)).into());
            }
            let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
            for (of_sample, label) in classes.iter_mut().zip(&found) {
                of_sample.push(label.and_then(|label| known.iter().position(|k| k == label)).map(|k| k as u32));
            }
            columns.push(LabelColumn { name: labels.column.clone(), counts: vec![0; known.len()], classes: known });
        }
        let mut samples: Vec<Sample> = vec![];
        for (index, classes) in classes.into_iter().enumerate() {
            if classes.iter().any(Option::is_some) {
                samples.push(Sample { index, key: names.keys[index], classes, group: 0, is_held_out: false });
            }
        }
        let grouped_by = group(&mut samples, wanted, &groups, &named)?;
        hold_out(&mut samples, wanted);
        for sample in samples.iter().filter(|sample| !sample.is_held_out) {
            for (column, class) in columns.iter_mut().zip(&sample.classes) {
                class.iter().for_each(|&class| column.counts[class as usize] += 1);
            }
        }
        Ok(Self { columns, samples, grouped_by })
    }

    /// The classes of each sample that pairs are drawn from, where it is learned from.
    ///
    /// # Errors
    /// If the name of a sample cannot be read.
    pub fn of_pairs(&self, pairs: &dyn PairSource) -> Result<Vec<Vec<Option<u32>>>> {
        let learned = self.samples.iter().filter(|sample| !sample.is_held_out);
        let by_key: HashMap<u64, &Vec<Option<u32>>> = learned.map(|sample| (sample.key, &sample.classes)).collect();
        let none = vec![None; self.columns.len()];
        let of = |index: usize| -> Result<Vec<Option<u32>>> {
            Ok((*by_key.get(&pairs.sample_name(index)?.key).unwrap_or(&&none)).clone())
        };
        (0..pairs.len()).map(of).collect()
    }

    /// Number of samples held out.
    pub fn num_held_out(&self) -> usize {
        self.samples.iter().filter(|sample| sample.is_held_out).count()
    }
}

impl Described {
    fn read(table: &dyn SampleTable, num_samples: usize, group_column: Option<&str>) -> Result<Self> {
        let mut all = Self { names: Names::default(), groups: BTreeMap::new() };
        for first in (0..num_samples).step_by(BLOCK_ROWS) {
            let columns = table.columns(first..num_samples.min(first + BLOCK_ROWS))?;
            all.names.add(&columns);
            let is_group = |name: &str| GROUPS.contains(&name) || Some(name) == group_column;
            for column in columns.iter().filter(|column| is_group(&column.name)) {
                all.groups.entry(column.name.clone()).or_default().extend(as_labels(column));
            }
        }
        Ok(all)
    }
}

/// Numbers the groups, and says what they are.
fn group(
    samples: &mut [Sample],
    wanted: &Wanted<'_>,
    columns: &BTreeMap<String, Vec<Option<String>>>,
    named: &[Named<'_>],
) -> Result<String> {
    if let Some(name) = wanted.group_column {
        let of_table = Labels::read(wanted.labels, Some(name)).and_then(|labels| {
            let found = labels.of(named)?;
            Ok(found.into_iter().map(|group| group.map(str::to_owned)).collect::<Vec<_>>())
        });
        let groups = match (of_table, columns.get(name)) {
            (Ok(groups), _) => groups,
            (Err(_), Some(groups)) => groups.clone(),
            (Err(error), None) => return Err(error.context(format!("--group-column {name}"))),
        };
        number(samples, &groups);
        return Ok(name.to_owned());
    }
    for name in GROUPS {
        if let Some(groups) = columns.get(name) {
            number(samples, groups);
            if fewest_groups(samples) >= 2 {
                return Ok(name.to_owned());
            }
        }
    }
    samples.iter_mut().for_each(|sample| sample.group = sample.key);
    Ok("sample".into())
}

/// Equal texts are a group, a sample without one is a group of its own.
fn number(samples: &mut [Sample], groups: &[Option<String>]) {
    let mut numbers = HashMap::<&str, u64>::new();
    for sample in samples {
        let next = numbers.len() as u64;
        sample.group = match groups[sample.index].as_deref() {
            Some(group) => *numbers.entry(group).or_insert(next),
            None => seed::mix(sample.key, u64::MAX),
        };
    }
}

/// The groups of each class, in order of the columns and classes.
fn groups_of_classes(samples: &[Sample]) -> BTreeMap<(usize, u32), BTreeSet<u64>> {
    let mut groups = BTreeMap::<(usize, u32), BTreeSet<u64>>::new();
    for sample in samples {
        for (column, class) in sample.classes.iter().enumerate() {
            if let Some(class) = *class {
                groups.entry((column, class)).or_default().insert(sample.group);
            }
        }
    }
    groups
}

/// The number of groups of the class that has fewest.
pub fn fewest_groups(samples: &[Sample]) -> usize {
    groups_of_classes(samples).values().map(BTreeSet::len).min().unwrap_or(0)
}

/// Divides the groups into folds, so that the groups of each class are spread evenly: the fold of each sample.
pub fn folds(samples: &[Sample], num_folds: usize, of_seed: u64) -> Vec<usize> {
    let classes = groups_of_classes(samples);
    // Rare classes first: the groups of others can do without.
    let mut order: Vec<&BTreeSet<u64>> = classes.values().collect();
    order.sort_by_key(|groups| groups.len());
    let mut folds = HashMap::<u64, usize>::new();
    for groups in order {
        let mut sizes = vec![0; num_folds];
        groups.iter().filter_map(|group| folds.get(group)).for_each(|&fold| sizes[fold] += 1);
        let mut rest: Vec<u64> = groups.iter().copied().filter(|group| !folds.contains_key(group)).collect();
        rest.sort_by_key(|&group| (seed::mix(of_seed, group), group));
        for group in rest {
            let fold = (0..num_folds).min_by_key(|&fold| sizes[fold]).unwrap_or(0);
            sizes[fold] += 1;
            folds.insert(group, fold);
        }
    }
    samples.iter().map(|sample| folds[&sample.group]).collect()
}

fn hold_out(samples: &mut [Sample], wanted: &Wanted<'_>) {
    if wanted.held_out > 0.0 && fewest_groups(samples) >= wanted.held_out_from.max(2) {
        let num_folds = (1.0 / wanted.held_out).round().max(2.0) as usize;
        let folds = folds(samples, num_folds, wanted.seed);
        samples.iter_mut().zip(folds).for_each(|(sample, fold)| sample.is_held_out = fold == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 classes of 20, 20 and 4 samples, in groups of two.
    fn samples() -> Vec<Sample> {
        let class = |index: usize| if index < 40 { index as u32 % 2 } else { 2 };
        let of = |index: usize| Sample {
            index,
            key: index as u64,
            classes: vec![Some(class(index))],
            group: index as u64 / 4 * 2 + index as u64 % 2,
            is_held_out: false,
        };
        (0..44).map(of).collect()
    }

    #[test]
    fn no_group_is_in_two_folds_and_every_class_is_in_each_as_far_as_it_goes() {
        let samples = samples();
        assert_eq!(fewest_groups(&samples), 2);
        let folds = folds(&samples, 5, 7);
        let mut of_group = HashMap::new();
        for (sample, &fold) in samples.iter().zip(&folds) {
            assert_eq!(*of_group.entry(sample.group).or_insert(fold), fold);
        }
        for class in [0, 1] {
            for fold in 0..5 {
                let is_it = |(sample, found): &(&Sample, &usize)| sample.classes[0] == Some(class) && **found == fold;
                // 10 groups of two samples in 5 folds.
                assert_eq!(samples.iter().zip(&folds).filter(is_it).count(), 4);
            }
        }
        assert_ne!(folds, super::folds(&samples, 5, 8));
    }

    #[test]
    fn some_are_held_out_where_there_are_enough() {
        let labels = PathBuf::new();
        let held_out = |share: f64, from: usize, number: usize| {
            let mut samples = samples()[..number].to_vec();
            let wanted = Wanted {
                labels: &labels,
                columns: &[],
                group_column: None,
                held_out: share,
                held_out_from: from,
                seed: 7,
            };
            hold_out(&mut samples, &wanted);
            samples.iter().filter(|sample| sample.is_held_out).count()
        };
        assert_eq!(held_out(0.2, 10, 40), 8);
        assert_eq!(held_out(0.5, 10, 40), 20);
        assert_eq!(held_out(0.0, 10, 40), 0);
        // The third class has two groups.
        assert_eq!(held_out(0.2, 10, 44), 0);
    }
}
