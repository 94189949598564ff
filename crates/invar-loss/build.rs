//! Passes the tests of this crate the linker argument they need to find LibTorch.

fn main() {
    // Computed in invar-torch/build.rs.
    let arg = std::env::var("DEP_INVAR_TORCH_LINK_ARG").expect("invar-torch is a dependency");
    println!("cargo::rustc-link-arg={arg}");
}
