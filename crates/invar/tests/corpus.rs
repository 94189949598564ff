//! Every specimen of `test-data/reads/index.toml` through the command line: valid ones give the reads that the index
//! says, invalid ones the error kind that it says, exit code 3, and nothing left behind.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    valid: Vec<Specimen>,
    invalid: Vec<Specimen>,
}

