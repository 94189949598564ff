//! Gives the tests of this crate the linker argument with which they find LibTorch.

fn main() {
    // Worked out in invar-torch/build.rs.
    let arg = std::env::var("DEP_INVAR_TORCH_LINK_ARG").expect("invar-torch is a dependency");
    println!("cargo::rustc-link-arg={arg}");
}
