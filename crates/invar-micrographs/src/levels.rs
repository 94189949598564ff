//! The percentiles of a whole image, exact, in memory that does not grow with it.

use rayon::prelude::*;

use crate::{ImageRef, Levels, PixelsRef};

/// Values per task.
const CHUNK: usize = 1 << 20;

impl Levels {
    /// The values at `percentiles` (0 to 100) over all planes of `image`, interpolated linearly as in
    /// `numpy.percentile`. If both are the same (a few bright specks on a uniform background), the smallest and the
    /// largest value; if those are the same too, `high` exceeds `low` by one or by the next representable number.
    ///
    /// 8 and 16 bits: one pass, with a count for each value. Single precision: three passes over the bits, mapped to
    /// the order of the values, which must be finite.
    pub fn of(image: ImageRef<'_>, percentiles: [f64; 2]) -> Self {
        let [low, high] = values_at(image.pixels, percentiles);
        let [low, high] = if low < high { [low, high] } else { values_at(image.pixels, [0.0, 100.0]) };
        let (low, high) = (low as f32, high as f32);
        Self { low, high: if low < high { high } else { (low + 1.0).max(low.next_up()) } }
    }
}

fn values_at(pixels: PixelsRef<'_>, percentiles: [f64; 2]) -> [f64; 2] {
    let num_values = match pixels {
        PixelsRef::U8(v) => v.len(),
        PixelsRef::U16(v) => v.len(),
        PixelsRef::F32(v) => v.len(),
    };
    if num_values == 0 {
        return [0.0, 0.0];
    }
    let places = percentiles.map(|percentile| (num_values - 1) as f64 * (percentile.clamp(0.0, 100.0) / 100.0));
    let [a, b] = places.map(|place| [place.floor() as u64, place.ceil() as u64]);
    let ranks = [a[0], a[1], b[0], b[1]];
    let found = match pixels {
        PixelsRef::U8(values) => of_ranks(&counts(values, 256, |v| Some(usize::from(v))), ranks).map(|(v, _)| v as f64),
        PixelsRef::U16(values) => {
            of_ranks(&counts(values, 1 << 16, |v| Some(usize::from(v))), ranks).map(|(v, _)| v as f64)
        }
        PixelsRef::F32(values) => singles(values, ranks),
    };
    let between = |low: f64, high: f64, place: f64| {
        // numpy's `_lerp`, which is exact at both ends.
        let t = place - place.floor();
        if t < 0.5 { low + (high - low) * t } else { high - (high - low) * (1.0 - t) }
    };
    [between(found[0], found[1], places[0]), between(found[2], found[3], places[1])]
}

/// The values of four ranks among single-precision numbers: first by the upper half of their bits, then by the lower.
fn singles(values: &[f32], ranks: [u64; 4]) -> [f64; 4] {
    let upper = counts(values, 1 << 16, |value| Some((ordered(value) >> 16) as usize));
    of_ranks(&upper, ranks).map(|(half, rest)| {
        let inside = |value: f32| {
            let bits = ordered(value);
            (bits >> 16 == half as u32).then_some((bits & 0xffff) as usize)
        };
        let lower = counts(values, 1 << 16, inside);
        let (rest, _) = of_ranks(&lower, [rest])[0];
        f64::from(unordered((half as u32) << 16 | rest as u32))
    })
}

/// The bits of a number, mapped so that they are ordered like the numbers.
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn unordered(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 0 { !bits } else { bits & !(1 << 31) })
}

/// How often each value occurs.
fn counts<T: Copy + Sync>(values: &[T], size: usize, index: impl Fn(T) -> Option<usize> + Sync) -> Vec<u64> {
    let of_chunk = |chunk: &[T]| {
        let mut counts = vec![0u32; size];
        for index in chunk.iter().filter_map(|&value| index(value)) {
            counts[index] += 1;
        }
        counts
    };
    let add = |mut sum: Vec<u64>, counts: Vec<u32>| {
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u64::from(count));
        sum
    };
    let both = |mut a: Vec<u64>, b: Vec<u64>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    let zero = || vec![0u64; size];
    values.par_chunks(CHUNK).map(of_chunk).fold(zero, add).reduce(zero, both)
}

/// The value at each rank, and the rank among equal values.
fn of_ranks<const N: usize>(counts: &[u64], ranks: [u64; N]) -> [(usize, u64); N] {
    ranks.map(|rank| {
        let mut below = 0;
        for (value, &count) in counts.iter().enumerate() {
            if rank < below + count {
                return (value, rank - below);
            }
            below += count;
        }
        (counts.len() - 1, 0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(pixels: PixelsRef<'_>, num_values: usize) -> ImageRef<'_> {
        ImageRef { width: num_values, height: 1, channels: 1, pixels }
    }

    // python3 -c 'import numpy as np; a = (np.arange(1000, dtype=np.uint64)**2 * 2654435761 % 65521).astype(np.uint16);
    // print(np.percentile(a, [1, 99]), np.percentile((a % 251).astype(np.uint8), [1, 99]),
    // np.percentile(a.astype(np.float64) - 30000.5, [1, 99]))'
    #[test]
    fn the_values_of_numpy() {
        let a: Vec<u16> = (0..1000u64).map(|i| (i * i * 2_654_435_761 % 65_521) as u16).collect();
        let bytes: Vec<u8> = a.iter().map(|v| (v % 251) as u8).collect();
        let singles: Vec<f32> = a.iter().map(|&v| f32::from(v) - 30_000.5).collect();
        let levels = |pixels| Levels::of(image(pixels, 1000), [1.0, 99.0]);
        assert_eq!(levels(PixelsRef::U16(&a)), NUMPY_U16);
        assert_eq!(levels(PixelsRef::U8(&bytes)), NUMPY_U8);
        assert_eq!(levels(PixelsRef::F32(&singles)), NUMPY_F32);
    }

    const NUMPY_U16: Levels = Levels { low: 702.41, high: 64_830.05 };
    const NUMPY_U8: Levels = Levels { low: 2.0, high: 248.0 };
    const NUMPY_F32: Levels = Levels { low: -29_298.09, high: 34_829.55 };

    #[test]
    fn high_is_above_low_whatever_the_image() {
        let one = [7u8; 10];
        assert_eq!(Levels::of(image(PixelsRef::U8(&one), 10), [1.0, 99.0]), Levels { low: 7.0, high: 8.0 });
        let large = [1e30f32; 3];
        let levels = Levels::of(image(PixelsRef::F32(&large), 3), [1.0, 99.0]);
        assert!(levels.low < levels.high, "{levels:?}");
        let mut specks = [0u16; 10_000];
        specks[5_000] = 900;
        assert_eq!(Levels::of(image(PixelsRef::U16(&specks), 10_000), [1.0, 99.0]), Levels { low: 0.0, high: 900.0 });
    }

    proptest! {
        #[test]
        fn as_by_sorting(
            values in proptest::collection::vec(-1e20f32..1e20, 1..300),
            low in 0f64..50.0,
            high in 50f64..100.0,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            let expected = [low, high].map(|percentile| {
                let place = (sorted.len() - 1) as f64 * (percentile / 100.0);
                let (a, b) = (f64::from(sorted[place.floor() as usize]), f64::from(sorted[place.ceil() as usize]));
                a + (b - a) * (place - place.floor())
            });
            let found = values_at(PixelsRef::F32(&values), [low, high]);
            for (expected, found) in expected.iter().zip(found) {
                prop_assert!((expected - found).abs() <= 1e-9 * expected.abs().max(1e20 * 1e-6), "{expected} {found}");
            }
        }
    }
}
