use rayon::prelude::*;

use crate::ClusterError;

/// Number of values checked for finiteness in one go.
const LOOKED_AT: usize = 1 << 14;

/// A view of `n` rows of `dim` finite values each, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    dim: usize,
}

impl<'a> Rows<'a> {
    /// Views `values` as rows of dimension `dim`.
    ///
    /// # Errors
    /// If `dim` is 0, the values are not a whole number of rows, there are 2^32 rows, or a value is NaN or infinite.
    pub fn new(values: &'a [f32], dim: usize) -> Result<Self, ClusterError> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(ClusterError::Shape { len: values.len(), dim });
        }
        check_number(values.len() / dim)?;
        // Block by block: checking after every value whether another thread has found one takes ten times as long.
        let is_bad = |block: &[f32]| !block.iter().fold(true, |all, value| all & value.is_finite());
        let Some(block) = values.par_chunks(LOOKED_AT).position_first(is_bad) else { return Ok(Self { values, dim }) };
        let first = block * LOOKED_AT;
        let at = first + values[first..].iter().position(|value| !value.is_finite()).unwrap_or_default();
        Err(ClusterError::NonFinite { row: at / dim, dimension: at % dim, value: values[at] })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Dimension of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, `[n, dim]`.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Row `index`, `[dim]`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    /// Copies rows `indices`, concatenated.
    pub(crate) fn gather(&self, indices: &[usize]) -> Vec<f32> {
        let mut gathered = Vec::with_capacity(indices.len() * self.dim);
        indices.iter().for_each(|&index| gathered.extend_from_slice(self.row(index)));
        gathered
    }

    /// Copies the rows, each scaled to unit length; a zero row is left as it is.
    pub(crate) fn normalized(&self) -> Vec<f32> {
        let mut values = self.values.to_vec();
        values.par_chunks_mut(self.dim).for_each(normalize);
        values
    }
}

/// Scales to unit length; zeros are left as they are.
pub(crate) fn normalize(row: &mut [f32]) {
    let norm = squared_norm(row).sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
}

/// Sum of squares, in double precision.
pub(crate) fn squared_norm(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

/// Scalar product, summed in sixteen lanes so that it vectorises.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..16 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// Squared Euclidean distance, summed in eight lanes so that it vectorises.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| (x - y) * (x - y)).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            let difference = x[lane] - y[lane];
            lanes[lane] += difference * difference;
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// Refuses more rows than can be distinguished by labels and lists of 32-bit numbers.
fn check_number(rows: usize) -> Result<(), ClusterError> {
    if u32::try_from(rows).is_ok() { Ok(()) } else { Err(ClusterError::Unnumbered { rows }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_cannot_be_numbered_are_refused() {
        assert!(check_number(u32::MAX as usize).is_ok());
        let error = check_number(1 << 32).unwrap_err();
        assert_eq!(error.to_string(), "4294967296 rows are more than can be numbered: 4294967295 is the most");
        assert!(error.is_bad_input());
    }

    #[test]
    fn shapes_are_checked() {
        assert!(matches!(Rows::new(&[1.0, 2.0, 3.0], 2), Err(ClusterError::Shape { len: 3, dim: 2 })));
        assert!(matches!(Rows::new(&[], 0), Err(ClusterError::Shape { len: 0, dim: 0 })));
        assert_eq!(Rows::new(&[], 7).unwrap().len(), 0);
    }

    #[test]
    fn the_first_bad_value_is_named() {
        let error = Rows::new(&[1.0, 2.0, 3.0, f32::NAN, f32::INFINITY, 0.0], 3).unwrap_err();
        assert!(matches!(error, ClusterError::NonFinite { row: 1, dimension: 0, .. }), "{error}");
        let mut many = vec![1.0; 3 * LOOKED_AT];
        many[LOOKED_AT + 7] = f32::NAN;
        many[2 * LOOKED_AT + 1] = f32::NAN;
        let error = Rows::new(&many, 2).unwrap_err();
        assert!(matches!(error, ClusterError::NonFinite { row: 8195, dimension: 1, .. }), "{error}");
        assert!(error.is_bad_input());
    }

    #[test]
    fn squared_distance_counts_lanes_and_tail() {
        // 11 dimensions, all differences 2: 11 * 4.
        assert_eq!(squared_distance(&[3.0; 11], &[1.0; 11]), 44.0);
        assert_eq!(dot(&[3.0; 19], &[2.0; 19]), 114.0);
    }
}
