//! Compiles the shim, and works out once what a program needs to find LibTorch when it runs.
//!
//! torch-sys tells its library directory to direct dependents only. This crate passes it on as a ready linker argument:
//! a package that owns a program, test or bench depends on invar-torch and prints `DEP_INVAR_TORCH_LINK_ARG` from
//! its own `build.rs`, see [`invar-nn/build.rs`](../invar-nn/build.rs).

use std::{env, fs, path::Path};

fn main() {
    let lib_dir = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys tells where LibTorch is");
    // `$ORIGIN` in the libraries' own search path is taken before symbolic links are followed: through a link the
    // CUDA libraries beside them would not be found.
    let lib_dir = fs::canonicalize(&lib_dir).unwrap_or_else(|e| panic!("{lib_dir}: {e}"));
    // The CUDA libraries are not linked: loading them costs every start of the program half a second and half a
    // gigabyte. `load_cuda` opens them where a device is chosen.
    let link_arg = format!("-Wl,-rpath,{}", lib_dir.display());
    println!("cargo::metadata=LINK_ARG={link_arg}");
    println!("cargo::rustc-link-arg={link_arg}");
    compile_shim(lib_dir.parent().expect("the library directory has a parent"));
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
