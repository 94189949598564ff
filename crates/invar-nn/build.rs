//! Gives the tests of this crate the linker arguments with which they find LibTorch.

fn main() {
    // What programs and tests need to find LibTorch: worked out in invar-torch/build.rs.
    for arg in std::env::var("DEP_INVAR_TORCH_LINK_ARGS").expect("invar-torch is a dependency").split('\u{1f}') {
        println!("cargo::rustc-link-arg={arg}");
    }
}
