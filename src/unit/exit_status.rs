//! Exit statuses by number, name or signal: `SuccessExitStatus=TEMPFAIL 250 SIGKILL`.
//!
//! Not what a status decides: `manager` does. **Invariant:** a line with an error changes
//! nothing.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::ops::Range;

use super::service::ExitStatusSet;
use super::syntax::split_words;
use super::value::{
    ValueError, parse_signal, read_integer, signal_names, strip_prefix_ignoring_case, suggest,
};

/// Names of exit statuses (systemd.exec(5), PROCESS EXIT CODES): C's, LSB's, BSD's, systemd's.
pub const EXIT_STATUS_NAMES: [(&str, u8); 67] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("NOTRUNNING", 7),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("NOUSER", 67),
    ("NOHOST", 68),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("OSFILE", 72),
    ("CANTCREAT", 73),
    ("IOERR", 74),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("NOPERM", 77),
    ("CONFIG", 78),
    ("CHDIR", 200),
    ("NICE", 201),
    ("FDS", 202),
    ("EXEC", 203),
    ("MEMORY", 204),
    ("LIMITS", 205),
    ("OOM_ADJUST", 206),
    ("SIGNAL_MASK", 207),
    ("STDIN", 208),
    ("STDOUT", 209),
    ("CHROOT", 210),
    ("IOPRIO", 211),
    ("TIMERSLACK", 212),
    ("SECUREBITS", 213),
    ("SETSCHEDULER", 214),
    ("CPUAFFINITY", 215),
    ("GROUP", 216),
    ("USER", 217),
    ("CAPABILITIES", 218),
    ("CGROUP", 219),
    ("SETSID", 220),
    ("CONFIRM", 221),
    ("STDERR", 222),
    ("PAM", 224),
    ("NETWORK", 225),
    ("NAMESPACE", 226),
    ("NO_NEW_PRIVILEGES", 227),
    ("SECCOMP", 228),
    ("SELINUX_CONTEXT", 229),
    ("PERSONALITY", 230),
    ("APPARMOR", 231),
    ("ADDRESS_FAMILIES", 232),
    ("RUNTIME_DIRECTORY", 233),
    ("CHOWN", 235),
    ("SMACK_PROCESS_LABEL", 236),
    ("KEYRING", 237),
    ("STATE_DIRECTORY", 238),
    ("CACHE_DIRECTORY", 239),
    ("LOGS_DIRECTORY", 240),
    ("CONFIGURATION_DIRECTORY", 241),
    ("NUMA_POLICY", 242),
    ("CREDENTIALS", 243),
    ("BPF", 244),
    ("EXCEPTION", 255),
];

/// Adds the exit statuses and signals of one line to `into`; the empty text resets it.
///
/// # Errors
/// A word is no status and no signal; then `into` is as it was.
pub fn parse_exit_statuses(text: &str, into: &mut ExitStatusSet) -> Result<(), ValueError> {
    let mut found = ExitStatusSet::default();
    let (words, _) = split_words(text)?;
    for word in &words {
        match exit_code(&word.text) {
            Some(code) => {
                found.codes.insert(code);
            }
            None => {
                let signal = parse_signal(&word.text).ok().filter(|_| !is_number(&word.text));
                let known = signal.ok_or_else(|| exit_status_error(&word.text, word.range.clone()));
                found.signals.insert(known?);
            }
        }
    }
    if words.is_empty() {
        *into = found;
    } else {
        into.codes.extend(found.codes);
        into.signals.extend(found.signals);
    }
    Ok(())
}

fn is_number(word: &str) -> bool {
    read_integer(word).is_some()
}

fn exit_code(word: &str) -> Option<u8> {
    let named = EXIT_STATUS_NAMES.iter().find(|(name, _)| *name == word).map(|(_, code)| *code);
    named.or_else(|| read_integer(word).and_then(|number| u8::try_from(number).ok()))
}

fn exit_status_error(word: &str, range: Range<usize>) -> ValueError {
    let names = signal_names();
    let known = EXIT_STATUS_NAMES.iter().map(|(name, _)| *name);
    let bare = strip_prefix_ignoring_case(strip_prefix_ignoring_case(word, "EXIT_"), "EX_");
    let error = ValueError::new(format!("{word:?} is no exit status and no signal")).at(range);
    match suggest(bare, known.chain(names.iter().map(String::as_str))) {
        Some(name) => error.hint(format!("did you mean {name:?}?")),
        None => error.hint("a number from 0 to 255, a name such as TEMPFAIL, or a signal"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::Signal;
    use super::*;

    #[test]
    fn exit_statuses_add_up_and_reset() {
        let mut set = ExitStatusSet::default();
        parse_exit_statuses("TEMPFAIL 250 SIGKILL", &mut set).unwrap();
        parse_exit_statuses("NOTRUNNING term 0", &mut set).unwrap();
        assert_eq!(set.codes, [0, 7, 75, 250].into());
        assert_eq!(set.signals, [Signal::KILL, Signal::TERM].into());
        let before = set.clone();
        for (text, range, hint) in [
            ("1 TEMPFIAL", 2..10, "did you mean \"TEMPFAIL\"?"),
            ("EX_TEMPFAI", 0..10, "did you mean \"TEMPFAIL\"?"),
            ("256", 0..3, "a number from 0 to 255, a name such as TEMPFAIL, or a signal"),
            ("-1", 0..2, "a number from 0 to 255, a name such as TEMPFAIL, or a signal"),
        ] {
            let error = parse_exit_statuses(text, &mut set).unwrap_err();
            assert_eq!((error.range, error.hint.as_deref()), (Some(range), Some(hint)), "{text}");
            assert_eq!(set, before);
        }
        parse_exit_statuses("", &mut set).unwrap();
        assert_eq!(set, ExitStatusSet::default());
    }
}
