//! `invar completions`

use anyhow::Result;
use clap::CommandFactory;
use serde_json::json;

use crate::{
    cli::{Cli, Completions},
    ui::Summary,
};

/// `invar completions`
pub fn run(args: &Completions) -> Result<Summary> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "invar", &mut script);
    let script = String::from_utf8(script)?;
    Ok(Summary { json: json!({"shell": args.shell.to_string(), "script": script}), text: script })
}
