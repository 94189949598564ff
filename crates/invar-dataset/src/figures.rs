//! The figures a domain reports for a group of its samples, defined by rules over columns, so that they can be computed
//! for any groups without knowing the domain.

use serde::{Deserialize, Serialize};

/// The figures of a group of samples, and what a sample is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFigures {
    /// What the samples are called, in the plural: the name of the column with their number.
    pub noun: String,
    /// In the order in which they are reported. If a column is missing, so is the figure.
    pub figures: Vec<GroupFigure>,
}

impl Default for GroupFigures {
    /// For samples of which nothing is known.
    fn default() -> Self {
        Self { noun: "samples".into(), figures: vec![] }
    }
}

/// A figure of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFigure {
    /// Its name, with the unit as suffix.
    pub name: String,
    /// How it is computed from the samples.
    #[serde(flatten)]
    pub rule: FigureRule,
}

/// How a figure is computed from the values of a column; nulls are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum FigureRule {
    /// The sum of a column.
    Sum {
        /// The column.
        column: String,
    },
    /// The largest value such that samples of at least this value hold half of the sum.
    N50 {
        /// The column.
        column: String,
    },
    /// The mean of a column.
    Mean {
        /// The column.
        column: String,
        /// The column of the weights; without one, all weigh the same.
        weight: Option<String>,
    },
    /// The fraction of the samples without a value, `[0, 1]`.
    Missing {
        /// The column.
        column: String,
    },
    /// One figure over another.
    Ratio {
        /// Name of an earlier figure.
        of: String,
        /// Name of another.
        over: String,
    },
}

impl GroupFigure {
    /// A figure.
    pub fn new(name: &str, rule: FigureRule) -> Self {
        Self { name: name.into(), rule }
    }

    /// The columns it is computed from.
    pub fn columns(&self) -> Vec<&str> {
        match &self.rule {
            FigureRule::Sum { column } | FigureRule::N50 { column } | FigureRule::Missing { column } => vec![column],
            FigureRule::Mean { column, weight } => [column].into_iter().chain(weight).map(String::as_str).collect(),
            FigureRule::Ratio { .. } => vec![],
        }
    }
}
