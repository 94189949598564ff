//! The table of touching grains.

use invar_dataset::{Column, ColumnData};

use super::{GrainDataset, StoredImage};

impl GrainDataset {
    /// The pairs of grains that touch, as columns `image`, `a`, `b` (labels), `boundary_px` (pairs of touching pixels)
    /// and `boundary_um` (the length of the edges between them; null if the pixel size is unknown), about `block_rows`
    /// rows at a time; at least one block, without rows if nothing touches.
    pub fn neighbor_blocks(&self, block_rows: usize) -> impl Iterator<Item = Vec<Column>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            if next > 0 && next >= self.num_images() {
                return None;
            }
            let mut edges = Edges::default();
            while next < self.num_images() && edges.image.len() < block_rows {
                edges.add(self.image(next));
                next += 1;
            }
            next = next.max(1);
            Some(edges.columns())
        })
    }
}

#[derive(Default)]
struct Edges {
    image: Vec<Option<String>>,
    a: Vec<Option<u32>>,
    b: Vec<Option<u32>>,
    boundary_px: Vec<Option<i64>>,
    boundary_um: Vec<Option<f64>>,
}

impl Edges {
    fn add(&mut self, image: &StoredImage) {
        for edge in image.neighbors() {
            self.image.push(Some(image.name.clone()));
            self.a.push(Some(edge.a));
            self.b.push(Some(edge.b));
            self.boundary_px.push(i64::try_from(edge.boundary_px).ok());
            self.boundary_um.push(image.pixel_size.map(|size| edge.boundary_um(size)));
        }
    }

    fn columns(self) -> Vec<Column> {
        let columns = [
            ("image", ColumnData::Str(self.image)),
            ("a", ColumnData::U32(self.a)),
            ("b", ColumnData::U32(self.b)),
            ("boundary_px", ColumnData::I64(self.boundary_px)),
            ("boundary_um", ColumnData::F64(self.boundary_um)),
        ];
        columns.into_iter().map(|(name, data)| Column { name: name.into(), data }).collect()
    }
}
