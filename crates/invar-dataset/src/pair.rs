use crate::{DatasetError, GroupId, SampleId, SampleName, View, ViewShape};

/// A weighted positive between an item of the anchor view and an item of the key view (a sample, a pixel, a node, a
/// moment). Weight 0 means *ignore*: neither positive nor negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Item of the first view, 0-based.
    pub anchor: u32,
    /// Item of the second view, 0-based.
    pub key: u32,
    /// How strongly the two are positives for each other.
    pub weight: f32,
}

/// The relation of a pair to the rows of another sample, if a batch holds both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Related {
    /// The other sample.
    pub sample: SampleId,
    /// How much its rows count among the pair's positives, finite and at least 0; 0: neither positive nor negative.
    pub weight: f32,
}

/// Two (or more) views of one sample, one locus or one moment: positives for each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The views, anchor first, each with the sample that it shows. The views of one pair can show several samples (two
    /// reads that overlap).
    pub views: Vec<(SampleId, View)>,
    /// Which items of the first two views match; `None` if the views match as wholes.
    pub links: Option<Vec<Link>>,
    /// The group that all samples of this pair are in; `None` if none is known.
    pub group: Option<GroupId>,
    /// Known relations to samples other than those of the views (near in time or place, say); mostly empty. Losses that
    /// allow several positives weight them accordingly, the others leave them out of the negatives.
    pub related: Vec<Related>,
    /// The class of the anchor's sample in each column of labels that is to be learned, `None` where it has no label;
    /// empty if nothing of the kind is learned.
    pub classes: Vec<Option<u32>>,
}

impl Pair {
    /// Whole views of one sample, without a group.
    pub fn of(sample: SampleId, views: impl IntoIterator<Item = View>) -> Self {
        Self {
            views: views.into_iter().map(|view| (sample, view)).collect(),
            links: None,
            group: None,
            related: vec![],
            classes: vec![],
        }
    }

    /// The views alone.
    pub fn views(&self) -> impl ExactSizeIterator<Item = &View> {
        self.views.iter().map(|(_, view)| view)
    }
}

/// Draws positive pairs. The domain ends here.
///
/// `(index, seed)` determines the pair to the last bit, whichever thread draws it: implementations take all their
/// randomness from [`crate::seed::rng`].
pub trait PairSource: Send + Sync {
    /// Number of samples that a pair can be drawn from.
    fn len(&self) -> usize;

    /// Whether there is nothing to draw from.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shapes of the views: one shape for all of them, or several, each with an encoder of its own: of `T` shapes,
    /// view `v` of a pair has shape `v` modulo `T`.
    fn view_shapes(&self) -> Vec<ViewShape>;

    /// Draws a pair of sample `index`.
    ///
    /// # Errors
    /// If the sample cannot be read or holds too little to draw a view from.
    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError>;

    /// The key that decides whether sample `index` goes into the training or the validation part: its group (genome,
    /// specimen, site, image) if it has one, so that no group is in both, else its own id.
    fn split_key(&self, index: usize) -> SampleId;

    /// The name of sample `index` in outputs.
    ///
    /// # Errors
    /// If its name cannot be read.
    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        Ok(SampleName::number(index))
    }

    /// A known property of sample `index` that an embedding should distinguish (species, class); `None` if there is
    /// none. Training never uses it: it only measures how well held-out samples find their like.
    fn label(&self, _index: usize) -> Option<String> {
        None
    }
}
