use super::each_neighbor;

/// Floods `landscape` from the markers in `labels`: the lowest pixel first, among equally low ones the first to arrive.
/// If heights are distinct this gives the labels of `skimage.segmentation.watershed` with its 4-connected default; on
/// plateaus the two may differ. 0 outside `mask` or where no marker leads. 10 bytes per pixel including the landscape
/// and the labels; each pixel is pushed and popped once.
pub(super) fn flood(landscape: &[u16], width: usize, height: usize, mask: Option<&[bool]>, labels: &mut [u32]) {
    let mut queue = Queue::new(landscape.len());
    for pixel in (0..labels.len()).filter(|&pixel| labels[pixel] != 0) {
        queue.push(landscape[pixel], pixel);
    }
    while let Some(pixel) = queue.pop() {
        let label = labels[pixel];
        each_neighbor(pixel, width, height, |next| {
            if labels[next] == 0 && mask.is_none_or(|mask| mask[next]) {
                labels[next] = label;
                queue.push(landscape[next], next);
            }
        });
    }
}

const NONE: u32 = u32::MAX;
const NUM_LEVELS: usize = 1 << 16;

/// Pixels by level, first in first out in each. One bit per level, and one per 64 levels, find the lowest.
struct Queue {
    next: Vec<u32>,
    first: Vec<u32>,
    last: Vec<u32>,
    levels: Vec<u64>,
    words: [u64; NUM_LEVELS / 4096],
}

impl Queue {
    fn new(num_pixels: usize) -> Self {
        Self {
            next: vec![NONE; num_pixels],
            first: vec![NONE; NUM_LEVELS],
            last: vec![NONE; NUM_LEVELS],
            levels: vec![0; NUM_LEVELS / 64],
            words: [0; NUM_LEVELS / 4096],
        }
    }

    #[inline]
    fn push(&mut self, level: u16, pixel: usize) {
        let level = usize::from(level);
        if self.first[level] == NONE {
            self.first[level] = pixel as u32;
            self.levels[level / 64] |= 1 << (level % 64);
            self.words[level / 4096] |= 1 << (level / 64 % 64);
        } else {
            self.next[self.last[level] as usize] = pixel as u32;
        }
        self.last[level] = pixel as u32;
    }

    #[inline]
    fn pop(&mut self) -> Option<usize> {
        let block = self.words.iter().position(|&word| word != 0)?;
        let word = block * 64 + self.words[block].trailing_zeros() as usize;
        let level = word * 64 + self.levels[word].trailing_zeros() as usize;
        let pixel = self.first[level] as usize;
        self.first[level] = self.next[pixel];
        if self.first[level] == NONE {
            self.levels[word] &= !(1 << (level % 64));
            if self.levels[word] == 0 {
                self.words[block] &= !(1 << (word % 64));
            }
        }
        Some(pixel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn labels_are_those_of_scikit_image() {
        // numpy: RandomState(0).permutation(80).reshape(8, 10); markers 1 at (1, 1), 2 at (6, 8), 3 at (2, 7), 4 at (7, 0);
        // scikit-image 0.26: segmentation.watershed(landscape, markers)
        let landscape: [u16; 80] = [
            50, 27, 30, 77, 45, 71, 66, 68, 48, 69, 40, 63, 2, 72, 52, 34, 3, 22, 7, 26, 42, 38, 41, 79, 55, 17, 60, 62, 6, 56, 73, 4, 33, 53, 28, 11, 57, 23, 10, 31,
            43, 61, 1, 32, 75, 14, 54, 19, 29, 49, 24, 35, 18, 0, 78, 15, 5, 59, 16, 51, 20, 74, 8, 13, 25, 37, 46, 39, 65, 58, 12, 70, 36, 21, 9, 76, 67, 64, 47, 44,
        ];
        let expected: [u32; 80] = [
            4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
            4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
        ];
        let mut labels = [0; 80];
        for (row, column, label) in [(1, 1, 1), (6, 8, 2), (2, 7, 3), (7, 0, 4)] {
            labels[row * 10 + column] = label;
        }
        flood(&landscape, 10, 8, None, &mut labels);
        assert_eq!(labels, expected);
    }
}
