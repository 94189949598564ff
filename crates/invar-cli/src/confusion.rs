//! The picture of which labels are taken for which.

use anyhow::{Result, anyhow};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// Above this number of classes, cells are too small for numbers, and only the names of some are shown.
const MAX_NUMBERED: usize = 24;
/// Width and height of a matrix without its margins, in pixels, at most, and of a cell.
const EXTENT: i32 = 720;
const CELL: (i32, i32) = (6, 44);
/// Room for the names of rows, for those of columns, and between two matrices.
const MARGIN: (i32, i32) = (180, 170);
/// Longest name, in characters.
const NAME: usize = 22;

/// How often samples of each class were given each label.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    title: String,
    classes: Vec<String>,
    /// `[true class][predicted class]`.
    counts: Vec<Vec<u64>>,
}

impl Matrix {
    /// Counts pairs of true and predicted class, numbers below that of `classes`.
    pub fn new(title: String, classes: &[String], pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        pairs.into_iter().for_each(|(class, predicted)| counts[class][predicted] += 1);
        Self { title, classes: classes.to_vec(), counts }
    }

    /// The most frequent mistakes: true and predicted class, and how many samples, most first.
    pub fn mistakes(&self, most: usize) -> Vec<(&str, &str, u64)> {
        let mut all: Vec<(&str, &str, u64)> = vec![];
        for (class, row) in self.counts.iter().enumerate() {
            for (predicted, &count) in
                row.iter().enumerate().filter(|&(predicted, &count)| predicted != class && count > 0)
            {
                all.push((&self.classes[class], &self.classes[predicted], count));
            }
        }
        all.sort_by(|a, b| b.2.cmp(&a.2).then(a.cmp(b)));
        all.truncate(most);
        all
    }

    fn cell(&self) -> i32 {
        (EXTENT / self.classes.len().max(1) as i32).clamp(CELL.0, CELL.1)
    }

    fn size(&self) -> (i32, i32) {
        let extent = self.cell() * self.classes.len() as i32;
        (MARGIN.0 + extent.max(260) + 20, MARGIN.1 + extent + 50)
    }
}

/// Draws matrices below each other, as SVG text: rows are true classes, columns predicted ones, and a cell is as dark as
/// the share of its row.
///
/// # Errors
/// If the drawing library fails.
pub fn draw(matrices: &[Matrix]) -> Result<String> {
    let mut svg = String::new();
    let width = matrices.iter().map(|matrix| matrix.size().0).max().unwrap_or(0);
    let height = matrices.iter().map(|matrix| matrix.size().1).sum::<i32>();
    {
        let root = SVGBackend::with_string(&mut svg, (width.max(1) as u32, height.max(1) as u32)).into_drawing_area();
        let mut top = 0;
        let drawn = root.fill(&WHITE).and_then(|()| {
            for matrix in matrices {
                draw_one(&root, matrix, top)?;
                top += matrix.size().1;
            }
            root.present()
        });
        drawn.map_err(|error| anyhow!("drawing the confusion matrix: {error}"))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw_one<'a>(root: &Area<'a>, matrix: &Matrix, top: i32) -> Result<(), Failure<'a>> {
    let (cell, left) = (matrix.cell(), MARGIN.0);
    let first = top + MARGIN.1;
    let text = |size: i32| TextStyle::from(("sans-serif", size)).color(&BLACK);
    let at = |x: i32, y: i32| (left + x * cell, first + y * cell);
    root.draw(&Text::new(matrix.title.clone(), (12, top + 12), text(18)))?;
    root.draw(&Text::new("rows: true, columns: predicted", (12, top + 36), text(12)))?;
    let is_small = matrix.classes.len() <= MAX_NUMBERED;
    // Names need some 14 pixels each.
    let every = (14 / cell + 1).max(1) as usize;
    for (number, class) in matrix.classes.iter().enumerate() {
        if number % every == 0 {
            let name: String = match class.chars().count() > NAME {
                true => class.chars().take(NAME - 1).chain(['…']).collect(),
                false => class.clone(),
            };
            let (x, y) = at(number as i32, 0);
            let middle = cell / 2;
            let right = text(12).pos(Pos::new(HPos::Right, VPos::Center));
            root.draw(&Text::new(name.clone(), (left - 6, first + number as i32 * cell + middle), right))?;
            let up = text(12).pos(Pos::new(HPos::Left, VPos::Center)).transform(FontTransform::Rotate270);
            root.draw(&Text::new(name, (x + middle, y - 6), up))?;
        }
    }
    for (class, row) in matrix.counts.iter().enumerate() {
        let total = row.iter().sum::<u64>().max(1) as f64;
        for (predicted, &count) in row.iter().enumerate() {
            let (x, y) = at(predicted as i32, class as i32);
            let share = count as f64 / total;
            // Blue where it is right, orange where it is wrong.
            let full = if class == predicted { RGBColor(0, 114, 178) } else { RGBColor(213, 94, 0) };
            let corners = [(x, y), (x + cell - 1, y + cell - 1)];
            root.draw(&Rectangle::new(corners, RGBColor(242, 242, 242).filled()))?;
            if count > 0 {
                root.draw(&Rectangle::new(corners, full.mix(0.15 + 0.85 * share).filled()))?;
            }
            if is_small && count > 0 {
                let colour = if share > 0.5 { &WHITE } else { &BLACK };
                let style = TextStyle::from(("sans-serif", 12)).color(colour).pos(Pos::new(HPos::Center, VPos::Center));
                root.draw(&Text::new(count.to_string(), (x + cell / 2, y + cell / 2), style))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_counted_and_drawn() {
        let classes = ["<a>", "b", "c"].map(str::to_owned);
        let pairs = [(0, 0), (0, 1), (0, 1), (1, 1), (2, 0), (2, 2)];
        let matrix = Matrix::new("species".into(), &classes, pairs);
        assert_eq!(matrix.counts, [[1, 2, 0], [0, 1, 0], [1, 0, 1]]);
        assert_eq!(matrix.mistakes(5), [("<a>", "b", 2), ("c", "<a>", 1)]);
        assert_eq!(matrix.mistakes(1).len(), 1);
        let svg = draw(&[matrix.clone(), matrix]).unwrap();
        assert!(svg.contains("&lt;a&gt;") && !svg.contains("<a>") && svg.ends_with("</svg>\n"), "{svg}");
        let many: Vec<String> = (0..200).map(|class| format!("a very long name of class {class}")).collect();
        draw(&[Matrix::new("many".into(), &many, (0..200).map(|class| (class, class)))]).unwrap();
    }
}
