use super::each_neighbor;

/// Floods `landscape` from the markers in `labels`: the lowest pixel first, of equally low ones the first to come, which
/// is the order of `skimage.segmentation.watershed` with its 4-connected default. 0 where `mask` is not or no marker
/// leads. 10 bytes a pixel with the landscape and the labels; each pixel is pushed and popped once.
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

/// Pixels by level, first in first out in each. A bit a level, and a bit for each 64 levels, find the lowest.
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
