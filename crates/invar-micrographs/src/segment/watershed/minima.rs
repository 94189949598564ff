use super::each_neighbor;

/// Marks the minima from which one must climb at least `min_depth` steps to reach a lower one (their *dynamics*,
/// Grimaud 1992): those found by `skimage.morphology.h_minima`, but only one of several equally low minima separated by
/// less. The lowest minimum of each connected part of `mask` is always marked. A marker is all pixels of the minimum;
/// labels `1..=n` by first pixel. 8 bytes per pixel while it runs, nearly linear.
pub(super) fn markers(
    landscape: &[u16],
    width: usize,
    height: usize,
    mask: Option<&[bool]>,
    min_depth: u32,
) -> Vec<u32> {
    let mut seeds = deep_minima(landscape, width, height, mask, min_depth);
    seeds.sort_unstable();
    let mut labels = vec![0; landscape.len()];
    let mut stack = Vec::new();
    for (label, &seed) in (1..).zip(&seeds) {
        labels[seed as usize] = label;
        stack.push(seed);
        while let Some(pixel) = stack.pop() {
            each_neighbor(pixel as usize, width, height, |next| {
                if labels[next] == 0
                    && landscape[next] == landscape[seed as usize]
                    && mask.is_none_or(|mask| mask[next])
                {
                    labels[next] = label;
                    stack.push(next as u32);
                }
            });
        }
    }
    labels
}

/// First pixel of each minimum of at least `min_depth`: lakes grow from below, and where two meet, the shallower ends.
fn deep_minima(landscape: &[u16], width: usize, height: usize, mask: Option<&[bool]>, min_depth: u32) -> Vec<u32> {
    let order = ascending(landscape, mask);
    let mut lakes = Lakes { parent: vec![DRY; landscape.len()] };
    let mut seeds = Vec::new();
    for &pixel in &order {
        let level = landscape[pixel as usize];
        lakes.parent[pixel as usize] = pixel;
        let mut here = pixel;
        each_neighbor(pixel as usize, width, height, |next| {
            if lakes.parent[next] == DRY {
                return;
            }
            let there = lakes.root(next as u32);
            if there == here {
                return;
            }
            let key = |root: u32| (landscape[root as usize], root);
            let (older, younger) = if key(there) < key(here) { (there, here) } else { (here, there) };
            if u32::from(level - landscape[younger as usize]) >= min_depth {
                seeds.push(younger);
            }
            lakes.parent[younger as usize] = older;
            here = older;
        });
    }
    seeds.extend(order.into_iter().filter(|&pixel| lakes.parent[pixel as usize] == pixel));
    seeds
}

/// Pixels of `mask` by ascending level, then by position.
fn ascending(landscape: &[u16], mask: Option<&[bool]>) -> Vec<u32> {
    let inside = |pixel: usize| mask.is_none_or(|mask| mask[pixel]);
    let mut starts = vec![0u32; (1 << 16) + 1];
    for pixel in (0..landscape.len()).filter(|&pixel| inside(pixel)) {
        starts[usize::from(landscape[pixel]) + 1] += 1;
    }
    for level in 1..starts.len() {
        starts[level] += starts[level - 1];
    }
    let mut order = vec![0u32; starts[1 << 16] as usize];
    for pixel in (0..landscape.len()).filter(|&pixel| inside(pixel)) {
        let start = &mut starts[usize::from(landscape[pixel])];
        order[*start as usize] = pixel as u32;
        *start += 1;
    }
    order
}

const DRY: u32 = u32::MAX;

/// Each lake is a tree whose root is its first and lowest pixel.
struct Lakes {
    parent: Vec<u32>,
}

impl Lakes {
    #[inline]
    fn root(&mut self, mut pixel: u32) -> u32 {
        while self.parent[pixel as usize] != pixel {
            let above = self.parent[self.parent[pixel as usize] as usize];
            self.parent[pixel as usize] = above;
            pixel = above;
        }
        pixel
    }
}
