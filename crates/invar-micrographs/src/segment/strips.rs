//! Large pictures, a strip of rows at a time.

use std::ops::Range;

use super::{Plane, Window};
use crate::ImageRef;

/// Pictures with more pixels are processed in strips.
pub(super) const LARGE_PX: usize = 1 << 25;
/// Pixels of a strip.
pub(super) const STRIP_PX: usize = 1 << 22;
/// A strip has at least this many rows: regions are cut where strips meet, so there must not be too many of them.
const LEAST_ROWS: usize = 128;

/// The rows of each strip; a single one unless the picture is large.
pub(super) fn strips(width: usize, height: usize) -> Vec<Range<usize>> {
    let is_large = width * height > LARGE_PX;
    of_rows(height, if is_large { (STRIP_PX / width).max(LEAST_ROWS) } else { height.max(1) })
}

/// Strips of `rows` rows.
pub(super) fn of_rows(height: usize, rows: usize) -> Vec<Range<usize>> {
    (0..height).step_by(rows).map(|first| first..(first + rows).min(height)).collect()
}

/// `strip` and `halo` rows above and below it, as far as they exist.
pub(super) fn with_halo(strip: &Range<usize>, halo: usize, height: usize) -> Range<usize> {
    strip.start.saturating_sub(halo)..(strip.end + halo).min(height)
}

/// The plane of `filter` of the whole `image`, which `filter` computes for a window of it; a pixel must not depend on
/// those more than `reach` rows away. The same as at once.
pub(super) fn filtered(
    image: ImageRef<'_>,
    strips: &[Range<usize>],
    reach: usize,
    filter: impl Fn(&Window) -> Plane,
) -> Plane {
    if strips.len() <= 1 {
        return filter(&Window::whole(image));
    }
    let mut values = Vec::with_capacity(image.width * image.height);
    for strip in strips {
        let rows = with_halo(strip, reach, image.height);
        let first = (strip.start - rows.start) * image.width;
        let found = filter(&Window { rows, ..Window::whole(image) });
        values.extend_from_slice(&found.values[first..][..strip.len() * image.width]);
    }
    Plane { width: image.width, height: image.height, values }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Levels, PixelsRef,
        segment::{denoise, ridge},
    };

    #[test]
    fn only_large_pictures_are_cut() {
        assert!(strips(0, 0).is_empty());
        let whole = strips(1 << 12, 1 << 13);
        assert_eq!((whole.len(), whole[0].clone()), (1, 0..1 << 13));
        let cut = strips(20_000, 20_000);
        assert_eq!((cut.len(), cut[0].clone(), cut[95].clone()), (96, 0..209, 19_855..20_000));
        // A strip is never lower than it may be, however wide.
        assert_eq!(strips(1 << 20, 300), vec![0..128, 128..256, 256..300]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn filtered_by_strips_is_as_at_once(
            width in 1usize..30, height in 1usize..60, rows in 1usize..60, sigma_px in 0.3f32..3.0, seed in any::<u64>(),
        ) {
            let random = |i: usize| ((i as u64 ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as u16;
            let pixels: Vec<u16> = (0..width * height).map(random).collect();
            let image = ImageRef { width, height, channels: 1, pixels: PixelsRef::U16(&pixels) };
            let of = |window: &Window| Plane::grey(image, Levels { low: 0.0, high: 65_535.0 }, window);
            let lines = |window: &Window| ridge::lines(&of(window), true, sigma_px);
            let steps = |window: &Window| ridge::steps(std::iter::once(of(window)), sigma_px);
            let blurred = |window: &Window| {
                let mut plane = of(window);
                denoise::gaussian(&mut plane, sigma_px);
                plane
            };
            let filters: [&dyn Fn(&Window) -> Plane; 3] = [&lines, &steps, &blurred];
            for filter in filters {
                let found = filtered(image, &of_rows(height, rows), ridge::reach_px(sigma_px), filter);
                prop_assert_eq!(found.values, filter(&Window::whole(image)).values);
            }
        }
    }
}
