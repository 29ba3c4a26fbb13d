//! `top`: all units and what happens, live, on a whole terminal.
//!
//! In reading order: what there is to show (`model`, `tail`), what a key does (`keys`), how it
//! looks (`columns`, `view`), where it comes from (`feed`), the terminal itself (`terminal`).
//! **Invariant:** only `feed` talks to rinit and only in its own threads, so that nothing rinit
//! does or leaves undone stops a key from being answered; the terminal is as it was on every
//! way out.

mod columns;
mod feed;
mod keys;
mod model;
mod tail;
mod terminal;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::args::Options;
use super::connect::Session;
use super::failure::Failure;
use super::screen::{Look, Screen};
use super::{DONE, FAILED, USAGE};
use feed::Feed;
use model::{End, Model, News};
use terminal::Terminal;
use view::View;

/// What comes in is drawn together, so often at most.
const FRAME: Duration = Duration::from_millis(50);
/// Without news it is drawn again after this: times go on.
const IDLE: Duration = Duration::from_secs(1);

/// Why it cannot be shown here, if it cannot.
pub fn refusal(options: &Options) -> Option<Failure> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb;
    let why = match (options.plain, options.json, is_terminal) {
        (true, _, _) => "top cannot be plain, it draws over the whole terminal",
        (_, true, _) => "top has no JSON",
        (false, false, false) => "top needs a terminal, and this is none that it can draw on",
        (false, false, true) => return None,
    };
    Some(Failure::new(
        USAGE,
        format!("{why}: rinitctl list-units and rinitctl events -f are for that"),
    ))
}

/// The verb.
pub fn top(session: Session, screen: &mut Screen<'_>) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::new(FAILED, format!("the terminal: {error}"));
    let mut terminal = Terminal::open().map_err(failed)?;
    let (feed, news) = Feed::start(session);
    let end = watch(&mut terminal, &feed, &news, screen.look);
    drop(terminal);
    match end.map_err(failed)? {
        End::Quit => Ok(DONE),
        End::Signal(number) => Ok(128_u8.saturating_add(number)),
        End::Failed(failure) => Err(failure),
    }
}

/// Shows what comes until there is an end.
fn watch(
    terminal: &mut Terminal,
    feed: &Feed,
    news: &Receiver<News>,
    look: Look,
) -> io::Result<End> {
    let mut model = Model::default();
    let mut view = View::new(look);
    loop {
        terminal.draw(|frame| view.draw(&model, now(), frame))?;
        take(&mut model, feed, news);
        feed.follow(model.followed());
        if let Some(end) = model.end.take() {
            return Ok(end);
        }
    }
}

/// Takes what has come: a key at once, all else together with what follows it closely.
fn take(model: &mut Model, feed: &Feed, news: &Receiver<News>) {
    let mut until = Instant::now() + IDLE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let request = match news.recv_timeout(left) {
            Ok(News::Key(key)) => {
                until = Instant::now();
                keys::press(model, key)
            }
            Ok(news) => {
                until = until.min(Instant::now() + FRAME);
                model.take(news);
                None
            }
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => {
                model.end = Some(End::Quit); // cannot be: the feed holds a sender
                None
            }
        };
        if let Some(job) = request {
            feed.ask(job);
        }
        if model.end.is_some() {
            return;
        }
    }
}

/// Since 1970, to say how long ago something was.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
