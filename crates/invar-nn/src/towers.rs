use invar_dataset::{Link, ViewShape};
use tch::{Device, Tensor, nn};

use crate::{Batch, Encoded, Encoder, EncoderConfig, Error, Mode, Outputs, SampleIds};

/// The views of a batch of pairs, one stack per tower: of `T` towers, tower `t` sees views `t`, `t + T`, and so on, one
/// after the other, `B` rows each. With one tower, rows `0..B` are the anchors, `B..2B` the second views.
#[derive(Debug)]
pub struct Views {
    /// The input of each tower.
    pub stacks: Vec<Batch>,
    /// The sample of each view.
    pub samples: SampleIds,
    /// Which items of the first two views of each pair match; empty if no pair has links.
    pub links: Vec<Vec<Link>>,
    /// The class of each pair's anchor in each column of labels; empty if no pair has any.
    pub classes: Vec<Vec<Option<u32>>>,
}

/// What a batch contains besides its views, for losses that look at single positions.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The hidden values of each view `[B, L]`, as [`Batch::targets`]: one entry per view.
    pub targets: Vec<Option<Tensor>>,
    /// Links of each pair, or empty.
    pub links: &'a [Vec<Link>],
    /// Width of the pictures in pixels, for views that are pictures, whose items are pixels, row by row: one entry per
    /// view.
    pub widths: Vec<Option<usize>>,
    /// The class that each view of a pair shows, in each column of labels `[B, C]`, i64, -1 where it is not known: one
    /// entry per view, none if nothing is known of any.
    pub classes: Vec<Tensor>,
}

impl Views {
    /// Number of pairs, `B`.
    pub fn num_pairs(&self) -> usize {
        self.samples.num_pairs()
    }

    /// Size of all views in bytes.
    pub fn num_bytes(&self) -> usize {
        self.stacks.iter().map(Batch::num_bytes).sum()
    }

    /// Shares the same data, without copying.
    pub fn shallow_clone(&self) -> Self {
        self.each(Batch::shallow_clone)
    }

    /// The same on a device, without waiting for a copy out of page-locked memory.
    pub fn to_device(&self, device: Device) -> Self {
        self.each(|stack| stack.to_device(device))
    }

    /// What the batch contains besides the views.
    pub fn asked(&self) -> Asked<'_> {
        let rows = self.num_pairs() as i64;
        let (mut targets, mut widths) = (vec![], vec![]);
        for view in 0..self.samples.num_views() {
            let (stack, first) = self.place(view);
            targets.push(stack.targets().map(|targets| targets.narrow(0, first, rows)));
            widths.push(match stack {
                Batch::Dense { x } if x.dim() == 4 => x.size().last().map(|&width| width as usize),
                _ => None,
            });
        }
        Asked { targets, links: &self.links, widths, classes: self.classes_of_views() }
    }

    /// A view of another sample than the anchor's (a read that overlaps it) need not be of its class.
    fn classes_of_views(&self) -> Vec<Tensor> {
        let Some(columns) = self.classes.first().map(Vec::len).filter(|&columns| columns > 0) else { return vec![] };
        let of_view = |view: usize| {
            let shown = |pair: usize| self.samples.get(view, pair) == self.samples.get(0, pair);
            let of_pair = |(pair, classes): (usize, &Vec<Option<u32>>)| {
                let is_shown = shown(pair);
                let class = move |class: &Option<u32>| class.filter(|_| is_shown).map_or(-1, i64::from);
                classes.iter().map(class).collect::<Vec<i64>>()
            };
            let classes: Vec<i64> = self.classes.iter().enumerate().flat_map(of_pair).collect();
            Tensor::from_slice(&classes).view([-1, columns as i64])
        };
        (0..self.samples.num_views()).map(of_view).collect()
    }

    /// The stack that contains a view, and its first row there.
    fn place(&self, view: usize) -> (&Batch, i64) {
        let num_towers = self.stacks.len();
        (&self.stacks[view % num_towers], (view / num_towers * self.num_pairs()) as i64)
    }

    fn each(&self, change: impl Fn(&Batch) -> Batch) -> Self {
        let stacks = self.stacks.iter().map(change).collect();
        Self { stacks, samples: self.samples.clone(), links: self.links.clone(), classes: self.classes.clone() }
    }
}

/// The encoders of a network: one that sees every view, or several that each see their own (reads and pictures, say).
/// Of `T` towers, tower `t` sees views `t`, `t + T`, and so on. All embed into one space.
pub struct Towers(Vec<Box<dyn Encoder>>);

impl Towers {
    /// Builds an encoder for each shape of views. The parameters of a single tower are under `path`, those of tower `t`
    /// of several under `path.t`.
    ///
    /// If there are not as many encoders as shapes, or they differ in embedding dimension; and as
    /// [`EncoderConfig::init`].
    pub fn new(path: &nn::Path, encoders: &[EncoderConfig], shapes: &[ViewShape]) -> Result<Self, Error> {
        if encoders.is_empty() || encoders.len() != shapes.len() {
            return Err(Error::Towers { encoders: encoders.len(), shapes: shapes.len() });
        }
        let of_tower = |tower: usize| if encoders.len() == 1 { path.clone() } else { path / tower };
        let towers = encoders.iter().zip(shapes).enumerate();
        let towers: Vec<Box<dyn Encoder>> =
            towers.map(|(tower, (encoder, shape))| encoder.init(&of_tower(tower), shape)).collect::<Result<_, _>>()?;
        let dim = towers[0].dim();
        if let Some(tower) = towers.iter().position(|tower| tower.dim() != dim) {
            let expected = format!("that of tower 0, {dim}, in tower {tower}");
            return Err(Error::Config { key: "encoder.dim".into(), expected, found: towers[tower].dim().to_string() });
        }
        Ok(Self(towers))
    }

    /// The encoder that sees views `tower`, `tower + T`, and so on; `None` if there are not that many.
    pub fn get(&self, tower: usize) -> Option<&dyn Encoder> {
        self.0.get(tower).map(AsRef::as_ref)
    }

    /// Encodes the views: one [`Encoded`] of `B` rows per view.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    ///
    /// # Panics
    /// If there are not as many stacks as towers.
    pub fn encode(&self, views: &Views, mode: Mode) -> Result<Vec<Encoded>, Error> {
        assert_eq!(self.0.len(), views.stacks.len(), "a stack of views for each tower");
        let encoded = self.0.iter().zip(&views.stacks).map(|(tower, stack)| tower.encode(stack, mode));
        let (encoded, rows) = (encoded.collect::<Result<Vec<_>, _>>()?, views.num_pairs());
        let of_view = |view: usize| {
            let num_towers = self.0.len();
            encoded[view % num_towers].rows((view / num_towers * rows) as i64, rows as i64)
        };
        Ok((0..views.samples.num_views()).map(of_view).collect())
    }

    /// Embedding dimensions, `D`.
    pub fn dim(&self) -> usize {
        self.0[0].dim()
    }

    /// What the towers give. Tokens only if all have the same, and pooled features only if they have as many: else 0.
    pub fn outputs(&self) -> Outputs {
        let first = &self.0[0];
        let alike = |same: &dyn Fn(&dyn Encoder) -> bool| self.0.iter().all(|tower| same(tower.as_ref()));
        let tokens = first.tokens().filter(|_| alike(&|tower| tower.tokens() == first.tokens()));
        let num_pooled = first.num_pooled();
        let num_pooled = if alike(&|tower| tower.num_pooled() == num_pooled) { num_pooled } else { 0 };
        Outputs { dim: self.dim(), num_pooled, tokens }
    }
}
