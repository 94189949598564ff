use crate::{DatasetError, GroupId, SampleId, SampleName, View, ViewShape};

/// A weighted positive between an item of the anchor view and an item of the key view (a sample, a pixel, a
/// node, a moment). Weight 0 means *ignore*: neither positive nor negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Item of the first view, 0-based.
    pub anchor: u32,
    /// Item of the second view, 0-based.
    pub key: u32,
    /// How strongly the two are positives for each other.
    pub weight: f32,
}

/// What a pair is to the rows of another sample, where a batch holds both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Related {
    /// The other sample.
    pub sample: SampleId,
    /// How much its rows count among the positives of the pair's, finite and at least 0; 0: neither positive nor negative.
    pub weight: f32,
}

/// Two (or more) views of one sample, one locus or one moment: positives for each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The views, anchor first, each with the sample that it looks at. Those of one pair can be of several samples (two
    /// reads that overlap).
    pub views: Vec<(SampleId, View)>,
    /// Which items of the first two views belong together; `None` when the views belong together as wholes.
    pub links: Option<Vec<Link>>,
    /// The group that all samples of this pair are in; `None` where nothing of the kind is known.
    pub group: Option<GroupId>,
    /// What is known of samples beside those of the views (near in time or place, say); mostly nothing. Losses that take
    /// several positives weigh them so, the others leave them out of the negatives.
    pub related: Vec<Related>,
}

impl Pair {
    /// Views of one sample, as wholes, of no group.
    pub fn of(sample: SampleId, views: impl IntoIterator<Item = View>) -> Self {
        Self {
            views: views.into_iter().map(|view| (sample, view)).collect(),
            links: None,
            group: None,
            related: vec![],
        }
    }

    /// The views alone.
    pub fn views(&self) -> impl ExactSizeIterator<Item = &View> {
        self.views.iter().map(|(_, view)| view)
    }
}

/// Draws positive pairs. The domain ends here.
///
/// `(index, seed)` fixes the pair to the last bit, whatever the thread that draws it: implementations take all
/// their randomness from [`crate::seed::rng`].
pub trait PairSource: Send + Sync {
    /// Number of samples that a pair can be drawn from.
    fn len(&self) -> usize;

    /// Whether there is nothing to draw from.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the views look like: one shape of all of them, or several, each seen by an encoder of its own: of `T` shapes,
    /// view `v` of a pair has shape `v` modulo `T`.
    fn view_shapes(&self) -> Vec<ViewShape>;

    /// Draws a pair of sample `index`.
    ///
    /// # Errors
    /// When the sample cannot be read or holds too little to draw a view from.
    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError>;

    /// The key by which sample `index` is put into the training or the validation part: its group (genome,
    /// specimen, site, image) where it has one, so that no group lands in both, else its own id.
    fn split_key(&self, index: usize) -> SampleId;

    /// How the embedding of sample `index` will be named.
    ///
    /// # Errors
    /// When its name cannot be read.
    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        Ok(SampleName::number(index))
    }

    /// What is known of sample `index` that an embedding should tell apart (species, class); `None` where nothing is.
    /// Training never looks at it: it only says how well held-out samples find their like.
    fn label(&self, _index: usize) -> Option<String> {
        None
    }
}
