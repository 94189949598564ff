//! Contrastive learning in one process or many, with the activations of a whole batch in memory or of one chunk at a
//! time. *Own* rows, chunks and projections are those of this process; a *share* is its part of a sum over all
//! processes.
//!
//! The loss of a batch depends on its samples only through their projections, which are small. So a batch is processed
//! in three parts, the same for one process and many, one chunk and many:
//!
//! 1. projections of the own rows, gathered from all processes;
//! 2. the loss's gradient with respect to them: each process computes the share of its rows, and the shares are summed;
//! 3. from the projections back to the weights, for the own rows; the weights' gradients are summed over processes.
//!
//! If the encoder treats each view separately on a CPU, parts 1 and 3 process as many chunks side by side as there are
//! threads: threads that meet three times per step wait less than threads that meet in every operation.
//!
//! With more chunks than that, part 1 keeps no activations and part 3 computes them again, a few chunks at a time, from
//! the same random state: the exact gradient of the whole batch in the memory of those chunks, at the cost of one more
//! forward pass (GradCache: Gao et al., *Scaling deep contrastive learning batch size under memory limited setup*,
//! 2021).

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    rc::Rc,
};

use invar_dataset::{
    ViewShape,
    seed::{self, Stream},
};
use invar_loss::{Context, Local, MemoryBank};
use invar_nn::{EncoderConfig, Mode, Relations, SampleIds, Views};
use invar_torch::ProcessGroup;
use tch::{Device, Kind, Tensor};

use super::{
    Others, Step, StepReport, ValidationReport,
    asked::Asked,
    figures::{embedding_std, host_rows, host_values, moments, wide},
    others::{Proximal, check_keys},
    relations::relations,
};
use crate::{
    Error, Place, TrainingJob,
    ema::Ema,
    gradients::{Gradients, Summed, gradients_keeping},
    harmony::Harmony,
    held_out::held_out,
    network::{Network, Projected, seeded},
    optimizer::Optimizer,
};

/// Contrastive learning: towers, one loss over their embeddings, AdamW.
pub struct ContrastiveStep {
    network: Network,
    ema: Option<Ema>,
    optimizer: Optimizer,
    /// Those of all losses together; or one entry per loss, if a rule weights them.
    gradients: Vec<OfLosses>,
    harmony: Harmony,
    grad_clip: f64,
    /// Chunks that are encoded at the same time; 1 if the encoder draws at random or normalizes over the batch.
    side_by_side: usize,
    dropout_seed: u64,
    group: Rc<ProcessGroup>,
    /// What other sites contribute.
    others: Others,
    proximal: Option<Proximal>,
    /// Sums over the batches since the last update.
    reports: Vec<Vec<(String, Tensor)>>,
    /// The batches since the last update.
    seen: Vec<Seen>,
}

/// The gradients of some losses, with the losses' names and their range among all losses.
struct OfLosses {
    names: Vec<&'static str>,
    numbers: Range<usize>,
    sum: Gradients,
}

/// What is remembered of a batch until the update.
struct Seen {
    /// Projections of the own rows, one `[b, P]` per view.
    own: Vec<Tensor>,
    /// How they relate to those of all processes.
    relations: Relations,
    /// Projections of all processes' rows by the slow network.
    slow_keys: Option<Vec<Tensor>>,
}

impl ContrastiveStep {
    /// Builds the networks. Weights are drawn from the recipe's seed and are the same on every device and in every
    /// process.
    ///
    /// # Errors
    /// If the recipe does not fit the shapes of the views.
    pub fn new(recipe: &TrainingJob, shapes: &[ViewShape], place: &Place) -> Result<Self, Error> {
        let config = &recipe.train;
        invar_torch::set_deterministic(true)?;
        let network = Network::new(recipe, shapes, Stream::Weights.seed(config.seed), place.device)?;
        if let Some(path) = &config.warm_start {
            network.warm_start(path.as_ref())?;
        }
        network.freeze(&config.freeze)?;
        let needs_ema = network.loss.needs_slow_keys();
        if needs_ema && config.ema_decay == 0.0 {
            let expected = "above 0 for a loss that compares with a moving average of the network".into();
            return Err(Error::Config { key: "train.ema_decay", expected, found: "0".into() });
        }
        let ema = (config.ema_decay > 0.0).then(|| Ema::new(recipe, shapes, &network)).transpose()?;
        // What no gradient changes (the running means of batch norms, frozen layers) is stored, but not optimised.
        let trainable = network.named().into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
        let optimizer = Optimizer::new("optimizer", config, trainable);
        let is_row_wise = recipe.encoders.iter().all(EncoderConfig::is_row_wise) && place.device == Device::Cpu;
        let names = network.loss.names();
        let apart = if config.harmony.is_apart() { 1 } else { names.len() };
        let gradients = names.chunks(apart).enumerate().map(|(part, of_part)| OfLosses {
            names: of_part.to_vec(),
            numbers: part * apart..part * apart + of_part.len(),
            sum: Gradients::new(&optimizer.params()),
        });
        let gradients = gradients.collect();
        Ok(Self {
            side_by_side: if is_row_wise { config.threads } else { 1 },
            gradients,
            harmony: Harmony::new(&config.harmony, names, optimizer.names(), Stream::Harmony.seed(config.seed)),
            network,
            ema,
            optimizer,
            grad_clip: config.grad_clip,
            dropout_seed: Stream::Dropout.seed(config.seed),
            group: Rc::clone(&place.group),
            others: Others::default(),
            proximal: None,
            reports: vec![],
            seen: vec![],
        })
    }

    /// The network's tensors, by name: parameters and buffers.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        self.network.named()
    }

    /// Projections of the own rows, of all chunks together; with the chunks' graphs if they are kept.
    fn project(&self, batch: u64, chunks: &[Views]) -> Result<(Projected, Option<Vec<Projected>>), Error> {
        let pass = self.pass(&self.network, batch);
        if chunks.len() <= self.side_by_side {
            let parts = self.each(numbered(chunks), &|(number, chunk)| pass.forward(number, &chunk))?;
            return Ok((tch::no_grad(|| concatenate(&parts)), Some(parts)));
        }
        let _no_grad = tch::no_grad_guard();
        // Part 3 passes the chunks again: running means must not count them twice.
        let buffers = self.network.named().into_iter().filter(|(_, t)| !t.requires_grad());
        let before: Vec<(Tensor, Tensor)> = buffers.map(|(_, t)| (t.copy(), t)).collect();
        let parts = self.each(numbered(chunks), &|(number, chunk)| pass.forward(number, &chunk))?;
        for (old, mut own) in before {
            own.copy_(&old);
        }
        Ok((concatenate(&parts), None))
    }

    fn slow_keys(&self, batch: u64, chunks: &[Views]) -> Result<Option<Vec<Tensor>>, Error> {
        let Some(ema) = self.ema.as_ref().filter(|_| self.network.loss.needs_slow_keys()) else { return Ok(None) };
        let _no_grad = tch::no_grad_guard();
        let pass = self.pass(&ema.network, batch);
        let parts = self.each(numbered(chunks), &|(number, chunk)| pass.forward(number, &chunk))?;
        let own = concatenate(&parts).projections;
        Ok(Some(own.iter().map(|keys| self.group.all_gather(keys)).collect::<Result<_, _>>()?))
    }

    /// Part 3 for some of the losses: from the gradients of the own projections, and from the local losses' outputs for
    /// the views, to the gradients of the weights.
    fn backward(
        &mut self,
        batch: u64,
        chunks: &[Views],
        graphs: &[Option<Projected>],
        along: &[Tensor],
        asked: &Asked,
        part: usize,
    ) -> Result<(), Error> {
        let (names, numbers) = (self.gradients[part].names.clone(), self.gradients[part].numbers.clone());
        let is_last = part + 1 == self.gradients.len();
        let num_views = along.len() / self.network.loss.names().len();
        let of_losses = numbers.start * num_views..numbers.end * num_views;
        let mut first = 0;
        for (group, some) in chunks.chunks(self.side_by_side).enumerate() {
            let parts = some.iter().enumerate().map(|(at, chunk)| {
                let (start, length) = (first, chunk.num_pairs() as i64);
                first += length;
                let number = group * self.side_by_side + at;
                Part {
                    number,
                    chunk: chunk.shallow_clone(),
                    graph: graphs[number].as_ref().map(Projected::shallow_clone),
                    along: along.iter().map(|gradient| gradient.narrow(0, start, length)).collect(),
                    params: self.optimizer.params().into_iter().map(Tensor::shallow_clone).collect(),
                }
            });
            let pass = self.pass(&self.network, batch);
            let gradients = self.each(parts.collect(), &|part: Part| {
                let projected = match part.graph {
                    Some(graph) => graph,
                    None => pass.forward(part.number, &part.chunk)?,
                };
                let params: Vec<&Tensor> = part.params.iter().collect();
                let mut value = inner(&projected.projections[of_losses.clone()], &part.along[of_losses.clone()]);
                for local in projected.local.iter().filter(|local| names.contains(&local.name)) {
                    value = &value + asked.mean(local);
                }
                gradients_keeping(!is_last, &value, &params)
            })?;
            gradients.into_iter().for_each(|found| self.gradients[part].sum.sum(found));
        }
        Ok(())
    }

    /// Processes each of some chunks, as many at a time as allowed.
    fn each<I: Send, T: Send>(
        &self,
        inputs: Vec<I>,
        work: &(dyn Fn(I) -> Result<T, Error> + Sync),
    ) -> Result<Vec<T>, Error> {
        if self.side_by_side == 1 {
            return inputs.into_iter().map(work).collect();
        }
        invar_torch::side_by_side(inputs, work)?.into_iter().collect()
    }

    fn pass<'a>(&self, network: &'a Network, batch: u64) -> Pass<'a> {
        // If chunks are processed side by side, nothing is drawn; the generator is shared by all threads.
        let dropout_seed = (self.side_by_side == 1).then(|| seed::mix(self.dropout_seed, batch));
        Pass { network, dropout_seed, rank: self.group.rank() as u64 }
    }

    /// The rows to blame for a non-finite loss, numbered through the batches since the last update.
    fn suspects(&self) -> Vec<usize> {
        let is_bad = |seen: &Seen, row: i64| seen.own.iter().any(|v| v.get(row).isfinite().all().int64_value(&[]) == 0);
        let all = self.seen.iter().flat_map(|seen| (0..seen.relations.own().len() as i64).map(move |row| (seen, row)));
        all.enumerate().filter(|(_, (seen, row))| is_bad(seen, *row)).map(|(number, _)| number).collect()
    }
}

/// The chunks of a batch with their numbers.
fn numbered(chunks: &[Views]) -> Vec<(usize, Views)> {
    chunks.iter().map(Views::shallow_clone).enumerate().collect()
}

/// A batch passing through a network, in training.
struct Pass<'a> {
    network: &'a Network,
    /// Seed of the batch; `None` if nothing is drawn.
    dropout_seed: Option<u64>,
    /// Rank of the process.
    rank: u64,
}

impl Pass<'_> {
    /// Dropout is a function of the seed, the batch, the chunk and the process: none of it needs to be stored.
    fn forward(&self, chunk: usize, views: &Views) -> Result<Projected, Error> {
        let Some(dropout_seed) = self.dropout_seed else { return self.network.forward(views, Mode::TRAIN) };
        let own_seed = seed::mix(seed::mix(dropout_seed, chunk as u64), self.rank);
        seeded(own_seed, || self.network.forward(views, Mode::TRAIN))
    }
}

/// What is needed to go back from the projections of a chunk to the weights.
struct Part {
    number: usize,
    chunk: Views,
    /// Its projections, if the activations of the forward pass are kept.
    graph: Option<Projected>,
    /// The gradients of the loss with respect to them, one `[b, P]` per view.
    along: Vec<Tensor>,
    params: Vec<Tensor>,
}

impl Step for ContrastiveStep {
    fn accumulate(&mut self, batch: u64, chunks: &[Views]) -> Result<(), Error> {
        let relations = relations(chunks, &self.group)?;
        let (projected, graphs) = self.project(batch, chunks)?;
        let slow_keys = self.slow_keys(batch, chunks)?;
        let asked = Asked::of(&self.network.loss, chunks, &self.group)?;
        let own: Vec<Tensor> = projected.projections.iter().map(Tensor::detach).collect();
        // One message for all views and losses.
        let gathered = self.group.all_gather(&Tensor::f_cat(&own, 1)?)?;
        let widths: Vec<i64> = own.iter().map(|own| own.size()[1]).collect();
        let parts = gathered.split_with_sizes(&widths, 1);
        let all: Vec<Tensor> = parts.iter().map(|part| part.contiguous().set_requires_grad(true)).collect();
        let (slow, foreign_keys) = (slow_keys.as_deref(), self.others.keys.as_ref());
        let context = Context { train: true, relations: &relations, group: &self.group, slow_keys: slow, foreign_keys };
        let rows = context.own();
        let output = self.network.loss.criterion(&all, &context)?;
        let compared = output.total();
        let mut report: Vec<(String, Tensor)> =
            output.metrics.iter().map(|(name, metric)| (name.clone(), metric.shallow_clone())).collect();
        let mut loss =
            compared.as_ref().map_or_else(|| own[0].new_zeros([], (Kind::Float, own[0].device())), Tensor::detach);
        for local in &projected.local {
            loss = &loss + asked.mean(local).detach();
            report.extend(asked.metrics(local));
        }
        report.push((LOSS.to_owned(), loss));
        report.push((MOMENTS.to_owned(), tch::no_grad(|| moments(&projected.embeddings))));
        let graphs: Vec<Option<Projected>> =
            graphs.map_or_else(|| chunks.iter().map(|_| None).collect(), |all| all.into_iter().map(Some).collect());
        for part in 0..self.gradients.len() {
            let OfLosses { names, sum, .. } = &mut self.gradients[part];
            let along = match output.total_of(|name| names.contains(&name)) {
                Some(loss) => sum.add_with(&loss, &self.optimizer.params(), &all)?,
                None => all.iter().map(Tensor::zeros_like).collect(),
            };
            let mut along = Tensor::f_cat(&along, 1)?;
            self.group.all_reduce(&mut along)?;
            let along = along.narrow(0, rows.start, rows.end - rows.start).split_with_sizes(&widths, 1);
            self.backward(batch, chunks, &graphs, &along, &asked, part)?;
        }
        self.reports.push(report);
        self.seen.push(Seen { own, relations, slow_keys });
        Ok(())
    }

    fn update(&mut self, step: u64, learning_rate: f64) -> Result<StepReport, Error> {
        let num_batches = self.reports.len().max(1) as f64;
        let of_losses = self.gradients.iter_mut().map(|of_losses| of_losses.sum.take(&self.group, 1.0 / num_batches));
        let mut of_losses = of_losses.collect::<Result<Vec<Summed>, _>>()?;
        let (mut gradients, of_harmony) = match of_losses.len() {
            1 => (of_losses.remove(0), BTreeMap::new()),
            _ => self.harmony.combine(&of_losses, step)?,
        };
        if let Some(proximal) = &self.proximal {
            gradients = proximal.add_to(gradients, &self.optimizer.params());
        }
        let norm = gradients.norm();
        let mut shares = BTreeMap::<String, Tensor>::new();
        for (name, share) in self.reports.drain(..).flatten() {
            let share = wide(&share) / num_batches;
            let sum = shares.remove(&name).map_or_else(|| share.shallow_clone(), |sum| sum + &share);
            shares.insert(name, sum);
        }
        let moments = shares.remove(MOMENTS).unwrap_or_else(|| norm.zeros_like().view([1]));
        let mut values = host_values(shares.values(), &moments, &norm, &self.group)?;
        let grad_norm = values.pop().unwrap_or(f64::NAN);
        let moments = values.split_off(shares.len());
        let mut metrics: BTreeMap<String, f64> = shares.into_keys().zip(values).collect();
        metrics.insert("embedding_std".into(), embedding_std(&moments));
        metrics.extend(of_harmony);
        let loss = metrics.remove(LOSS).unwrap_or(f64::NAN);
        let mut report = StepReport { loss, grad_norm, metrics, suspects: vec![] };
        if !(loss.is_finite() && grad_norm.is_finite()) {
            report.suspects = self.suspects();
            return Ok(report);
        }
        gradients.clip(grad_norm, self.grad_clip);
        self.optimizer.step(gradients.as_slice(), learning_rate)?;
        for Seen { relations, slow_keys, .. } in self.seen.drain(..) {
            let slow_keys = slow_keys.as_deref();
            let context =
                Context { train: true, relations: &relations, group: &self.group, slow_keys, foreign_keys: None };
            self.network.loss.after_step(step, &context);
        }
        if let Some(ema) = &self.ema {
            ema.follow(step);
        }
        Ok(report)
    }

    fn validate(&self, batches: &[Vec<Views>], labels: Option<&[Option<u32>]>) -> Result<ValidationReport, Error> {
        let _no_grad = tch::no_grad_guard();
        // Validates the network that will embed.
        let network = self.ema.as_ref().map_or(&self.network, |ema| &ema.network);
        let solo = ProcessGroup::solo();
        let mut mean = ValidationReport::default();
        let (mut first, mut second, mut groups) = (vec![], vec![], vec![]);
        let part = 1.0 / batches.len().max(1) as f64;
        for chunks in batches {
            let parts = self.each(numbered(chunks), &|(_, chunk)| network.forward(&chunk, Mode::EMBED))?;
            let Projected { embeddings, projections, local } = concatenate(&parts);
            let asked = Asked::of(&self.network.loss, chunks, &solo)?;
            let relations = Relations::of_all(SampleIds::concat(chunks.iter().map(|chunk| &chunk.samples)));
            let slow_keys = self.network.loss.needs_slow_keys().then_some(projections.as_slice());
            let context = Context { slow_keys, ..Context::solo(&relations, &solo, false) };
            // The queue of a momentum loss belongs to the network in training.
            let output = self.network.loss.criterion(&projections, &context)?;
            if let Some(total) = output.total() {
                mean.loss += total.f_double_value(&[])? * part;
            }
            for local in &local {
                mean.loss += asked.mean(local).f_double_value(&[])? * part;
            }
            let of_locals = local.iter().flat_map(|local| asked.metrics(local));
            for (name, value) in output.metrics.into_iter().chain(of_locals) {
                *mean.metrics.entry(name).or_default() += value.f_double_value(&[])? * part;
            }
            first.extend(host_rows(&embeddings[0])?);
            second.extend(host_rows(&embeddings[embeddings.len() - 1])?);
            let samples = relations.samples();
            groups.extend((0..samples.num_pairs()).map(|pair| samples.group(pair)));
        }
        mean.held_out = held_out(&first, &second, self.dim(), labels, &groups)?;
        Ok(mean)
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = self.network.named();
        tensors.extend(self.optimizer.state());
        tensors.extend(self.ema.iter().flat_map(Ema::tensors));
        tensors.extend(self.harmony.tensors());
        tensors
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<(), String> {
        self.network.load(tensors)?;
        if let Some(ema) = &self.ema {
            ema.load(tensors)?;
        }
        self.harmony.load(tensors)?;
        self.optimizer.load_state(tensors)
    }

    fn bank(&mut self) -> Option<&mut MemoryBank> {
        self.network.loss.bank()
    }

    fn meet(&mut self, others: Others) -> Result<(), Error> {
        let keys = others.keys.filter(|keys| keys.numel() > 0);
        if let Some(keys) = &keys {
            check_keys(keys, self.network.loss.key_width(self.dim()))?;
        }
        let keys = keys.map(|keys| keys.to_kind(Kind::Float).to_device(self.device()));
        self.proximal = Proximal::of(others.proximal, &self.optimizer.params());
        self.others = Others { keys, ..others };
        Ok(())
    }

    fn keys(&self, chunks: &[Views]) -> Result<Vec<Tensor>, Error> {
        let Some(loss) = self.network.loss.takes_foreign_keys() else { return Ok(vec![]) };
        let _no_grad = tch::no_grad_guard();
        let network = &self.network;
        let parts = self.each(numbered(chunks), &|(_, chunk)| network.forward(&chunk, Mode::EMBED))?;
        let all = concatenate(&parts).projections;
        let num_views = all.len() / self.network.loss.names().len();
        Ok(all[loss * num_views..][..num_views].iter().map(|keys| keys.to_kind(Kind::Float)).collect())
    }

    fn device(&self) -> Device {
        self.network.device()
    }

    fn dim(&self) -> usize {
        self.network.towers.dim()
    }

    fn side_by_side(&self) -> usize {
        self.side_by_side
    }
}

/// The names of the loss and of the moments of the embeddings among the metrics.
const LOSS: &str = "";
const MOMENTS: &str = "moments";

/// Concatenates the chunks of a batch.
fn concatenate(parts: &[Projected]) -> Projected {
    let join = |of: &dyn Fn(&Projected) -> &Vec<Tensor>| {
        let num_views = parts.first().map_or(0, |part| of(part).len());
        (0..num_views).map(|v| Tensor::cat(&parts.iter().map(|part| &of(part)[v]).collect::<Vec<_>>(), 0)).collect()
    };
    let mut local: Vec<Local> = vec![];
    for of_part in parts.iter().flat_map(|part| &part.local) {
        match local.iter_mut().find(|sum| sum.name == of_part.name) {
            None => local.push(of_part.detached()),
            Some(sum) => sum.add(of_part),
        }
    }
    Projected { embeddings: join(&|part| &part.embeddings), projections: join(&|part| &part.projections), local }
}

/// A scalar whose gradient with respect to each tensor is the one given for it.
fn inner(tensors: &[Tensor], gradients: &[Tensor]) -> Tensor {
    let sums: Vec<Tensor> = tensors.iter().zip(gradients).map(|(t, g)| (t * g).sum(None::<Kind>)).collect();
    Tensor::stack(&sums, 0).sum(None::<Kind>)
}
