//! Positive pairs of reads: two views that the encoder should recognise as the same.
//!
//! | kind | the two views |
//! |---|---|
//! | `strand` | a window of a read, and the same window of its reverse complement |
//! | `windows` | two windows of one read, at a distance within limits |
//! | `mates` | the two mates of a fragment |
//! | `overlap` | two aligned reads of different molecules that cover the same locus |
//! | `overlap-component` | windows of two reads of one component of overlaps, found without an alignment ([`Overlaps`]) |
//! | `overlap-walk` | windows of two reads that a chain of such overlaps joins |
//!
//! The recipe mixes kinds by weight. Views are on a random strand (the two of a `strand` pair on opposite ones) and pass
//! through a model of sequencing errors. A sample is a fragment: two mates are one. A sample that cannot provide the kind
//! that was drawn (too short, no mate, no overlaps) provides the next kind of
//!
//! ```text
//! overlap -> overlap-component -> overlap-walk -> mates -> windows -> strand
//! ```
//!
//! that the recipe names, and as a last resort a strand pair, with the window and the errors of the kind that was drawn
//! if the recipe names no `strand`. A kind that no sample can provide is an error when the source is created, except
//! for `overlap-component` and `overlap-walk` next to another kind: in a thin sample no two reads may overlap.
//!
//! Reads of different samples may overlap: for the three `overlap` kinds, the partner can lie in the other part of a
//! split into training and validation. Each view carries the id of the fragment that it was drawn from, so that the
//! partner's other views in a batch are not negatives of it. If the recipe names `overlap-component`, every pair whose
//! reads are in one component carries that as its group, whichever kind it is; a component that probably belongs to the
//! genome of a larger one carries the larger one's ([`Overlaps::probable_genome`]).

mod config;
mod describe;
mod draw;
mod error;
mod hidden;
mod overlap;

use std::{fmt, ops::Range, sync::Arc};

use invar_dataset::{
    DatasetError, GroupId, Pair, PairSource, SampleId, SampleName, View, ViewShape,
    seed::{self, Rng},
    split::index_bound,
};
use rayon::prelude::*;

pub use config::{
    MatesConfig, OverlapComponentConfig, OverlapConfig, OverlapWalkConfig, PairKindConfig, ReadPairsConfig,
    StrandConfig, WindowLength, WindowsConfig,
};
pub use error::PairsError;

use crate::{
    ConfigError, Overlaps, OverlapsConfig, Reads,
    error_model::{ErrorCounts, ErrorModel},
    packed::reverse_complement_codes,
    views::{Representation, ViewMaker},
};
use overlap::OverlapIndex;

/// A kind of pair, in the order in which a sample falls back from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairKind {
    /// Two aligned reads over one locus.
    Overlap,
    /// Two reads of one component of overlaps.
    OverlapComponent,
    /// Two reads that a chain of overlaps joins.
    OverlapWalk,
    /// The two mates of a fragment.
    Mates,
    /// Two windows of one read.
    Windows,
    /// A window and its reverse complement.
    Strand,
}

impl fmt::Display for PairKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlap => "overlap",
            Self::OverlapComponent => "overlap-component",
            Self::OverlapWalk => "overlap-walk",
            Self::Mates => "mates",
            Self::Windows => "windows",
            Self::Strand => "strand",
        })
    }
}

impl PairKindConfig {
    /// Which kind it configures.
    pub fn kind(&self) -> PairKind {
        match self {
            Self::Overlap(_) => PairKind::Overlap,
            Self::OverlapComponent(_) => PairKind::OverlapComponent,
            Self::OverlapWalk(_) => PairKind::OverlapWalk,
            Self::Mates(_) => PairKind::Mates,
            Self::Windows(_) => PairKind::Windows,
            Self::Strand(_) => PairKind::Strand,
        }
    }
}

/// Draws pairs from reads.
pub struct ReadPairs {
    reads: Arc<dyn Reads>,
    /// First read of each fragment; `None` if every read is a separate fragment.
    fragments: Option<Vec<u32>>,
    kinds: Vec<Kind>,
    /// Running sums of the weights of the kinds.
    cumulated_weights: Vec<f64>,
    maker: ViewMaker,
    /// Present if a kind of the recipe needs them.
    overlaps: Option<Arc<Overlaps>>,
    /// Whether pairs carry the component of their reads.
    has_groups: bool,
    /// Fraction of the bases that are hidden.
    masked: f64,
}

/// A kind of the recipe, ready to draw.
struct Kind {
    config: PairKindConfig,
    errors: ErrorModel,
    /// Of an `overlap` kind.
    aligned: Option<OverlapIndex>,
    num_able: usize,
}

/// The origin of a view.
struct Region {
    read: usize,
    range: Range<usize>,
}

/// A view before it becomes the encoder's input.
#[derive(Debug, PartialEq)]
struct DrawnView {
    read: usize,
    range: Range<usize>,
    is_reverse: bool,
    /// The bases as sequenced; empty if they are the range of the read, on whichever strand.
    codes: Vec<u8>,
    errors: ErrorCounts,
}

/// What a view is drawn for.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    /// As the encoder's input.
    Input,
    /// To be displayed: always with its bases.
    Show,
}

#[derive(Debug, PartialEq)]
struct DrawnPair {
    kind: PairKind,
    /// The kind that was drawn before any fallback.
    asked: PairKind,
    views: [DrawnView; 2],
}

impl ReadPairs {
    /// As [`Self::with_overlaps`], with overlaps found here if a kind of the recipe needs them.
    ///
    /// # Errors
    /// As [`Self::with_overlaps`].
    pub fn new(
        reads: Arc<dyn Reads>,
        config: &ReadPairsConfig,
        representation: &Representation,
    ) -> Result<Self, PairsError> {
        config.validate()?;
        let overlaps = if config.needs_overlaps() {
            Some(Arc::new(Overlaps::find(reads.as_ref(), &OverlapsConfig::default())?))
        } else {
            None
        };
        Self::with_overlaps(reads, overlaps, config, representation)
    }

    /// Prepares to draw: finds the fragments, indexes the alignments if `overlap` is requested (16 bytes per read), and
    /// counts which samples can provide which kind. Without `overlaps` no sample can provide `overlap-component` or
    /// `overlap-walk`.
    ///
    /// # Errors
    /// If a setting is invalid, there are no reads or at least 2^32, or none of them can provide a kind that the recipe
    /// gives a weight.
    ///
    /// # Panics
    /// If `overlaps` are those of another number of reads.
    pub fn with_overlaps(
        reads: Arc<dyn Reads>,
        overlaps: Option<Arc<Overlaps>>,
        config: &ReadPairsConfig,
        representation: &Representation,
    ) -> Result<Self, PairsError> {
        config.validate()?;
        assert!(
            overlaps.as_ref().is_none_or(|overlaps| overlaps.num_reads() == reads.len()),
            "overlaps of other reads"
        );
        index_bound("drawing pairs", reads.len())?;
        if reads.is_empty() {
            return Err(DatasetError::TooFew { what: "drawing pairs".into(), needed: 1, found: 0 }.into());
        }
        let mut source = Self {
            fragments: find_fragments(reads.as_ref()),
            kinds: Vec::new(),
            cumulated_weights: Vec::new(),
            maker: ViewMaker::new(representation).map_err(|error| error.within("representation"))?,
            has_groups: config.kinds.iter().any(|kind| kind.kind() == PairKind::OverlapComponent),
            masked: config.masked,
            overlaps,
            reads,
        };
        if config.masked > 0.0 && !source.maker.has_strands() {
            let reason =
                "the views are k-mer profiles, which have no bases to hide: set source.view.type to \"tokens\"";
            return Err(ConfigError::new("masked", config.masked, reason).into());
        }
        let mut weight = 0.0;
        for (i, kind) in config.kinds.iter().enumerate() {
            weight += kind.weight();
            source.cumulated_weights.push(weight);
            let errors = match kind.error_model() {
                Some(model) => ErrorModel::new(&model).map_err(|e| e.within(&format!("kinds[{i}].error_model")))?,
                None => ErrorModel::new(&config.error_model).map_err(|e| e.within("error_model"))?,
            };
            let kind = source.prepare(kind, errors)?;
            let is_of_overlaps = matches!(kind.config.kind(), PairKind::OverlapComponent | PairKind::OverlapWalk);
            let may_fall_back = is_of_overlaps && config.kinds.len() > 1;
            if kind.num_able == 0 && kind.config.weight() > 0.0 && !may_fall_back {
                return Err(source.impossible(&kind)?);
            }
            source.kinds.push(kind);
        }
        Ok(source)
    }

    /// The kinds of the recipe, in its order, and how many samples can provide each: the others fall back.
    pub fn able(&self) -> Vec<(PairKind, usize)> {
        self.kinds.iter().map(|kind| (kind.config.kind(), kind.num_able)).collect()
    }

    /// The overlaps of the reads, if a kind of the recipe needs them.
    pub fn overlaps(&self) -> Option<&Arc<Overlaps>> {
        self.overlaps.as_ref()
    }

    fn prepare(&self, config: &PairKindConfig, errors: ErrorModel) -> Result<Kind, PairsError> {
        let aligned = match config {
            PairKindConfig::Overlap(config) => Some(OverlapIndex::new(self.reads.as_ref(), config)),
            _ => None,
        };
        let mut kind = Kind { config: config.clone(), errors, aligned, num_able: 0 };
        let able = |sample| Ok(usize::from(self.regions(&kind, sample, &mut seed::rng(0, sample as u64))?.is_some()));
        kind.num_able =
            (0..self.len()).into_par_iter().map(able).try_reduce(|| 0, |a, b| Ok::<_, DatasetError>(a + b))?;
        Ok(kind)
    }

    fn impossible(&self, kind: &Kind) -> Result<PairsError, DatasetError> {
        let mut longest = 0;
        for read in 0..self.reads.len() {
            longest = longest.max(self.reads.sequence(read)?.len());
        }
        let reason = match &kind.config {
            PairKindConfig::Strand(_) => "no read has a base".into(),
            PairKindConfig::Windows(config) => {
                let needed = 2 * i64::from(config.window_bp.min) + config.min_distance();
                format!("two windows need a read of {needed} bp, the longest has {longest} bp")
            }
            PairKindConfig::Mates(_) => "no read has a mate".into(),
            PairKindConfig::Overlap(config) => {
                let usable = kind.aligned.as_ref().map_or(0, OverlapIndex::len);
                let wanted = config.min_overlap_bp;
                format!("no two reads overlap by {wanted} bp, and {usable} reads are aligned over as many")
            }
            PairKindConfig::OverlapComponent(_) | PairKindConfig::OverlapWalk(_) => {
                format!("no two reads of different molecules overlap, and the longest has {longest} bp")
            }
        };
        Ok(PairsError::Impossible { kind: kind.config.kind(), num_samples: self.len(), reason })
    }

    fn first_read(&self, sample: usize) -> usize {
        self.fragments.as_ref().map_or(sample, |first| first[sample] as usize)
    }

    /// The reads of a sample, in random order.
    fn reads_of(&self, sample: usize, rng: &mut Rng) -> impl Iterator<Item = usize> + use<> {
        let first = self.first_read(sample);
        let second = self.reads.mate_of(first);
        let (a, b) = match second {
            Some(second) if seed::coin(rng) => (second, Some(first)),
            _ => (first, second),
        };
        [a].into_iter().chain(b)
    }

    fn draw(&self, index: usize, seed: u64, purpose: Purpose) -> Result<DrawnPair, DatasetError> {
        let mut rng = seed::rng(seed, index as u64);
        let drawn = &self.kinds[seed::weighted(&self.cumulated_weights, &mut rng)];
        let asked = drawn.config.kind();
        let mut fallback = Some(drawn);
        while let Some(kind) = fallback {
            if let Some(regions) = self.regions(kind, index, &mut rng)? {
                let views = self.sequence(regions, kind.config.kind(), &kind.errors, purpose, &mut rng)?;
                return Ok(DrawnPair { kind: kind.config.kind(), asked, views });
            }
            let tried = kind.config.kind();
            let later = self.kinds.iter().filter(|kind| kind.config.kind() > tried);
            // The first of the kinds that come next; `min_by_key` keeps the order of the recipe among equals.
            fallback = later.min_by_key(|kind| kind.config.kind());
        }
        let window = drawn.config.window_bp();
        match self.strand_regions(window, index, &mut rng)? {
            Some(regions) => {
                let views = self.sequence(regions, PairKind::Strand, &drawn.errors, purpose, &mut rng)?;
                Ok(DrawnPair { kind: PairKind::Strand, asked, views })
            }
            None => {
                let id = self.reads.name(self.first_read(index))?.to_owned();
                Err(DatasetError::Sample { id, reason: "it has 0 bases, a view needs at least 1".into() })
            }
        }
    }

    /// The two regions of a pair of this kind, or `None` if the sample cannot provide one.
    fn regions(&self, kind: &Kind, sample: usize, rng: &mut Rng) -> Result<Option<[Region; 2]>, DatasetError> {
        match &kind.config {
            PairKindConfig::Strand(config) => self.strand_regions(config.window_bp, sample, rng),
            PairKindConfig::Windows(config) => {
                for read in self.reads_of(sample, rng) {
                    let num_bases = self.reads.sequence(read)?.len();
                    if let Some(windows) = draw::two_windows(num_bases, config, rng) {
                        let mut regions = windows.map(|range| Region { read, range });
                        if seed::coin(rng) {
                            regions.reverse();
                        }
                        return Ok(Some(regions));
                    }
                }
                Ok(None)
            }
            PairKindConfig::Mates(config) => {
                let first = self.first_read(sample);
                let Some(second) = self.reads.mate_of(first) else { return Ok(None) };
                let num_bases = [self.reads.sequence(first)?.len(), self.reads.sequence(second)?.len()];
                Ok((num_bases[0].min(num_bases[1]) > 0).then(|| {
                    let ranges = num_bases.map(|len| draw::window(len, config.window_bp, rng));
                    regions([first, second], ranges)
                }))
            }
            PairKindConfig::Overlap(config) => {
                let Some(index) = &kind.aligned else { return Ok(None) };
                for read in self.reads_of(sample, rng) {
                    let Some((other, places)) = index.partner(self.reads.as_ref(), read, rng) else { continue };
                    let num_bases = [self.reads.sequence(read)?.len(), self.reads.sequence(other)?.len()];
                    if num_bases[0].min(num_bases[1]) > 0 {
                        let ranges = overlap::windows_at_locus(places, num_bases, config.window_bp, rng);
                        return Ok(Some(regions([read, other], ranges)));
                    }
                }
                Ok(None)
            }
            PairKindConfig::OverlapComponent(config) => {
                self.joined_regions(config.window_bp, sample, rng, |overlaps, read, accept, rng| {
                    overlaps.companion(read, accept, rng)
                })
            }
            PairKindConfig::OverlapWalk(config) => {
                self.joined_regions(config.window_bp, sample, rng, |overlaps, read, accept, rng| {
                    overlaps.walk(read, config.max_steps, accept, rng)
                })
            }
        }
    }

    /// One window each from a read and from another one, of another molecule, that `partner` finds among the overlaps.
    fn joined_regions(
        &self,
        window: WindowLength,
        sample: usize,
        rng: &mut Rng,
        partner: impl Fn(&Overlaps, usize, &dyn Fn(usize) -> bool, &mut Rng) -> Option<usize>,
    ) -> Result<Option<[Region; 2]>, DatasetError> {
        let Some(overlaps) = &self.overlaps else { return Ok(None) };
        for read in self.reads_of(sample, rng) {
            let is_other = |other| !self.reads.are_one_molecule(other, read);
            let Some(other) = partner(overlaps, read, &is_other, rng) else { continue };
            let num_bases = [self.reads.sequence(read)?.len(), self.reads.sequence(other)?.len()];
            if num_bases[0].min(num_bases[1]) > 0 {
                let ranges = num_bases.map(|len| draw::window(len, Some(window), rng));
                return Ok(Some(regions([read, other], ranges)));
            }
        }
        Ok(None)
    }

    /// The component that both views belong to, if pairs carry it.
    fn component(&self, views: &[DrawnView; 2]) -> Option<u32> {
        let overlaps = self.overlaps.as_ref().filter(|_| self.has_groups)?;
        let [first, second] = views.each_ref().map(|view| overlaps.component(view.read));
        first.filter(|_| first == second)
    }

    /// The group of the reads of a component: shared within one genome, even if that is only probable, because
    /// otherwise the pieces of one would be driven apart.
    fn group(&self, component: u32) -> Option<GroupId> {
        let overlaps = self.overlaps.as_ref()?;
        let genome = overlaps.probable_genome(component);
        let group = GroupId(u64::from(genome));
        Some(if overlaps.homologs(genome).is_empty() { group } else { group.alike() })
    }

    fn strand_regions(
        &self,
        window: Option<WindowLength>,
        sample: usize,
        rng: &mut Rng,
    ) -> Result<Option<[Region; 2]>, DatasetError> {
        for read in self.reads_of(sample, rng) {
            let num_bases = self.reads.sequence(read)?.len();
            if num_bases > 0 {
                let range = draw::window(num_bases, window, rng);
                return Ok(Some(regions([read, read], [range.clone(), range])));
            }
        }
        Ok(None)
    }

    /// Reads the two regions as a sequencer would: a strand for each, with errors.
    fn sequence(
        &self,
        regions: [Region; 2],
        kind: PairKind,
        errors: &ErrorModel,
        purpose: Purpose,
        rng: &mut Rng,
    ) -> Result<[DrawnView; 2], DatasetError> {
        let first_reverse = seed::coin(rng);
        let second_reverse = if kind == PairKind::Strand { !first_reverse } else { seed::coin(rng) };
        let [first, second] = regions;
        if purpose == Purpose::Input && errors.is_none() && !self.maker.has_strands() {
            let as_it_lies = |Region { read, range }: Region, is_reverse| DrawnView {
                read,
                range,
                is_reverse,
                codes: vec![],
                errors: ErrorCounts::default(),
            };
            return Ok([as_it_lies(first, first_reverse), as_it_lies(second, second_reverse)]);
        }
        Ok([
            self.sequence_region(first, first_reverse, errors, rng)?,
            self.sequence_region(second, second_reverse, errors, rng)?,
        ])
    }

    fn sequence_region(
        &self,
        Region { read, range }: Region,
        is_reverse: bool,
        model: &ErrorModel,
        rng: &mut Rng,
    ) -> Result<DrawnView, DatasetError> {
        let mut truth = Vec::new();
        self.reads.sequence(read)?.unpack_codes(range.clone(), &mut truth);
        if is_reverse {
            reverse_complement_codes(&mut truth);
        }
        let mut codes = Vec::new();
        let mut errors = model.apply(&truth, rng, &mut codes);
        if codes.is_empty() {
            // Every base of a tiny window was deleted: a view has at least one base.
            (codes, errors) = (truth, ErrorCounts::default());
        }
        Ok(DrawnView { read, range, is_reverse, codes, errors })
    }
}

impl PairSource for ReadPairs {
    fn len(&self) -> usize {
        self.fragments.as_ref().map_or_else(|| self.reads.len(), Vec::len)
    }

    fn view_shapes(&self) -> Vec<ViewShape> {
        vec![self.maker.shape()]
    }

    fn pair(&self, index: usize, seed: u64) -> Result<Pair, DatasetError> {
        let drawn = self.draw(index, seed, Purpose::Input)?;
        let view = |drawn: DrawnView| -> Result<(SampleId, View), DatasetError> {
            let view = match drawn.codes.as_slice() {
                [] => self.maker.of_sequence(self.reads.sequence(drawn.read)?, drawn.range),
                codes => self.maker.of_codes(codes),
            };
            Ok((self.reads.sample_id(drawn.read)?, view))
        };
        let group = self.component(&drawn.views).and_then(|component| self.group(component));
        let mut views: Vec<(SampleId, View)> = drawn.views.into_iter().map(view).collect::<Result<_, _>>()?;
        if self.masked > 0.0 {
            hidden::hide(views.iter_mut().map(|(_, view)| view), self.masked, seed, index);
        }
        Ok(Pair { views, links: None, group, related: vec![], classes: vec![] })
    }

    /// The id of the fragment: mates are never split.
    fn split_key(&self, index: usize) -> SampleId {
        // A damaged read is a group of its own, and an error when it is drawn.
        let first = self.first_read(index);
        self.reads.sample_id(first).unwrap_or_else(|_| SampleId::of_name(index as u64, b""))
    }

    /// The name of the fragment's first read.
    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        self.reads.sample_name(self.first_read(index))
    }
}

fn regions(reads: [usize; 2], ranges: [Range<usize>; 2]) -> [Region; 2] {
    let [first, second] = ranges;
    [Region { read: reads[0], range: first }, Region { read: reads[1], range: second }]
}

/// First reads of the fragments, if any fragment has two.
fn find_fragments(reads: &dyn Reads) -> Option<Vec<u32>> {
    let is_second = |read: usize| reads.mate_of(read).is_some_and(|mate| mate < read);
    (0..reads.len())
        .any(is_second)
        .then(|| (0..reads.len()).filter(|&read| !is_second(read)).map(|r| r as u32).collect())
}

#[cfg(test)]
mod tests;
