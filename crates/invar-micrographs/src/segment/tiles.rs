/// Boxes of a centred grid over `width` x `height` pixels, row by row.
pub(super) fn boxes(width: usize, height: usize, size: usize, overlap: usize) -> Vec<[u32; 4]> {
    let (rows, columns) = (spans(height, size, overlap), spans(width, size, overlap));
    rows.iter()
        .flat_map(|&[top, bottom]| columns.iter().map(move |&[left, right]| [top, left, bottom, right]))
        .collect()
}

/// `[first, last + 1]` of the tiles along one side.
fn spans(length: usize, size: usize, overlap: usize) -> Vec<[u32; 2]> {
    if length <= size {
        return vec![[0, length as u32]];
    }
    let step = size - overlap;
    let count = (length - size) / step + 1;
    let first = (length - size - (count - 1) * step) / 2;
    (0..count).map(|i| first + i * step).map(|start| [start as u32, (start + size) as u32]).collect()
}
