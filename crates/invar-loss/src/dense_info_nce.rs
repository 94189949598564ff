//! InfoNCE between matching items of two views: pixels related by an optical flow, places of one scene, moments of one
//! recording (Wang et al., *Dense contrastive learning for self-supervised visual pre-training*, 2021; O Pinheiro et
//! al., *Unsupervised learning of dense visual representations*, 2020).
//!
//! It is a *local* loss: each pair is compared with itself, so the negatives of an item are the other linked items of
//! its own pair. With `l_kj = s a_k . b_j` over the linked tokens `a` of the first view and `b` of the second, of unit
//! length after a linear layer, and link `k` of weight `w_k`:
//!
//! ```text
//! L = sum_k w_k [ ln sum_j e^l_kj - l_kk + ln sum_j e^l_jk - l_kk ] / 2 / sum_k w_k
//! ```
//!
//! Items are input positions: pixels of a picture, row by row, or tokens of a sequence; several can fall under one
//! token of the encoder. Links between the same two tokens, and items joined by a link of weight 0, are neither
//! positives nor negatives.

use std::collections::HashSet;

use invar_dataset::Link;
use invar_nn::{Asked, Encoded, Grid, TokenShape, layers::Linear, unit_length};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use crate::{Error, LOWEST, Local, Loss};

/// Its name in a recipe.
pub const NAME: &str = "dense-info-nce";

/// Settings of [`DenseInfoNce`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenseInfoNceConfig {
    /// Divides the cosines.
    pub temperature: f64,
    /// Dimension of the space in which tokens are compared.
    pub dim: usize,
}

impl Default for DenseInfoNceConfig {
    fn default() -> Self {
        Self { temperature: 0.1, dim: 64 }
    }
}

impl DenseInfoNceConfig {
    /// Builds the loss over the tokens of an encoder.
    ///
    /// # Errors
    /// If a setting is out of range, or the encoder has no tokens.
    pub fn init(&self, path: &nn::Path, tokens: Option<TokenShape>) -> Result<DenseInfoNce, Error> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            let found = self.temperature.to_string();
            return Err(Error::Config { key: "loss.temperature", expected: "above 0", found });
        }
        if self.dim == 0 {
            return Err(Error::Config { key: "loss.dim", expected: "at least 1", found: "0".into() });
        }
        let Some(TokenShape { features, .. }) = tokens else { return Err(Error::NoTokens { loss: NAME }) };
        Ok(DenseInfoNce { head: Linear::new(path / "tokens", features, self.dim), scale: 1.0 / self.temperature })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct DenseInfoNce {
    head: Linear,
    scale: f64,
}

impl Loss for DenseInfoNce {
    fn is_local(&self) -> bool {
        true
    }

    fn reads_links(&self) -> bool {
        true
    }

    fn is_asked(&self, asked: &Asked<'_>) -> bool {
        asked.links.iter().any(|links| !links.is_empty())
    }

    fn num_asked(&self, asked: &Asked<'_>) -> f64 {
        asked.links.iter().flatten().map(|link| f64::from(link.weight)).sum()
    }

    fn local(&self, views: &[Encoded], asked: &Asked<'_>) -> Result<Option<Local>, Error> {
        let [first, second] = views else {
            return Err(Error::Views { loss: NAME, expected: 2, found: views.len() });
        };
        let tokens =
            |view: &Encoded| view.tokens.as_ref().map(Tensor::shallow_clone).ok_or(Error::NoTokens { loss: NAME });
        let (first_tokens, second_tokens) = (tokens(first)?, tokens(second)?);
        let mut all: Option<(Tensor, Tensor)> = None;
        for (pair, links) in asked.links.iter().enumerate() {
            let places = |of: fn(&Link) -> u32, view: usize, tokens: &Tensor| {
                let (grid, width) = (views[view].grid, asked.widths.get(view).copied().flatten());
                links.iter().map(|link| place(of(link), grid, width, tokens)).collect::<Result<Vec<_>, _>>()
            };
            let anchors = places(|link| link.anchor, 0, &first_tokens)?;
            let keys = places(|link| link.key, 1, &second_tokens)?;
            if let Some(bad) = links.iter().find(|link| !(link.weight >= 0.0 && link.weight.is_finite())) {
                let found = bad.weight.to_string();
                return Err(Error::Link { what: "weight of a link", expected: "a number of 0 and more".into(), found });
            }
            let Some((sum, hits)) = self.of_pair(
                &first_tokens.get(pair as i64),
                &second_tokens.get(pair as i64),
                &Linked::new(links, &anchors, &keys),
            ) else {
                continue;
            };
            all = Some(match all {
                None => (sum, hits),
                Some((sums, all_hits)) => (sums + sum, all_hits + hits),
            });
        }
        Ok(all.map(|(sum, hits)| Local { name: NAME, sum, metrics: vec![("linked_accuracy", hits)] }))
    }
}

impl DenseInfoNce {
    /// The weighted sum over the links of one pair, and over those whose nearest is their own. `None` without links to
    /// learn from.
    fn of_pair(&self, first: &Tensor, second: &Tensor, linked: &Linked) -> Option<(Tensor, Tensor)> {
        let n = linked.weights.len() as i64;
        if n == 0 {
            return None;
        }
        let device = first.device();
        let picked = |tokens: &Tensor, places: &[i64]| {
            unit_length(&self.head.forward(&tokens.index_select(0, &Tensor::from_slice(places).to_device(device))))
        };
        let logits = picked(first, &linked.anchors).matmul(&picked(second, &linked.keys).tr()) * self.scale; // [n, n]
        let ignored = Tensor::from_slice(&linked.ignored).to_device(device).view([n, n]);
        let logits = logits.masked_fill(&ignored, LOWEST);
        let weights = Tensor::from_slice(&linked.weights).to_device(device);
        let own = logits.diagonal(0, 0, 1);
        let both = logits.logsumexp(1, false) + logits.logsumexp(0, false) - &own * 2.0;
        let hits = tch::no_grad(|| {
            let nearest = logits.argmax(1, false).eq_tensor(&Tensor::arange(n, (Kind::Int64, device)));
            (nearest.to_kind(Kind::Float) * &weights).sum(Kind::Float)
        });
        Some(((both * weights * 0.5).sum(Kind::Float), hits))
    }
}

/// The links of a pair that are learned from.
struct Linked {
    /// Tokens of the first view.
    anchors: Vec<i64>,
    /// Tokens of the second.
    keys: Vec<i64>,
    weights: Vec<f32>,
    /// Which pairs of links are neither positives nor negatives of each other `[n, n]`.
    ignored: Vec<bool>,
}

impl Linked {
    fn new(links: &[Link], anchors: &[i64], keys: &[i64]) -> Self {
        let apart: HashSet<(i64, i64)> =
            (0..links.len()).filter(|&at| links[at].weight == 0.0).map(|at| (anchors[at], keys[at])).collect();
        let kept: Vec<usize> = (0..links.len()).filter(|&at| links[at].weight > 0.0).collect();
        let ignored = kept.iter().flat_map(|&row| {
            let apart = &apart;
            kept.iter().map(move |&column| {
                let is_same = anchors[row] == anchors[column] || keys[row] == keys[column];
                row != column && (is_same || apart.contains(&(anchors[row], keys[column])))
            })
        });
        let ignored = ignored.collect();
        let of = |values: &[i64]| kept.iter().map(|&at| values[at]).collect();
        Self {
            anchors: of(anchors),
            keys: of(keys),
            weights: kept.iter().map(|&at| links[at].weight).collect(),
            ignored,
        }
    }
}

/// The token covering an item of a view: a pixel of a picture of this width, or a position of a sequence.
fn place(item: u32, grid: Option<Grid>, width: Option<usize>, tokens: &Tensor) -> Result<i64, Error> {
    let (item, num_tokens) = (i64::from(item), tokens.size()[1]);
    let place = match (grid, width) {
        (Some(grid), Some(width)) => {
            let (row, column) = (item / width as i64 / grid.stride, item % width as i64 / grid.stride);
            (row < grid.h && column < grid.w).then_some(row * grid.w + column)
        }
        (Some(grid), None) => Some(item / grid.stride).filter(|&place| place < num_tokens),
        (None, _) => Some(item).filter(|&place| place < num_tokens),
    };
    place.ok_or_else(|| Error::Link {
        what: "item of a link",
        expected: format!("one under the {num_tokens} tokens of its view"),
        found: item.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn link(anchor: u32, key: u32, weight: f32) -> Link {
        Link { anchor, key, weight }
    }

    fn view(factor: f64, grid: Option<Grid>) -> Encoded {
        let tokens = (Tensor::arange(4 * 5, (Kind::Float, Device::Cpu)) * factor).sin().view([1, 4, 5]);
        let one = Tensor::ones([1, 2], (Kind::Float, Device::Cpu));
        Encoded { pooled: one.shallow_clone(), embedding: one, tokens: Some(tokens), grid, attention: vec![] }
    }

    fn loss() -> (nn::VarStore, DenseInfoNce) {
        let store = nn::VarStore::new(Device::Cpu);
        tch::manual_seed(4);
        let config = DenseInfoNceConfig { temperature: 0.5, dim: 3 };
        let loss = config.init(&store.root(), Some(TokenShape { features: 5, stride: 1 })).unwrap();
        (store, loss)
    }

    fn of(
        loss: &DenseInfoNce,
        links: Vec<Link>,
        grid: Option<Grid>,
        width: Option<usize>,
    ) -> Result<Option<Local>, Error> {
        let links = [links];
        loss.local(
            &[view(1.3, grid), view(0.7, grid)],
            &Asked { targets: vec![], links: &links, widths: vec![width; 2], classes: vec![] },
        )
    }

    #[test]
    fn the_sum_of_the_definition() {
        let (_store, loss) = loss();
        let links = vec![link(0, 1, 1.0), link(2, 3, 0.5), link(3, 0, 2.0), link(0, 3, 0.0)];
        let found = of(&loss, links.clone(), None, None).unwrap().unwrap();
        let unit = |factor: f64| unit_length(&loss.head.forward(&view(factor, None).tokens.unwrap().get(0)));
        let cosines = unit(1.3).matmul(&unit(0.7).tr()) * 2.0;
        let l = |a: u32, b: u32| cosines.double_value(&[a.into(), b.into()]);
        let kept = &links[..3];
        let mut expected = 0.0;
        for own in kept {
            let is_apart = |a: u32, b: u32| (a, b) == (0, 3);
            let forth: f64 =
                kept.iter().filter(|o| !is_apart(own.anchor, o.key)).map(|o| l(own.anchor, o.key).exp()).sum();
            let back: f64 =
                kept.iter().filter(|o| !is_apart(o.anchor, own.key)).map(|o| l(o.anchor, own.key).exp()).sum();
            expected += f64::from(own.weight) * (forth.ln() + back.ln() - 2.0 * l(own.anchor, own.key)) / 2.0;
        }
        assert!((found.sum.double_value(&[]) - expected).abs() < 1e-5, "{expected}");
        let asked = Asked { targets: vec![], links: &[links], widths: vec![], classes: vec![] };
        assert_eq!(loss.num_asked(&asked), 3.5);
        // Two links of one token cannot be distinguished.
        let same = of(&loss, vec![link(0, 1, 1.0), link(0, 2, 1.0)], None, None).unwrap().unwrap();
        assert!(same.sum.double_value(&[]).abs() < 1e-6);
        assert!(of(&loss, vec![], None, None).unwrap().is_none());
        assert!(!loss.is_asked(&Asked { targets: vec![], links: &[vec![]], widths: vec![], classes: vec![] }));
    }

    #[test]
    fn pixels_lie_under_tokens_and_others_are_named() {
        let (_store, loss) = loss();
        // Four tokens in two rows, each of 3 x 3 pixels of a picture 6 wide.
        let grid = Some(Grid { h: 2, w: 2, stride: 3 });
        let tokens = view(1.0, None).tokens.unwrap();
        for (pixel, token) in [(0, 0), (5, 1), (2 * 6 + 2, 0), (3 * 6 + 2, 2), (5 * 6 + 5, 3)] {
            assert_eq!(place(pixel, grid, Some(6), &tokens).unwrap(), token, "{pixel}");
        }
        let error = of(&loss, vec![link(36, 0, 1.0)], grid, Some(6)).unwrap_err().to_string();
        assert_eq!(error, "loss dense-info-nce: item of a link: expected one under the 4 tokens of its view, found 36");
        let error = of(&loss, vec![link(0, 0, f32::NAN)], grid, Some(6)).unwrap_err().to_string();
        assert!(error.contains("weight of a link: expected a number of 0 and more, found NaN"), "{error}");
    }
}
