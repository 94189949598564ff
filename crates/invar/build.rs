//! Gives the program with LibTorch the linker argument with which it finds it.

fn main() {
    // Worked out in invar-torch/build.rs; absent without the feature `torch`.
    if let Ok(arg) = std::env::var("DEP_INVAR_TORCH_LINK_ARG") {
        println!("cargo::rustc-link-arg-bin=invar-learn={arg}");
    }
}
