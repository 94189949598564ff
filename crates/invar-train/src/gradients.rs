//! Gradients of the weights: summed over chunks, batches and processes, measured and clipped.

use invar_torch::ProcessGroup;
use tch::Tensor;

use crate::Error;

/// The sum so far, one entry per parameter. Nothing here is done in place: autograd may return one tensor for two
/// parameters.
pub struct Gradients {
    sums: Vec<Option<Tensor>>,
}

impl Gradients {
    /// An empty sum for `params`.
    pub fn new(params: &[&Tensor]) -> Self {
        Self { sums: params.iter().map(|_| None).collect() }
    }

    /// Adds the gradient of a scalar with respect to the parameters; returns the gradients with respect to `others`,
    /// zeros where there is none.
    ///
    /// # Errors
    /// If LibTorch fails.
    pub fn add_with(&mut self, loss: &Tensor, params: &[&Tensor], others: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let inputs: Vec<&Tensor> = params.iter().copied().chain(others).collect();
        let mut found = gradients_of(loss, &inputs)?;
        let rest = found.split_off(params.len());
        self.sum(found);
        Ok(rest.into_iter().zip(others).map(|(g, other)| if g.defined() { g } else { other.zeros_like() }).collect())
    }

    /// Adds gradients found by [`gradients_of`], one per parameter.
    pub fn sum(&mut self, found: Vec<Tensor>) {
        for (sum, gradient) in self.sums.iter_mut().zip(found).filter(|(_, gradient)| gradient.defined()) {
            match sum {
                None => *sum = Some(gradient),
                Some(sum) => *sum = &*sum + gradient,
            }
        }
    }

    /// The sum over all processes, times `factor`; then starts over. All parameters go in one message: the latency of a
    /// message equals that of megabytes.
    ///
    /// # Errors
    /// If a peer died.
    pub fn take(&mut self, group: &ProcessGroup, factor: f64) -> Result<Summed, Error> {
        let mut sums: Vec<Tensor> = self.sums.iter_mut().map(|sum| sum.take().unwrap_or_else(Tensor::new)).collect();
        if group.size() > 1 {
            let defined: Vec<&mut Tensor> = sums.iter_mut().filter(|sum| sum.defined()).collect();
            let mut flat = Tensor::cat(&defined.iter().map(|sum| sum.flatten(0, -1)).collect::<Vec<_>>(), 0);
            group.all_reduce(&mut flat)?;
            let mut first = 0;
            for sum in defined {
                let length = sum.numel() as i64;
                *sum = flat.narrow(0, first, length).view_as(sum);
                first += length;
            }
        }
        if factor != 1.0 {
            for sum in sums.iter_mut().filter(|sum| sum.defined()) {
                *sum = &*sum * factor;
            }
        }
        Ok(Summed(sums))
    }
}

/// The gradients of a scalar, one per input; undefined where the scalar does not depend on it.
///
/// # Errors
/// If LibTorch fails.
pub fn gradients_of(loss: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>, Error> {
    gradients_keeping(false, loss, inputs)
}

/// As [`gradients_of`]; `keep` retains the graph for another pass through it.
///
/// # Errors
/// If LibTorch fails.
pub(crate) fn gradients_keeping(keep: bool, loss: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>, Error> {
    if !loss.requires_grad() {
        // It depends on nothing that is trained: of a chunk without a label, say, beside a frozen encoder.
        return Ok(inputs.iter().map(|_| Tensor::new()).collect());
    }
    Ok(Tensor::f_run_backward(&[loss], inputs, keep, false)?)
}

/// The gradient of a step, one tensor per parameter; undefined where the loss does not depend on it.
pub struct Summed(Vec<Tensor>);

impl FromIterator<Tensor> for Summed {
    fn from_iter<I: IntoIterator<Item = Tensor>>(gradients: I) -> Self {
        Self(gradients.into_iter().collect())
    }
}

impl Summed {
    /// The tensors, in the order of the parameters.
    pub fn as_slice(&self) -> &[Tensor] {
        &self.0
    }

    /// The L2 norm of all gradients together, a scalar on their device.
    pub fn norm(&self) -> Tensor {
        let norms: Vec<Tensor> = self.0.iter().filter(|g| g.defined()).map(Tensor::norm).collect();
        if norms.is_empty() { Tensor::from(0f32) } else { Tensor::stack(&norms, 0).norm() }
    }

    /// Scales the gradients down to a global norm of `max_norm`, given their `norm` (Pascanu, Mikolov and Bengio 2013).
    /// A `max_norm` of 0 means no bound.
    pub fn clip(&mut self, norm: f64, max_norm: f64) {
        if max_norm > 0.0 && norm > max_norm {
            for gradient in self.0.iter_mut().filter(|g| g.defined()) {
                *gradient = &*gradient * (max_norm / (norm + 1e-6));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_bounds_the_norm_and_keeps_the_direction() {
        let mut gradients =
            Summed(vec![Tensor::from_slice(&[3f64, 0.]), Tensor::from_slice(&[0., 4f64]), Tensor::new()]);
        let norm = gradients.norm().double_value(&[]);
        assert_eq!(norm, 5.0); // 3-4-5 triangle
        gradients.clip(norm, 0.0);
        assert_eq!(gradients.norm().double_value(&[]), 5.0);
        gradients.clip(norm, 10.0);
        assert_eq!(gradients.norm().double_value(&[]), 5.0);
        gradients.clip(norm, 1.0);
        assert!((gradients.norm().double_value(&[]) - 1.0).abs() < 1e-6);
        assert!((gradients.0[0].double_value(&[0]) - 0.6).abs() < 1e-6);
    }

    #[test]
    fn what_depends_on_nothing_trained_has_no_gradients() {
        let x = Tensor::from(2.0).set_requires_grad(true);
        assert!(!gradients_of(&Tensor::from(3.0), &[&x]).unwrap()[0].defined());
        // Nor have all gradients together a length then.
        assert_eq!(Summed(vec![Tensor::new()]).norm().double_value(&[]), 0.0);
    }

    #[test]
    fn gradients_of_several_losses_are_summed() {
        let [x, y, z] = [2.0, 3.0, 5.0].map(|value| Tensor::from(value).set_requires_grad(true));
        let mut gradients = Gradients::new(&[&x, &y, &z]);
        gradients.sum(gradients_of(&(&x * &y), &[&x, &y, &z]).unwrap());
        let other = gradients.add_with(&(&x * &x), &[&x, &y, &z], &[z.shallow_clone()]).unwrap();
        assert_eq!(other[0].double_value(&[]), 0.0);
        // d(xy + x²) = (y + 2x, x), halved.
        let summed = gradients.take(&ProcessGroup::solo(), 0.5).unwrap();
        assert_eq!(summed.0[0].double_value(&[]), 3.5);
        assert_eq!(summed.0[1].double_value(&[]), 1.0);
        assert!(!summed.0[2].defined());
        assert!(gradients.take(&ProcessGroup::solo(), 1.0).unwrap().0.iter().all(|g| !g.defined()));
    }
}
