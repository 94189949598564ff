//! Gives the binary the linker argument with which it finds LibTorch.

fn main() {
    // Worked out in invar-torch/build.rs; absent without the feature `torch`.
    if let Ok(arg) = std::env::var("DEP_INVAR_TORCH_LINK_ARG") {
        println!("cargo::rustc-link-arg={arg}");
    }
}
