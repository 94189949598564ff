use crate::{DatasetError, View, ViewShape, ViewSource};

/// Some samples of a source, in an order of their own.
pub struct Chosen<'a> {
    source: &'a dyn ViewSource,
    samples: Vec<usize>,
}

impl<'a> Chosen<'a> {
    /// Those with the numbers `samples`, each below the length of `source`.
    pub fn new(source: &'a dyn ViewSource, samples: Vec<usize>) -> Self {
        Self { source, samples }
    }
}

impl ViewSource for Chosen<'_> {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn view_shape(&self) -> ViewShape {
        self.source.view_shape()
    }

    fn views(&self, index: usize) -> Result<Vec<View>, DatasetError> {
        self.source.views(self.samples[index])
    }

    fn symmetries(&self) -> Vec<String> {
        self.source.symmetries()
    }

    fn transformed(&self, index: usize, symmetry: usize) -> Result<Vec<View>, DatasetError> {
        self.source.transformed(self.samples[index], symmetry)
    }
}
