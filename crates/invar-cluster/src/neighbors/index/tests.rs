use invar_dataset::NoProgress;
use proptest::prelude::*;

use super::*;
use crate::specimen::{blobs, on_threads};

fn built(values: &[f32], dim: usize) -> Index {
    Index::build(values.to_vec(), dim, &NoProgress).unwrap()
}

fn ask(index: &Index, queries: &[f32], k: usize, own: &[Option<u32>], exact: bool) -> Neighbors {
    let queries = Rows::new(queries, index.dim()).unwrap();
    index.search(queries, &Request { k, own, exact }, &NoProgress).unwrap()
}

/// All cosines in double precision, by falling cosine and rising row.
fn sorted(values: &[f32], dim: usize, query: &[f32], own: Option<u32>, k: usize) -> Vec<(f64, u32)> {
    let norm = |row: &[f32]| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let cosine = |row: &[f32]| {
        let product: f64 = row.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let length = norm(row) * norm(query);
        if length > 0.0 { product / length } else { 0.0 }
    };
    let mut all: Vec<(f64, u32)> =
        values.chunks(dim).enumerate().map(|(row, values)| (cosine(values), row as u32)).collect();
    all.retain(|&(_, row)| Some(row) != own);
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

fn share(found: &Neighbors, exact: &Neighbors) -> f64 {
    let lists = found.indices.chunks(found.k).zip(exact.indices.chunks(exact.k));
    let hits: usize = lists.map(|(found, exact)| found.iter().filter(|row| exact.contains(row)).count()).sum();
    hits as f64 / exact.indices.len() as f64
}

#[test]
fn held_out_queries_find_as_many_as_it_says() {
    for (dim, spread) in [(8, 1.0), (32, 3.0), (24, 0.5)] {
        let (all, _) = blobs(31_000, dim, 30, spread, 5);
        let (values, queries) = all.split_at(30_000 * dim);
        let index = built(values, dim);
        assert!(index.num_cells() == 40 && index.depths().iter().all(|depth| depth.recall >= WISHED));
        let (found, exact) = (ask(&index, queries, 10, &[], false), ask(&index, queries, 10, &[], true));
        assert_eq!(exact.recall, 1.0);
        let share = share(&found, &exact);
        assert!(share >= 0.95 && (share - found.recall).abs() < 0.03, "{dim} {spread}: {share} {}", found.recall);
    }
}

#[test]
fn cells_and_one_cell_give_the_same_exact_answers() {
    let (values, _) = blobs(5_000, 12, 9, 1.0, 4);
    // Some rows twice, far apart, so that equal cosines are met.
    let values = [&values[..], &values[..600 * 12]].concat();
    let (cells, flat) = (built(&values, 12), Index::flat(values.clone(), 12).unwrap());
    let own: Vec<Option<u32>> = (0..700).map(|row| (row % 3 > 0).then_some(row)).collect();
    let queries = &values[..700 * 12];
    let (a, b) = (ask(&cells, queries, 7, &own, true), ask(&flat, queries, 7, &own, true));
    assert_eq!(a, b);
    for (query, own) in own.iter().enumerate() {
        let list = &a.indices[query * 7..][..7];
        let twin = if query < 600 { 5_000 + query as u32 } else { u32::MAX };
        assert_eq!(
            list[0],
            if own.is_none() {
                query as u32
            } else if query < 600 {
                twin
            } else {
                list[0]
            }
        );
        assert!(own.is_none_or(|own| !list.contains(&own)));
    }
}

#[test]
fn rows_come_back_at_unit_length() {
    let (values, _) = blobs(2_000, 3, 4, 2.0, 8);
    let index = built(&values, 3);
    let unit = Rows::new(&values, 3).unwrap().normalized();
    let wanted = [1_999, 0, 7];
    assert_eq!(
        index.rows(&wanted),
        wanted.iter().flat_map(|&row| unit[row as usize * 3..][..3].to_vec()).collect::<Vec<_>>()
    );
}

#[test]
fn a_query_always_gets_as_many_as_there_are() {
    // Two distant groups; the smaller has fewer rows than are asked for.
    let values: Vec<f32> = (0..4_000)
        .flat_map(|row| if row < 3 { [-1.0, 0.01 * row as f32] } else { [1.0, (row as f32 * 0.37).sin() * 0.2] })
        .collect();
    let index = built(&values, 2);
    let found = ask(&index, &[-1.0, 0.0], 10, &[], false);
    assert_eq!((found.k, &found.indices[..3]), (10, [0, 1, 2].as_slice()));
    assert_eq!(ask(&index, &[-1.0, 0.0], 9_000, &[], false).k, 4_000);
    assert_eq!(ask(&index, &[-1.0, 0.0], 9_000, &[Some(0)], false).k, 3_999);
    assert!(ask(&index, &[1.0, 0.0], 0, &[], false).indices.is_empty());
}

#[test]
fn nothing_one_and_equal_rows_are_defined() {
    for index in [built(&[], 3), Index::flat(vec![], 3).unwrap()] {
        assert_eq!(ask(&index, &[1.0, 0.0, 0.0], 5, &[], false).k, 0);
    }
    let one = built(&[0.0, 2.0], 2);
    assert_eq!(ask(&one, &[0.0, 1.0], 5, &[], false).values, [1.0]);
    assert_eq!(ask(&one, &[0.0, 1.0], 5, &[Some(0)], false).k, 0);
    let equal = built(&[0.6f32, 0.8].repeat(5_000), 2);
    let found = ask(&equal, &[3.0, 4.0, 0.0, 0.0], 3, &[], false);
    assert_eq!(found.indices, [0, 1, 2, 0, 1, 2]);
    assert!(found.values[..3].iter().all(|cosine| (cosine - 1.0).abs() < 1e-6) && found.values[3..] == [0.0; 3]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let index = built(&[1.0, 0.0, 0.0, 1.0], 2);
    let search = |queries: &[f32], dim, own: &[Option<u32>]| {
        let request = Request { k: 1, own, exact: false };
        index.search(Rows::new(queries, dim).unwrap(), &request, &NoProgress).unwrap_err().to_string()
    };
    assert_eq!(search(&[1.0; 3], 3, &[]), "dimension of the queries: expected 2, found 3");
    assert_eq!(search(&[1.0; 4], 2, &[None]), "own rows of the queries: expected 2, found 1");
    let error = Index::flat(vec![1.0, f32::NAN], 1).unwrap_err().to_string();
    assert_eq!(error, "row 1, dimension 0: NaN is not a finite number");
}

#[test]
fn the_same_at_any_number_of_threads_and_in_any_company() {
    let (values, _) = blobs(30_000, 12, 9, 1.0, 3);
    let of = |threads| {
        on_threads(threads, || {
            let index = built(&values, 12);
            let found = ask(&index, &values[..900 * 12], 15, &[], false);
            (index, found)
        })
    };
    let one = of(1);
    assert!(one.0.depths().iter().any(|depth| (depth.probes as usize) < one.0.num_cells() / 2));
    assert_eq!(one, of(2));
    assert_eq!(one, of(3));
    let alone = ask(&one.0, &values[500 * 12..501 * 12], 15, &[], false);
    assert_eq!(alone.indices, one.1.indices[500 * 15..501 * 15]);
    assert_eq!(alone.values, one.1.values[500 * 15..501 * 15]);
}

fn bytes(index: &Index, note: &str) -> Vec<u8> {
    let mut bytes = vec![];
    index.write(note, &mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<(Index, String), IndexError> {
    Index::read(&mut &bytes[..], bytes.len() as u64)
}

#[test]
fn what_is_stored_comes_back() {
    let (values, _) = blobs(2_000, 3, 4, 2.0, 8);
    let empty = Index::flat(vec![], 3).unwrap();
    for index in [built(&values, 3), Index::flat(values, 3).unwrap(), empty] {
        let bytes = bytes(&index, "of µm");
        let head = Head::read(&mut &bytes[..], bytes.len() as u64).unwrap();
        assert_eq!((head.num_rows, head.dim, head.num_cells), (index.len(), 3, index.num_cells()));
        assert_eq!((head.depths.as_slice(), head.note.as_str()), (index.depths(), "of µm"));
        assert_eq!(read(&bytes).unwrap(), (index, "of µm".into()));
    }
}

#[test]
fn another_version_and_another_file_are_named() {
    let index = Index::flat(vec![1.0, 2.0], 2).unwrap();
    let mut other = bytes(&index, "");
    other[8] = 9;
    assert_eq!(read(&other).unwrap_err().to_string(), "version: expected 1, found 9");
    let error = read(b"PAR1 and what follows").unwrap_err().to_string();
    assert_eq!(error, "first bytes: expected \"INVARIDX\", found \"PAR1 and\"");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against a sort of all cosines in double precision: equally near, and in order.
    #[test]
    fn exact_answers_are_those_of_a_full_sort(
        values in prop::collection::vec(-9i8..9, 6..600),
        queries in prop::collection::vec(-9i8..9, 3..60),
        k in 1usize..12,
        first_own in prop::option::of(0u32..2),
    ) {
        let floats = |values: &[i8]| values.chunks_exact(3).flatten().map(|&x| f32::from(x)).collect::<Vec<f32>>();
        let (values, queries) = (floats(&values), floats(&queries));
        let num_queries = queries.len() / 3;
        let mut own = vec![None; num_queries];
        own[0] = first_own;
        let found = ask(&built(&values, 3), &queries, k, &own, true);
        for query in 0..num_queries {
            let expected = sorted(&values, 3, &queries[query * 3..][..3], own[query], found.k);
            let at = query * found.k..(query + 1) * found.k;
            let pairs = found.indices[at.clone()].iter().zip(&found.values[at]);
            for ((&row, &cosine), &(best, _)) in pairs.zip(&expected) {
                prop_assert!((f64::from(cosine) - best).abs() < 1e-6 && own[query] != Some(row));
            }
        }
    }

    /// Whatever happens to the bytes, the reader reports it or the index is unchanged.
    #[test]
    fn damage_is_told(at in 0usize..10_000, by in 1u8..=255, cut in 0usize..10_000, with_cells in any::<bool>()) {
        let (values, _) = blobs(800, 2, 4, 2.0, 8);
        let index = if with_cells { built(&values, 2) } else { Index::flat(values, 2).unwrap() };
        let whole = bytes(&index, "note");
        let mut changed = whole.clone();
        let len = changed.len();
        changed[at % len] ^= by;
        prop_assert!(read(&changed).is_err(), "byte {} of {len}", at % len);
        prop_assert!(read(&whole[..cut % len]).is_err());
        let mut longer = whole;
        longer.push(by);
        prop_assert!(read(&longer).is_err());
    }

    /// A head with a correct checksum may claim anything.
    #[test]
    fn a_forged_head_is_refused(
        rows in any::<u64>(), dim in any::<u32>(), cells in any::<u32>(), depths in any::<u32>(),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let numbers = [dim, cells, depths].map(u32::to_le_bytes).concat();
        let head = [&rows.to_le_bytes()[..], &numbers, &rest].concat();
        let start = [&b"INVARIDX"[..], &1u32.to_le_bytes(), &(head.len() as u32).to_le_bytes(), &head].concat();
        let forged = [&start[..], &crc32c::crc32c(&start).to_le_bytes(), &rest].concat();
        prop_assert!(read(&forged).is_err());
        prop_assert!(read(&rest).is_err());
    }
}
