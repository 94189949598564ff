use serde::Serialize;

/// What a report says beside its points. Everything is text and numbers; nothing of it is ever read as HTML.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Contents {
    /// Sentences below the title: what this is, and what came of it.
    pub summary: Vec<String>,
    /// What the samples are called, in the plural ("reads").
    pub noun: String,
    /// Names of the columns that tell most of a sample, in order.
    pub telling: Vec<String>,
    /// A row a cluster. Its first column is the number of the cluster, as in the column `cluster` of the points; -1 is noise.
    pub clusters: Option<Table>,
    /// Colours of clusters 0, 1, ..., which come again from the first after the last; noise is grey.
    pub palette: Vec<[u8; 3]>,
    /// What is worth knowing of the points, below their picture.
    pub notes: Vec<String>,
    /// The rest of the page, in order.
    pub sections: Vec<Section>,
}

/// A part of the page under a heading.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// Paragraphs, first.
    pub sentences: Vec<String>,
    /// Curves, side by side.
    pub charts: Vec<Chart>,
    /// Tables, one below the other.
    pub tables: Vec<Table>,
    /// Texts that are folded away, as they are: a heading and the text.
    pub texts: Vec<(String, String)>,
}

/// Curves over one axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Of the horizontal axis, with its unit.
    pub x_label: String,
    /// Of the vertical axis, with its unit.
    pub y_label: String,
    /// The curves.
    pub series: Vec<Series>,
    /// A place of the horizontal axis that is marked, and what for.
    pub mark: Option<(f64, String)>,
}

/// A curve. Both lists have one length; where there is no value the curve is interrupted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Horizontal places, rising.
    pub x: Vec<f64>,
    /// Values.
    pub y: Vec<Option<f64>>,
    /// Whether each value is a dot too: where there are few.
    pub dots: bool,
}

/// A table of texts. Columns of numbers are set to the right.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// Its caption; may be empty.
    pub caption: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each of as many cells.
    pub rows: Vec<Vec<String>>,
}
