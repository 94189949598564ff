//! One file per subcommand.

mod embed;
mod federate;
mod finetune;
mod pictures;
mod predict;
mod run;
mod search;
mod train;
mod views;

use anyhow::Result;
use invar_cli::{
    cli::{Cli, Command, Federate},
    remote,
    ui::{Summary, Ui},
};

/// Runs the command.
///
/// # Errors
/// Any error, as a chain that [`invar_cli::exit`] turns into an exit code.
pub fn run(cli: Cli, ui: &Ui) -> Result<Summary> {
    remote::run(cli, ui, run_here)
}

fn run_here(cli: Cli, ui: &Ui) -> Result<Summary> {
    let common = &cli.common;
    match &cli.command {
        Command::Views(args) => views::run(args, common, ui),
        Command::Train(args) => train::run(args, common, ui),
        Command::Embed(args) => embed::run(args, common, ui),
        Command::Finetune(args) => finetune::run(args, common, ui),
        Command::Predict(args) => predict::run(args, common, ui),
        Command::Federate(command) if !matches!(command, Federate::Merge(_)) => federate::run(command, common, ui),
        Command::Run(args) => run::run(args, common, ui),
        Command::Search(args) if !args.to_be_embedded().is_empty() => search::run(args, common, ui),
        Command::Info(args) if args.is_run() => train::describe(&args.path),
        _ => invar_cli::commands::run(cli, ui),
    }
}
