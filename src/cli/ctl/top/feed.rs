//! Where news comes from: rinit, the keyboard, signals.
//!
//! Not what becomes of them (`model`). A thread for each source, all into one queue; they end with
//! the process. **Invariant:** a source that is faster than the screen waits at the queue, so what
//! is too fast is left out where it comes from, and counted; nothing grows here.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::model::{Job, News};
use crate::cli::ctl::connect::Session;
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::properties::Properties;
use crate::cli::ctl::{FAILED, NOT_THERE};
use crate::control::client::{CallError, Client};

/// How much may wait to be shown.
const QUEUE: usize = 256;
/// Units are looked at so often, and after an event.
const REFRESH: Duration = Duration::from_secs(1);
/// But not more often than this, however much happens.
const BETWEEN: Duration = Duration::from_millis(200);
/// rinit answers in microseconds: after this it is worth a word.
const PATIENCE: Duration = Duration::from_secs(2);
/// Another unit's lines are shown after this at the latest.
const SWITCH: Duration = Duration::from_millis(100);
/// Lines from before that are shown.
const LINES: usize = 200;

/// The sources.
#[derive(Debug)]
pub struct Feed {
    session: Arc<Session>,
    news: SyncSender<News>,
    /// Whose lines are wanted; none: everybody's.
    followed: Arc<Mutex<Option<String>>>,
}

impl Feed {
    /// Starts them.
    pub fn start(session: Session) -> (Feed, Receiver<News>) {
        let (news, receiver) = sync_channel(QUEUE);
        let feed = Feed { session: Arc::new(session), news, followed: Arc::default() };
        let (happened, woken) = channel();
        feed.source(move |session, news| units(session, &woken, news));
        feed.source(move |session, news| {
            events(
                session,
                &|| {
                    let _ = happened.send(()); // nobody to wake: it is over
                },
                news,
            )
        });
        let followed = Arc::clone(&feed.followed);
        feed.source(move |session, news| lines(session, &followed, news));
        feed.source(|_, news| keys(news));
        feed.source(|_, news| signals(news));
        (feed, receiver)
    }

    fn source<F>(&self, run: F)
    where
        F: FnOnce(&Session, &SyncSender<News>) -> Result<(), Failure> + Send + 'static,
    {
        let (session, news) = (Arc::clone(&self.session), self.news.clone());
        thread::spawn(move || {
            if let Err(failure) = run(&session, &news) {
                let _ = news.send(News::Failed(failure));
            }
        });
    }

    /// From now on the lines of this unit, or all.
    pub fn follow(&self, unit: Option<&str>) {
        let mut followed = lock(&self.followed);
        if followed.as_deref() != unit {
            *followed = unit.map(str::to_owned);
        }
    }

    /// Asks for a job; its end will be an event.
    pub fn ask(&self, job: Job) {
        self.source(move |session, news| {
            let result = ask_job(session, &job, news);
            let _ = news.send(News::Asked(job, result));
            Ok(())
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask_job(session: &Session, job: &Job, news: &SyncSender<News>) -> Result<Value, Failure> {
    let parameters = json!({ "unit": job.unit, "wait": false });
    ask(&mut session.another()?, job.kind.method(), &parameters, news)
}

/// Asks, and says when there is no answer; waits for it all the same.
fn ask(
    client: &mut Client,
    method: &str,
    parameters: &Value,
    news: &SyncSender<News>,
) -> Result<Value, Failure> {
    client.send(method, parameters, false, None).map_err(Failure::of_call)?;
    let since = Instant::now();
    loop {
        match client.reply(Some(Instant::now() + PATIENCE)) {
            Ok(reply) => return Ok(reply.parameters),
            Err(CallError::TimedOut) => drop(news.send(News::Silent(since.elapsed()))),
            Err(error) => return Err(Failure::of_call(error)),
        }
    }
}

/// All units, over and over.
fn units(session: &Session, woken: &Receiver<()>, news: &SyncSender<News>) -> Result<(), Failure> {
    let mut client = session.another()?;
    loop {
        let asked = Instant::now();
        match look(&mut client, news) {
            Ok(found) => drop(news.send(found)),
            // That rinit has ended is told by the last of its events.
            Err(failure) if failure.code == NOT_THERE => return Ok(()),
            Err(failure) => return Err(failure),
        }
        match woken.recv_timeout(REFRESH) {
            Ok(()) => thread::sleep(BETWEEN.saturating_sub(asked.elapsed())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while woken.try_recv().is_ok() {}
    }
}

fn look(client: &mut Client, news: &SyncSender<News>) -> Result<News, Failure> {
    let none = json!({});
    let state = ask(client, "SystemState", &none, news)?;
    let list = ask(client, "List", &none, news)?;
    let mut units = Vec::new();
    for unit in list.get("units").and_then(Value::as_array).into_iter().flatten() {
        let parameters = json!({ "unit": unit.get("unit") });
        match ask(client, "Describe", &parameters, news) {
            Ok(reply) => units.push(Properties::of_reply(reply)),
            Err(failure) if failure.code == super::super::NO_SUCH_UNIT => {} // it went meanwhile
            Err(failure) => return Err(failure),
        }
    }
    let state = state.get("state").and_then(Value::as_str).unwrap_or_default();
    Ok(News::Units(state.to_owned(), units))
}

/// What has happened and what happens, up to rinit's end.
fn events(session: &Session, happened: &dyn Fn(), news: &SyncSender<News>) -> Result<(), Failure> {
    let mut client = session.another()?;
    let parameters = json!({ "recent": true });
    client.send("Events", &parameters, true, None).map_err(Failure::of_call)?;
    loop {
        match client.reply(None) {
            Ok(mut reply) => {
                if let Some(event) = reply.parameters.get_mut("event").map(Value::take) {
                    let _ = news.send(News::Event(event));
                    happened();
                }
            }
            Err(CallError::Closed) => {
                return Err(Failure::new(
                    NOT_THERE,
                    "rinit has closed the connection: it has ended",
                ));
            }
            Err(error) => return Err(Failure::of_call(error)),
        }
    }
}

/// The lines of whoever is followed. A journal that died is back in a moment.
fn lines(
    session: &Session,
    followed: &Mutex<Option<String>>,
    news: &SyncSender<News>,
) -> Result<(), Failure> {
    loop {
        let unit = lock(followed).clone();
        let mut client = session.another()?;
        let units: Vec<&String> = unit.iter().collect();
        let parameters = json!({ "units": units, "lines": LINES, "follow": true });
        let _ = news.send(News::LinesBegin);
        let mut error = client.send("Logs", &parameters, true, None).err();
        while error.is_none() && *lock(followed) == unit {
            match client.reply(Some(Instant::now() + SWITCH)) {
                Ok(mut reply) => {
                    let dropped = reply.parameters.get("dropped").and_then(Value::as_u64);
                    match reply.parameters.get_mut("line").map(Value::take) {
                        Some(line @ Value::Object(_)) => {
                            let _ = news.send(News::Line(line, dropped.unwrap_or(0)));
                        }
                        Some(_) | None => error = Some(CallError::Closed),
                    }
                }
                Err(CallError::TimedOut) => {}
                Err(why) => error = Some(why),
            }
        }
        if let Some(error) = error {
            let _ = news.send(News::NoLines(Failure::of_call(error).message));
            thread::sleep(REFRESH);
        }
    }
}

fn keys(news: &SyncSender<News>) -> Result<(), Failure> {
    loop {
        let found = match event::read() {
            Ok(Event::Key(key)) if key.is_press() => News::Key(key),
            Ok(Event::Resize(..)) => News::Resized,
            Ok(_) => continue,
            Err(error) => return Err(Failure::new(FAILED, format!("the terminal: {error}"))),
        };
        let _ = news.send(found);
    }
}

fn signals(news: &SyncSender<News>) -> Result<(), Failure> {
    let failed = |error| Failure::new(FAILED, format!("signals: {error}"));
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).map_err(failed)?;
    for number in signals.forever() {
        let _ = news.send(News::Signal(u8::try_from(number).unwrap_or(0)));
    }
    Ok(())
}
