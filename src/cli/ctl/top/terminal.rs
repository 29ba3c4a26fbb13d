//! The terminal: taken over, and given back as it was.
//!
//! Not what is drawn. **Invariant:** it is given back on every way out: at the end of its value, and
//! before a panic's message, which nobody could read on the other screen.

use std::io::{self, Stdout};

use ratatui::Frame;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// A terminal that is ours for a while.
#[derive(Debug)]
pub struct Terminal(ratatui::Terminal<CrosstermBackend<Stdout>>);

impl Terminal {
    /// Takes it over: the other screen (xterm's), no echo, each key by itself (termios(3)).
    ///
    /// # Errors
    /// It cannot do that, or is gone.
    pub fn open() -> io::Result<Terminal> {
        let say = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            say(panic);
        }));
        enable_raw_mode()?;
        let terminal = ratatui::Terminal::new(CrosstermBackend::new(io::stdout()));
        // From here on the value's end gives back what was taken.
        let terminal = terminal.map(Terminal).inspect_err(|_| give_back())?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(terminal)
    }

    /// Draws; only what has changed is written.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// As it was. A terminal that is gone needs nothing.
fn give_back() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
