//! Values with precomputed gradients.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::{Error, error::check};

const OPERATION: &str = "attaching gradients";

/// A scalar `[]` equal to `value`, whose backward pass gives every input its gradient times the incoming one.
///
/// `inputs` are pairs of a tensor of any shape and the gradient of `value` with respect to it, of the same shape and
/// device. An input that does not require a gradient, or whose gradient is undefined, gets none; one that occurs in
/// several pairs gets the sum. Graphs behind `value` and the gradients are not followed, and the gradients count as
/// constants: there is no second derivative.
///
/// # Errors
/// If `value` is not a scalar, or a gradient differs from its input in shape or device.
pub fn attach_gradients(value: &Tensor, inputs: &[(&Tensor, &Tensor)]) -> Result<Tensor, Error> {
    same("the value", "[]".into(), format!("{:?}", value.size()))?;
    let mut pointers = (Vec::new(), Vec::new());
    for (index, (input, gradient)) in inputs.iter().enumerate() {
        if !input.defined() || !gradient.defined() {
            continue;
        }
        let describe = |tensor: &Tensor| format!("{:?} on {:?}", tensor.size(), tensor.device());
        same(&format!("gradient {index}"), describe(input), describe(gradient))?;
        if input.requires_grad() {
            pointers.0.push(input.as_ptr());
            pointers.1.push(gradient.as_ptr());
        }
    }
    let mut result = std::ptr::null_mut();
    let (inputs, gradients) = pointers;
    // SAFETY: every pointer is to a live tensor, both lists hold `inputs.len()` of them, and `result` is ours to write.
    check(OPERATION, unsafe {
        invar_torch_attach_gradients(value.as_ptr(), inputs.len(), inputs.as_ptr(), gradients.as_ptr(), &raw mut result)
    })?;
    // SAFETY: on success it is a new tensor, which nobody else owns.
    Ok(unsafe { Tensor::from_ptr(result) })
}

fn same(what: &str, expected: String, found: String) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Tensor { operation: OPERATION, what: what.into(), expected, found })
}

unsafe extern "C" {
    fn invar_torch_attach_gradients(
        value: *const C_tensor,
        count: usize,
        inputs: *const *const C_tensor,
        gradients: *const *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, no_grad};

    /// Not from the generator, which other tests may be seeding at the same time.
    fn leaf(seed: i64, shape: &[i64]) -> Tensor {
        let numbers = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
        (numbers * 1.7 + seed).sin().view(shape).set_requires_grad(true)
    }

    /// sum(x y^T) / 2 + sum(x), by autograd.
    fn tracked(x: &Tensor, y: &Tensor) -> Tensor {
        x.matmul(&y.tr()).sum(Kind::Double) / 2.0 + x.sum(Kind::Double)
    }

    /// The same with gradients by hand: d/dx = 1 (sum of y's rows)^T / 2 + 1, d/dy = 1 (sum of x's rows)^T / 2.
    fn attached(x: &Tensor, y: &Tensor) -> Tensor {
        let (value, dx, dy) = no_grad(|| {
            let row_sum = |t: &Tensor| t.sum_dim_intlist([0i64].as_slice(), true, Kind::Double);
            let dx: Tensor = row_sum(y).expand_as(x) / 2.0 + 1.0;
            (tracked(x, y), dx, row_sum(x).expand_as(y) / 2.0)
        });
        attach_gradients(&value, &[(x, &dx), (y, &dy)]).unwrap()
    }

    fn gradients(f: fn(&Tensor, &Tensor) -> Tensor) -> (f64, [Tensor; 3]) {
        let (x, y, scale) = (leaf(1, &[5, 3]), leaf(2, &[4, 3]), leaf(3, &[]));
        // Inner nodes as inputs, and a factor that depends on a leaf: the chain rule on both sides.
        let (u, v) = (x.tanh(), &y * 3.0);
        let loss = f(&u, &v) * scale.exp() + x.square().sum(Kind::Double);
        loss.backward();
        (loss.double_value(&[]), [x.grad(), y.grad(), scale.grad()])
    }

    #[test]
    fn gradients_equal_those_of_autograd() {
        let ((expected, expected_gradients), (found, found_gradients)) = (gradients(tracked), gradients(attached));
        assert!((expected - found).abs() < 1e-12, "{expected} {found}");
        for (expected, found) in expected_gradients.iter().zip(&found_gradients) {
            assert!(expected.allclose(found, 1e-12, 1e-12, false), "{expected:?} {found:?}");
            assert!(expected.abs().max().double_value(&[]) > 0.01);
        }
    }

    #[test]
    fn an_input_used_twice_gets_the_sum() {
        let run = |f: fn(&Tensor) -> Tensor| {
            let x = leaf(4, &[6, 3]);
            f(&x).backward();
            x.grad()
        };
        let expected = run(|x| tracked(x, x));
        assert!(expected.allclose(&run(|x| attached(x, x)), 1e-12, 1e-12, false));
        // And a value used twice gets both factors.
        let twice = run(|x| {
            let value = attached(x, x);
            &value * 2.0 + &value
        });
        assert!((expected * 3.0).allclose(&twice, 1e-12, 1e-12, false));
    }

    #[test]
    fn backward_can_be_asked_for_one_input_only() {
        let (x, y) = (leaf(1, &[5, 3]), leaf(2, &[4, 3]));
        let expected = Tensor::run_backward(&[tracked(&x, &y)], &[&y], false, false);
        let found = Tensor::run_backward(&[attached(&x, &y)], &[&y], false, false);
        assert!(expected[0].allclose(&found[0], 1e-12, 1e-12, false));
        assert!(!x.grad().defined());
    }

    #[test]
    fn inputs_without_gradients_get_none() {
        let (x, fixed) = (leaf(1, &[2]), Tensor::ones([3], (Kind::Double, Device::Cpu)));
        let value = Tensor::from(2.0);
        let ones = x.ones_like();
        let undefined = Tensor::new();
        let y = leaf(2, &[2]);
        let pairs = [(&x, &ones), (&fixed, &fixed), (&undefined, &ones), (&y, &undefined)];
        let result = attach_gradients(&value, &pairs).unwrap();
        result.backward();
        assert_eq!(x.grad(), ones);
        assert!(!y.grad().defined() && !fixed.grad().defined());
        let constant = attach_gradients(&value, &[(&fixed, &fixed)]).unwrap();
        assert_eq!((constant.requires_grad(), constant.double_value(&[])), (false, 2.0));
        assert!(!attach_gradients(&value, &[]).unwrap().requires_grad());
    }

    #[test]
    fn the_result_does_not_share_the_memory_of_the_value() {
        let (x, mut value) = (leaf(1, &[2]), Tensor::from(2.0));
        let result = attach_gradients(&value, &[(&x, &x.ones_like())]).unwrap();
        let _ = value.fill_(7.0);
        assert_eq!(result.double_value(&[]), 2.0);
    }

    #[test]
    fn gradients_of_another_kind_are_cast_to_the_input() {
        let x = Tensor::ones([2], (Kind::BFloat16, Device::Cpu)).set_requires_grad(true);
        let gradient = Tensor::from_slice(&[0.5f32, 4.0]);
        (attach_gradients(&Tensor::from(1f32), &[(&x, &gradient)]).unwrap() * 2.0).backward();
        assert_eq!(x.grad().kind(), Kind::BFloat16);
        assert_eq!(Vec::<f32>::try_from(x.grad().to_kind(Kind::Float)).unwrap(), [1.0, 8.0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_told() {
        let (x, y) = (leaf(1, &[2, 3]), leaf(2, &[3, 2]));
        let error = attach_gradients(&Tensor::from(1.0), &[(&x, &x.ones_like()), (&x, &y)]).unwrap_err();
        let expected = "attaching gradients: gradient 1: expected [2, 3] on Cpu, found [3, 2] on Cpu";
        assert_eq!(error.to_string(), expected);
        assert!(matches!(attach_gradients(&x, &[]), Err(Error::Tensor { .. })));
    }
}
