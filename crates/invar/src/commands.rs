//! One file a subcommand.

mod cluster;
mod clustered;
#[cfg(feature = "torch")]
mod embed;
mod evaluate;
mod gallery;
mod info;
pub mod ingest;
mod labels;
mod paint;
#[cfg(feature = "torch")]
mod pictures;
mod query;
#[cfg(feature = "torch")]
mod run;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod views;

use anyhow::{Context, Result};

use crate::{
    cli::{Cli, Command, Ingest},
    ui::{Summary, Ui},
};

/// Does what the command line asks.
///
/// # Errors
/// Whatever goes wrong, as a chain that [`crate::exit`] turns into an exit code.
pub fn run(cli: Cli, ui: &Ui) -> Result<Summary> {
    if let Some(threads) = cli.common.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting worker threads")?;
    }
    let common = &cli.common;
    match cli.command {
        Command::Ingest(Ingest::Reads(args)) => ingest::reads(&args, common, ui),
        Command::Ingest(Ingest::Micrographs(args)) => ingest::micrographs(&args, common, ui),
        #[cfg(feature = "torch")]
        Command::Views(args) => views::run(&args, common, ui),
        #[cfg(feature = "torch")]
        Command::Train(args) => train::run(&args, common, ui),
        #[cfg(feature = "torch")]
        Command::Embed(args) => embed::run(&args, common, ui),
        Command::Cluster(args) => cluster::run(&args, common, ui),
        Command::Evaluate(args) => evaluate::run(&args, common, ui),
        Command::Gallery(args) => gallery::run(&args, common, ui),
        Command::Paint(args) => paint::run(&args, common, ui),
        Command::Query(args) => query::run(&args, common, ui),
        #[cfg(feature = "torch")]
        Command::Run(args) => run::run(&args, common, ui),
        Command::Info(args) => info::run(&args, ui),
    }
}
