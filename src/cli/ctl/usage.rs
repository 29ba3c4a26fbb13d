//! A wrong command line, told: what is wrong, what was meant perhaps, where help is.
//!
//! Not the definition (`args`). **Invariant:** one sentence names the word; the exit status is
//! 64, or 0 where only help was asked for.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Error};

use super::args::Arguments;
use crate::unit::value::suggest;

/// What to print where, and the exit status.
#[derive(Debug)]
pub enum Told {
    /// On standard output; status 0.
    Help(String),
    /// On standard error; status 64.
    Wrong(String),
}

/// Turns clap's error into ours.
pub fn tell(error: &Error) -> Told {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let near = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let meant = |near: Option<String>| {
        near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
    };
    let wrong = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Told::Help(error.render().to_string());
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "say what to do: a verb is missing".to_owned()
        }
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            let verbs = verbs();
            let near = suggest(&word, verbs.iter().map(String::as_str));
            format!("unknown verb {word}{}", meant(near.map(str::to_owned)))
        }
        ErrorKind::UnknownArgument => {
            let word = text(ContextKind::InvalidArg);
            format!("unexpected {word}{}", meant(near(ContextKind::SuggestedArg)))
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_empty() => {
            format!("{} wants a value", text(ContextKind::InvalidArg))
        }
        ErrorKind::InvalidValue => {
            let (value, option) = (text(ContextKind::InvalidValue), text(ContextKind::InvalidArg));
            let valid = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(texts)) => texts.join(", "),
                _ => String::new(),
            };
            let meant = meant(near(ContextKind::SuggestedValue));
            format!("{value} cannot stand for {option}: it takes {valid}{meant}")
        }
        ErrorKind::MissingRequiredArgument => {
            format!("{} is missing", text(ContextKind::InvalidArg))
        }
        ErrorKind::ValueValidation
        | ErrorKind::ArgumentConflict
        | ErrorKind::NoEquals
        | ErrorKind::TooManyValues
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::InvalidUtf8
        | ErrorKind::Io
        | ErrorKind::Format
        | _ => first_line(error),
    };
    Told::Wrong(format!("rinitctl: {wrong}\ntry rinitctl --help\n"))
}

/// What is left of clap's own words without its decoration.
fn first_line(error: &Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Every verb.
pub fn verbs() -> Vec<String> {
    Arguments::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
}
