//! `logs`: what units have written, and what they write.
//!
//! Not rinit's own lines, which `events` shows. **Invariant:** in JSON a line is passed on as it
//! came, key for key; as text nothing in it can do more to a terminal than colour it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::args::Logs;
use super::connect::Session;
use super::events::text;
use super::failure::Failure;
use super::fit::width;
use super::screen::{Look, Screen};
use super::time::Timestamp;
use super::{DONE, TIMED_OUT, USAGE, names};
use crate::control::client::{CallError, Client};
use crate::journal::line::{write_colourless, write_harmless};
use crate::unit::timespan::parse_timespan;

/// With --follow, and no number said, so many lines from before are shown.
const FOLLOWED: usize = 10;

/// A connection that ends earlier, and without a line, was not taken over by the journal: it is
/// dying, or has clients enough. So often that is tried again, later and later.
const REFUSAL: Duration = Duration::from_millis(100);
const REFUSALS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// How long the journal may take to show a few lines.
const ANSWER: Duration = Duration::from_secs(5);

/// Where terminals have their tab stops.
const TAB: usize = 8;

/// The verb.
pub fn logs(
    arguments: &Logs,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let units = match arguments.units.as_slice() {
        [] => Vec::new(),
        words => names::resolve(session, words)?,
    };
    let since = arguments.since.as_deref().map(since).transpose()?;
    let unsaid = arguments.follow && since.is_none();
    let lines = arguments.lines.or(unsaid.then_some(FOLLOWED));
    let mut request = Request { units, lines, since, follow: arguments.follow };
    let deadline = session.deadline();
    let mut asked = request.ask(session)?;
    let mut refusals = 0;
    while !screen.is_gone() {
        let reply = match session.client().reply(deadline) {
            Ok(reply) => reply.parameters,
            Err(CallError::TimedOut) => return Ok(TIMED_OUT),
            // The journal has died, and its successor takes over; or it takes nobody more.
            Err(CallError::Closed | CallError::Io(_))
                if arguments.follow && refusals < REFUSALS =>
            {
                let is_refusal = asked.elapsed() < REFUSAL;
                refusals = if is_refusal { refusals + 1 } else { 0 };
                std::thread::sleep(PAUSE * refusals);
                session.reconnect()?;
                request.lines = None;
                asked = request.ask(session)?;
                continue;
            }
            Err(error) => return Err(Failure::of_call(error)),
        };
        if let Some(count) = reply.get("dropped").and_then(Value::as_u64).filter(|n| *n > 0) {
            screen.err(&format!("rinitctl: {count} lines are missing here: they came too fast\n"));
        }
        let Some(line) = reply.get("line").filter(|line| line.is_object()) else {
            return Ok(DONE);
        };
        refusals = 0;
        if let Some(time) = Timestamp::parse(text(line, "time")) {
            request.since = Some(time.since_epoch() + Duration::from_micros(1));
        }
        if json {
            screen.json(line);
        } else {
            screen.out(&format!("{}\n", render(line, |time| time.precise(), screen.look)));
        }
    }
    Ok(DONE)
}

/// What is asked for; after each line, what is asked for when it has to be asked once more.
struct Request {
    units: Vec<String>,
    lines: Option<usize>,
    since: Option<Duration>,
    follow: bool,
}

impl Request {
    /// Asks; gives when.
    fn ask(&self, session: &mut Session) -> Result<Instant, Failure> {
        let parameters = json!({ "units": self.units, "lines": self.lines, "follow": self.follow,
            "since_usec": self.since.map(|since| u64::try_from(since.as_micros()).unwrap_or(0)) });
        let deadline = session.deadline();
        let client = session.client();
        client.send("Logs", &parameters, true, deadline).map_err(Failure::of_call)?;
        Ok(Instant::now())
    }
}

/// The last lines that a unit has written.
///
/// # Errors
/// What the call fails with.
pub fn last(client: &mut Client, unit: &str, lines: usize) -> Result<Vec<Value>, CallError> {
    let deadline = Some(Instant::now() + ANSWER);
    client.send("Logs", &json!({ "units": [unit], "lines": lines }), true, deadline)?;
    let mut found = Vec::new();
    loop {
        let reply = client.reply(deadline)?;
        match reply.parameters.get("line").filter(|line| line.is_object()) {
            Some(line) => found.push(line.clone()),
            None => return Ok(found),
        }
    }
}

/// `2026-01-31 12:00:00.012 web@2 | listening`. The service's own colours are for terminals, as ours.
pub fn render(line: &Value, time: fn(Timestamp<'_>) -> String, look: Look) -> String {
    let time = Timestamp::parse(text(line, "time")).map_or_else(String::new, time);
    let unit = text(line, "unit");
    let label = unit.strip_suffix(".service").unwrap_or(unit);
    format!(
        "{time} {label} | {}",
        shown(line, if look.colour { write_harmless } else { write_colourless })
    )
}

fn shown(line: &Value, write: fn(&mut Vec<u8>, &[u8])) -> String {
    let mut message = Vec::new();
    write(&mut message, text(line, "message").as_bytes());
    String::from_utf8_lossy(&message).into_owned()
}

/// What it says, without its colours and with blanks for tabs.
pub fn message(line: &Value) -> String {
    untabbed(&shown(line, write_colourless))
}

/// Blanks up to where terminals have their tab stops.
pub fn untabbed(text: &str) -> String {
    let mut blank = String::new();
    for part in text.split_inclusive('\t') {
        blank += part.trim_end_matches('\t');
        if part.ends_with('\t') {
            blank += &" ".repeat(TAB - width(&blank) % TAB);
        }
    }
    blank
}

/// `10min` ago, or a time as rinit writes it; since 1970.
fn since(text: &str) -> Result<Duration, Failure> {
    if let Some(time) = Timestamp::parse(text) {
        return Ok(time.since_epoch());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match parse_timespan(text) {
        Ok(Some(span)) => Ok(now.saturating_sub(span)),
        Ok(None) => Ok(Duration::ZERO),
        Err(_) => {
            let hint = "it takes a time span, as 10min, or a time, as 2026-01-31T12:00:00Z";
            Err(Failure::new(USAGE, format!("--since {text}: {hint}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = json!({"time": "2026-01-31T12:00:00.012345Z", "unit": "web@2.service",
            "instance": "2", "stream": "stdout", "pid": 7, "message": "a\u{1b}[2Jb"});
        let text = render(&line, |time| time.precise(), Look::default());
        assert_eq!(text, "2026-01-31 12:00:00.012 web@2 | a\\x1b[2Jb");
        // A service's colours reach whoever has colours, and no file.
        let line = json!({"unit": "web.service", "message": "\u{1b}[31mred\u{1b}[0m\tx"});
        let fancy = Look { colour: true, ..Look::default() };
        let rendered = |look| render(&line, |time| time.short(), look);
        assert_eq!(rendered(fancy), " web | \u{1b}[31mred\u{1b}[0m\tx\u{1b}[0m");
        assert_eq!(rendered(Look::default()), " web | red\tx");
        assert_eq!(untabbed("\u{1b}[31mred\u{1b}[0m\tx\t"), "\u{1b}[31mred\u{1b}[0m     x       ");
    }

    #[test]
    fn since_when() {
        assert_eq!(since("1970-01-01T00:01:00Z").unwrap(), Duration::from_secs(60));
        assert_eq!(since("infinity").unwrap(), Duration::ZERO);
        assert!(since("10min").unwrap() < since("9min").unwrap());
        assert_eq!(since("yesterday").unwrap_err().code, USAGE);
    }
}
