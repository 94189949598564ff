use super::{
    BoundaryNetwork, Layer, NUM_INPUTS,
    conv::Conv,
    inputs::Inputs,
    rows::{Rows, stride},
};

/// The network processing a picture from top to bottom: each layer holds only the few rows that others still need. So
/// the result is that of one pass over the whole picture, in memory that grows only with its width.
struct Stream {
    /// Planes between the layers; the first are the network's inputs.
    planes: Vec<Rows>,
    nodes: Vec<Node>,
}

struct Node {
    work: Work,
    /// Planes read: index, and by how many halvings their rows are coarser than those written.
    sources: Vec<(usize, usize)>,
    target: usize,
}

enum Work {
    Convolve(Conv),
    /// The maximum of 2 x 2.
    Pool,
    /// Each column twice; rows are not doubled, but read twice.
    Double,
}

/// The probability of a boundary at each pixel of `grey`, `[height, width]`.
pub(super) fn probability(network: &BoundaryNetwork, grey: &[f32], width: usize, height: usize) -> Vec<f32> {
    if grey.is_empty() {
        return Vec::new();
    }
    // Number of rows that make one row of the coarsest level.
    let step = 1 << (network.channels.len() - 1);
    let size = [width, height].map(|length| length.next_multiple_of(step));
    let mut inputs = Inputs::new(grey, width, height, size);
    let mut stream = Stream::new(network, size);
    let last = network.layers.last();
    let mut probability = Vec::with_capacity(grey.len());
    for _ in 0..size[1] / step {
        for _ in 0..step {
            stream.feed(&mut inputs);
        }
        stream.advance();
        stream.drain(last, width, height, &mut probability);
    }
    probability
}

impl Stream {
    fn new(network: &BoundaryNetwork, size: [usize; 2]) -> Self {
        let mut stream = Self { planes: vec![Rows::new(NUM_INPUTS, size[0], size[1])], nodes: Vec::new() };
        let mut layers = network.layers.iter();
        let levels = network.channels.len();
        let mut skipped = Vec::new();
        let mut at = 0;
        for level in 0..levels {
            if level > 0 {
                skipped.push(at);
                at = stream.add(Work::Pool, vec![(at, 0)]);
            }
            at = stream.convolutions(&mut layers, vec![(at, 0)]);
        }
        for skip in skipped.into_iter().rev() {
            let doubled = stream.add(Work::Double, vec![(at, 0)]);
            at = stream.convolutions(&mut layers, vec![(doubled, 1), (skip, 0)]);
        }
        stream
    }

    /// Two convolutions, one after the other.
    fn convolutions<'a>(
        &mut self,
        layers: &mut impl Iterator<Item = &'a Layer>,
        sources: Vec<(usize, usize)>,
    ) -> usize {
        let mut sources = sources;
        for layer in layers.take(2) {
            sources = vec![(self.add(Work::Convolve(Conv::new(layer)), sources), 0)];
        }
        sources[0].0
    }

    /// Adds a layer, and returns the index of the planes that it writes.
    fn add(&mut self, work: Work, sources: Vec<(usize, usize)>) -> usize {
        let (from, coarser) = sources[0];
        let Rows { channels, width, height, .. } = self.planes[from];
        let planes = match &work {
            Work::Convolve(conv) => Rows::new(conv.channels, width, height << coarser),
            Work::Pool => Rows::new(channels, width / 2, height / 2),
            Work::Double => Rows::new(channels, 2 * width, height),
        };
        self.planes.push(planes);
        let target = self.planes.len() - 1;
        self.nodes.push(Node { work, sources, target });
        target
    }

    /// Adds the next row of the picture.
    fn feed(&mut self, inputs: &mut Inputs<'_>) {
        let planes = &mut self.planes[0];
        let mut row = planes.blank();
        let (global, local) = row.split_at_mut(stride(planes.width));
        inputs.next(&mut global[1..=planes.width], &mut local[1..=planes.width]);
        planes.push(row);
    }

    /// Computes all rows that can be, layer by layer, and releases those that are no longer needed.
    fn advance(&mut self) {
        for node in &self.nodes {
            let (before, after) = self.planes.split_at_mut(node.target);
            let target = &mut after[0];
            let first = target.end();
            let end = node.sources.iter().map(|&(source, coarser)| node.reach(&before[source], coarser)).min();
            let mut rows: Vec<Vec<f32>> = (first..end.unwrap_or(first)).map(|_| target.blank()).collect();
            match &node.work {
                Work::Convolve(conv) => {
                    let sources: Vec<_> =
                        node.sources.iter().map(|&(index, coarser)| (&before[index], coarser)).collect();
                    conv.fill(&mut rows, first, target.width, target.height, &sources);
                }
                Work::Pool => {
                    (first..).zip(&mut rows).for_each(|(row, out)| pool(&before[node.sources[0].0], row, out))
                }
                Work::Double => {
                    (first..).zip(&mut rows).for_each(|(row, out)| double(&before[node.sources[0].0], row, out));
                }
            }
            rows.into_iter().for_each(|row| target.push(row));
        }
        for index in 0..self.planes.len() {
            let readers = self.nodes.iter().flat_map(|node| node.sources.iter().map(move |source| (node, source)));
            let needed = readers.filter(|(_, source)| source.0 == index);
            let needed = needed.map(|(node, &(_, coarser))| node.first_read(self.planes[node.target].end(), coarser));
            if let Some(row) = needed.min() {
                self.planes[index].release(row);
            }
        }
    }

    /// Appends the probabilities of the finished rows, as far as they lie on the picture.
    fn drain(&mut self, last: Option<&Layer>, width: usize, height: usize, probability: &mut Vec<f32>) {
        let (Some(planes), Some(last)) = (self.planes.last_mut(), last) else { return };
        let first = probability.len() / width;
        let end = planes.end().min(height);
        for row in first..end {
            let start = probability.len();
            probability.resize(start + width, last.bias[0]);
            let logits = &mut probability[start..];
            for (channel, &weight) in last.kernel.iter().enumerate() {
                let line = &planes.line(row, channel)[1..];
                logits.iter_mut().zip(line).for_each(|(logit, &value)| *logit += weight * value);
            }
            logits.iter_mut().for_each(|logit| *logit = 1.0 / (1.0 + (-*logit).exp()));
        }
        planes.release(planes.end());
    }
}

impl Node {
    /// How many rows can be written from what exists of a source.
    fn reach(&self, source: &Rows, coarser: usize) -> usize {
        let end = source.end();
        match self.work {
            Work::Convolve(_) if end == source.height => end << coarser,
            Work::Convolve(_) => (end << coarser).saturating_sub(1),
            Work::Pool => end / 2,
            Work::Double => end,
        }
    }

    /// The first row of a source that is needed to write row `next`.
    fn first_read(&self, next: usize, coarser: usize) -> usize {
        match self.work {
            Work::Convolve(_) => next.saturating_sub(1) >> coarser,
            Work::Pool => 2 * next,
            Work::Double => next,
        }
    }
}

fn pool(source: &Rows, row: usize, out: &mut [f32]) {
    for (channel, out) in out.chunks_mut(stride(source.width / 2)).enumerate() {
        let lines = [0, 1].map(|below| &source.line(2 * row + below, channel)[1..=source.width]);
        let pairs = lines[0].chunks_exact(2).zip(lines[1].chunks_exact(2));
        out[1..].iter_mut().zip(pairs).for_each(|(out, (a, b))| *out = a[0].max(a[1]).max(b[0]).max(b[1]));
    }
}

fn double(source: &Rows, row: usize, out: &mut [f32]) {
    for (channel, out) in out.chunks_mut(stride(2 * source.width)).enumerate() {
        let line = &source.line(row, channel)[1..=source.width];
        out[1..].chunks_exact_mut(2).zip(line).for_each(|(out, &value)| out.fill(value));
    }
}
