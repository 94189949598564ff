use std::collections::VecDeque;

/// Values that are worked out side by side.
pub(super) const LANES: usize = 16;

/// Some consecutive rows of a stack of planes: as many as are still to be looked at. Each plane's row has zeros before and behind
/// it, as far as a kernel reaches.
pub(super) struct Rows {
    pub channels: usize,
    pub width: usize,
    /// Rows that there will be.
    pub height: usize,
    /// The number of the first row that is held.
    first: usize,
    held: VecDeque<Vec<f32>>,
    /// Rows let go, to be filled again.
    spare: Vec<Vec<f32>>,
}

/// Numbers of a plane's row of `width` pixels, with the zeros around it.
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

    /// A row to be filled: `channels` planes' rows, zeros around them and anything in them.
    pub fn blank(&mut self) -> Vec<f32> {
        self.spare.pop().unwrap_or_else(|| vec![0.0; self.channels * stride(self.width)])
    }

    /// Appends a row.
    pub fn push(&mut self, row: Vec<f32>) {
        self.held.push_back(row);
    }

    /// Lets go of the rows before `row`.
    pub fn release(&mut self, row: usize) {
        while self.first < row {
            let Some(gone) = self.held.pop_front() else { break };
            self.spare.push(gone);
            self.first += 1;
        }
    }
}
