//! What kind of mask it is, judged by its values: a label for each grain, or a class for each pixel.

use std::collections::HashMap;

use crate::{
    LabelMap, MaskKind,
    parts::{self, Parts},
};

/// How a mask is read.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    /// Each label is a grain.
    Instances {
        /// What should be checked.
        notes: Vec<String>,
    },
    /// Each connected part of one value is a grain.
    Parts {
        /// Values that are not grains.
        background: Vec<u32>,
        /// Values that lie between grains, as lines.
        boundaries: Vec<u32>,
        /// Whether there are only two values.
        is_binary: bool,
        /// What was decided, if it is not obvious.
        notes: Vec<String>,
    },
}

/// Classes are few; with more values, nothing is guessed except whether they are labels.
const MAX_CLASSES: usize = 16;
/// With this many parts of about equal size per value, the values are not labels: instance maps have 1.00 to 1.07,
/// class maps 4 and more.
const MANY_PARTS: f64 = 2.5;
/// The same if no pixel is background and the values are few.
const MANY_PARTS_OF_FEW: f64 = 1.4;
/// From here on a label counts as being in several parts.
const SPLIT: f64 = 1.5;

/// Decides from the values of `map` and their `parts`. Without `is_guessed` the background is known to be 0.
pub(super) fn of(map: &LabelMap, parts: &Parts, kind: MaskKind, is_guessed: bool) -> Kind {
    let num_values = parts.num_values();
    let labels = || parts.iter().filter(|&(value, _)| value != 0).map(|(_, of)| of.effective_parts());
    let has_zero = parts.of_value(0).area_px * 1000 > map.labels.len() as u64;
    if num_values <= 1 {
        return binary(map, parts, is_guessed);
    }
    let a_label = labels().sum::<f64>() / num_values as f64;
    let num_split = labels().filter(|&parts| parts >= SPLIT).count();
    let is_few = !has_zero && num_values <= 4;
    let is_classes = a_label >= MANY_PARTS
        || (num_values >= 3 && 2 * num_split > num_values && a_label >= 2.0)
        || (is_guessed && is_few && a_label >= MANY_PARTS_OF_FEW);
    if kind == MaskKind::Classes || (kind == MaskKind::Auto && is_classes) {
        return classes(map, parts, has_zero, is_guessed);
    }
    let mut notes = Vec::new();
    if num_split > 0 {
        notes.push(format!(
            "{num_split} of {num_values} labels fall into several parts; each label is one grain (--mask-kind classes makes each \
             part one)"
        ));
    }
    if is_guessed && is_few {
        notes.push(format!(
            "{num_values} labels cover the image and no pixel is 0: each is a grain (else use --mask-background)"
        ));
    }
    Kind::Instances { notes }
}

/// Black and white: white parts are grains, unless white is a network of lines around black ones.
fn binary(map: &LabelMap, parts: &Parts, is_guessed: bool) -> Kind {
    let plain = |notes| Kind::Parts { background: vec![0], boundaries: Vec::new(), is_binary: true, notes };
    let Some(white) = parts.values().find(|&value| value != 0) else { return plain(Vec::new()) };
    if !is_guessed {
        return plain(Vec::new());
    }
    if parts.of_value(0).area_px == 0 {
        return plain(vec!["no pixel is black: the image is one grain".into()]);
    }
    let shapes = Shapes::of(map, parts);
    let (black, lines) = (shapes.of_value(0), shapes.of_value(white));
    let as_lines = black.parts / lines.pieces;
    let as_grains = lines.spread() / black.pieces;
    let is_net = as_lines >= 5.0 * as_grains
        && black.parts >= 3.0
        && lines.width_px < black.width_px
        && 2 * lines.area_px < map.labels.len() as u64;
    if is_net {
        let note = format!(
            "its white is a net of lines {:.1} px wide around {} black parts: those are the grains (--mask-background 0 takes the \
             lines)",
            lines.width_px,
            parts.of_value(0).num_parts
        );
        return Kind::Parts { background: vec![white], boundaries: Vec::new(), is_binary: true, notes: vec![note] };
    }
    if lines.is_thin() && lines.parts >= 10.0 {
        let of_value = parts.of_value(white);
        return plain(vec![format!(
            "its {} white parts are lines or specks, of {:.1} px on average",
            of_value.num_parts,
            of_value.area_px as f64 / of_value.num_parts as f64
        )]);
    }
    plain(Vec::new())
}

/// Classes: which of them is background, and which lies between grains.
fn classes(map: &LabelMap, parts: &Parts, has_zero: bool, is_guessed: bool) -> Kind {
    let values: Vec<u32> = parts.values().filter(|&value| value != 0).collect();
    let mut background = vec![0];
    let mut boundaries = Vec::new();
    if is_guessed && values.len() <= MAX_CLASSES {
        let shapes = Shapes::of(map, parts);
        if !has_zero {
            background.extend(shapes.surrounding(&values));
        }
        let others: Vec<u32> = values.iter().copied().filter(|value| !background.contains(value)).collect();
        boundaries = shapes.between(&others, &background);
    }
    let grains: Vec<u32> =
        values.iter().copied().filter(|value| !background.contains(value) && !boundaries.contains(value)).collect();
    let num_parts: u64 = grains.iter().map(|&value| parts.of_value(value).num_parts).sum();
    let mut note = format!(
        "a map of {} classes: each connected part of {} is a grain, {num_parts} in all",
        values.len() + usize::from(has_zero),
        list(&grains)
    );
    if let Some(&value) = background.iter().find(|&&value| value != 0) {
        note += &format!(", value {value} surrounds them and is background");
    }
    if !boundaries.is_empty() {
        note += &format!(", {} lies between them", list(&boundaries));
    }
    note += " (--mask-kind instances keeps labels whole, --mask-background names values that are not grains)";
    Kind::Parts { background, boundaries, is_binary: false, notes: vec![note] }
}

fn list(values: &[u32]) -> String {
    const LISTED: usize = 6;
    let names: Vec<String> = values.iter().take(LISTED).map(u32::to_string).collect();
    let more = if values.len() > LISTED { ", ..." } else { "" };
    format!("value{} {}{more}", if values.len() > 1 { "s" } else { "" }, names.join(", "))
}

/// The shape of the pixels of a value.
#[derive(Clone, Copy, Debug)]
struct Shape {
    area_px: u64,
    /// Effective number of parts connected by pixel edges.
    parts: f64,
    /// The same with connection by corners too: a line one pixel wide is one piece.
    pieces: f64,
    /// Twice the area over the length of the outline: the width of lines, half the diameter of discs.
    width_px: f64,
}

impl Shape {
    fn is_thin(&self) -> bool {
        self.width_px < 1.5
    }

    /// Into how many parts it falls, where lines are connected by corners.
    fn spread(&self) -> f64 {
        if self.is_thin() { self.pieces } else { self.parts }
    }
}

struct Shapes {
    shapes: HashMap<u32, Shape>,
    edges: HashMap<(u32, u32), u64>,
}

impl Shapes {
    fn of(map: &LabelMap, parts: &Parts) -> Self {
        let pieces = Parts::of(map, true);
        let edges = parts::edges(map);
        let shape = |(value, of): (u32, parts::Value)| {
            let shape = Shape {
                area_px: of.area_px,
                parts: of.effective_parts(),
                pieces: pieces.of_value(value).effective_parts(),
                width_px: 2.0 * of.area_px as f64 / (outline(&edges, value) as f64).max(1.0),
            };
            (value, shape)
        };
        Self { shapes: parts.iter().map(shape).collect(), edges }
    }

    fn of_value(&self, value: u32) -> Shape {
        self.shapes[&value]
    }

    /// The value that surrounds the others, if there is one: in one piece, while the others fall into parts.
    fn surrounding(&self, values: &[u32]) -> Option<u32> {
        let score = |value: u32| {
            let others = values.iter().filter(|&&other| other != value);
            others.map(|&other| self.of_value(other).spread()).sum::<f64>() / self.of_value(value).pieces
        };
        let mut scores: Vec<(f64, u32)> = values.iter().map(|&value| (score(value), value)).collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (best, value) = *scores.first()?;
        let second = scores.get(1).map_or(0.0, |second| second.0);
        (self.of_value(value).pieces <= 3.0 && best >= 1.5 * second).then_some(value)
    }

    /// Values that lie between grains: narrow, and along most of the outline of the largest of the others; or all
    /// around it, as rims on background.
    fn between(&self, values: &[u32], background: &[u32]) -> Vec<u32> {
        let lies_between = |&value: &u32| {
            let others = values.iter().copied().filter(|&other| other != value);
            let Some(largest) = others.max_by_key(|&other| (self.of_value(other).area_px, other)) else { return false };
            let common = self.common(value, largest) as f64;
            let ground: u64 = background.iter().map(|&ground| self.common(value, ground)).sum();
            let is_narrow = self.of_value(value).width_px < 0.5 * self.of_value(largest).width_px;
            let along = common / self.outline(largest) as f64;
            (is_narrow && along >= 0.5) || (along >= 0.9 && ground as f64 >= 0.2 * self.outline(value) as f64)
        };
        values.iter().copied().filter(lies_between).collect()
    }

    /// Edges between pixels of two values.
    fn common(&self, a: u32, b: u32) -> u64 {
        self.edges.get(&(a.min(b), a.max(b))).copied().unwrap_or(0)
    }

    /// Edges between pixels of a value and of others.
    fn outline(&self, value: u32) -> u64 {
        outline(&self.edges, value)
    }
}

fn outline(edges: &HashMap<(u32, u32), u64>, value: u32) -> u64 {
    edges.iter().filter(|(pair, _)| pair.0 == value || pair.1 == value).map(|(_, &count)| count).sum()
}
