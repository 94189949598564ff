//! What the head of every loss has: a projection and a temperature.
//!
//! The three settings `temperature`, `learn_temperature` and `projection` are repeated in the configuration of each
//! loss, so that unknown keys in a recipe are reported by name. Parameters are named `head.<loss>.logit_scale` and
//! `head.<loss>.projectionN.{weight,bias}`.

use invar_nn::{Encoded, Weights, layers::Linear, unit_length};
use tch::{Device, Kind, Tensor, nn};

use crate::Error;

/// CLIP's bound on the learned scale: a temperature of at least 0.01 and at most 1.
const LOGIT_SCALE_MAX: f64 = 4.605_170_185_988_092; // ln 100

/// Projection of embeddings, and the temperature that divides their cosines.
#[derive(Debug)]
pub struct Head {
    scale: Scale,
    projection: Vec<Linear>,
}

#[derive(Debug)]
enum Scale {
    /// `1 / temperature`.
    Fixed(f64),
    /// `ln(1 / temperature)`, a scalar.
    Learned(Weights),
}

impl Head {
    /// A head over embeddings of `dim` dimensions. `projection` holds the widths of the layers, with ReLU between them;
    /// empty means that the embeddings are compared as they are. A learned temperature starts at the given one.
    ///
    /// # Errors
    /// If the temperature or a width is out of range.
    pub fn new(
        path: &nn::Path,
        dim: usize,
        temperature: f64,
        learn_temperature: bool,
        projection: &[usize],
    ) -> Result<Self, Error> {
        let found = temperature.to_string();
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::Config { key: "loss.temperature", expected: "above 0", found });
        }
        if learn_temperature && !(0.01..=1.0).contains(&temperature) {
            return Err(Error::Config { key: "loss.temperature", expected: "in [0.01, 1] to be learned", found });
        }
        if projection.contains(&0) {
            let expected = "widths of at least 1";
            return Err(Error::Config { key: "loss.projection", expected, found: "0".into() });
        }
        let scale = if learn_temperature {
            Scale::Learned(path.var("logit_scale", &[], nn::Init::Const(-temperature.ln())).into())
        } else {
            Scale::Fixed(1.0 / temperature)
        };
        let mut width = dim;
        let mut layers = Vec::with_capacity(projection.len());
        for (number, &next) in projection.iter().enumerate() {
            layers.push(Linear::new(path / format!("projection{number}"), width, next));
            width = next;
        }
        Ok(Self { scale, projection: layers })
    }

    /// The width of what is compared, `P`, given that of the embeddings.
    pub fn width(&self, dim: usize) -> usize {
        self.projection.last().map_or(dim, |last| last.num_out())
    }

    /// Embeddings `[B, D]` to what is compared, `[B, P]`, rows of unit length.
    pub fn project(&self, view: &Encoded) -> Tensor {
        let Some((last, inner)) = self.projection.split_last() else { return view.embedding.shallow_clone() };
        let mut x = view.embedding.shallow_clone();
        for layer in inner {
            x = layer.forward(&x).relu();
        }
        unit_length(&last.forward(&x))
    }

    /// `1 / temperature`, a scalar; if it is learned, gradients flow to its parameter.
    pub fn scale(&self, kind: Kind, device: Device) -> Tensor {
        match &self.scale {
            Scale::Fixed(scale) => Tensor::from(*scale).to_kind(kind).to_device(device),
            Scale::Learned(logit_scale) => logit_scale.exp().to_kind(kind).to_device(device),
        }
    }

    /// The temperature, a scalar without gradient.
    pub fn temperature(&self) -> Tensor {
        match &self.scale {
            Scale::Fixed(scale) => Tensor::from(1.0 / scale),
            Scale::Learned(logit_scale) => logit_scale.detach().neg().exp(),
        }
    }

    /// Clamps a learned `ln(1 / temperature)` to `[0, ln 100]`; to be called after every step.
    pub fn clamp(&self) {
        if let Scale::Learned(logit_scale) = &self.scale {
            tch::no_grad(|| {
                let _ = logit_scale.shallow_clone().clamp_(0.0, LOGIT_SCALE_MAX);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(embedding: Tensor) -> Encoded {
        Encoded { pooled: embedding.shallow_clone(), embedding, tokens: None, grid: None, attention: vec![] }
    }

    #[test]
    fn the_learned_temperature_is_named_clamped_and_has_a_gradient() {
        let store = nn::VarStore::new(Device::Cpu);
        let head = Head::new(&(store.root() / "head" / "some_loss"), 3, 0.07, true, &[]).unwrap();
        let mut logit_scale = store.variables()["head.some_loss.logit_scale"].shallow_clone();
        assert!((logit_scale.double_value(&[]) - (1f64 / 0.07).ln()).abs() < 1e-6);
        assert!((head.temperature().double_value(&[]) - 0.07).abs() < 1e-6);
        for (wild, bound) in [(7.0, 100f64.ln()), (-3.0, 0.0), (2.0, 2.0)] {
            let _ = tch::no_grad(|| logit_scale.fill_(wild));
            head.clamp();
            assert!((logit_scale.double_value(&[]) - bound).abs() < 1e-6);
        }
        // The gradient of exp is exp.
        head.scale(Kind::Double, Device::Cpu).backward();
        assert!((logit_scale.grad().double_value(&[]) - 2f64.exp()).abs() < 1e-5);
    }

    #[test]
    fn a_fixed_temperature_has_no_parameter_and_no_gradient() {
        let store = nn::VarStore::new(Device::Cpu);
        let head = Head::new(&store.root(), 3, 0.2, false, &[]).unwrap();
        head.clamp();
        let scale = head.scale(Kind::Double, Device::Cpu);
        assert!(store.is_empty() && !scale.requires_grad());
        assert_eq!((scale.kind(), scale.double_value(&[])), (Kind::Double, 5.0));
        assert_eq!(head.temperature().double_value(&[]), 0.2);
    }

    #[test]
    fn the_projection_ends_in_unit_rows_of_its_last_width() {
        let store = nn::VarStore::new(Device::Cpu);
        let head = Head::new(&(store.root() / "head" / "l"), 3, 0.1, false, &[8, 4]).unwrap();
        let x = Tensor::rand([5, 3], (Kind::Float, Device::Cpu));
        let z = head.project(&encoded(x.shallow_clone()));
        assert_eq!(z.size(), [5, 4]);
        assert!((z.square().sum_dim_intlist(1, false, Kind::Float) - 1.0).abs().max().double_value(&[]) < 1e-6);
        let mut names: Vec<String> = store.variables().into_keys().collect();
        names.sort();
        let layers = ["projection0.bias", "projection0.weight", "projection1.bias", "projection1.weight"];
        assert_eq!(names, layers.map(|layer| format!("head.l.{layer}")));
        // Without widths, an embedding is not changed.
        let none = Head::new(&store.root(), 3, 0.1, false, &[]).unwrap();
        assert_eq!(none.project(&encoded(x.shallow_clone())), x);
    }

    #[test]
    fn what_is_out_of_range_is_an_error() {
        let store = nn::VarStore::new(Device::Cpu);
        for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Head::new(&store.root(), 3, temperature, false, &[]).is_err());
        }
        let cold = Head::new(&store.root(), 3, 0.001, true, &[]).unwrap_err().to_string();
        assert_eq!(cold, "loss.temperature must be in [0.01, 1] to be learned, got 0.001");
        let narrow = Head::new(&store.root(), 3, 0.1, false, &[8, 0]).unwrap_err().to_string();
        assert_eq!(narrow, "loss.projection must be widths of at least 1, got 0");
    }
}
