//! Masked tokens: Devlin, Chang, Lee and Toutanova, *BERT: pre-training of deep bidirectional transformers* (2019). The
//! view hides some of its tokens, and each is to be predicted from its surroundings.
//!
//! It is a *local* loss: it looks at one view at a time, position by position, and needs no negatives. A linear layer
//! maps the encoder's token `p`, which covers `stride` positions, to the logits of each of them; the loss is the mean
//! cross-entropy over the positions of the whole batch that have a target ([`Batch::targets`](invar_nn::Batch)).

use invar_nn::{Asked, Encoded, TokenShape, layers::Linear};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use crate::{Error, Local, Loss};

/// Its name in a recipe.
pub const NAME: &str = "masked-token";

/// Settings of [`MaskedToken`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedTokenConfig {
    /// Number of tokens that may be hidden, numbered from 0: 4 for bases.
    pub vocabulary: usize,
}

impl Default for MaskedTokenConfig {
    fn default() -> Self {
        Self { vocabulary: 4 }
    }
}

impl MaskedTokenConfig {
    /// Builds the loss over the tokens of an encoder.
    ///
    /// # Errors
    /// If the vocabulary has fewer than two tokens, or the encoder has no tokens.
    pub fn init(&self, path: &nn::Path, tokens: Option<TokenShape>) -> Result<MaskedToken, Error> {
        if self.vocabulary < 2 {
            let found = self.vocabulary.to_string();
            return Err(Error::Config { key: "loss.vocabulary", expected: "at least 2", found });
        }
        let Some(TokenShape { features, stride }) = tokens else { return Err(Error::NoTokens { loss: NAME }) };
        let logits = Linear::new(path / "logits", features, stride * self.vocabulary);
        Ok(MaskedToken { logits, vocabulary: self.vocabulary as i64 })
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct MaskedToken {
    logits: Linear,
    vocabulary: i64,
}

impl Loss for MaskedToken {
    fn is_local(&self) -> bool {
        true
    }

    fn local(&self, views: &[Encoded], asked: &Asked<'_>) -> Result<Option<Local>, Error> {
        let mut all: Option<Local> = None;
        for (view, targets) in views.iter().zip(&asked.targets) {
            let Some(targets) = targets else { continue };
            let found = self.of_view(view, targets)?;
            match &mut all {
                None => all = Some(found),
                Some(all) => all.add(&found),
            }
        }
        Ok(all)
    }

    fn is_asked(&self, asked: &Asked<'_>) -> bool {
        asked.targets.iter().any(Option::is_some)
    }

    fn num_asked(&self, asked: &Asked<'_>) -> f64 {
        asked.targets.iter().flatten().map(|targets| targets.ge(0).sum(Kind::Double).double_value(&[])).sum()
    }
}

impl MaskedToken {
    /// The sum over the hidden positions of some rows of one view; `targets` `[b, L]`, -1 where there is none.
    fn of_view(&self, view: &Encoded, targets: &Tensor) -> Result<Local, Error> {
        let tokens = view.tokens.as_ref().ok_or(Error::NoTokens { loss: NAME })?; // [b, P, K]
        let (rows, length) = targets.size2()?;
        let logits = self.logits.forward(tokens).view([rows, -1, self.vocabulary]); // [b, P stride, V]
        let found = logits.size();
        if found[1] < length {
            let expected = vec![rows, length, self.vocabulary];
            return Err(Error::Beside { loss: NAME, what: "logits of the positions", expected, found });
        }
        let logits = logits.narrow(1, 0, length).reshape([-1, self.vocabulary]);
        let targets = targets.reshape([-1]).to_kind(Kind::Int64);
        let largest = targets.max().int64_value(&[]);
        if largest >= self.vocabulary {
            let found = (largest + 1).to_string();
            return Err(Error::Config { key: "loss.vocabulary", expected: "as large as that of the views", found });
        }
        let asked = targets.ge(0).nonzero().squeeze_dim(1); // [n]
        let (logits, targets) = (logits.index_select(0, &asked), targets.index_select(0, &asked));
        let each = logits.log_softmax(-1, Kind::Float).gather(1, &targets.unsqueeze(1), false);
        let hits = tch::no_grad(|| logits.argmax(-1, false).eq_tensor(&targets).sum(Kind::Float));
        Ok(Local { name: NAME, sum: each.sum(Kind::Float).neg(), metrics: vec![("masked_accuracy", hits)] })
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn loss() -> (nn::VarStore, MaskedToken) {
        let store = nn::VarStore::new(Device::Cpu);
        tch::manual_seed(2);
        let tokens = Some(TokenShape { features: 6, stride: 2 });
        let loss = MaskedTokenConfig::default().init(&store.root(), tokens).unwrap();
        (store, loss)
    }

    fn encoded(tokens: Tensor) -> Encoded {
        let one = Tensor::ones([tokens.size()[0], 3], (Kind::Float, Device::Cpu));
        let pooled = one.shallow_clone();
        Encoded { embedding: one, pooled, tokens: Some(tokens), grid: None, attention: vec![] }
    }

    #[test]
    fn the_cross_entropy_of_what_is_asked() {
        let (_store, loss) = loss();
        let tokens = (Tensor::arange(2 * 3 * 6, (Kind::Float, Device::Cpu)) * 1.7).sin().view([2, 3, 6]);
        // Five of the six positions that three tokens cover.
        let targets = Tensor::from_slice(&[-1, 2, -1, 0, 3, -1, -1, -1, -1, 1]).view([2, 5]).to_kind(Kind::Int);
        let asked = |targets: Option<&Tensor>| Asked {
            targets: vec![targets.map(Tensor::shallow_clone)],
            links: &[],
            widths: vec![],
            classes: vec![],
        };
        let some = asked(Some(&targets));
        let found = loss.local(&[encoded(tokens.shallow_clone())], &some).unwrap().unwrap();
        let logits = loss.logits.forward(&tokens).view([2, 6, 4]);
        let at = |row: i64, position: i64, token: i64| {
            let l: Vec<f64> = (0..4).map(|v| logits.double_value(&[row, position, v])).collect();
            l.iter().map(|l| l.exp()).sum::<f64>().ln() - l[token as usize]
        };
        let expected = at(0, 1, 2) + at(0, 3, 0) + at(0, 4, 3) + at(1, 4, 1);
        assert!((found.sum.double_value(&[]) - expected).abs() < 1e-5);
        assert_eq!((loss.num_asked(&some), loss.is_asked(&some)), (4.0, true));
        assert!(loss.local(&[encoded(tokens)], &asked(None)).unwrap().is_none());
        assert_eq!((loss.num_asked(&asked(None)), loss.is_asked(&asked(None))), (0.0, false));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let store = nn::VarStore::new(Device::Cpu);
        let error = MaskedTokenConfig::default().init(&store.root(), None).unwrap_err().to_string();
        assert!(
            error.starts_with("loss masked-token needs an encoder that has a vector for each position: "),
            "{error}"
        );
        assert!(error.contains("transformer") && !error.contains("kmer-mlp"), "{error}");
        let (_store, loss) = loss();
        let tokens = Tensor::zeros([1, 3, 6], (Kind::Float, Device::Cpu));
        let targets = Tensor::from_slice(&[-1, 9]).view([1, 2]).to_kind(Kind::Int);
        let asked = Asked { targets: vec![Some(targets)], links: &[], widths: vec![], classes: vec![] };
        let error = loss.local(&[encoded(tokens)], &asked).unwrap_err().to_string();
        assert_eq!(error, "loss.vocabulary must be as large as that of the views, got 10");
    }
}
