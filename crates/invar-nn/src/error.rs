use invar_dataset::{Fault, FaultClass, NodeFeatures, View, ViewShape};
use thiserror::Error;

/// What can go wrong between views, encoders and devices.
#[derive(Debug, Error)]
pub enum Error {
    /// An encoder cannot read views of this shape.
    #[error("encoder {encoder} reads {expected}, but the views are {found}")]
    Shape {
        /// The encoder, as named in the recipe.
        encoder: &'static str,
        /// The shape it reads.
        expected: String,
        /// The shape it was given.
        found: String,
    },
    /// The number of encoders does not match the kinds of views.
    #[error("{encoders} encoders, but the pairs have views of {shapes} kinds: each kind needs an encoder of its own")]
    Towers {
        /// Number of encoders.
        encoders: usize,
        /// Number of shapes of the views.
        shapes: usize,
    },
    /// The views of one batch are not alike.
    #[error("collate: view {index} is {found}, view 0 is {first}")]
    Unlike {
        /// Index of the first view that differs, 0-based.
        index: usize,
        /// The shape of view 0.
        first: String,
        /// The shape of that view.
        found: String,
    },
    /// A dense view whose values do not fill its shape.
    #[error("collate: view {index} has shape {shape:?}, but {found} values")]
    Values {
        /// Index of the view, 0-based.
        index: usize,
        /// Its shape.
        shape: Vec<usize>,
        /// Its number of values.
        found: usize,
    },
    /// Nothing to collate.
    #[error("collate: a batch needs at least 1 view, got 0")]
    Empty,
    /// An inconsistent graph.
    #[error("collate: view {index}: {what}: expected {expected}, found {found}")]
    Graph {
        /// Index of the view, 0-based.
        index: usize,
        /// Which property is wrong.
        what: &'static str,
        /// The required value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// A setting out of range.
    #[error("{key} must be {expected}, got {found}")]
    Config {
        /// The setting, dotted as in a recipe.
        key: String,
        /// The allowed values.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// A device that is not available.
    #[error("device {asked} cannot be used: {reason}")]
    Device {
        /// The device asked for.
        asked: String,
        /// Why not.
        reason: String,
    },
    /// LibTorch failed.
    #[error(transparent)]
    Torch(#[from] invar_torch::Error),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}

impl Error {
    /// Reports a setting out of range.
    pub fn config(key: &str, expected: &str, found: impl ToString) -> Self {
        Self::Config { key: key.into(), expected: expected.into(), found: found.to_string() }
    }
}

impl Fault for Error {
    fn class(&self) -> FaultClass {
        match self {
            Self::Shape { .. } | Self::Towers { .. } | Self::Config { .. } | Self::Device { .. } => FaultClass::Usage,
            Self::Unlike { .. } | Self::Values { .. } | Self::Graph { .. } => FaultClass::BadInput,
            Self::Empty | Self::Torch(_) => FaultClass::Failed,
        }
    }
}

/// A view's shape in words, for messages.
pub(crate) fn describe_view(view: &View) -> String {
    match view {
        View::Dense { shape, .. } => describe_shape(&ViewShape::Dense(shape.clone())),
        View::Tokens { targets: None, .. } => "tokens".into(),
        View::Tokens { targets: Some(_), .. } => "tokens with targets".into(),
        View::Graph { num_features, .. } => describe_shape(&ViewShape::Graph { num_features: *num_features }),
        View::Node(around) => {
            let kind = if matches!(around.features, NodeFeatures::Dense(_)) { "" } else { ", of which few are not 0" };
            format!("a node with {} features{kind}, in its surroundings", around.num_features)
        }
    }
}

/// A source's shape in words, for messages.
pub(crate) fn describe_shape(shape: &ViewShape) -> String {
    match shape {
        ViewShape::Dense(shape) => format!("dense {shape:?}"),
        ViewShape::Tokens { vocabulary } => format!("tokens of a vocabulary of {vocabulary}"),
        ViewShape::Graph { num_features } => format!("a graph with {num_features} features per node"),
        ViewShape::Node { num_features, hops } => {
            format!("nodes with {num_features} features and what is up to {hops} edges away")
        }
    }
}
