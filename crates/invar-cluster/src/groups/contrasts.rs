//! What sets each group apart from all other rows, column by column.

use std::collections::HashMap;

use invar_dataset::{Column, ColumnData};
use serde::{Deserialize, Serialize};

use super::numbers;
use crate::ClusterError;

/// Minimum effects that are reported: a medium one (Cohen 1988), and a fifth of the rows.
const LEAST_D: f64 = 0.5;
const LEAST_SHARE: f64 = 0.2;
/// Maximum number of contrasts reported per group.
const MOST: usize = 3;
/// Correlation above which two columns are redundant.
const ALIKE: f64 = 0.9;
/// Number of rows used to detect that.
const COMPARED_ROWS: usize = 2_000;
/// Maximum number of distinct words in a column; nobody reads fractions of thousands of them.
const MOST_WORDS: usize = 50;
/// A difference of all against none ranks like this effect.
const D_OF_A_SHARE: f64 = 3.0;

/// How the members of a group differ from all other rows in one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// The column.
    pub column: String,
    /// The word whose fraction is compared; `None` for means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Mean, mean direction or fraction among the members.
    pub own: f64,
    /// The same among all others.
    pub others: f64,
    /// Cohen's d, the difference of the means in pooled standard deviations; for words the difference of the fractions.
    pub effect: f64,
}

impl Contrast {
    /// The contrast as a phrase.
    pub fn in_words(&self) -> String {
        let Self { column, own, others, effect, .. } = self;
        match &self.value {
            Some(value) => format!("{column} {value} {:.0} %, others {:.0} %", 100.0 * own, 100.0 * others),
            None => format!("{column} {}, others {} (d {effect:+.1})", three_digits(*own), three_digits(*others)),
        }
    }
}

/// The contrasts of all groups, computed column by column, so that only one column is in memory.
///
/// ```
/// use invar_cluster::groups::Contrasts;
/// use invar_dataset::{Column, ColumnData};
///
/// let mut contrasts = Contrasts::new(&[0, 0, 0, 1, 1, 1], &[]);
/// let gc = [0.31, 0.3, 0.32, 0.6, 0.61, 0.62].map(Some).to_vec();
/// contrasts.add(&Column { name: "gc".into(), data: ColumnData::F64(gc) })?;
/// let of_groups = contrasts.finish();
/// assert_eq!(of_groups[0][0].in_words(), "gc 0.31, others 0.61 (d -30.0)");
/// # Ok::<(), invar_cluster::ClusterError>(())
/// ```
#[derive(Debug)]
pub struct Contrasts<'a> {
    /// The group of each row.
    of: Vec<usize>,
    telling: &'a [&'a str],
    compared: Vec<usize>,
    found: Vec<Vec<Found>>,
    /// For each column of numbers, a sample of its values, NaN for missing ones.
    samples: Vec<Vec<f64>>,
}

#[derive(Debug)]
struct Found {
    contrast: Contrast,
    rank: f64,
    /// Index of the column's sample; `None` for words.
    sample: Option<usize>,
}

impl<'a> Contrasts<'a> {
    /// Contrasts of clusters, given one label per row; noise (-1) is a group too, the last. Columns of integers may be
    /// identifiers (of a class, of a component): those that count or measure say so in their name, as all of Invar's
    /// do, or are listed in `telling`.
    pub fn new(labels: &[i32], telling: &'a [&'a str]) -> Self {
        let (num_clusters, num_groups) = super::extent(labels);
        let of = labels.iter().map(|&label| usize::try_from(label).unwrap_or(num_clusters)).collect();
        let step = labels.len().div_ceil(COMPARED_ROWS).max(1);
        let compared = (0..labels.len()).step_by(step).collect();
        Self { of, telling, compared, found: (0..num_groups).map(|_| vec![]).collect(), samples: vec![] }
    }

    /// Compares the groups in a column.
    ///
    /// # Errors
    /// If it does not have one value per row.
    pub fn add(&mut self, column: &Column) -> Result<(), ClusterError> {
        let (expected, found) = (self.of.len(), column.data.len());
        if found != expected {
            return Err(ClusterError::Length { what: "values of a column", expected, found });
        }
        if self.is_measure(column) {
            self.add_means(column);
        } else {
            self.add_shares(column);
        }
        Ok(())
    }

    /// The contrasts of each cluster by number, then those of noise if there is any; largest first.
    pub fn finish(self) -> Vec<Vec<Contrast>> {
        let Self { found, samples, .. } = self;
        let says_the_same = |a: &Found, b: &Found| match (a.sample, b.sample) {
            (Some(a), Some(b)) => correlation(&samples[a], &samples[b]).abs() >= ALIKE,
            (None, None) => (a.rank - b.rank).abs() < 1e-9,
            _ => false,
        };
        let of_group = |mut all: Vec<Found>| {
            all.sort_by(|a, b| b.rank.total_cmp(&a.rank));
            let mut chosen: Vec<Found> = vec![];
            for one in all {
                if chosen.len() < MOST && !chosen.iter().any(|other| says_the_same(other, &one)) {
                    chosen.push(one);
                }
            }
            chosen.into_iter().map(|found| found.contrast).collect()
        };
        found.into_iter().map(of_group).collect()
    }

    fn is_measure(&self, column: &Column) -> bool {
        const ENDINGS: [&str; 7] = ["_bp", "_px", "_nm", "_um", "_um2", "_s", "_deg"];
        let name = column.name.as_str();
        match column.data {
            ColumnData::F32(_) | ColumnData::F64(_) => true,
            ColumnData::U8(_) | ColumnData::U32(_) | ColumnData::I64(_) => {
                self.telling.contains(&name)
                    || name.starts_with("num_")
                    || ENDINGS.iter().any(|ending| name.ends_with(ending))
            }
            ColumnData::Bool(_) | ColumnData::Str(_) => false,
        }
    }

    fn add_means(&mut self, column: &Column) {
        let all = numbers(&column.data).expect("a column of numbers");
        let value = |row: usize| all(row).filter(|value| value.is_finite());
        // An axis at 170 degrees is close to one at 10: axes are compared as unit vectors of twice the angle.
        let is_axis = column.name.ends_with("orientation_deg");
        let origin = if is_axis { 0.0 } else { (0..self.of.len()).find_map(value).unwrap_or(0.0) };
        let vector = |value: f64| match (2.0 * value).to_radians().sin_cos() {
            (sin, cos) if is_axis => [cos, sin],
            // Relative to the first value, so that the squares of large numbers do not swallow their differences.
            _ => [value - origin, 0.0],
        };
        let mut groups = vec![Moments::default(); self.found.len()];
        for (row, &group) in self.of.iter().enumerate() {
            if let Some(value) = value(row) {
                groups[group].add(vector(value));
            }
        }
        let total = groups.iter().fold(Moments::default(), |sum, group| sum.plus(group, 1.0));
        let shown = |[x, y]: [f64; 2]| {
            if is_axis { (y.atan2(x).to_degrees() / 2.0).rem_euclid(180.0) } else { x + origin }
        };
        let sample = self.samples.len();
        for (group, own) in groups.iter().enumerate() {
            let others = total.plus(own, -1.0);
            if own.n < 2.0 || others.n < 2.0 {
                continue;
            }
            let deviation = ((own.spread() + others.spread()).max(0.0) / (own.n + others.n - 2.0)).sqrt();
            let ([ax, ay], [bx, by]) = (own.mean(), others.mean());
            let difference = if is_axis { (ax - bx).hypot(ay - by) } else { ax - bx };
            let effect = difference / deviation;
            if !effect.is_finite() || effect.abs() < LEAST_D {
                continue;
            }
            let (own, others) = (shown([ax, ay]), shown([bx, by]));
            let contrast = Contrast { column: column.name.clone(), value: None, own, others, effect };
            self.found[group].push(Found { contrast, rank: effect.abs(), sample: Some(sample) });
        }
        let compared = self.compared.iter().map(|&row| value(row).unwrap_or(f64::NAN));
        self.samples.push(compared.collect());
    }

    fn add_shares(&mut self, column: &Column) {
        let Some((words, of_rows)) = words(&column.data) else { return };
        let mut counts = vec![vec![0usize; words.len()]; self.found.len()];
        let mut of_words = vec![0usize; words.len()];
        for (&group, word) in self.of.iter().zip(&of_rows) {
            if let Some(word) = *word {
                counts[group][word] += 1;
                of_words[word] += 1;
            }
        }
        let total: usize = of_words.iter().sum();
        for (group, own) in counts.iter().enumerate() {
            let members: usize = own.iter().sum();
            let others = total - members;
            if members < 2 || others < 2 {
                continue;
            }
            let share = |word: usize| {
                let (own, all) = (own[word], of_words[word]);
                (own as f64 / members as f64, (all - own) as f64 / others as f64)
            };
            let gain = |word: usize| share(word).0 - share(word).1;
            let best = (0..words.len()).reduce(|best, word| if gain(word) > gain(best) { word } else { best });
            let Some(best) = best.filter(|&word| gain(word) >= LEAST_SHARE) else { continue };
            let ((own, others), effect) = (share(best), gain(best));
            let value = Some(words[best].clone());
            let contrast = Contrast { column: column.name.clone(), value, own, others, effect };
            self.found[group].push(Found { contrast, rank: D_OF_A_SHARE * effect, sample: None });
        }
    }
}

/// Count, sum and sum of squares of vectors.
#[derive(Clone, Debug, Default)]
struct Moments {
    n: f64,
    sum: [f64; 2],
    squares: f64,
}

impl Moments {
    fn add(&mut self, [x, y]: [f64; 2]) {
        self.n += 1.0;
        self.sum[0] += x;
        self.sum[1] += y;
        self.squares += x * x + y * y;
    }

    fn plus(&self, other: &Self, times: f64) -> Self {
        let sum = [0, 1].map(|at| self.sum[at] + times * other.sum[at]);
        Self { n: self.n + times * other.n, sum, squares: self.squares + times * other.squares }
    }

    fn mean(&self) -> [f64; 2] {
        self.sum.map(|sum| sum / self.n)
    }

    /// Sum of the squared distances to the mean.
    fn spread(&self) -> f64 {
        self.squares - self.sum.iter().map(|sum| sum * sum).sum::<f64>() / self.n
    }
}

/// The distinct words of a column, in order of appearance, and which of them each row has; `None` if there is only one
/// or there are too many.
fn words(data: &ColumnData) -> Option<(Vec<String>, Vec<Option<usize>>)> {
    let text: Box<dyn Fn(usize) -> Option<String>> = match data {
        ColumnData::Str(values) => Box::new(|row| values[row].clone()),
        ColumnData::Bool(values) => Box::new(|row| values[row].map(|value| value.to_string())),
        _ => {
            let all = numbers(data)?;
            Box::new(move |row| all(row).map(|value| value.to_string()))
        }
    };
    let (mut numbers, mut words) = (HashMap::new(), vec![]);
    let mut of_rows = Vec::with_capacity(data.len());
    for row in 0..data.len() {
        let Some(word) = text(row) else {
            of_rows.push(None);
            continue;
        };
        let number = *numbers.entry(word).or_insert_with_key(|word| {
            words.push(word.clone());
            words.len() - 1
        });
        if number >= MOST_WORDS {
            return None;
        }
        of_rows.push(Some(number));
    }
    (words.len() > 1).then_some((words, of_rows))
}

/// Pearson's correlation over the values that both have; 0 if one is constant.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let pairs: Vec<(f64, f64)> =
        a.iter().zip(b).map(|(&a, &b)| (a, b)).filter(|(a, b)| !a.is_nan() && !b.is_nan()).collect();
    let n = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (ma, mb) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sums = pairs.iter().fold([0.0; 3], |[aa, bb, ab], (a, b)| {
        let (a, b) = (a - ma, b - mb);
        [aa + a * a, bb + b * b, ab + a * b]
    });
    let found = sums[2] / (sums[0] * sums[1]).sqrt();
    if found.is_finite() { found } else { 0.0 }
}

/// Three significant digits; whole numbers above.
fn three_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let before = value.abs().log10().floor() as i32;
    let scale = 10f64.powi(2 - before);
    let rounded = (value * scale).round() / scale;
    let decimals = usize::try_from(2 - before).unwrap_or(0);
    let text = format!("{rounded:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests;
