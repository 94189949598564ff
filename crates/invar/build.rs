//! Passes whatever runs LibTorch the linker argument it needs to find it: the program, the examples, and the tests.

fn main() {
    // Computed in invar-torch/build.rs; absent without the feature `torch`.
    if let Ok(arg) = std::env::var("DEP_INVAR_TORCH_LINK_ARG") {
        println!("cargo::rustc-link-arg-bin=invar-learn={arg}");
        println!("cargo::rustc-link-arg-examples={arg}");
        println!("cargo::rustc-link-arg-tests={arg}");
    }
}
