//! Safe matrix products over row-major slices. Each is single-threaded: the callers split the rows over rayon in chunks
//! of fixed size, so that no sum depends on the number of threads.

use matrixmultiply::{dgemm, sgemm};

/// `out[i, j] = a[i] . b[j]`, for `a` `[m, dim]` and `b` `[n, dim]`; `out` is `[m, n]`.
///
/// # Panics
/// If the lengths do not match these shapes.
pub(crate) fn products(a: &[f32], b: &[f32], dim: usize, out: &mut [f32]) {
    let (m, n) = (a.len() / dim, b.len() / dim);
    assert_eq!((a.len(), b.len(), out.len()), (m * dim, n * dim, m * n), "shapes of a product over {dim} dimensions");
    let (dim_stride, n_stride) = (dim as isize, n as isize);
    // SAFETY: the assertion above makes every index i * stride + j of the three matrices in bounds, and `out` is
    // borrowed mutably, so it overlaps neither input.
    unsafe {
        sgemm(m, dim, n, 1.0, a.as_ptr(), dim_stride, 1, b.as_ptr(), 1, dim_stride, 0.0, out.as_mut_ptr(), n_stride, 1);
    }
}

/// Adds `rows^T rows` to `gram` `[dim, dim]`, for `rows` `[m, dim]`.
///
/// # Panics
/// If the lengths do not match these shapes.
pub(crate) fn add_gram(rows: &[f64], dim: usize, gram: &mut [f64]) {
    let m = rows.len() / dim;
    assert_eq!((rows.len(), gram.len()), (m * dim, dim * dim), "shapes of a Gram matrix over {dim} dimensions");
    let stride = dim as isize;
    // SAFETY: as in `products`.
    unsafe {
        dgemm(dim, m, dim, 1.0, rows.as_ptr(), 1, stride, rows.as_ptr(), stride, 1, 1.0, gram.as_mut_ptr(), stride, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_by_hand() {
        let mut out = [0.0; 6];
        products(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 2, &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 3.0, 4.0, 7.0]);
    }

    #[test]
    fn gram_by_hand() {
        let mut gram = [1.0, 0.0, 0.0, 1.0];
        add_gram(&[1.0, 2.0, 3.0, 4.0], 2, &mut gram);
        assert_eq!(gram, [11.0, 14.0, 14.0, 21.0]);
    }
}
