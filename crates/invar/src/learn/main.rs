//! `invar-learn`: the commands that need LibTorch, one file each under `commands/`. `invar` hands over to it.

mod classifier;
mod commands;
mod contact_sheet;
mod names;
mod recipe;
mod source;

use std::process::ExitCode;

use invar_cli::exit::class_of;

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { invar_torch::set_environment() };
    let faults = [class_of::<invar_train::Error>, class_of::<invar_nn::Error>];
    invar_cli::execute(std::env::args_os(), commands::run, &faults).into()
}
