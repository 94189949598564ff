use super::*;
use crate::groups::Groups;
use invar_dataset::GroupId;
use invar_nn::unit_length;

const CPU: Device = Device::Cpu;

/// Unit vectors in all directions that depend only on their number: `[n, d]`, and neighbours of theirs.
fn views(n: i64, d: i64) -> [Tensor; 2] {
    let scatter = |seed: f64| ((Tensor::arange(n * d, (Kind::Double, CPU)) + seed).sin() * 43758.5453).frac();
    let x = scatter(1.0).view([n, d]);
    [unit_length(&x), unit_length(&(&x + scatter(0.3).view([n, d]) * 0.6))]
}

/// Loss and gradients by autograd through the whole `[B, B]`; pairs of one group have the same number, 0 means none.
fn dense(q: &Tensor, k: &Tensor, scale: f64, margin: f64, ignored: &[[i64; 2]], groups: &[u64]) -> (f64, [Tensor; 3]) {
    let leaf = |x: &Tensor| x.to_kind(Kind::Double).copy().set_requires_grad(true);
    let (q, k, scale) = (leaf(q), leaf(k), leaf(&Tensor::from(scale)));
    let eye = Tensor::eye(q.size()[0], (Kind::Double, CPU));
    let mut logits = (q.matmul(&k.tr()) - &eye * margin) * &scale;
    let mask = Tensor::zeros_like(&eye);
    ignored.iter().for_each(|[row, column]| drop(mask.get(*row).get(*column).fill_(1.0)));
    let mut log_weights = Tensor::zeros_like(&eye);
    for (i, j) in (0..groups.len()).flat_map(|i| (0..groups.len()).map(move |j| (i, j))).filter(|(i, j)| i != j) {
        if groups[i] > 0 && groups[i] == groups[j] {
            let _ = mask.get(i as i64).get(j as i64).fill_(1.0);
        }
        let count = groups.iter().filter(|&&group| group > 0 && group == groups[j]).count().max(1);
        let _ = log_weights.get(i as i64).get(j as i64).fill_(-(count as f64).ln());
    }
    logits = logits.masked_fill(&mask.gt(0.0), f64::NEG_INFINITY);
    let positives = logits.diagonal(0, 0, 1);
    // The weight of a column in the sum over columns, that of a row in the sum over rows.
    let by_row = (&logits + &log_weights).logsumexp([1i64], false);
    let _ = log_weights.t_();
    let lost = by_row + (&logits + &log_weights).logsumexp([0i64], false) - positives * 2.0;
    let loss = lost.mean(None::<Kind>) * 0.5;
    let gradients = Tensor::run_backward(&[&loss], &[&q, &k, &scale], false, false);
    (loss.double_value(&[]), gradients.try_into().unwrap())
}

/// By tiles, the batch cut into `parts`: the sums of their shares, the accuracy last.
fn tiled(rows: &Rows, parts: i64) -> (f64, [Tensor; 3], f64) {
    let num_pairs = rows.q.size()[0];
    let cut = |part: i64| num_pairs * part / parts;
    let of: Vec<Rows> = (0..parts).map(|part| rows.of(cut(part)..cut(part + 1))).collect();
    let sums: Vec<Sums> = of.iter().map(Rows::sums).collect();
    let columns = combine(&Tensor::cat(&sums.iter().map(|sums| &sums.columns).collect::<Vec<_>>(), 0));
    let shares = of.iter().zip(&sums).map(|(rows, sums)| rows.share(sums, &columns, true));
    let share = shares.reduce(Share::plus).unwrap();
    (share.loss.double_value(&[]), share.gradients.unwrap(), share.accuracy.double_value(&[]))
}

fn greatest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

fn rows(q: &Tensor, k: &Tensor, scale: f64) -> Rows {
    let own = 0..q.size()[0];
    let (tile_rows, plain_limit) = (tile_rows(own.end, 1), plain_limit(q.kind()));
    let (q, k) = (q.shallow_clone(), k.shallow_clone());
    Rows { q, k, scale, margin: 0.0, ignored: [].into(), groups: None, own, tile_rows, plain_limit }
}

/// For groups of pairs, given by number, 0 for none.
fn weighing(numbers: &[u64], kind: Kind) -> Option<Weighing> {
    let groups = Groups::new(numbers.iter().map(|&number| (number > 0).then_some(GroupId(number))));
    groups.map(|groups| groups.on(kind, CPU))
}

/// For `n` pairs: a large group, one of three, and some of two, one or none of whose pairs are adjacent.
fn some_groups(n: i64) -> Vec<u64> {
    (0..n as u64)
        .map(|pair| if pair % 3 == 0 { 1 } else { [0, 2 + pair / 9, 0, 100 + pair % 7, 3][pair as usize % 5] })
        .collect()
}

/// Fails if the result is farther from the dense loss than `tolerance`.
fn check(rows: &Rows, parts: i64, tolerance: f64) {
    check_grouped(rows, &[], parts, tolerance);
}

/// As [`check`], for groups of pairs given by number.
fn check_grouped(rows: &Rows, groups: &[u64], parts: i64, tolerance: f64) {
    let (loss, gradients) = dense(&rows.q, &rows.k, rows.scale, rows.margin, &rows.ignored, groups);
    let (found, found_gradients, _) = tiled(rows, parts);
    let what = format!("B {} scale {} tile {} parts {parts}", rows.q.size()[0], rows.scale, rows.tile_rows);
    // What the dense loss loses to rounding where it is close to zero.
    let rounding = 4.0 * f64::EPSILON * rows.scale * (1.0 + rows.scale);
    assert!((found - loss).abs() <= tolerance * loss + rounding, "{what}: loss {found} {loss}");
    for (which, (found, expected)) in found_gradients.iter().zip(&gradients).enumerate() {
        let (error, greatest) = (greatest(&(found - expected)), greatest(expected));
        assert!(error <= tolerance * greatest + rounding, "{what}: gradient {which} is off by {error} of {greatest}");
    }
}

#[test]
fn tiles_and_processes_of_any_size_give_the_dense_loss_and_gradients() {
    for n in [2, 3, 5, 17, 64] {
        for d in [2, 7] {
            let [q, k] = views(n, d);
            for scale in [0.5, 10.0, 50.0] {
                for tile_rows in [1, 4, 100] {
                    // With the plain exponential, and with the maximum subtracted.
                    for plain_limit in [300.0, 0.0] {
                        for parts in [1, 2, 3].into_iter().filter(|&parts| parts <= n) {
                            check(&Rows { tile_rows, plain_limit, ..rows(&q, &k, scale) }, parts, 1e-12);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn f32_is_exact_to_five_digits() {
    for (n, d) in [(64, 32), (700, 128)] {
        let [q, k] = views(n, d).map(|x| x.to_kind(Kind::Float));
        // The last temperature, 0.01, is too low for the plain exponential, and f32 itself has five digits of such
        // logits.
        for (scale, tolerance) in [(1.0, 1e-5), (10.0, 1e-5), (20.0, 1e-5), (100.0, 1e-4)] {
            check(&Rows { tile_rows: 100, ..rows(&q, &k, scale) }, 2, tolerance);
        }
    }
}

#[test]
fn a_margin_is_taken_off_the_positives() {
    let [q, k] = views(17, 7);
    for margin in [0.1, 0.3, 2.0] {
        for plain_limit in [300.0, 0.0] {
            check(&Rows { margin, tile_rows: 5, plain_limit, ..rows(&q, &k, 10.0) }, 2, 1e-12);
        }
    }
}

#[test]
fn a_sample_is_never_its_own_negative() {
    let [q, k] = views(9, 7);
    let ids = [4i64, 1, 4, 7, -2, 1, 4, 0, 9];
    let cells = |is_ignored: &dyn Fn(usize, usize) -> bool| -> Vec<[i64; 2]> {
        let all = (0..9).flat_map(|i| (0..9).map(move |j| (i, j)));
        all.filter(|&(i, j)| i != j && is_ignored(i, j)).map(|(i, j)| [i as i64, j as i64]).collect()
    };
    let same = cells(&|i, j| ids[i] == ids[j]);
    // Not symmetric about the diagonal, as where the second views belong to other samples.
    let lopsided = cells(&|i, j| (i + 2 * j) % 5 == 0);
    let all = cells(&|_, _| true);
    for plain_limit in [300.0, 0.0] {
        for parts in [1, 3] {
            for ignored in [&same, &lopsided] {
                let ignored = ignored.as_slice().into();
                check(&Rows { ignored, tile_rows: 2, plain_limit, ..rows(&q, &k, 10.0) }, parts, 1e-12);
            }
        }
        // Only one sample: no negatives, nothing to learn.
        let alone = Rows { ignored: all.as_slice().into(), plain_limit, ..rows(&q, &k, 10.0) };
        let (loss, gradients, accuracy) = tiled(&alone, 1);
        assert_eq!((loss, accuracy), (0.0, 1.0));
        assert!(gradients.iter().all(|gradient| gradient.abs().max().double_value(&[]) == 0.0));
    }
}

#[test]
fn a_group_is_one_negative_and_its_pairs_none_of_each_other() {
    for n in [2, 3, 5, 17, 64] {
        let [q, k] = views(n, 7);
        let numbers = some_groups(n);
        for (scale, margin) in [(0.5, 0.0), (10.0, 0.2), (50.0, 0.0)] {
            for tile_rows in [1, 4, 100] {
                for plain_limit in [300.0, 0.0] {
                    for parts in [1, 2, 3].into_iter().filter(|&parts| parts <= n) {
                        let groups = weighing(&numbers, Kind::Double);
                        let grouped = Rows { groups, margin, tile_rows, plain_limit, ..rows(&q, &k, scale) };
                        check_grouped(&grouped, &numbers, parts, 1e-12);
                    }
                }
            }
        }
    }
    // Beside pairs of one sample, in and out of groups.
    let [q, k] = views(17, 7);
    let numbers = some_groups(17);
    let ignored: Vec<[i64; 2]> = (0..16).map(|pair| [pair, pair + 1]).collect();
    for plain_limit in [300.0, 0.0] {
        let (ignored, groups) = (ignored.as_slice().into(), weighing(&numbers, Kind::Double));
        check_grouped(&Rows { ignored, groups, tile_rows: 4, plain_limit, ..rows(&q, &k, 10.0) }, &numbers, 2, 1e-12);
    }
}

#[test]
fn groups_are_exact_to_five_digits_in_f32() {
    let [q, k] = views(700, 32).map(|x| x.to_kind(Kind::Float));
    let numbers = some_groups(700);
    for (scale, tolerance) in [(1.0, 1e-5), (20.0, 1e-5), (100.0, 1e-4)] {
        let groups = weighing(&numbers, Kind::Float);
        check_grouped(&Rows { groups, tile_rows: 100, ..rows(&q, &k, scale) }, &numbers, 2, tolerance);
    }
}

#[test]
fn a_batch_of_one_group_has_nothing_to_learn() {
    let [q, k] = views(9, 7);
    for (plain_limit, tile_rows) in [(300.0, 4), (300.0, 100), (0.0, 4)] {
        let groups = weighing(&[5; 9], Kind::Double);
        let alone = Rows { groups, plain_limit, tile_rows, ..rows(&q, &k, 10.0) };
        let (loss, gradients, accuracy) = tiled(&alone, 2);
        assert_eq!((loss, accuracy), (0.0, 1.0));
        assert!(gradients.iter().all(|gradient| greatest(gradient) == 0.0));
    }
}

#[test]
fn copies_of_a_group_push_no_more_than_one_of_them() {
    // The same negative in a group of one pair and of six: the other pair has the same loss and gradient.
    let [q, k] = views(2, 7);
    let repeated = |x: &Tensor, times: i64| Tensor::cat(&[x.narrow(0, 0, 1), x.narrow(0, 1, 1).repeat([times, 1])], 0);
    let of_first = |times: i64| {
        let numbers: Vec<u64> = (0..=times as u64).map(|pair| 4 * pair.min(1)).collect();
        let groups = weighing(&numbers, Kind::Double);
        let (_, [dq, _, _], _) = tiled(&Rows { groups, ..rows(&repeated(&q, times), &repeated(&k, times), 10.0) }, 1);
        // Undo the mean over rows: what remains is the term of the first pair, from the negatives of its row, not those
        // of other rows.
        dq.get(0) * (times + 1) as f64
    };
    // A row of a group is still an anchor of its own, six times here: that is the other half of the gradient.
    let (one, six) = (of_first(1), of_first(6));
    let (one_way, by_anchors) = halves(&q, &k);
    assert!(greatest(&(one - (&one_way + &by_anchors))) < 1e-12);
    assert!(greatest(&(six - (&one_way + by_anchors * 6.0))) < 1e-12);
}

/// For two pairs: the gradient of the first row of `q` through the softmax over its own columns and, except for the
/// positive there, through that of the second column; by autograd.
fn halves(q: &Tensor, k: &Tensor) -> (Tensor, Tensor) {
    let q = q.copy().set_requires_grad(true);
    let logits = q.matmul(&k.tr()) * 10.0;
    let first = logits.log_softmax(1, None).get(0).get(0) + logits.log_softmax(0, None).get(0).get(0);
    let second = logits.log_softmax(0, None).get(1).get(1);
    let along = |lost: Tensor| Tensor::run_backward(&[&(lost * -0.5)], &[&q], true, false).remove(0).get(0);
    (along(first), along(second))
}

#[test]
fn temperatures_that_overflow_the_exponential_do_not_overflow_the_loss() {
    let [q, k] = views(17, 7);
    check(&rows(&q, &k, 2000.0), 2, 1e-12);
    let [q, k] = [&q, &k].map(|x| x.to_kind(Kind::Float));
    let (loss, gradients, _) = tiled(&rows(&q, &k, 2000.0), 2);
    assert!(loss.is_finite() && gradients.iter().all(|g| g.isfinite().all().int64_value(&[]) == 1));
}

#[test]
fn a_loss_near_zero_keeps_its_digits() {
    // Orthogonal samples, identical views: ln(1 + (N - 1) exp(-s)), far below the rounding of the logits.
    let eye = Tensor::eye(8, (Kind::Float, CPU));
    for scale in [20.0, 40.0, 80.0] {
        let (loss, _, accuracy) = tiled(&rows(&eye, &eye, scale), 1);
        let expected = (7.0 * (-scale).exp()).ln_1p();
        assert!((loss - expected).abs() < 1e-5 * expected, "{scale}: {loss} {expected}");
        assert_eq!(accuracy, 1.0);
    }
}

#[test]
fn accuracy_counts_positives_nearer_than_every_negative_in_both_directions() {
    for parts in [1, 2, 3] {
        let [q, k] = views(17, 2);
        let cosines = q.matmul(&k.tr());
        let mut hits = 0;
        for i in 0..17 {
            let is_hit = |of: &dyn Fn(i64) -> f64| (0..17).all(|j| j == i || of(j) < of(i)) as i64;
            hits += is_hit(&|j| cosines.double_value(&[i, j])) + is_hit(&|j| cosines.double_value(&[j, i]));
        }
        assert!(hits > 0 && hits < 34);
        let (_, _, accuracy) = tiled(&Rows { tile_rows: 4, ..rows(&q, &k, 10.0) }, parts);
        assert!((accuracy - hits as f64 / 34.0).abs() < 1e-6);
        // Where nothing is distinguished, nothing is nearest.
        let ones = Tensor::ones([5, 1], (Kind::Double, CPU));
        assert_eq!(tiled(&rows(&ones, &ones, 10.0), parts).2, 0.0);
    }
}

#[test]
fn parts_cover_the_own_rows_and_are_worth_a_thread() {
    tch::set_num_threads(3);
    for (own, num_parts) in [(0..0, 1), (5..6, 1), (0..127, 1), (7..135, 2), (100..1100, 3)] {
        let parts = parts(&own, 1100, CPU);
        assert_eq!(parts.len(), num_parts, "{own:?}");
        assert_eq!((parts[0].start, parts[num_parts - 1].end), (own.start, own.end));
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
    }
    for (num_pairs, num_parts) in [(1 << 16, 3), (1 << 17, 1)] {
        assert_eq!(parts(&(0..num_pairs), num_pairs, CPU).len(), num_parts, "{num_pairs} pairs");
    }
    // Tiles of all parts together, of as many as there may be.
    for (num_pairs, num_parts) in [(2, 1), (512, 2), (8192, 2), (8192, 32), (65_536, 4), (1 << 20, 1)] {
        let num_numbers = tile_rows(num_pairs, num_parts) * num_parts * num_pairs;
        assert!(num_numbers <= TILE.max(MIN_PART * MAX_COLUMNS).max(MIN_ROWS * num_pairs), "{num_pairs} {num_parts}");
    }
}
