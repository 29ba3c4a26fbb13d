//! Where rinitctl writes, and how it may: colours, symbols, progress.
//!
//! Not what it writes. **Invariant:** colours, symbols beyond ASCII and progress only ever reach
//! a terminal; nobody there to read is no failure, but it ends a stream; what could not be written
//! for another reason is told, and is the exit status.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write};

use super::args::Options;
use super::fit;
use crate::init::SYSTEM;
use crate::sys::reason;
use crate::unit::environment::Environment;

/// What may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// Colours on standard output.
    pub colour: bool,
    /// Colours on standard error.
    pub colour_on_stderr: bool,
    /// Symbols beyond ASCII on standard output.
    pub unicode: bool,
    /// A line on standard error that is written over and over.
    pub progress: bool,
    /// No symbols at all (`--plain`).
    pub plain: bool,
    /// How wide the terminal is that standard output is; a glance is cut there, not a record.
    pub columns: Option<usize>,
}

impl Look {
    /// What the streams are good for.
    pub fn of_streams(environment: &Environment) -> Look {
        let no_color = environment.get(OsStr::new("NO_COLOR")).is_some_and(|v| !v.is_empty());
        let dumb = environment.get(OsStr::new("TERM")).is_some_and(|term| term == "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Look {
            colour: out && !no_color && !dumb,
            colour_on_stderr: err && !no_color && !dumb,
            unicode: out && !dumb && speaks_utf8(environment),
            progress: err && !dumb,
            plain: false,
            columns: if out { columns() } else { None },
        }
    }

    /// What is left of it by the options.
    #[must_use]
    pub fn with(self, options: &Options) -> Look {
        let fancy = !options.plain;
        Look {
            colour: self.colour && fancy,
            colour_on_stderr: self.colour_on_stderr && fancy,
            unicode: self.unicode && fancy,
            progress: self.progress && fancy && !options.json,
            plain: options.plain,
            columns: self.columns.filter(|_| fancy && !options.full),
        }
    }

    /// `text` in a colour, where there are colours.
    pub fn paint(self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::None => "",
            Tint::Good => "1;32",
            Tint::Bad => "1;31",
            Tint::Busy => "1;33",
            Tint::Faint => "2",
            Tint::Strong => "1",
        };
        if !self.colour || code.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A line that a terminal shows on one line.
    pub fn fitted(self, line: &str) -> String {
        match self.columns {
            Some(columns) => fit::fitted(line, columns, self.unicode),
            None => line.to_owned(),
        }
    }

    /// Arrows and dashes that a message may hold, as they can be shown.
    pub fn symbols(self, text: &str) -> String {
        if self.unicode { text.to_owned() } else { text.replace('→', "->").replace('…', "...") }
    }
}

fn columns() -> Option<usize> {
    let (columns, _) = ratatui::crossterm::terminal::size().ok()?;
    (columns > 0).then_some(usize::from(columns))
}

/// Containers mostly have no locale at all, and terminals speak UTF-8: only who asks for
/// something else gets it.
fn speaks_utf8(environment: &Environment) -> bool {
    let set = |name: &&str| environment.get(OsStr::new(name)).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
    locale.is_none_or(|value| {
        let value = value.to_string_lossy().to_lowercase();
        value.contains("utf-8") || value.contains("utf8") || value == "c" || value == "posix"
    })
}

/// What a colour says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tint {
    /// Nothing.
    None,
    /// All is well.
    Good,
    /// Something has failed.
    Bad,
    /// On the way.
    Busy,
    /// Less important.
    Faint,
    /// More important.
    Strong,
}

impl Tint {
    /// The colour of an ActiveState.
    pub fn of_active(active: &str) -> Tint {
        match active {
            "active" | "reloading" => Tint::Good,
            "failed" => Tint::Bad,
            "activating" | "deactivating" => Tint::Busy,
            _ => Tint::None,
        }
    }
}

/// Both streams.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// How to write.
    pub look: Look,
    gone: bool,
    /// Why standard output could not be written, although somebody may read it.
    lost: Option<io::Error>,
    progress: bool,
}

impl std::fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("look", &self.look).finish_non_exhaustive()
    }
}

impl<'a> Screen<'a> {
    /// Writes there, so.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, look: Look) -> Screen<'a> {
        Screen { out, err, look, gone: false, lost: None, progress: false }
    }

    /// Writes to standard output.
    pub fn out(&mut self, text: &str) {
        self.clear_progress();
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        let Err(error) = written else { return };
        self.gone = true;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.lost.get_or_insert(error);
        }
    }

    /// All is said: the exit status, which is not `code` if that never reached its reader.
    pub fn close(&mut self, code: u8) -> u8 {
        self.clear_progress();
        let Some(error) = self.lost.take() else { return code };
        let why = error.raw_os_error().map_or_else(|| error.to_string(), reason);
        self.err(&format!("rinitctl: standard output: {why}\n"));
        SYSTEM
    }

    /// Writes to standard error.
    pub fn err(&mut self, text: &str) {
        self.clear_progress();
        // Who closed it does not want it: there is nobody left to tell.
        let _ = self.err.write_all(text.as_bytes());
    }

    /// One JSON value on a line.
    pub fn json(&mut self, value: &serde_json::Value) {
        self.out(&format!("{value}\n"));
    }

    /// Nobody reads standard output any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Replaces the line of progress.
    pub fn progress(&mut self, text: &str) {
        if self.look.progress {
            let _ = write!(self.err, "\r\x1b[K{text}").and_then(|()| self.err.flush());
            self.progress = true;
        }
    }

    /// Takes the line of progress away.
    pub fn clear_progress(&mut self) {
        if std::mem::take(&mut self.progress) {
            let _ = self.err.write_all(b"\r\x1b[K").and_then(|()| self.err.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FANCY: Look = Look {
        colour: true,
        colour_on_stderr: true,
        unicode: true,
        progress: true,
        plain: false,
        columns: Some(80),
    };

    #[test]
    fn options_take_away() {
        let options = |plain, json| Options { plain, json, ..Options::default() };
        assert_eq!(FANCY.with(&options(false, false)), FANCY);
        assert_eq!(FANCY.with(&options(true, false)), Look { plain: true, ..Look::default() });
        assert!(!FANCY.with(&options(false, true)).progress);
        assert_eq!(FANCY.with(&Options { full: true, ..Options::default() }).columns, None);
        assert_eq!(FANCY.paint(Tint::Bad, "x"), "\x1b[1;31mx\x1b[0m");
        assert_eq!(Look::default().paint(Tint::Bad, "x"), "x");
        assert_eq!(Look::default().symbols("a → b"), "a -> b");
    }

    #[test]
    fn locales() {
        for (locale, speaks) in
            [("", true), ("C", true), ("C.UTF-8", true), ("de_DE.utf8", true), ("de_DE", false)]
        {
            let environment = Environment::from([("LANG".into(), locale.into())]);
            assert_eq!(speaks_utf8(&environment), speaks, "{locale}");
        }
    }

    /// A disk that is full, or a reader that has gone.
    struct Broken(i32);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(self.0))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_lost_is_told() {
        let full = "rinitctl: standard output: No space left on device\n";
        for (errno, code, words) in [(libc::ENOSPC, SYSTEM, full), (libc::EPIPE, 3, "")] {
            let (mut out, mut err) = (Broken(errno), Vec::new());
            let mut screen = Screen::new(&mut out, &mut err, Look::default());
            screen.out("one\n");
            screen.out("two\n");
            assert!(screen.is_gone());
            assert_eq!(screen.close(3), code);
            assert_eq!(String::from_utf8(err).unwrap(), words);
        }
    }

    #[test]
    fn progress_leaves_nothing_behind() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen::new(&mut out, &mut err, FANCY);
        screen.progress("starting");
        screen.out("done\n");
        screen.clear_progress();
        assert_eq!(err, b"\r\x1b[Kstarting\r\x1b[K");
    }
}
