//! Gives what runs LibTorch the linker argument with which it finds it: the program, the examples, and the tests.

fn main() {
    // Worked out in invar-torch/build.rs; absent without the feature `torch`.
    if let Ok(arg) = std::env::var("DEP_INVAR_TORCH_LINK_ARG") {
        println!("cargo::rustc-link-arg-bin=invar-learn={arg}");
        println!("cargo::rustc-link-arg-examples={arg}");
        println!("cargo::rustc-link-arg-tests={arg}");
    }
}
