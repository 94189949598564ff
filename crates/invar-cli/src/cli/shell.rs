use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `invar completions`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar completions bash > ~/.local/share/bash-completion/completions/invar
  invar completions zsh > ~/.zfunc/_invar                # a directory of $fpath
  invar completions fish > ~/.config/fish/completions/invar.fish")]
pub struct Completions {
    /// The shell that the script is for
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// `invar man`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar man --out ~/.local/share/man/man1                # then: man invar, man invar-ingest-reads
  man ./man/invar-cluster.1                              # after `invar man --out man`
Other files in the directory are left alone; pages of an older version are replaced with --force.")]
pub struct Man {
    /// Directory for the pages; created if it does not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
