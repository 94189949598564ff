//! A C++ shim beside torch-sys for what tch does not bind.
