//! The entry point of the fuzz target (`fuzz/`). Not for other use.

use invar_dataset::NoProgress;

use super::{
    Index, Request,
    stored::{MAGIC, VERSION, write_numbers},
};
use crate::Rows;

/// Maximum number of neighbours requested.
const MOST: usize = 4;

/// Reads bytes as a stored index: once as they are, which the checksums seldom accept, and once as the values of an
/// index with correct checksums. Whatever can be read is searched, and must be written back unchanged.
///
/// # Panics
/// If the reader accepts something that is not an index.
pub fn index(bytes: &[u8]) {
    read(bytes);
    if let Some(sealed) = sealed(bytes) {
        read(&sealed);
    }
}

fn read(bytes: &[u8]) {
    let Ok((index, note)) = Index::read(&mut &bytes[..], bytes.len() as u64) else { return };
    let mut again = vec![];
    index.write(&note, &mut again).expect("memory takes everything");
    assert_eq!(again, bytes, "an index is written as it was read");
    let asked = index.rows(&(0..index.len().min(3) as u32).collect::<Vec<u32>>());
    let Ok(queries) = Rows::new(&asked, index.dim()) else { return };
    for exact in [false, true] {
        let own: Vec<Option<u32>> = (0..queries.len() as u32).map(Some).collect();
        let found = index.search(queries, &Request { k: MOST, own: &own, exact }, &NoProgress).expect("a search");
        assert_eq!(found.k, MOST.min(index.len().saturating_sub(1)), "as many as there are others");
        assert!(found.indices.iter().all(|&row| (row as usize) < index.len()), "rows that are there");
    }
}

/// An index of some rows with correct checksums. The first bytes determine how many, and which of the properties that
/// may be violated are in order; all others are values, with zeros after the last.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (&[rows, dim, cells, depths, note, order], rest) = bytes.split_first_chunk::<6>()?;
    let (rows, dim, cells) = (u32::from(rows), u32::from(dim % 9), u32::from(cells % 17));
    let is_in_order = |what: u8| order & (1 << what) == 0;
    let mut rest = rest.iter().copied().chain(std::iter::repeat(0));
    let mut take = |count: usize| -> Vec<u8> { rest.by_ref().take(count).collect() };
    let mut head = [&u64::from(rows).to_le_bytes()[..], &dim.to_le_bytes(), &cells.to_le_bytes()].concat();
    head.extend(u32::from(depths % 3).to_le_bytes());
    for depth in 0..depths % 3 {
        if is_in_order(0) {
            head.extend(u32::from(depth + 1).to_le_bytes());
            head.extend((u32::from(take(1)[0]) % cells.max(1) + 1).to_le_bytes());
            head.extend(0.5f64.to_le_bytes());
        } else {
            head.extend(take(16));
        }
    }
    head.extend(take(usize::from(note)));
    let mut file = [&MAGIC[..], &VERSION.to_le_bytes(), &(head.len() as u32).to_le_bytes(), &head].concat();
    file.extend(crc32c::crc32c(&file).to_le_bytes());
    let mut numbers = |count: u32| -> Vec<u32> {
        take(4 * count as usize)
            .chunks_exact(4)
            .map(|four| u32::from_le_bytes(four.try_into().expect("four")))
            .collect()
    };
    let mut starts = numbers(cells + 1);
    if is_in_order(1) {
        starts.iter_mut().for_each(|start| *start %= rows + 1);
        (starts[0], starts[cells as usize]) = (0, rows);
        starts.sort_unstable();
    }
    let mut places = numbers(rows);
    if is_in_order(2) {
        let mut order: Vec<u32> = (0..rows).collect();
        order.sort_by_key(|&row| places[row as usize]);
        places = order;
    }
    let means = numbers(if cells == 1 { 0 } else { cells * dim });
    let values = numbers(rows * dim);
    // Small integers, or any bits.
    let finite =
        |number: &u32| if is_in_order(3) { (*number as i8 as f32).to_le_bytes() } else { number.to_le_bytes() };
    for part in [&starts, &places] {
        write_numbers(&mut file, part, |number| number.to_le_bytes()).ok()?;
    }
    for part in [&means, &values] {
        write_numbers(&mut file, part, finite).ok()?;
    }
    Some(file)
}
