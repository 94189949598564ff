//! Gives the binary the linker arguments with which it finds LibTorch.

fn main() {
    // What programs and tests need to find LibTorch: worked out in invar-torch/build.rs. Absent without the feature
    // `torch`.
    for arg in std::env::var("DEP_INVAR_TORCH_LINK_ARGS").iter().flat_map(|args| args.split('\u{1f}')) {
        println!("cargo::rustc-link-arg={arg}");
    }
}
