use std::collections::VecDeque;

/// Number of values computed side by side.
pub(super) const LANES: usize = 16;

/// Some consecutive rows of a stack of planes: those that are still needed. Each plane's row has zeros before and after
/// it, as far as a kernel extends.
pub(super) struct Rows {
    pub channels: usize,
    pub width: usize,
    /// Total number of rows.
    pub height: usize,
    /// The number of the first row that is held.
    first: usize,
    held: VecDeque<Vec<f32>>,
    /// Released rows, to be filled again.
    spare: Vec<Vec<f32>>,
}

/// Length of a plane's row of `width` pixels, including the zeros around it.
pub(super) fn stride(width: usize) -> usize {
    1 + width.next_multiple_of(LANES) + 1
}

impl Rows {
    pub fn new(channels: usize, width: usize, height: usize) -> Self {
        Self { channels, width, height, first: 0, held: VecDeque::new(), spare: Vec::new() }
    }

    /// One more than the number of the last row that is held.
    pub fn end(&self) -> usize {
        self.first + self.held.len()
    }

    /// Row `row` of plane `channel`, with the zeros around it.
    pub fn line(&self, row: usize, channel: usize) -> &[f32] {
        let stride = stride(self.width);
        &self.held[row - self.first][channel * stride..][..stride]
    }

    /// A row to be filled: rows of `channels` planes, with zeros around them and arbitrary content.
    pub fn blank(&mut self) -> Vec<f32> {
        self.spare.pop().unwrap_or_else(|| vec![0.0; self.channels * stride(self.width)])
    }

    /// Appends a row.
    pub fn push(&mut self, row: Vec<f32>) {
        self.held.push_back(row);
    }

    /// Releases the rows before `row`.
    pub fn release(&mut self, row: usize) {
        while self.first < row {
            let Some(gone) = self.held.pop_front() else { break };
            self.spare.push(gone);
            self.first += 1;
        }
    }
}
