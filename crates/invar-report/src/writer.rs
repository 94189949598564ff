use std::io::Write;

use flate2::{Compression, write::DeflateEncoder};
use invar_dataset::Column;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    Contents, MAX_POINTS, ROUNDED_ABOVE, ReportError, base64,
    packed::{self, Header, Packed},
};

const STYLE: &str = concat!(include_str!("page/page.css"), include_str!("page/parts.css"));
/// The frame of the page, with `TITLE` where its title goes.
const FRAME: &str = include_str!("page/page.html");
/// The viewer, one function: what one file defines is visible to the next ones, and to nothing else.
const SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("page/columns.js"),
    include_str!("page/element.js"),
    include_str!("page/colour.js"),
    include_str!("page/filter.js"),
    include_str!("page/grid.js"),
    include_str!("page/painter.js"),
    include_str!("page/scatter.js"),
    include_str!("page/chart.js"),
    include_str!("page/picture.js"),
    include_str!("page/thumbnails.js"),
    include_str!("page/selection.js"),
    include_str!("page/clusters.js"),
    include_str!("page/main.js"),
    "})();\n"
);

/// Writes a report, column by column.
pub struct ReportWriter<W> {
    out: W,
    num_points: usize,
    bounds: [[f32; 2]; 2],
    columns: Vec<Named>,
    sprites: Option<Sprites>,
    num_blocks: usize,
}

/// Pictures of samples.
pub struct Thumbnails<'a> {
    /// Side of one picture, in pixels.
    pub side_px: u32,
    /// Number of pictures per sprite row.
    pub across: u32,
    /// The sample of each picture, in order.
    pub rows: &'a [u32],
    /// JPEG files of `across` x `across` pictures each, row by row; the last may be shorter.
    pub sprites: &'a [Vec<u8>],
}

#[derive(Serialize)]
struct Named {
    name: String,
    block: usize,
    #[serde(flatten)]
    header: Header,
}

#[derive(Serialize)]
struct Sprites {
    side_px: u32,
    across: u32,
    blocks: Vec<usize>,
    rows: Named,
    count: usize,
}

impl<W: Write> ReportWriter<W> {
    /// Begins a page about `num_points` samples.
    ///
    /// # Errors
    /// If there are more than [`MAX_POINTS`], or `out` cannot be written.
    pub fn begin(mut out: W, title: &str, num_points: usize) -> Result<Self, ReportError> {
        if num_points > MAX_POINTS {
            return Err(ReportError::TooMany { most: MAX_POINTS, found: num_points });
        }
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; img-src data: blob:; base-uri 'none'; form-action 'none'",
            source_hash(SCRIPT),
            source_hash(STYLE)
        );
        let title = escaped(title);
        write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{}",
            FRAME.replace("TITLE", &title)
        )?;
        let (columns, bounds) = (vec![], [[0.0; 2]; 2]);
        Ok(Self { out, num_points, bounds, columns, sprites: None, num_blocks: 0 })
    }

    /// The places of the samples in the plane. With more than [`ROUNDED_ABOVE`] samples they are stored to a 65,535th
    /// of the width.
    ///
    /// # Errors
    /// If there is not one per sample, or one is not finite.
    pub fn points(&mut self, x: &[f32], y: &[f32]) -> Result<(), ReportError> {
        self.check("x", x.len())?;
        self.check("y", y.len())?;
        if let Some(row) = (0..x.len()).find(|&row| !(x[row].is_finite() && y[row].is_finite())) {
            return Err(ReportError::NotFinite { row, x: x[row], y: y[row] });
        }
        for (axis, (name, values)) in [("x", x), ("y", y)].into_iter().enumerate() {
            let (packed, bounds) = packed::places(values, self.is_rounded());
            self.bounds[axis] = bounds;
            let named = self.stored(name, &packed)?;
            self.columns.push(named);
        }
        Ok(())
    }

    /// A column of metadata. The first is the name of the samples. Numbers have the digits of single precision, or four
    /// with more than [`ROUNDED_ABOVE`] samples; integers are exact.
    ///
    /// # Errors
    /// If there is not one value per sample, or the page cannot be written.
    pub fn column(&mut self, column: &Column) -> Result<(), ReportError> {
        self.check(&column.name, column.data.len())?;
        let named = self.stored(&column.name, &packed::column(&column.data, self.is_rounded()))?;
        self.columns.push(named);
        Ok(())
    }

    /// Pictures of some or all samples.
    ///
    /// # Errors
    /// If the page cannot be written.
    pub fn thumbnails(&mut self, of: &Thumbnails<'_>) -> Result<(), ReportError> {
        let rows = self.stored("thumbnails", &packed::rows(of.rows))?;
        let blocks = of.sprites.iter().map(|sprite| self.block(sprite)).collect::<Result<_, _>>()?;
        self.sprites = Some(Sprites { side_px: of.side_px, across: of.across, blocks, rows, count: of.rows.len() });
        Ok(())
    }

    /// Ends the page and returns the writer.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self, contents: &Contents) -> Result<W, ReportError> {
        let header = json!({
            "num_points": self.num_points, "bounds": self.bounds, "rounded": self.is_rounded(),
            "columns": self.columns, "thumbnails": self.sprites, "contents": contents,
        });
        // Nothing in it may end the script element.
        let header = header.to_string().replace('<', "\\u003c");
        write!(
            self.out,
            "<script type=\"application/json\" id=\"contents\">{header}</script>\n\
             <script>{SCRIPT}</script>\n</body>\n</html>\n"
        )?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn is_rounded(&self) -> bool {
        self.num_points > ROUNDED_ABOVE
    }

    fn check(&self, column: &str, found: usize) -> Result<(), ReportError> {
        let expected = self.num_points;
        if found == expected { Ok(()) } else { Err(ReportError::Rows { column: column.into(), expected, found }) }
    }

    fn stored(&mut self, name: &str, packed: &Packed) -> Result<Named, ReportError> {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::new(6));
        deflated.write_all(&packed.bytes)?;
        let block = self.block(&deflated.finish()?)?;
        Ok(Named { name: name.into(), block, header: packed.header.clone() })
    }

    fn block(&mut self, bytes: &[u8]) -> Result<usize, ReportError> {
        let block = self.num_blocks;
        let text = base64::encode(bytes);
        writeln!(self.out, "<script type=\"text/plain\" id=\"block-{block}\">{text}</script>")?;
        self.num_blocks += 1;
        Ok(block)
    }
}

/// A source in the policy: the hash of the text of an element.
fn source_hash(text: &str) -> String {
    format!("'sha256-{}'", base64::encode(&Sha256::digest(text.as_bytes())))
}

/// Text as HTML, in an element or an attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests;
