//! Connected parts of equal value.

use std::collections::{BTreeMap, HashMap};

use crate::LabelMap;

/// The connected parts of equal value of a map; including those of value 0.
pub(crate) struct Parts {
    runs: Vec<Run>,
    width: usize,
    num_pixels: usize,
    /// Part of each run; parts are numbered by their first pixels.
    part_of_run: Vec<u32>,
    /// Number of pixels of each part.
    areas: Vec<u64>,
    /// Value of each part.
    part_values: Vec<u32>,
    of_values: BTreeMap<u32, Value>,
}

/// A stretch of a row, of one value.
#[derive(Clone, Copy)]
struct Run {
    row: u32,
    start: u32,
    end: u32,
    value: u32,
}

/// How the pixels of a value are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Value {
    pub area_px: u64,
    pub num_parts: u64,
    squares: f64,
}

impl Value {
    /// Number of parts of equal size with the same diversity as these: large parts count, specks do not (the inverse of
    /// Simpson's index).
    pub fn effective_parts(&self) -> f64 {
        (self.area_px as f64).powi(2) / self.squares
    }
}

impl Parts {
    /// Parts of pixels that share edges, or also corners if `has_diagonals`.
    pub fn of(map: &LabelMap, has_diagonals: bool) -> Self {
        Self::of_rows(map.labels.chunks(map.width.max(1)), has_diagonals)
    }

    /// The same from rows, all of one length. Memory: 24 bytes per run.
    pub fn of_rows(rows: impl Iterator<Item: AsRef<[u32]>>, has_diagonals: bool) -> Self {
        let (mut runs, mut union) = (Vec::<Run>::new(), Union::default());
        let (mut above, mut width, mut num_pixels) = (0..0, 0, 0);
        for (row, line) in rows.enumerate() {
            let line = line.as_ref();
            (width, num_pixels) = (line.len(), num_pixels + line.len());
            let first = runs.len();
            let mut start = 0;
            for stretch in line.chunk_by(|a, b| a == b) {
                let end = start + stretch.len() as u32;
                runs.push(Run { row: row as u32, start, end, value: stretch[0] });
                union.add();
                start = end;
            }
            let reach = u32::from(has_diagonals);
            let mut other = above.start;
            for here in first..runs.len() {
                let run = runs[here];
                while other < above.end && runs[other].end + reach <= run.start {
                    other += 1;
                }
                let touching = (other..above.end).take_while(|&k| runs[k].start < run.end + reach);
                for k in touching.filter(|&k| runs[k].value == run.value) {
                    union.join(k, here);
                }
            }
            above = first..runs.len();
        }
        let part_of_run = union.numbers();
        let num_parts = part_of_run.iter().max().map_or(0, |&most| most as usize + 1);
        let (mut areas, mut part_values) = (vec![0; num_parts], vec![0; num_parts]);
        for (run, &part) in runs.iter().zip(&part_of_run) {
            areas[part as usize] += u64::from(run.end - run.start);
            part_values[part as usize] = run.value;
        }
        let mut of_values: BTreeMap<u32, Value> = BTreeMap::new();
        for (&value, &area) in part_values.iter().zip(&areas) {
            let of_value = of_values.entry(value).or_default();
            of_value.area_px += area;
            of_value.num_parts += 1;
            of_value.squares += (area as f64).powi(2);
        }
        Self { runs, width, num_pixels, part_of_run, areas, part_values, of_values }
    }

    /// All values, ascending; including 0.
    pub fn values(&self) -> impl Iterator<Item = u32> {
        self.of_values.keys().copied()
    }

    /// Number of values, not counting 0.
    pub fn num_values(&self) -> usize {
        self.values().filter(|&value| value != 0).count()
    }

    pub fn of_value(&self, value: u32) -> Value {
        self.of_values.get(&value).copied().unwrap_or_default()
    }

    /// All values with their connectivity, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Value)> {
        self.of_values.iter().map(|(&value, &of_value)| (value, of_value))
    }

    /// Whether the values are grey levels: many, most of them of scattered pixels.
    pub fn is_grey(&self) -> bool {
        /// Minimum number of values, not counting the two most frequent.
        const MIN_LEVELS: usize = 5;
        /// Maximum mean number of pixels per part; the levels of a blurred edge are scattered along it.
        const MAX_MEAN_PX: f64 = 3.0;
        let mut values: Vec<Value> = self.of_values.values().copied().collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.area_px));
        let levels = values.get(2..).unwrap_or_default();
        let area: u64 = levels.iter().map(|value| value.area_px).sum();
        let num_parts: u64 = levels.iter().map(|value| value.num_parts).sum();
        let effective: f64 = levels.iter().map(Value::effective_parts).sum();
        levels.len() >= MIN_LEVELS
            && (area as f64) < MAX_MEAN_PX * num_parts as f64
            && effective >= 2.5 * levels.len() as f64
    }

    /// Number of pixels of each part of the selected values, ascending.
    pub fn areas(&self, is_asked: impl Fn(u32) -> bool) -> Vec<u64> {
        let parts = self.part_values.iter().zip(&self.areas);
        let mut areas: Vec<u64> = parts.filter(|&(&value, _)| is_asked(value)).map(|(_, &area)| area).collect();
        areas.sort_unstable();
        areas
    }

    /// The boxes `[first row, first column, last row + 1, last column + 1]` of the parts of a value.
    pub fn boxes(&self, value: u32) -> Vec<[u32; 4]> {
        let mut boxes = vec![[u32::MAX, u32::MAX, 0, 0]; self.areas.len()];
        for (run, &part) in self.runs.iter().zip(&self.part_of_run) {
            let [top, left, bottom, right] = boxes[part as usize];
            boxes[part as usize] = [top.min(run.row), left.min(run.start), bottom.max(run.row + 1), right.max(run.end)];
        }
        boxes.into_iter().zip(&self.part_values).filter(|&(_, &of)| of == value).map(|(bbox, _)| bbox).collect()
    }

    /// Labels `1..=n` for the parts that are kept, by first pixel, 0 elsewhere; `keep` receives the value and the size
    /// of a part.
    pub fn labels(&self, keep: impl Fn(u32, u64) -> bool) -> Vec<u32> {
        let mut next = 0;
        let numbers: Vec<u32> = (self.part_values.iter().zip(&self.areas))
            .map(|(&value, &area)| {
                let is_kept = keep(value, area);
                next += u32::from(is_kept);
                if is_kept { next } else { 0 }
            })
            .collect();
        let mut labels = vec![0; self.num_pixels];
        for (run, &part) in self.runs.iter().zip(&self.part_of_run) {
            let row = run.row as usize * self.width;
            labels[row + run.start as usize..row + run.end as usize].fill(numbers[part as usize]);
        }
        labels
    }
}

/// Number of edges between pixels of two values, the smaller value first.
pub(crate) fn edges(map: &LabelMap) -> HashMap<(u32, u32), u64> {
    let mut edges = HashMap::new();
    let mut add = |a: u32, b: u32| {
        if a != b {
            *edges.entry((a.min(b), a.max(b))).or_insert(0) += 1;
        }
    };
    let mut above: Option<&[u32]> = None;
    for line in map.labels.chunks(map.width.max(1)) {
        line.windows(2).for_each(|pair| add(pair[0], pair[1]));
        above.into_iter().flatten().zip(line).for_each(|(&a, &b)| add(a, b));
        above = Some(line);
    }
    edges
}

/// Disjoint sets (Tarjan 1975), represented by their first members.
#[derive(Default)]
pub(crate) struct Union(Vec<u32>);

impl Union {
    /// A member more, which is a set of its own.
    pub fn add(&mut self) {
        self.0.push(self.0.len() as u32);
    }

    fn leader(&mut self, mut member: usize) -> usize {
        while self.0[member] as usize != member {
            self.0[member] = self.0[self.0[member] as usize];
            member = self.0[member] as usize;
        }
        member
    }

    pub fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.leader(a), self.leader(b));
        self.0[a.max(b)] = a.min(b) as u32;
    }

    /// The index of each member's set, by first member.
    pub fn numbers(mut self) -> Vec<u32> {
        let mut numbers = vec![0; self.0.len()];
        let mut next = 0;
        for member in 0..self.0.len() {
            let leader = self.leader(member);
            if leader == member {
                numbers[member] = next;
                next += 1;
            } else {
                numbers[member] = numbers[leader];
            }
        }
        numbers
    }
}
