//! One file per subcommand.

pub mod bins;
pub mod cluster;
mod clustered;
mod completions;
mod edges;
pub mod evaluate;
mod extract;
pub mod federate;
pub mod gallery;
pub mod genomes;
pub(crate) mod info;
pub mod ingest;
pub mod kinds;
pub mod labels;
pub mod listed;
mod man;
pub mod paint;
mod query;
pub mod report;
mod same_model;
mod same_rows;
pub mod search;

use anyhow::Result;

use crate::{
    cli::{Cli, Command, Federate, Ingest},
    hand_over, remote,
    ui::{Summary, Ui},
};

/// Runs the command, or hands over to the program that has LibTorch.
///
/// # Errors
/// Any error, as a chain that [`crate::exit`] turns into an exit code.
pub fn run(cli: Cli, ui: &Ui) -> Result<Summary> {
    if cli.is_for_learn() {
        match hand_over::to_learn()? {}
    }
    remote::run(cli, ui, run_here)
}

fn run_here(cli: Cli, ui: &Ui) -> Result<Summary> {
    let common = &cli.common;
    match cli.command {
        Command::Ingest(Ingest::Reads(args)) => ingest::reads(&args, common, ui),
        Command::Ingest(Ingest::Micrographs(args)) => ingest::micrographs(&args, common, ui),
        Command::Ingest(Ingest::Contigs(args)) => ingest::contigs(&args, common, ui),
        Command::Ingest(Ingest::Graph(args)) => ingest::graph(&args, common, ui),
        Command::Ingest(Ingest::GrainGraph(args)) => ingest::grain_graph(&args, common, ui),
        Command::Edges(args) => edges::run(&args, common, ui),
        Command::Cluster(args) => cluster::run(&args, common, ui),
        Command::Evaluate(args) => evaluate::run(&args, common, ui),
        Command::Gallery(args) => gallery::run(&args, common, ui),
        Command::Paint(args) => paint::run(&args, common, ui),
        Command::Extract(args) => extract::run(&args, common, ui),
        Command::Bins(args) => bins::run(&args, common, ui),
        Command::Query(args) => query::run(&args, common, ui),
        Command::Search(args) => search::run(&args, common, ui),
        Command::Report(args) => report::run(&args, common, ui),
        Command::Federate(Federate::Merge(args)) => federate::merge(&args, common, ui),
        Command::Views(_)
        | Command::Train(_)
        | Command::Embed(_)
        | Command::Finetune(_)
        | Command::Predict(_)
        | Command::Federate(_)
        | Command::Run(_) => {
            unreachable!("handed over above")
        }
        Command::Info(args) => info::run(&args, ui),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args, common),
    }
}
