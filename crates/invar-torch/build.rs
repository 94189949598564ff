//! Compiles the shim, and works out once what a program needs to find LibTorch when it runs.
//!
//! torch-sys tells its library directory to direct dependents only. This crate passes it on as ready linker
//! arguments: a package that owns a program, test or bench depends on invar-torch and prints
//! `DEP_INVAR_TORCH_LINK_ARGS` from its own `build.rs`, see [`invar-nn/build.rs`](../invar-nn/build.rs).

use std::{env, fs, path::Path};

/// Between two arguments, because a path may hold a space (the separator cargo itself uses in encoded flags).
const SEPARATOR: &str = "\u{1f}";

fn main() {
    let lib_dir = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys tells where LibTorch is");
    // `$ORIGIN` in the libraries' own search path is taken before symbolic links are followed: through a link the
    // CUDA libraries beside them would not be found.
    let lib_dir = fs::canonicalize(&lib_dir).unwrap_or_else(|e| panic!("{lib_dir}: {e}"));
    let link_args = link_args(&lib_dir);
    println!("cargo::metadata=LINK_ARGS={}", link_args.join(SEPARATOR));
    for arg in &link_args {
        println!("cargo::rustc-link-arg={arg}");
    }
    compile_shim(lib_dir.parent().expect("the library directory has a parent"));
}

fn link_args(lib_dir: &Path) -> Vec<String> {
    let mut args = vec![format!("-Wl,-rpath,{}", lib_dir.display())];
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // No program calls the CUDA libraries by name: they register themselves when loaded, and the linker would
        // drop them as unneeded.
        args.push("-Wl,--no-as-needed".into());
        args.push("-ltorch".into());
        if lib_dir.join("libtorch_cuda.so").exists() {
            args.push("-ltorch_cuda".into());
        }
    }
    args
}

fn compile_shim(root: &Path) {
    println!("cargo::rerun-if-changed=src/shim.cpp");
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false)
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", env::var("LIBTORCH_CXX11_ABI").as_deref().unwrap_or("1"))
        .file("src/shim.cpp")
        .compile("invar_torch");
}
