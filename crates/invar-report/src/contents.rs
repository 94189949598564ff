use serde::Serialize;

/// The content of a report besides its points. Everything is text and numbers; none of it is ever read as HTML.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Contents {
    /// Sentences below the title: what this is, and the result.
    pub summary: Vec<String>,
    /// What the samples are called, in the plural ("reads").
    pub noun: String,
    /// Names of the most informative columns, in order.
    pub telling: Vec<String>,
    /// One row per cluster. Its first column is the number of the cluster, as in the column `cluster` of the points; -1
    /// is noise.
    pub clusters: Option<Table>,
    /// Colours of clusters 0, 1, ..., repeating after the last; noise is grey.
    pub palette: Vec<[u8; 3]>,
    /// Remarks about the points, shown below the map.
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
    /// Collapsed plain texts: a heading and the text.
    pub texts: Vec<(String, String)>,
}

/// Curves over one axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Label of the horizontal axis, with its unit.
    pub x_label: String,
    /// Label of the vertical axis, with its unit.
    pub y_label: String,
    /// The curves.
    pub series: Vec<Series>,
    /// A marked place on the horizontal axis, and its label.
    pub mark: Option<(f64, String)>,
}

/// A curve. Both lists have one length; a missing value interrupts the curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Horizontal places, ascending.
    pub x: Vec<f64>,
    /// Values.
    pub y: Vec<Option<f64>>,
    /// Whether to draw a dot for each value, for when there are few.
    pub dots: bool,
}

/// A table of texts. Columns of numbers are right-aligned.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// Its caption; may be empty.
    pub caption: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each with one cell per column.
    pub rows: Vec<Vec<String>>,
}
