use proptest::prelude::*;

use super::*;

/// A network with small weights that depend on `seed`.
fn network(channels: &[usize], seed: u64) -> BoundaryNetwork {
    let mut rng = invar_dataset::seed::rng(seed, 0);
    let mut number = |scale: f32| scale * (2.0 * invar_dataset::seed::uniform(&mut rng) as f32 - 1.0);
    let layer = |extents: [usize; 3]| {
        let [out, num_in, side] = extents;
        let fan_in = num_in * side * side;
        let kernel = (0..out * fan_in).map(|_| number((6.0 / fan_in as f32).sqrt())).collect();
        Layer { extents, kernel, bias: (0..out).map(|_| number(0.3)).collect() }
    };
    let layers = weights::shapes(channels).into_iter().map(layer).collect();
    BoundaryNetwork::new(channels.to_vec(), layers).unwrap()
}

fn picture(width: usize, height: usize, seed: u64) -> Vec<f32> {
    let mut rng = invar_dataset::seed::rng(seed, 1);
    let noise = |_| invar_dataset::seed::uniform(&mut rng) as f32;
    let waves = |(i, noise): (usize, f32)| 0.5 + 0.4 * ((i % width) as f32 * 0.3).sin() + 0.3 * noise;
    (0..width * height).map(noise).enumerate().map(waves).collect()
}

/// Planes `[channel][row][column]`, computed by the definitions in double precision.
type Planes = Vec<Vec<Vec<f64>>>;

fn naive_conv(x: &Planes, layer: &Layer) -> Planes {
    let [out, num_in, side] = layer.extents;
    let (height, width) = (x[0].len() as isize, x[0][0].len() as isize);
    let reach = side as isize / 2;
    let at = |channel: usize, row: isize, column: isize| {
        let inside = (0..height).contains(&row) && (0..width).contains(&column);
        if inside { x[channel][row as usize][column as usize] } else { 0.0 }
    };
    let value = |o: usize, row: isize, column: isize| {
        let mut sum = f64::from(layer.bias[o]);
        for i in 0..num_in {
            for k in 0..side * side {
                let weight = f64::from(layer.kernel[(o * num_in + i) * side * side + k]);
                sum += weight * at(i, row + (k / side) as isize - reach, column + (k % side) as isize - reach);
            }
        }
        sum
    };
    (0..out)
        .map(|o| (0..height).map(|row| (0..width).map(|column| value(o, row, column)).collect()).collect())
        .collect()
}

fn naive_pair(x: &Planes, layers: &[Layer]) -> Planes {
    let relu = |mut x: Planes| {
        x.iter_mut().flatten().flatten().for_each(|value| *value = value.max(0.0));
        x
    };
    relu(naive_conv(&relu(naive_conv(x, &layers[0])), &layers[1]))
}

fn naive_probability(network: &BoundaryNetwork, grey: &[f32], width: usize, height: usize) -> Vec<f64> {
    let levels = network.channels.len();
    let step = 1 << (levels - 1);
    let mirrored = |index: usize, len: usize| {
        // Walks back and forth.
        let (mut at, mut ahead) = (0, true);
        for _ in 0..index {
            if len > 1 {
                ahead = if at == len - 1 { false } else { ahead || at == 0 };
                at = if ahead { at + 1 } else { at - 1 };
            }
        }
        at
    };
    let both = naive_inputs(grey, width, height);
    let mut x: Planes = both
        .iter()
        .map(|plane| {
            let row = |r: usize| {
                let column = |c: usize| plane[mirrored(r, height) * width + mirrored(c, width)];
                (0..width.next_multiple_of(step)).map(column).collect()
            };
            (0..height.next_multiple_of(step)).map(row).collect()
        })
        .collect();
    let mut layers = network.layers.chunks(2);
    let mut skipped = Vec::new();
    for level in 0..levels {
        if level > 0 {
            let pooled = |plane: &Vec<Vec<f64>>| {
                let most = |r: usize, c: usize| {
                    plane[2 * r][2 * c]
                        .max(plane[2 * r][2 * c + 1])
                        .max(plane[2 * r + 1][2 * c])
                        .max(plane[2 * r + 1][2 * c + 1])
                };
                (0..plane.len() / 2).map(|r| (0..plane[0].len() / 2).map(|c| most(r, c)).collect()).collect()
            };
            let finer = x.iter().map(pooled).collect();
            skipped.push(std::mem::replace(&mut x, finer));
        }
        x = naive_pair(&x, layers.next().unwrap());
    }
    while let Some(skip) = skipped.pop() {
        let doubled = |plane: &Vec<Vec<f64>>| {
            (0..2 * plane.len()).map(|r| (0..2 * plane[0].len()).map(|c| plane[r / 2][c / 2]).collect()).collect()
        };
        let all: Planes = x.iter().map(doubled).chain(skip).collect();
        x = naive_pair(&all, layers.next().unwrap());
    }
    let logits = naive_conv(&x, &layers.next().unwrap()[0]);
    let pixel = |i: usize| 1.0 / (1.0 + (-logits[0][i / width][i % width]).exp());
    (0..width * height).map(pixel).collect()
}

/// Both inputs by their definitions, the neighbourhood of each pixel on its own.
fn naive_inputs(grey: &[f32], width: usize, height: usize) -> [Vec<f64>; 2] {
    let grey: Vec<f64> = grey.iter().map(|&g| f64::from(g).clamp(-1.0, 2.0)).collect();
    let moments = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
    };
    let (mean, deviation) = moments(&grey);
    let global = grey.iter().map(|g| ((g - mean) / (deviation + 1e-3)).clamp(-4.0, 4.0)).collect();
    let mirrored = |at: isize, len: usize| {
        let mut at = at;
        let last = len as isize - 1;
        while last > 0 && !(0..=last).contains(&at) {
            at = if at < 0 { -at } else { 2 * last - at };
        }
        if last == 0 { 0 } else { at as usize }
    };
    let local = |i: usize| {
        let around = |at: usize, len: usize| (-16..=16).map(move |d: isize| mirrored(at as isize + d, len));
        let square: Vec<f64> = around(i / width, height)
            .flat_map(|r| around(i % width, width).map(move |c| r * width + c))
            .map(|j| grey[j])
            .collect();
        let (mean, deviation) = moments(&square);
        ((grey[i] - mean) / (deviation + 0.02)).clamp(-4.0, 4.0)
    };
    [global, (0..grey.len()).map(local).collect()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn probabilities_are_those_of_the_definition_at_any_number_of_threads(
        width in 1usize..50, height in 1usize..50, seed in any::<u64>(), levels in 1usize..5,
    ) {
        let network = network(&[3, 5, 4, 6][..levels], seed);
        let grey = picture(width, height, seed);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| network.probability(&grey, width, height))
        };
        let found = run(1);
        prop_assert_eq!(&found, &run(3));
        let expected = naive_probability(&network, &grey, width, height);
        for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
            prop_assert!((f64::from(*f) - e).abs() < 1e-4, "pixel {}: {} for {}", i, f, e);
        }
    }

    #[test]
    fn inputs_are_those_of_the_definition(width in 1usize..40, height in 1usize..40, seed in any::<u64>()) {
        let mut grey = picture(width, height, seed);
        grey[width * height / 2] = 1e30;
        let expected = naive_inputs(&grey, width, height).concat();
        for (found, expected) in inputs(&grey, width, height).into_iter().zip(expected) {
            prop_assert!((f64::from(found) - expected).abs() < 1e-4, "{} for {}", found, expected);
        }
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_refused(cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let bytes = network(&[2, 3], 1).to_bytes();
        prop_assert!(BoundaryNetwork::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= 1u8 << bit;
        prop_assert!(BoundaryNetwork::from_bytes(&changed).is_err());
        changed.push(0);
        prop_assert!(BoundaryNetwork::from_bytes(&changed).is_err());
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(BoundaryNetwork::from_bytes(&bytes).is_err());
        let started = [b"INVARBN1".as_slice(), &bytes].concat();
        prop_assert!(BoundaryNetwork::from_bytes(&started).is_err());
    }
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let network = network(&[3, 5, 4], 9);
    let bytes = network.to_bytes();
    assert_eq!(BoundaryNetwork::from_bytes(&bytes).unwrap(), network);
    // The format by hand: magic, levels, channels, then as many floats as the shapes require, and a checksum.
    let shapes = [
        [3, 2, 3],
        [3, 3, 3],
        [5, 3, 3],
        [5, 5, 3],
        [4, 5, 3],
        [4, 4, 3],
        [5, 9, 3],
        [5, 5, 3],
        [3, 8, 3],
        [3, 3, 3],
        [1, 3, 1],
    ];
    let count: usize = shapes.iter().map(|[o, i, s]| o * i * s * s + o).sum();
    assert_eq!(bytes.len(), 8 + 4 + 3 * 4 + 4 * count + 4);
    assert_eq!(bytes[24..28], network.layers[0].kernel[0].to_le_bytes());
}

#[test]
fn mistakes_are_told_apart() {
    let good = network(&[2, 3], 1).to_bytes();
    let error = |bytes: &[u8]| BoundaryNetwork::from_bytes(bytes).unwrap_err().to_string();
    assert!(error(b"PK\x03\x04").contains("it begins with \"PK"));
    assert!(error(&good[..500]).contains("of 500 bytes, expected"));
    let with = |at: usize, word: u32| [&good[..at], &word.to_le_bytes(), &good[at + 4..]].concat();
    assert!(error(&with(8, 9)).contains("levels 9, expected 1 to 8"));
    assert!(error(&with(16, 0)).contains("channels 0, expected 1 to 1024"));
    assert!(error(&with(40, 7)).contains("of checksum"));
    let mut nan = network(&[2, 3], 1);
    nan.layers[0].kernel[5] = f32::NAN;
    assert!(error(&nan.to_bytes()).contains("weight 5 is NaN"));
    let mut wrong = network(&[2, 3], 1).layers;
    wrong[2].extents = [3, 2, 1];
    let error = BoundaryNetwork::new(vec![2, 3], wrong.clone()).unwrap_err().to_string();
    assert!(error.contains("convolution 2 of shape [3, 2, 1], expected [3, 2, 3]"), "{error}");
    wrong.pop();
    assert!(BoundaryNetwork::new(vec![2, 3], wrong).is_err());
}

#[test]
fn long_and_empty_pictures_can_be_run() {
    let network = network(&[2, 3, 2], 4);
    for (width, height) in [(0, 0), (0, 5), (5, 0), (1, 1), (1, 700), (700, 1)] {
        let grey = picture(width, height, 2);
        let found = network.probability(&grey, width, height);
        assert_eq!(found.len(), width * height);
        assert!(found.iter().all(|p| (0.0..=1.0).contains(p)));
    }
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX];
    assert!(network.probability(&odd, 2, 2).iter().all(|p| (0.0..=1.0).contains(p)));
}

#[test]
fn the_shipped_network_can_be_read() {
    let network = shipped();
    assert_eq!(network.channels, [8, 16, 32, 48, 64]);
    // As in the design: weights and biases of the folded convolutions.
    let count: usize = network.layers.iter().map(|layer| layer.kernel.len() + layer.bias.len()).sum();
    assert_eq!(count, 230_521);
}
