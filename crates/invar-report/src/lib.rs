//! A report of clusters as one HTML page: opened from disk, without a network, in any recent browser.
//!
//! ```text
//! page.html        <head> title, Content-Security-Policy, the style sheet </head>
//!                  <body> the frame of the page: page.html
//!                         <script type="text/plain">   a column each: base64 of raw deflate
//!                         <script type="text/plain">   a sprite of 1,024 thumbnails each: base64 of JPEG
//!                         <script type="application/json">   everything else: [`Contents`]
//!                         <script>   the viewer: the files of src/page/, one after the other
//! ```
//!
//! The page runs one script and one style sheet, both named by their SHA-256 in its policy, and may fetch nothing: the
//! name of a sample, file or column can only ever be text. The viewer is plain JavaScript on WebGL 2, without a library
//! and without a build step. Columns are typed arrays that need no parsing, so a million samples open in seconds.
//!
//! ```
//! use invar_dataset::{Column, ColumnData};
//! use invar_report::{Contents, ReportWriter};
//!
//! let mut writer = ReportWriter::begin(Vec::new(), "My reads", 2)?;
//! writer.points(&[0.0, 1.0], &[0.5, 0.25])?;
//! writer.column(&Column { name: "id".into(), data: ColumnData::Str(vec![Some("r1".into()), Some("<b>".into())]) })?;
//! let page = String::from_utf8(writer.finish(&Contents::default())?)?;
//! assert!(page.starts_with("<!doctype html>") && !page.contains("<b>"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base64;
mod contents;
mod error;
mod packed;
mod writer;

pub use contents::{Chart, Contents, Section, Series, Table};
pub use error::ReportError;
pub use writer::{ReportWriter, Thumbnails};

/// Maximum number of samples in a report; of more, the caller draws a part first.
pub const MAX_POINTS: usize = 1_000_000;

/// Number of samples above which places are stored in 16 bits, and numbers with four digits.
pub const ROUNDED_ABOVE: usize = 200_000;
