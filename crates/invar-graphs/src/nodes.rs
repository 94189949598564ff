//! Nodes: their names, features, and what else a table says of them.

use std::{collections::HashMap, path::Path};

use invar_dataset::check_memory;
use serde::{Deserialize, Serialize};

use crate::{Error, IngestConfig, Texts, table::Table};

/// Names of the column with the nodes' names.
pub(crate) const ID: [&str; 4] = ["id", "node", "node_id", "name"];
/// Name of the column with a list of features.
const FEATURES: &str = "features";
/// Columns that a dataset has of itself.
pub(crate) const OWN: [&str; 6] = ["id", "source", "key", "degree", "component", "embedding"];
/// Rows between two looks at the memory.
const LOOK_EVERY: usize = 1 << 18;

/// Nodes in the order in which they are numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct Nodes {
    /// A name for each, unique.
    pub ids: Texts,
    /// Their features, as a network reads them.
    pub features: Features,
    /// What else is known of them; not for learning.
    pub columns: Vec<NodeColumn>,
}

/// Features of nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Features {
    /// Numbers in named columns, `[nodes, names]`, row-major.
    Dense {
        /// Names of the columns.
        names: Vec<String>,
        /// All values.
        values: Vec<f32>,
    },
    /// Lists of the features that are not 0.
    Sparse {
        /// Number of features.
        num_features: u32,
        /// Where the list of each node ends.
        ends: Vec<u64>,
        /// The features of all lists, ascending in each.
        columns: Vec<u32>,
        /// Their values.
        values: Vec<f32>,
    },
}

/// A column that is carried along with the nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeColumn {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ColumnKind,
    /// A value for each node; an empty one is null.
    pub values: Texts,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnKind {
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Text.
    Text,
}

impl ColumnKind {
    /// What all values together are, empty ones aside.
    pub fn of(values: &Texts) -> Self {
        let all = |is: &dyn Fn(&str) -> bool| {
            (0..values.len()).map(|at| values.get(at)).all(|value| value.is_empty() || is(value))
        };
        // Codes with leading zeros are no numbers.
        let is_code = |value: &str| {
            let digits = value.trim_start_matches(['+', '-']);
            digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit()
        };
        let is_integer = |value: &str| !is_code(value) && value.parse::<i64>().is_ok();
        let is_number = |value: &str| !is_code(value) && value.parse::<f64>().is_ok_and(f64::is_finite);
        match () {
            () if all(&str::is_empty) => Self::Text,
            () if all(&is_integer) => Self::Integer,
            () if all(&is_number) => Self::Number,
            () => Self::Text,
        }
    }
}

impl NodeColumn {
    /// A column whose kind follows from its values.
    pub fn new(name: &str, values: Texts) -> Self {
        Self { name: name.into(), kind: ColumnKind::of(&values), values }
    }
}

impl Features {
    /// Number of features per node.
    pub fn num_features(&self) -> usize {
        match self {
            Self::Dense { names, .. } => names.len(),
            Self::Sparse { num_features, .. } => *num_features as usize,
        }
    }

    fn num_bytes(&self) -> usize {
        match self {
            Self::Dense { values, .. } => 4 * values.len(),
            Self::Sparse { ends, values, .. } => 8 * (ends.len() + values.len()),
        }
    }

    /// Brings features to one scale: columns to mean 0 and standard deviation 1 (those that are all alike to 0), lists
    /// to sums of 1.
    pub fn scale(&mut self) {
        match self {
            Self::Dense { names, values } => standardise(values, names.len()),
            Self::Sparse { ends, values, .. } => {
                let mut start = 0;
                for &end in ends.iter() {
                    let row = &mut values[start..end as usize];
                    let sum: f64 = row.iter().map(|&value| f64::from(value).abs()).sum();
                    if sum > 0.0 {
                        row.iter_mut().for_each(|value| *value = (f64::from(*value) / sum) as f32);
                    }
                    start = end as usize;
                }
            }
        }
    }
}

fn standardise(values: &mut [f32], num_columns: usize) {
    let num_rows = values.len() / num_columns.max(1);
    for column in 0..num_columns {
        let of_column = || values.iter().skip(column).step_by(num_columns).map(|&value| f64::from(value));
        let mean = of_column().sum::<f64>() / num_rows as f64;
        let deviation = (of_column().map(|value| (value - mean).powi(2)).sum::<f64>() / num_rows as f64).sqrt();
        // Of equal values, only rounding differs from their mean.
        let is_constant = deviation <= 1e-9 * mean.abs().max(f64::MIN_POSITIVE);
        for value in values.iter_mut().skip(column).step_by(num_columns) {
            *value = if is_constant { 0.0 } else { ((f64::from(*value) - mean) / deviation) as f32 };
        }
    }
}

/// Nodes, and the number of each by its name.
pub(crate) type Named = (Nodes, HashMap<Box<str>, u32>);

/// Reads a table of nodes.
///
/// # Errors
/// The first row that cannot be used, or a column that is missing.
pub(crate) fn read(path: &Path, table: Table, config: &IngestConfig) -> Result<Named, Error> {
    let mut table = table;
    let id = table.needed(&ID)?;
    let layout = Layout::of(path, &table, id, config)?;
    let mut ids = Texts::default();
    let mut index: HashMap<Box<str>, u32> = HashMap::new();
    let mut lines = vec![];
    let mut features = match &layout.dense {
        Some(columns) => {
            Features::Dense { names: columns.iter().map(|&at| table.names()[at].clone()).collect(), values: vec![] }
        }
        None => Features::Sparse { num_features: 0, ends: vec![], columns: vec![], values: vec![] },
    };
    let mut others: Vec<NodeColumn> = layout
        .others
        .iter()
        .map(|&at| NodeColumn { name: own_name(&table.names()[at]), kind: ColumnKind::Text, values: Texts::default() })
        .collect();
    while let Some(row) = table.next()? {
        let (name, number) = (row.text(id), u32::try_from(ids.len()));
        let Ok(number) = number else { return Err(row.bad(id, format!("at most {} nodes", u32::MAX))) };
        if name.is_empty() {
            return Err(row.bad(id, "a name"));
        }
        if let Some(first) = index.insert(name.into(), number) {
            return Err(row.bad(id, format!("each node once (first on line {})", lines[first as usize])));
        }
        ids.push(name);
        lines.push(row.line());
        match (&mut features, &layout.dense) {
            (Features::Dense { values, .. }, Some(columns)) => {
                for &at in columns {
                    values.push(row.number(at)?);
                }
            }
            (Features::Sparse { num_features, ends, columns, values }, _) => {
                let list = list(row.text(layout.list))
                    .ok_or_else(|| row.bad(layout.list, "numbers of features, from 0, or NUMBER:VALUE"))?;
                for (column, value) in list {
                    *num_features = (*num_features).max(column + 1);
                    columns.push(column);
                    values.push(value);
                }
                ends.push(values.len() as u64);
            }
            _ => unreachable!("dense features have columns"),
        }
        for (column, &at) in others.iter_mut().zip(&layout.others) {
            column.values.push(row.text(at));
        }
        if ids.len().is_multiple_of(LOOK_EVERY) {
            let texts = ids.bytes.len() * 3 + others.iter().map(|column| column.values.bytes.len()).sum::<usize>();
            let needed = features.num_bytes() + texts + ids.len() * 64;
            check_memory(needed, || "a table of nodes".into(), || "give fewer nodes, or fewer features".into())?;
        }
    }
    if features.num_features() == 0 && !ids.is_empty() {
        return Err(Error::table(path, "column features".into(), "a feature of some node", "none"));
    }
    others.iter_mut().for_each(|column| column.kind = ColumnKind::of(&column.values));
    Ok((Nodes { ids, features, columns: others }, index))
}

/// Which column is what.
struct Layout {
    /// Columns of numbers that are features; `None` if there is a list.
    dense: Option<Vec<usize>>,
    list: usize,
    others: Vec<usize>,
}

impl Layout {
    fn of(path: &Path, table: &Table, id: usize, config: &IngestConfig) -> Result<Self, Error> {
        let names = table.names();
        let list = table.column(&[FEATURES]);
        if config.features.is_empty() {
            let Some(list) = list else {
                let expected = "a column `features` (a list), or names of columns with features (--features)";
                return Err(Error::table(path, "header".into(), expected, names.join(", ")));
            };
            let others = (0..names.len()).filter(|&at| at != id && at != list).collect();
            return Self { dense: None, list, others }.checked(path, names);
        }
        let mut dense: Vec<usize> = vec![];
        for wanted in &config.features {
            let fits = |name: &str| match wanted.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == wanted,
            };
            let found: Vec<usize> = (0..names.len()).filter(|&at| at != id && fits(&names[at])).collect();
            if found.is_empty() {
                return Err(Error::table(path, "header".into(), format!("a column `{wanted}`"), names.join(", ")));
            }
            dense.extend(found.into_iter().filter(|at| !dense.contains(at)).collect::<Vec<_>>());
        }
        let others = (0..names.len()).filter(|at| *at != id && !dense.contains(at)).collect();
        Self { dense: Some(dense), list: id, others }.checked(path, names)
    }

    /// Refuses a column that is carried along under the name of another one.
    fn checked(self, path: &Path, names: &[String]) -> Result<Self, Error> {
        let is_taken = |at: &&usize| own_name(&names[**at]) != names[**at] && names.contains(&own_name(&names[**at]));
        match self.others.iter().find(is_taken) {
            None => Ok(self),
            Some(&at) => {
                let (name, own) = (&names[at], own_name(&names[at]));
                let expected = format!("no column `{own}`, which `{name}` is called in a dataset");
                Err(Error::table(path, "header".into(), expected, format!("`{name}` and `{own}`")))
            }
        }
    }
}

/// `table_NAME` for a name that a dataset has itself.
pub(crate) fn own_name(name: &str) -> String {
    if OWN.contains(&name) { format!("table_{name}") } else { name.to_owned() }
}

/// The features of a list such as `3,17:0.5 20`, ascending; `None` if it is none, or names one twice.
fn list(text: &str) -> Option<Vec<(u32, f32)>> {
    let items = text.split([',', ' ', ';', '|']).filter(|item| !item.is_empty());
    let item = |item: &str| {
        let (column, value) = item.split_once(':').unwrap_or((item, "1"));
        let column = column.parse::<u32>().ok().filter(|&column| column < MOST_FEATURES)?;
        Some((column, value.parse().ok().filter(|value: &f32| value.is_finite())?))
    };
    let mut list: Vec<(u32, f32)> = items.map(item).collect::<Option<_>>()?;
    list.sort_unstable_by_key(|&(column, _)| column);
    let is_once = list.windows(2).all(|two| two[0].0 != two[1].0);
    is_once.then_some(list)
}

/// More features than a network reads: the first layer has a row for each.
const MOST_FEATURES: u32 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(text: &str, features: &[&str]) -> Result<Nodes, Error> {
        let path = Path::new("nodes.tsv");
        let config = IngestConfig {
            features: features.iter().map(|&name| name.to_owned()).collect(),
            ..IngestConfig::default()
        };
        Ok(read(path, Table::of(path, std::io::Cursor::new(text.to_owned()))?, &config)?.0)
    }

    #[test]
    fn lists_and_columns_become_features_and_the_rest_is_carried() {
        let found = nodes("id\tlabel\tfeatures\na\t3\t2,0\nb\t\t\nc\t1\t1:0.5 2:-1\n", &[]).unwrap();
        assert_eq!((0..3).map(|at| found.ids.get(at)).collect::<Vec<_>>(), ["a", "b", "c"]);
        let expected = Features::Sparse {
            num_features: 3,
            ends: vec![2, 2, 4],
            columns: vec![0, 2, 1, 2],
            values: vec![1.0, 1.0, 0.5, -1.0],
        };
        assert_eq!(found.features, expected);
        assert_eq!((found.columns[0].name.as_str(), found.columns[0].kind), ("label", ColumnKind::Integer));
        let found = nodes("node,f1,f2,label,degree\na,1,2,x,01\nb,3,4,y,02\n", &["f*"]).unwrap();
        assert_eq!(
            found.features,
            Features::Dense { names: vec!["f1".into(), "f2".into()], values: vec![1., 2., 3., 4.] }
        );
        let named: Vec<_> = found.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
        assert_eq!(named, [("label", ColumnKind::Text), ("table_degree", ColumnKind::Text)]);
    }

    #[test]
    fn what_cannot_be_is_named_with_its_line() {
        for (text, features, expected) in [
            (
                "id\tfeatures\na\t1\na\t2\n",
                &[][..],
                "line 3, column id: expected each node once (first on line 2), found \"a\"",
            ),
            (
                "id\tfeatures\na\t1,x\n",
                &[],
                "line 2, column features: expected numbers of features, from 0, or NUMBER:VALUE, found \"1,x\"",
            ),
            (
                "id\tfeatures\na\t1,1\n",
                &[],
                "line 2, column features: expected numbers of features, from 0, or NUMBER:VALUE, found \"1,1\"",
            ),
            (
                "id\tfeatures\na\t1:nan\n",
                &[],
                "line 2, column features: expected numbers of features, from 0, or NUMBER:VALUE, found \"1:nan\"",
            ),
            ("id\tx\na\tnan\n", &["x"], "line 2, column x: expected a finite number, found \"nan\""),
            ("id\tx\n\t1\n", &["x"], "line 2, column id: expected a name, found nothing"),
            ("id\tx\na\t1\n", &["y"], "header: expected a column `y`, found id, x"),
            (
                "id\tx\tdegree\ttable_degree\na\t1\t2\t3\n",
                &["x"],
                "header: expected no column `table_degree`, which `degree` is called in a dataset, found `degree` and `table_degree`",
            ),
            ("x\ty\na\t1\n", &["y"], "header: expected a column `id` or `node` or `node_id` or `name`, found x, y"),
            (
                "id\tx\na\t1\n",
                &[],
                "header: expected a column `features` (a list), or names of columns with features (--features), found id, x",
            ),
            ("id\tfeatures\na\t\n", &[], "column features: expected a feature of some node, found none"),
        ] {
            assert_eq!(nodes(text, features).unwrap_err().to_string(), format!("nodes.tsv: {expected}"));
        }
    }

    #[test]
    fn features_are_brought_to_one_scale() {
        let mut dense = Features::Dense { names: vec!["a".into(), "b".into()], values: vec![1.0, 0.1, 3.0, 0.1] };
        dense.scale();
        let Features::Dense { values, .. } = &dense else { unreachable!() };
        // Mean 2 and deviation 1; a constant says nothing.
        assert_eq!(values, &[-1.0, 0.0, 1.0, 0.0]);
        let mut sparse = Features::Sparse {
            num_features: 4,
            ends: vec![2, 2, 3],
            columns: vec![0, 3, 1],
            values: vec![1.0, 3.0, -2.0],
        };
        sparse.scale();
        let Features::Sparse { values, .. } = &sparse else { unreachable!() };
        assert_eq!(values, &[0.25, 0.75, -1.0]);
    }
}
