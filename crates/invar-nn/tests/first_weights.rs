//! The weights that layers begin with. Alone in its process: LibTorch has one generator, which the test seeds twice.

use invar_nn::layers::{Conv1d, Linear, Window};
use tch::{Device, Tensor, nn};

/// The largest magnitude of many uniform numbers is just below their bound.
fn is_bounded_by(values: &Tensor, bound: f64) {
    let largest = values.abs().max().double_value(&[]);
    assert!(largest <= bound && largest > 0.98 * bound, "{largest}, expected {bound}");
}

#[test]
fn first_weights_are_those_of_he_and_of_tch() {
    let store = || nn::VarStore::new(Device::Cpu);
    let (own, theirs) = (store(), store());
    tch::manual_seed(5);
    Linear::new(own.root() / "a", 40, 50);
    Conv1d::new(own.root() / "b", 12, 30, Window::of(7));
    let own = own.variables();
    // A closed form: He's bound is gain sqrt(3 / fan in), with a gain of sqrt 2 for ReLU.
    is_bounded_by(&own["a.weight"], (6.0f64 / 40.0).sqrt());
    is_bounded_by(&own["a.bias"], (1.0f64 / 40.0).sqrt());
    is_bounded_by(&own["b.weight"], (6.0f64 / (12.0 * 7.0)).sqrt());
    assert_eq!(own["b.bias"].abs().max().double_value(&[]), 0.0);
    tch::manual_seed(5);
    nn::linear(theirs.root() / "a", 40, 50, nn::LinearConfig::default());
    nn::conv1d(theirs.root() / "b", 12, 30, 7, nn::ConvConfig::default());
    let theirs = theirs.variables();
    for name in ["a.weight", "a.bias", "b.weight"] {
        assert_eq!(own[name], theirs[name], "{name}");
    }
}
