//! `help`, `completions` and `man`: what is written from the definitions, for people and shells.
//!
//! Needs no running rinit. **Invariant:** nothing here is a second list of verbs, options or
//! directives: all of it comes from `args` and from the table of directives.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};

use super::args::{Arguments, Shell};
use super::screen::Screen;
use super::{DONE, FAILED, USAGE, usage};
use crate::unit::{directive, value};

/// `help [NAME]`.
pub fn help(name: Option<&str>, screen: &mut Screen<'_>) -> u8 {
    let Some(name) = name else {
        for row in directive::all() {
            let section = row.section.name();
            screen.out(&format!("[{section}] {:<28} {}\n", row.name, row.doc));
        }
        return DONE;
    };
    if let Some(text) = directive::help(name) {
        screen.out(&text);
        return DONE;
    }
    let mut command = built();
    if let Some(verb) = command.find_subcommand_mut(name) {
        let text = verb.render_long_help().to_string();
        screen.out(&text);
        return DONE;
    }
    let verbs = usage::verbs();
    let known = directive::all().map(|row| row.name).chain(verbs.iter().map(String::as_str));
    screen.err(&match value::suggest(name, known) {
        Some(near) => format!("rinitctl: no directive {name}; did you mean {near}?\n"),
        None => format!("rinitctl: no directive {name}; rinitctl help lists them\n"),
    });
    USAGE
}

/// The definition, with global options where they are inherited.
fn built() -> Command {
    let mut command = Arguments::command();
    command.build();
    command
}

/// `completions SHELL`.
pub fn completions(shell: Shell, screen: &mut Screen<'_>) -> u8 {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "rinitctl", &mut script);
    screen.out(&String::from_utf8_lossy(&script));
    DONE
}

/// `man [DIRECTORY]`.
pub fn man(directory: Option<&Path>, screen: &mut Screen<'_>) -> u8 {
    let written = match directory {
        None => page(Arguments::command()).map(|text| screen.out(&text)),
        Some(directory) => pages(directory).map(|names| {
            let mut text = String::new();
            for name in names {
                let _ = writeln!(text, "{}", directory.join(name).display());
            }
            screen.out(&text);
        }),
    };
    match written {
        Ok(()) => DONE,
        Err(error) => {
            screen.err(&format!("rinitctl: the manual pages were not written: {error}\n"));
            FAILED
        }
    }
}

fn page(command: Command) -> io::Result<String> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// `rinitctl.1`, and `rinitctl-VERB.1` for each.
fn pages(directory: &Path) -> io::Result<Vec<String>> {
    std::fs::create_dir_all(directory)?;
    let whole = built();
    let mut names = vec!["rinitctl.1".to_owned()];
    std::fs::write(directory.join("rinitctl.1"), page(Arguments::command())?)?;
    for verb in whole.get_subcommands() {
        let name = format!("rinitctl-{}", verb.get_name());
        let file = format!("{name}.1");
        std::fs::write(directory.join(&file), page(verb.clone().name(name))?)?;
        names.push(file);
    }
    Ok(names)
}
