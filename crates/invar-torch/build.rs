//! Compiles the shim, and computes once what a program needs to find LibTorch when it runs.
//!
//! torch-sys passes its library directory only to direct dependents. This crate passes it on as a ready linker
//! argument: a package that owns a program, test or bench depends on invar-torch and prints `DEP_INVAR_TORCH_LINK_ARG`
//! from its own `build.rs`, see [`invar-nn/build.rs`](../invar-nn/build.rs).
//!
//! The feature `nccl` takes the headers of NCCL and of CUDA from the directories in `INVAR_NCCL_INCLUDE`, see
//! [`README.md`](README.md).

use std::{env, fs, path::Path};

const SOURCES: [&str; 7] = ["shim", "optimizer", "random", "host", "process_group", "gradients", "side_by_side"];

fn main() {
    let lib_dir = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys tells where LibTorch is");
    // `$ORIGIN` in the libraries' own search path is resolved before symbolic links are followed: through a link the
    // CUDA libraries next to them would not be found.
    let lib_dir = fs::canonicalize(&lib_dir).unwrap_or_else(|e| panic!("{lib_dir}: {e}"));
    // The CUDA libraries are not linked: loading them costs half a second and half a gigabyte at every start of the
    // program. `load_cuda` opens them when a device is chosen. The feature `nccl` links them below.
    let link_arg = format!("-Wl,-rpath,{}", lib_dir.display());
    println!("cargo::metadata=LINK_ARG={link_arg}");
    println!("cargo::rustc-link-arg={link_arg}");
    compile_shim(&lib_dir);
}

fn compile_shim(lib_dir: &Path) {
    for path in ["src/shim.hpp", "src/process_group.hpp", "src/nccl.cpp", "stub"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let sources = SOURCES.map(|name| format!("src/{name}.cpp"));
    for path in &sources {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=INVAR_NCCL_INCLUDE");
    let root = lib_dir.parent().expect("the library directory has a parent");
    let nccl = env::var_os("CARGO_FEATURE_NCCL").is_some();
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .pic(true)
        // Debug information of LibTorch's headers would double the time.
        .debug(false)
        .warnings(false)
        .include("stub")
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", env::var("LIBTORCH_CXX11_ABI").as_deref().unwrap_or("1"))
        .define("USE_C10D_GLOO", None)
        .files(&sources);
    if nccl {
        let paths = env::var_os("INVAR_NCCL_INCLUDE").expect(
            "the feature `nccl` needs INVAR_NCCL_INCLUDE: directories with nccl.h and CUDA's headers, with ':' between",
        );
        build.includes(env::split_paths(&paths)).define("USE_C10D_NCCL", None).file("src/nccl.cpp");
    }
    build.compile("invar_torch");
    if nccl {
        // After the shim, which needs them.
        println!("cargo::rustc-link-search=native={}", lib_dir.display());
        println!("cargo::rustc-link-lib=dylib=torch_cuda");
        println!("cargo::rustc-link-lib=dylib=c10_cuda");
    }
}
