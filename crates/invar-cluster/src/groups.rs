//! A description of each cluster: its members, the figures that their domain asks for, its confidence, its nearest
//! cluster, representative members, and what sets it apart.

mod contrasts;
mod exemplars;

use invar_dataset::{Column, ColumnData, FigureRule, GroupFigure, GroupFigures};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterError, Rows, geometry,
    neighbors::{self, Metric},
};

pub use self::contrasts::{Contrast, Contrasts};
pub use self::exemplars::EXEMPLARS;

/// Fraction of the weight joining a row to others below which its assignment is doubtful.
pub const DOUBTFUL: f32 = 0.5;

/// A clustering, one value per row.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// Cluster of each row; -1 is noise.
    pub labels: &'a [i32],
    /// How confident the assignment is.
    pub probability: &'a [f32],
    /// How reproducible each cluster is; empty if unknown.
    pub confidence: &'a [f32],
    /// Whether the probability is a fraction of what lies near the row, so that a half is meaningful.
    pub are_shares: bool,
}

/// One row per cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupTable {
    /// What the members are called.
    pub noun: String,
    /// Names of the domain's figures.
    pub figures: Vec<String>,
    /// The clusters by number, then noise if there is any.
    pub groups: Vec<Group>,
}

/// A cluster, or noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Number of the cluster; -1 is noise.
    pub cluster: i32,
    /// Number of members.
    pub members: usize,
    /// The domain's figures, in the order of [`GroupTable::figures`]; `None` if no member has the values.
    pub figures: Vec<Option<f64>>,
    /// How reproducible it is in halves of the rows, `[0, 1]`.
    pub confidence: Option<f32>,
    /// Number of members whose probability is below [`DOUBTFUL`], if that is a fraction.
    pub doubtful: Option<usize>,
    /// The cluster whose mean is nearest by cosine.
    pub nearest: Option<i32>,
    /// 1 less the cosine of the two means.
    pub distance: Option<f32>,
    /// Representative rows, the medoid first; none for noise.
    pub exemplars: Vec<usize>,
    /// What sets it apart from all other rows, largest effect first; empty if not compared ([`Contrasts`]).
    #[serde(default)]
    pub apart: Vec<Contrast>,
}

impl GroupTable {
    /// The table for rows and their clusters. `columns` are those that the figures are computed from, as far as
    /// available; figures of missing columns are left out.
    ///
    /// # Errors
    /// If a list that should have one value per row does not.
    pub fn new(
        rows: Rows<'_>,
        of: Labelled<'_>,
        asked: &GroupFigures,
        columns: &[Column],
    ) -> Result<Self, ClusterError> {
        let lengths = [("cluster labels", of.labels.len()), ("probabilities", of.probability.len())];
        let of_columns = columns.iter().map(|column| ("values of a column", column.data.len()));
        for (what, found) in lengths.into_iter().chain(of_columns) {
            if found != rows.len() {
                return Err(ClusterError::Length { what, expected: rows.len(), found });
            }
        }
        let (num_clusters, num_groups) = extent(of.labels);
        let mut members: Vec<Vec<usize>> = vec![vec![]; num_groups];
        for (row, &label) in of.labels.iter().enumerate() {
            members[usize::try_from(label).unwrap_or(num_clusters)].push(row);
        }
        let known = known(asked, columns);
        let nearest = nearest_means(rows, of.labels)?;
        let distances = geometry::distances_to_means(rows, of.labels)?;
        let group = |(cluster, members): (usize, &Vec<usize>)| {
            let is_noise = cluster == num_clusters;
            let doubtful = members.iter().filter(|&&row| of.probability[row] < DOUBTFUL).count();
            let near = nearest.get(cluster).copied().flatten();
            Group {
                cluster: if is_noise { -1 } else { cluster as i32 },
                members: members.len(),
                figures: figures(&known, columns, members),
                confidence: of.confidence.get(cluster).copied(),
                doubtful: (of.are_shares && !is_noise).then_some(doubtful),
                nearest: near.map(|(cluster, _)| cluster),
                distance: near.map(|(_, distance)| distance),
                exemplars: if is_noise { vec![] } else { exemplars::exemplars(rows, members, &distances) },
                apart: vec![],
            }
        };
        Ok(Self {
            noun: asked.noun.clone(),
            figures: known.iter().map(|figure| figure.name.clone()).collect(),
            groups: members.par_iter().enumerate().map(group).collect(),
        })
    }

    /// The figure `name` of a group.
    pub fn figure(&self, group: &Group, name: &str) -> Option<f64> {
        let at = self.figures.iter().position(|figure| figure == name)?;
        group.figures[at]
    }

    /// A header line, then one line per cluster, separated by tabs; unknown values are empty. `ids` are the names of
    /// the rows, `keys` their keys, if any.
    ///
    /// # Panics
    /// If there is not one name per row.
    pub fn to_tsv(&self, ids: &[String], keys: Option<&[i64]>) -> String {
        let figures = self.figures.join("\t");
        let figures = if figures.is_empty() { figures } else { format!("\t{figures}") };
        let mut text = format!(
            "cluster\t{}{figures}\tconfidence\tdoubtful\tnearest_cluster\tcosine_distance\tset_apart\tmedoid\texemplars\t\
             exemplar_keys\n",
            self.noun
        );
        let number = |value: Option<f64>| value.map(plain).unwrap_or_default();
        for group in &self.groups {
            let mut cells = vec![group.cluster.to_string(), group.members.to_string()];
            cells.extend(group.figures.iter().map(|&figure| number(figure)));
            cells.push(number(group.confidence.map(f64::from)));
            cells.push(group.doubtful.map(|doubtful| doubtful.to_string()).unwrap_or_default());
            cells.push(group.nearest.map(|nearest| nearest.to_string()).unwrap_or_default());
            cells.push(number(group.distance.map(f64::from)));
            let name = |&row: &usize| one_line(&ids[row]);
            cells.push(one_line(&group.apart.iter().map(Contrast::in_words).collect::<Vec<_>>().join("; ")));
            cells.push(group.exemplars.first().map(name).unwrap_or_default());
            cells.push(group.exemplars.iter().map(name).collect::<Vec<_>>().join("; "));
            let keys = keys.iter().flat_map(|keys| group.exemplars.iter().map(|&row| keys[row].to_string()));
            cells.push(keys.collect::<Vec<_>>().join(" "));
            text += &cells.join("\t");
            text.push('\n');
        }
        text
    }
}

/// What a domain asks for of the rows `members`, by name, as far as the columns are there.
///
/// # Panics
/// If a column is shorter than a member's number.
pub fn figures_of(asked: &GroupFigures, columns: &[Column], members: &[usize]) -> Vec<(String, Option<f64>)> {
    let known = known(asked, columns);
    let values = figures(&known, columns, members);
    known.iter().map(|figure| figure.name.clone()).zip(values).collect()
}

/// Those whose columns are there.
fn known<'a>(asked: &'a GroupFigures, columns: &[Column]) -> Vec<&'a GroupFigure> {
    let there = |figure: &&GroupFigure| figure.columns().iter().all(|name| numbers_of(columns, name).is_some());
    asked.figures.iter().filter(there).collect()
}

/// The number of clusters, and of groups: noise (-1), if there is any, is the last group.
fn extent(labels: &[i32]) -> (usize, usize) {
    let num_clusters = labels.iter().max().map_or(0, |&most| (most + 1).max(0) as usize);
    (num_clusters, num_clusters + usize::from(labels.iter().any(|&label| label < 0)))
}

/// Replaces whatever would end a cell or a line in a name or word by a space.
fn one_line(text: &str) -> String {
    text.replace(|letter: char| letter.is_control(), " ")
}

/// A number as text: four decimals below a thousand, none above.
pub fn plain(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// For each cluster the one whose mean has the largest cosine with its own, and 1 less the cosine; `None` if there is
/// only one.
fn nearest_means(rows: Rows<'_>, labels: &[i32]) -> Result<Vec<Option<(i32, f32)>>, ClusterError> {
    let means = geometry::means(rows, labels);
    let there: Vec<usize> = (0..means.len()).filter(|&cluster| means[cluster].is_some()).collect();
    let mut nearest = vec![None; means.len()];
    if there.len() > 1 {
        let values: Vec<f32> = means.iter().flatten().flatten().map(|&x| x as f32).collect();
        let found = neighbors::nearest(
            Rows::new(&values, rows.dim())?,
            &(0..there.len()).collect::<Vec<_>>(),
            1,
            Metric::Cosine,
        )?;
        for (place, (&other, &cosine)) in found.indices.iter().zip(&found.values).enumerate() {
            nearest[there[place]] = Some((there[other as usize] as i32, (1.0 - cosine).max(0.0)));
        }
    }
    Ok(nearest)
}

/// The figures of the rows `members`.
fn figures(known: &[&GroupFigure], columns: &[Column], members: &[usize]) -> Vec<Option<f64>> {
    let mut found: Vec<(&str, Option<f64>)> = vec![];
    for figure in known {
        let values = |name: &str| values(columns, name, members);
        let before = |name: &str| found.iter().find(|(known, _)| *known == name).and_then(|(_, value)| *value);
        let value = match &figure.rule {
            FigureRule::Sum { column } => some_sum(values(column).into_iter().flatten()),
            FigureRule::N50 { column } => n50(values(column).into_iter().flatten().collect()),
            FigureRule::Mean { column, weight } => {
                let weights = match weight {
                    Some(weight) => values(weight),
                    None => vec![Some(1.0); members.len()],
                };
                let values = values(column);
                let pairs = || values.iter().zip(&weights).filter_map(|(value, weight)| Some(((*value)?, (*weight)?)));
                let weight = pairs().map(|(_, weight)| weight).sum::<f64>();
                (weight > 0.0).then(|| pairs().map(|(value, weight)| value * weight).sum::<f64>() / weight)
            }
            FigureRule::Missing { column } => {
                let values = values(column);
                let missing = values.iter().filter(|value| value.is_none()).count();
                (!values.is_empty()).then(|| missing as f64 / values.len() as f64)
            }
            FigureRule::Ratio { of, over } => {
                before(of).zip(before(over)).and_then(|(of, over)| (over != 0.0).then(|| of / over))
            }
        };
        found.push((&figure.name, value));
    }
    found.into_iter().map(|(_, value)| value).collect()
}

/// The values of the rows `members`.
fn values(columns: &[Column], name: &str, members: &[usize]) -> Vec<Option<f64>> {
    let all = numbers_of(columns, name).expect("a column that there is");
    members.iter().map(|&row| all(row)).collect()
}

fn some_sum(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(|sum, value| sum + value)
}

fn n50(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(|a, b| b.total_cmp(a));
    let total: f64 = values.iter().sum();
    let mut sum = 0.0;
    values.into_iter().find(|value| {
        sum += value;
        sum >= total / 2.0
    })
}

/// The values of a column as numbers; `None` if there is no such column. Text is not a number.
fn numbers_of<'a>(columns: &'a [Column], name: &str) -> Option<Numbers<'a>> {
    numbers(&columns.iter().find(|column| column.name == name)?.data)
}

/// The value of each row as a number, if there is one.
type Numbers<'a> = Box<dyn Fn(usize) -> Option<f64> + 'a>;

/// The values of a column as numbers; `None` for text.
fn numbers(data: &ColumnData) -> Option<Numbers<'_>> {
    Some(match data {
        ColumnData::U8(values) => Box::new(|row| values[row].map(f64::from)),
        ColumnData::U32(values) => Box::new(|row| values[row].map(f64::from)),
        ColumnData::I64(values) => Box::new(|row| values[row].map(|value| value as f64)),
        ColumnData::F32(values) => Box::new(|row| values[row].map(f64::from)),
        ColumnData::F64(values) => Box::new(|row| values[row]),
        ColumnData::Bool(values) => Box::new(|row| values[row].map(|value| f64::from(u8::from(value)))),
        ColumnData::Str(_) => return None,
    })
}

#[cfg(test)]
mod tests;
