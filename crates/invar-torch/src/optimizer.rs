//! AdamW in one kernel per list of parameters.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::{Error, error::check};

/// The hyperparameters of AdamW (Loshchilov and Hutter, *Decoupled weight decay regularization*, 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the running mean of gradients.
    pub beta1: f64,
    /// Decay of the running mean of squared gradients.
    pub beta2: f64,
    /// Shrinkage per step, times the learning rate.
    pub weight_decay: f64,
    /// Added to the denominator.
    pub eps: f64,
}

/// State of AdamW, one tensor per parameter, owned by the caller so that it can be saved.
pub struct AdamWState<'a> {
    /// Running mean of gradients, with the parameter's shape.
    pub exp_avgs: &'a [Tensor],
    /// Running mean of squared gradients, with the parameter's shape.
    pub exp_avg_sqs: &'a [Tensor],
    /// Steps taken, an f32 scalar on the parameter's device; incremented by the step.
    pub steps: &'a [Tensor],
}

/// One step of `at::_fused_adamw_` on CPU or CUDA: `torch.optim.AdamW(.., fused=True)`. A gradient may differ from its
/// parameter in memory layout; the state may not.
///
/// # Errors
/// If the lists differ in length, or LibTorch fails (shapes, devices).
pub fn fused_adamw(adamw: AdamW, params: &[Tensor], grads: &[Tensor], state: &AdamWState<'_>) -> Result<(), Error> {
    let lists =
        [("gradients", grads), ("means", state.exp_avgs), ("squares", state.exp_avg_sqs), ("steps", state.steps)];
    for (what, list) in lists {
        if list.len() != params.len() {
            return Err(Error::Lengths { parameters: params.len(), what, found: list.len() });
        }
    }
    if params.is_empty() {
        return Ok(());
    }
    let pointers = |list: &[Tensor]| list.iter().map(Tensor::as_ptr).collect::<Vec<_>>();
    let (p, g) = (pointers(params), pointers(grads));
    let (m, v, t) = (pointers(state.exp_avgs), pointers(state.exp_avg_sqs), pointers(state.steps));
    let AdamW { learning_rate, beta1, beta2, weight_decay, eps } = adamw;
    // SAFETY: every pointer is to a live tensor, and all lists hold `params.len()` of them.
    check("fused AdamW", unsafe {
        invar_torch_fused_adamw(
            p.len(),
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            t.as_ptr(),
            learning_rate,
            beta1,
            beta2,
            weight_decay,
            eps,
        )
    })
}

unsafe extern "C" {
    fn invar_torch_fused_adamw(
        count: usize,
        params: *const *const C_tensor,
        grads: *const *const C_tensor,
        exp_avgs: *const *const C_tensor,
        exp_avg_sqs: *const *const C_tensor,
        steps: *const *const C_tensor,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> *mut c_char;
}

#[cfg(test)]
#[allow(clippy::excessive_precision)] // expected values as PyTorch printed them
mod tests {
    use super::*;
    use tch::{Device, Kind};

    // p = torch.nn.Parameter(torch.tensor([1., -2., 3., 0.5]))
    // o = torch.optim.AdamW([p], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05)   # not fused
    // for g in ([0.1, -0.2, 0.3, 0.], [0.5, 0.5, -0.5, 1e-3], [-1., 2., 0., 0.25]):
    //     p.grad = torch.tensor(g); o.step()
    // print(p.data.tolist(), o.state[p]["exp_avg"].tolist(), o.state[p]["exp_avg_sq"].tolist())
    #[test]
    fn three_steps_equal_torch_optim_adamw() {
        let params = [Tensor::from_slice(&[1f32, -2., 3., 0.5])];
        let zeros = || [Tensor::zeros([4], (Kind::Float, Device::Cpu))];
        let (exp_avgs, exp_avg_sqs) = (zeros(), zeros());
        let steps = [Tensor::zeros([], (Kind::Float, Device::Cpu))];
        let adamw = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.05, eps: 1e-8 };
        for grad in [[0.1f32, -0.2, 0.3, 0.], [0.5, 0.5, -0.5, 1e-3], [-1., 2., 0., 0.25]] {
            let state = AdamWState { exp_avgs: &exp_avgs, exp_avg_sqs: &exp_avg_sqs, steps: &steps };
            fused_adamw(adamw, &params, &[Tensor::from_slice(&grad)], &state).unwrap();
        }
        assert_eq!(steps[0].double_value(&[]), 3.0);
        close(&params[0], EXPECTED_PARAM);
        close(&exp_avgs[0], EXPECTED_MEAN);
        close(&exp_avg_sqs[0], EXPECTED_SQUARE);
    }

    const EXPECTED_PARAM: [f32; 4] = [0.827175736, -1.98535228, 2.90812063, 0.354841262];
    const EXPECTED_MEAN: [f32; 4] = [-0.0469000004, 0.228799999, -0.0206999965, 0.0250899997];
    const EXPECTED_SQUARE: [f32; 4] = [0.0125730094, 0.0428670384, 0.00335709006, 0.000625009881];

    fn close(tensor: &Tensor, expected: [f32; 4]) {
        let found = Vec::<f32>::try_from(tensor).unwrap();
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 2e-6), "{found:?} {expected:?}");
    }

    fn step(param: &Tensor, grad: &Tensor) -> Result<Tensor, Error> {
        let param = [param.copy()];
        let zeros = || [Tensor::zeros(param[0].size(), (Kind::Float, Device::Cpu))];
        let (exp_avgs, exp_avg_sqs, steps) = (zeros(), zeros(), [Tensor::zeros([], (Kind::Float, Device::Cpu))]);
        let state = AdamWState { exp_avgs: &exp_avgs, exp_avg_sqs: &exp_avg_sqs, steps: &steps };
        let adamw = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, eps: 1e-2 };
        fused_adamw(adamw, &param, &[grad.shallow_clone()], &state)?;
        Ok(param[0].shallow_clone())
    }

    #[test]
    fn a_gradient_may_lie_in_another_order() {
        let wave = |len: i64| Tensor::arange(len, (Kind::Float, Device::Cpu)).sin().view([2, 3, 2, 2]);
        let (param, grad) = (wave(24), wave(24) * 0.01);
        let channels_last = grad.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        assert_eq!(channels_last, grad);
        assert_ne!(channels_last.stride(), grad.stride());
        assert_eq!(step(&param, &channels_last).unwrap(), step(&param, &grad).unwrap());
    }

    #[test]
    fn a_gradient_of_another_shape_is_refused() {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
        let error = step(&zeros(&[2, 3]), &zeros(&[3, 2])).unwrap_err().to_string();
        assert!(error.contains("[3, 2]") && error.contains("[2, 3]"), "{error}");
    }

    #[test]
    fn lists_of_other_lengths_are_refused() {
        let (p, none) = ([Tensor::from_slice(&[1f32])], AdamWState { exp_avgs: &[], exp_avg_sqs: &[], steps: &[] });
        let adamw = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, eps: 1e-8 };
        assert!(matches!(fused_adamw(adamw, &p, &[], &none), Err(Error::Lengths { parameters: 1, found: 0, .. })));
    }
}
