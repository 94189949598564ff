//! The boundary network that runs without LibTorch, compared with LibTorch.
#![cfg(feature = "torch")]

use invar_micrographs::{
    learned::{BoundaryNetwork, Layer, NUM_INPUTS, inputs},
    synthetic::{NewKind, new_micrograph},
};
use invar_nn::{layers::Precision, unet::UNet};
use tch::{Device, Kind, Tensor, nn};

/// A network of the shipped size with random weights, and norms with running statistics of pictures.
fn network() -> UNet {
    tch::manual_seed(20);
    let store = nn::VarStore::new(Device::Cpu);
    let network = UNet::new(&store.root(), NUM_INPUTS as i64, &[8, 16, 32, 48, 64]);
    for _ in 0..20 {
        let _ = network.forward(&Tensor::randn([2, 2, 64, 64], (Kind::Float, Device::Cpu)), Precision::F32, true);
    }
    network
}

#[test]
fn probabilities_are_those_of_libtorch() {
    let network = network();
    let layer =
        |conv: invar_nn::unet::FoldedConv| Layer { extents: conv.extents, kernel: conv.kernel, bias: conv.bias };
    let layers = network.folded().into_iter().map(layer).collect();
    let own = BoundaryNetwork::new(vec![8, 16, 32, 48, 64], layers).unwrap();
    let own = BoundaryNetwork::from_bytes(&own.to_bytes()).unwrap();
    // Multiples of 16, so that no pixels are mirrored on either side.
    for (side, index) in [(16, 1), (112, 2), (208, 3)] {
        let grey = new_micrograph(NewKind::Curtained, side, 5, index).grey;
        let x = Tensor::from_slice(&inputs(&grey, side, side)).view([1, 2, side as i64, side as i64]);
        let expected = tch::no_grad(|| network.forward(&x, Precision::F32, false).sigmoid().view([-1]));
        let expected = Vec::<f32>::try_from(expected).unwrap();
        let spread = expected.iter().fold(0.0f32, |most, p| most.max((p - expected[0]).abs()));
        assert!(spread > 1e-3, "{spread}");
        let found = own.probability(&grey, side, side);
        let error = found.iter().zip(&expected).fold(0.0f32, |most, (f, e)| most.max((f - e).abs()));
        assert!(error < 1e-5, "{side}: {error}");
    }
}
