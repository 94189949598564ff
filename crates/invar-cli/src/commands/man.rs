//! `invar man`

use std::{fs, io};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::{
    Man as Page,
    roff::{Roff, roman},
};
use invar_dataset::{atomic, path::text as path_text};
use serde_json::json;

use crate::{
    cli::{Cli, Common, Man},
    output,
    ui::{Summary, counted},
};

/// `invar man`
pub fn run(args: &Man, common: &Common) -> Result<Summary> {
    let dir = args.out.as_path();
    let pages = pages()?;
    let paths: Vec<_> = pages.iter().map(|(name, _)| dir.join(name)).collect();
    // The directory may exist and hold pages of other programs: whatever else is in it is left alone.
    for path in &paths {
        output::check_free(path, common, &[])?;
    }
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    for (path, (_, page)) in paths.iter().zip(&pages) {
        atomic::write(path, page).with_context(|| path.display().to_string())?;
    }
    Ok(Summary {
        text: format!("{} in {}", counted(pages.len() as u64, "manual page"), dir.display()),
        json: json!({"out": path_text(dir), "pages": pages.iter().map(|(name, _)| name).collect::<Vec<_>>()}),
    })
}

/// The file name and text of the page of each command.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let (mut pages, mut open) = (vec![], vec![root]);
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().cloned());
        pages.push((Page::new(command.clone()).get_filename(), page(&command)?));
    }
    pages.sort();
    Ok(pages)
}

/// As `clap_mangen` formats it, but with the examples and notes line by line, as in `--help`, not run together.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let page = Page::new(command.clone()).source(concat!("invar ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(notes) = command.get_after_help() {
        let mut roff = Roff::default();
        roff.control("SH", ["NOTES"]).control("nf", []);
        roff.text(notes.to_string().split_inclusive('\n').map(roman).collect::<Vec<_>>());
        roff.control("fi", []).to_writer(&mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_all_its_options_and_notes() {
        let pages = pages().unwrap();
        let mut open = vec![Cli::command()];
        let mut num_commands = 0;
        while let Some(command) = open.pop() {
            let name = command.get_bin_name().unwrap_or("invar").replace(' ', "-");
            let (_, page) = pages.iter().find(|(file, _)| *file == format!("{name}.1")).expect(&name);
            // roff escapes hyphens and apostrophes, so that they are copied from a page as ASCII characters.
            let page = String::from_utf8(page.clone()).unwrap().replace(r"\-", "-").replace(r"\*(Aq", "'");
            for option in command.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(page.contains(&format!("--{option}")), "{name} --{option}\n{page}");
            }
            for line in command.get_after_help().map(ToString::to_string).unwrap_or_default().lines() {
                assert!(
                    page.lines().any(|of_page| of_page.trim_start_matches(r"\&").contains(line.trim())),
                    "{line}\n{page}"
                );
            }
            let mut command = command;
            command.build();
            open.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
            num_commands += 1;
        }
        assert_eq!(num_commands, pages.len());
        assert!(num_commands > 15, "{num_commands}");
    }
}
