//! `manual FOLDER`: writes the manual pages of `pool` and its completions below a folder, which is made if it is not there.
//!
//! `ci/release` runs it. It is in no image and in no release, so `pool` links nothing for it.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;
use programs::pool::args::Args;
use programs::pool::completion::script;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            terminal::say(&mut io::stderr(), format_args!("error: {err:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let folder = env::args_os().nth(1).context("usage: manual FOLDER")?;
    write(&PathBuf::from(&folder))
        .with_context(|| format!("cannot write below `{}`", folder.display()))
}

/// The page of a command. By itself it lists each option in the synopsis, and no `--`; the usage of `--help` tells more.
fn page(command: &Command) -> Man {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    Man::new(command.clone().override_usage(usage))
}

/// As `man -M FOLDER/man` finds the pages, and as each shell calls a script.
fn write(folder: &Path) -> io::Result<()> {
    let pages = folder.join("man/man1");
    fs::create_dir_all(&pages)?;
    // `pool help` is not a command with a page of its own.
    let mut program = Args::command().disable_help_subcommand(true);
    program.build();
    let source = format!("pool {}", env!("CARGO_PKG_VERSION"));
    for command in program.get_subcommands().chain([&program]) {
        page(command).source(&source).generate_to(&pages)?;
    }
    let scripts = folder.join("completions");
    fs::create_dir_all(&scripts)?;
    for shell in Shell::value_variants() {
        fs::write(scripts.join(shell.file_name("pool")), script(*shell)?)?;
    }
    Ok(())
}
