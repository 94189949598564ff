use rayon::prelude::*;

/// Exact Euclidean distance of each pixel of `mask` to the nearest pixel outside it, 0 outside, as in
/// `scipy.ndimage.distance_transform_edt`: nothing exists beyond the image (Meijster et al. 2000; the lower envelope of
/// Felzenszwalb and Huttenlocher 2012). If no pixel is outside, `width + height` everywhere.
pub(super) fn distances_px(mask: &[bool], width: usize, height: usize) -> Vec<f32> {
    if mask.is_empty() {
        return Vec::new();
    }
    let far = (width + height) as u32;
    let mut columns: Vec<u32> = mask.iter().map(|&inside| if inside { far } else { 0 }).collect();
    for row in 1..height {
        let (above, here) = columns.split_at_mut(row * width);
        let above = &above[(row - 1) * width..];
        here[..width].iter_mut().zip(above).for_each(|(h, &a)| *h = (*h).min(a + 1).min(far));
    }
    for row in (0..height - 1).rev() {
        let (here, below) = columns.split_at_mut((row + 1) * width);
        here[row * width..].iter_mut().zip(&below[..width]).for_each(|(h, &b)| *h = (*h).min(b + 1));
    }
    let mut distances = vec![0.0f32; mask.len()];
    distances.par_chunks_mut(width).zip(columns.par_chunks(width)).for_each_init(
        Envelope::default,
        |envelope, (out, g)| {
            envelope.fill(g, far, out);
        },
    );
    distances
}

/// The parabolas that are lowest somewhere: their columns, and where each starts to be lowest.
#[derive(Default)]
struct Envelope {
    columns: Vec<usize>,
    starts: Vec<i64>,
}

impl Envelope {
    fn fill(&mut self, g: &[u32], far: u32, out: &mut [f32]) {
        self.columns.clear();
        self.starts.clear();
        let square = |column: usize| i64::from(g[column]) * i64::from(g[column]);
        for column in (0..g.len()).filter(|&column| g[column] < far) {
            let x = column as i64;
            let mut start = 0;
            while let (Some(&last), Some(&from)) = (self.columns.last(), self.starts.last()) {
                let other = last as i64;
                // First integer column at which the new parabola is lower.
                let crossing = (x * x - other * other + square(column) - square(last)).div_euclid(2 * (x - other)) + 1;
                if crossing > from {
                    start = crossing;
                    break;
                }
                self.columns.pop();
                self.starts.pop();
            }
            if start < g.len() as i64 {
                self.columns.push(column);
                self.starts.push(start);
            }
        }
        if self.columns.is_empty() {
            return out.fill(far as f32);
        }
        let mut at = 0;
        for (x, out) in out.iter_mut().enumerate() {
            while at + 1 < self.columns.len() && self.starts[at + 1] <= x as i64 {
                at += 1;
            }
            let (column, x) = (self.columns[at], x as i64);
            *out = (((x - column as i64).pow(2) + square(column)) as f64).sqrt() as f32;
        }
    }
}
