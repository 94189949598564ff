use crate::{DatasetError, View, ViewShape, ViewSource, seed};

/// Every sample of a source after a random one of its symmetries: data as if nobody had aligned the specimens.
pub struct Moved<'a> {
    source: &'a dyn ViewSource,
    num_symmetries: usize,
    seed: u64,
}

impl<'a> Moved<'a> {
    /// Transforms each sample of `source` by a symmetry determined by `seed` and its index. `None` if the source has no
    /// symmetries.
    /// symmetry.
    pub fn new(source: &'a dyn ViewSource, seed: u64) -> Option<Self> {
        let num_symmetries = source.symmetries().len();
        (num_symmetries > 0).then_some(Self { source, num_symmetries, seed })
    }
}

/// The index of a symmetry, out of `num_symmetries`, drawn for sample `index` from `seed`.
///
/// # Panics
/// If there are no symmetries.
pub fn drawn_symmetry(seed: u64, index: usize, num_symmetries: usize) -> usize {
    (seed::mix(seed, index as u64) % num_symmetries as u64) as usize
}

impl ViewSource for Moved<'_> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn view_shape(&self) -> ViewShape {
        self.source.view_shape()
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        self.source.transformed(index, drawn_symmetry(self.seed, index, self.num_symmetries))
    }

    /// None: the effect of a symmetry on a transformed sample is not known.
    fn symmetries(&self) -> Vec<String> {
        vec![]
    }

    fn transformed(&self, _: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        panic!("symmetry {symmetry} of 0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A view contains its sample and how it was transformed.
    struct Numbers(usize);

    impl ViewSource for Numbers {
        fn len(&self) -> usize {
            60
        }
        fn view_shape(&self) -> ViewShape {
            ViewShape::Dense(vec![2])
        }
        fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
            Ok(vec![View::features(vec![index as f32, -1.0])])
        }
        fn symmetries(&self) -> Vec<String> {
            (0..self.0).map(|symmetry| symmetry.to_string()).collect()
        }
        fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
            Ok(vec![View::features(vec![index as f32, symmetry as f32])])
        }
    }

    #[test]
    fn every_sample_is_moved_and_stays_itself() {
        let source = Numbers(3);
        let moved = Moved::new(&source, 7).unwrap();
        let mut hits = [0; 3];
        for index in 0..moved.len() {
            let views = moved.views(index).unwrap();
            let View::Dense { data, .. } = &views[0] else { panic!("{views:?}") };
            assert_eq!(data[0], index as f32);
            hits[data[1] as usize] += 1;
            assert_eq!(views, Moved::new(&source, 7).unwrap().views(index).unwrap());
        }
        assert!(hits.iter().all(|&n| n > 8), "{hits:?}");
        assert!(Moved::new(&Numbers(0), 7).is_none());
    }
}
