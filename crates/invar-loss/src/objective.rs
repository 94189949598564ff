//! What is minimised: a weighted sum of losses over the same batch.
//!
//! In a recipe a single loss is the table `[loss]`; several are tables `[[loss]]` with a `weight` each (1 by default):
//!
//! ```toml
//! [[loss]]
//! type = "info-nce"
//! temperature = 0.2
//!
//! [[loss]]
//! type = "masked-token"
//! weight = 0.5
//! ```
//!
//! Each has a head and a criterion of its own. A single loss of weight 1 is that loss, bit for bit.

use std::fmt;

use invar_nn::{Asked, Encoded, Mode, Outputs};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};
use tch::{Tensor, nn};

use crate::{Context, Error, Local, Loss, LossConfig, LossOutput, MemoryBank};

/// The losses of a recipe: its table `[loss]`, or tables `[[loss]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LossTables {
    /// At least one.
    pub losses: Vec<WeightedLoss>,
}

/// A loss and its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedLoss {
    /// Factor on its value, above 0.
    #[serde(default = "one")]
    pub weight: f64,
    /// The loss.
    #[serde(flatten)]
    pub loss: LossConfig,
}

fn one() -> f64 {
    1.0
}

impl Default for LossTables {
    fn default() -> Self {
        LossConfig::default().into()
    }
}

impl From<LossConfig> for LossTables {
    fn from(loss: LossConfig) -> Self {
        Self { losses: vec![WeightedLoss { weight: 1.0, loss }] }
    }
}

impl Serialize for LossTables {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.losses[..] {
            [WeightedLoss { weight, loss }] if *weight == 1.0 => loss.serialize(serializer),
            losses => losses.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LossTables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = LossTables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table [loss], or tables [[loss]]")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                LossConfig::deserialize(MapAccessDeserializer::new(map)).map(LossTables::from)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut tables: A) -> Result<Self::Value, A::Error> {
                let mut losses: Vec<WeightedLoss> = vec![];
                while let Some(loss) = tables.next_element()? {
                    losses.push(loss);
                }
                if losses.is_empty() { Err(de::Error::invalid_length(0, &self)) } else { Ok(LossTables { losses }) }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl LossTables {
    /// Builds the losses over what the encoder gives; their parameters are under `path` (by convention `head`) and the name of each.
    ///
    /// # Errors
    /// If a setting is out of range, an encoder lacks what a loss needs, or a loss is listed twice.
    pub fn init(&self, path: &nn::Path, outputs: Outputs) -> Result<Objective, Error> {
        let mut parts: Vec<Part> = vec![];
        for WeightedLoss { weight, loss } in &self.losses {
            let name = loss.name();
            if !(*weight > 0.0 && weight.is_finite()) {
                return Err(Error::Config { key: "loss.weight", expected: "above 0", found: weight.to_string() });
            }
            if parts.iter().any(|part| part.name == name) {
                let expected = "losses of different types";
                return Err(Error::Config { key: "loss.type", expected, found: format!("{name} twice") });
            }
            parts.push(Part { name, weight: *weight, loss: loss.init(path, outputs)? });
        }
        Ok(Objective { parts })
    }
}

/// Heads and criteria. Several threads may project at the same time.
pub struct Objective {
    parts: Vec<Part>,
}

struct Part {
    name: &'static str,
    weight: f64,
    loss: Box<dyn Loss>,
}

impl Objective {
    /// What the losses need from the encoder besides the embedding.
    pub fn wants(&self, mode: Mode) -> Mode {
        Mode { tokens: mode.tokens || self.parts.iter().any(|part| part.loss.needs_tokens()), ..mode }
    }

    /// Whether a criterion compares with projections by a slow copy of the network.
    pub fn needs_slow_keys(&self) -> bool {
        self.parts.iter().any(|part| part.loss.needs_slow_keys())
    }

    /// The loss that compares with [`Context::foreign_keys`], by number.
    pub fn takes_foreign_keys(&self) -> Option<usize> {
        self.parts.iter().position(|part| part.loss.takes_foreign_keys())
    }

    /// The width of its projections, over embeddings of `dim` dimensions.
    pub fn key_width(&self, dim: usize) -> Option<usize> {
        let part = &self.parts[self.takes_foreign_keys()?];
        Some(part.loss.head().map_or(0, |head| head.width(dim)))
    }

    /// The projections of one view `[B, P]` by each loss; without columns if a loss compares nothing.
    pub fn project(&self, view: &Encoded) -> Vec<Tensor> {
        self.parts.iter().map(|part| part.loss.project(view)).collect()
    }

    /// This process's share of the weighted losses; with several losses, the metrics include each one without its
    /// weight. The projections of loss `l` and view `v` are at `l * num_views + v` in `projections`, and likewise for
    /// the slow keys.
    ///
    /// # Errors
    /// As [`Loss::criterion`].
    pub fn criterion(&self, projections: &[Tensor], context: &Context) -> Result<LossOutput, Error> {
        let mut all = LossOutput { terms: vec![], metrics: vec![] };
        for (number, part) in self.parts.iter().enumerate() {
            let output = part.loss.criterion(self.of(number, projections), &self.context(number, context))?;
            if self.parts.len() > 1 {
                all.metrics.extend(output.terms.iter().map(|(name, term)| ((*name).to_owned(), term.detach())));
            }
            let weighed = |term: Tensor| if part.weight == 1.0 { term } else { term * part.weight };
            all.terms.extend(output.terms.into_iter().map(|(name, term)| (name, weighed(term))));
            all.metrics.extend(output.metrics.into_iter().map(|(name, metric)| (self.named(part, &name), metric)));
        }
        Ok(all)
    }

    /// The local losses over some rows of the views, one entry per loss that finds targets: the sum is weighted, and
    /// the first metric is the unweighted value.
    ///
    /// # Errors
    /// As [`Loss::local`].
    pub fn local(&self, views: &[Encoded], asked: &Asked<'_>) -> Result<Vec<Local>, Error> {
        let mut all = vec![];
        for part in self.locals() {
            let Some(mut found) = part.loss.local(views, asked)? else { continue };
            found.metrics.insert(0, (part.name, found.sum.detach()));
            if part.weight != 1.0 {
                found.sum = &found.sum * part.weight;
            }
            all.push(found);
        }
        Ok(all)
    }

    /// How many places each local loss asks about, in the order of [`Objective::local_names`].
    pub fn num_asked(&self, asked: &Asked<'_>) -> Vec<f64> {
        self.locals().map(|part| part.loss.num_asked(asked)).collect()
    }

    /// The first local loss that finds nothing to ask about.
    pub fn unasked(&self, asked: &Asked<'_>) -> Option<&'static str> {
        self.locals().find(|part| !part.loss.is_asked(asked)).map(|part| part.name)
    }

    /// Whether a loss uses the links between the items of a pair.
    pub fn reads_links(&self) -> bool {
        self.parts.iter().any(|part| part.loss.reads_links())
    }

    /// Names of the losses, which their terms share.
    pub fn names(&self) -> Vec<&'static str> {
        self.parts.iter().map(|part| part.name).collect()
    }

    /// Names of the local losses.
    pub fn local_names(&self) -> Vec<&'static str> {
        self.locals().map(|part| part.name).collect()
    }

    /// Called after each optimizer step, as [`Loss::after_step`].
    pub fn after_step(&mut self, step: u64, context: &Context) {
        let num_parts = self.parts.len();
        for (number, part) in self.parts.iter_mut().enumerate() {
            part.loss.after_step(step, &context_of(number, num_parts, context));
        }
    }

    /// The memory of past batches of one of the losses.
    pub fn bank(&mut self) -> Option<&mut MemoryBank> {
        self.parts.iter_mut().find_map(|part| part.loss.bank())
    }

    fn locals(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.loss.is_local())
    }

    fn of<'a>(&self, number: usize, projections: &'a [Tensor]) -> &'a [Tensor] {
        of(number, self.parts.len(), projections)
    }

    fn context<'a>(&self, number: usize, context: &Context<'a>) -> Context<'a> {
        context_of(number, self.parts.len(), context)
    }

    /// A metric's name: with several losses, prefixed with the name of the loss.
    fn named(&self, part: &Part, metric: &str) -> String {
        if self.parts.len() == 1 { metric.to_owned() } else { format!("{}/{metric}", part.name) }
    }
}

/// The projections of one of the losses.
fn of(number: usize, num_parts: usize, projections: &[Tensor]) -> &[Tensor] {
    let num_views = projections.len() / num_parts;
    &projections[number * num_views..][..num_views]
}

fn context_of<'a>(number: usize, num_parts: usize, context: &Context<'a>) -> Context<'a> {
    let slow_keys = context.slow_keys.map(|keys| of(number, num_parts, keys));
    Context { slow_keys, ..*context }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn read(json: &str) -> Result<LossTables, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn one_table_is_that_loss_and_several_have_weights() {
        let one = read(r#"{"type": "info-nce", "temperature": 0.2}"#).unwrap();
        assert_eq!((one.losses.len(), one.losses[0].weight), (1, 1.0));
        assert!(serde_json::to_string(&one).unwrap().starts_with(r#"{"type":"info-nce""#));
        let two = read(r#"[{"type": "info-nce", "weight": 2.0}, {"type": "masked-token"}]"#).unwrap();
        assert_eq!(two.losses.iter().map(|loss| loss.weight).collect::<Vec<_>>(), [2.0, 1.0]);
        assert_eq!(read(&serde_json::to_string(&two).unwrap()).unwrap(), two);
        for (json, reason) in [
            (r#"[{"type": "info-nce", "temprature": 1}]"#, "unknown field `temprature`"),
            (r#"[{"type": "info-nce", "weight": "much"}]"#, "invalid type: string \"much\""),
            ("[]", "invalid length 0, expected a table [loss], or tables [[loss]]"),
            (r#"[{"type": "other"}]"#, "unknown variant `other`"),
            ("3", "expected a table [loss]"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let store = nn::VarStore::new(Device::Cpu);
        let refused = |json: &str| match read(json).unwrap().init(&store.root(), Outputs::of_dim(4)) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{json}"),
        };
        assert_eq!(refused(r#"[{"type": "sigmoid", "weight": 0}]"#), "loss.weight must be above 0, got 0");
        let twice = refused(r#"[{"type": "sigmoid"}, {"type": "sigmoid"}]"#);
        assert_eq!(twice, "loss.type must be losses of different types, got sigmoid twice");
        assert!(refused(r#"[{"type": "sigmoid"}, {"type": "masked-token"}]"#).contains("needs an encoder"));
    }
}
