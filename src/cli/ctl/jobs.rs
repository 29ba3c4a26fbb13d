//! `start`, `stop`, `restart`, `reload`: asks for jobs, shows their progress, tells how they ended.
//!
//! Not how a job is done (`manager::job`). Several units are asked for at once, each on a connection
//! of its own, because an answer only comes when the job has ended. **Invariant:** each unit has
//! exactly one result here, also if rinit ends or the time is over.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::{Job, Scale};
use super::connect::Session;
use super::events::{recent, text};
use super::failure::Failure;
use super::screen::Screen;
use super::time::left;
use super::{DONE, FAILED, TIMED_OUT, names};
use crate::cli::diagnostics::one_line;
use crate::control::client::{CallError, Client};

/// So many connections at once: rinit takes 64 of all its clients.
const AT_ONCE: usize = 16;
/// How often the line of progress is drawn anew.
const FRAME: Duration = Duration::from_millis(100);

/// Which job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `start`
    Start,
    /// `stop`
    Stop,
    /// `restart`
    Restart,
    /// `reload`
    Reload,
    /// `scale`
    Scale,
}

impl Kind {
    /// The method of rinit's interface.
    pub fn method(self) -> &'static str {
        match self {
            Kind::Start => "Start",
            Kind::Stop => "Stop",
            Kind::Restart => "Restart",
            Kind::Reload => "Reload",
            Kind::Scale => "Scale",
        }
    }

    /// The word that a person uses.
    pub fn verb(self) -> &'static str {
        match self {
            Kind::Start => "start",
            Kind::Stop => "stop",
            Kind::Restart => "restart",
            Kind::Reload => "reload",
            Kind::Scale => "scale",
        }
    }

    fn going_on(self) -> &'static str {
        match self {
            Kind::Start => "starting",
            Kind::Stop => "stopping",
            Kind::Restart => "restarting",
            Kind::Reload => "reloading",
            Kind::Scale => "scaling",
        }
    }
}

/// What a connection tells.
enum News {
    Event(Value),
    End(usize, Result<Value, CallError>),
}

/// The verb.
pub fn run(
    kind: Kind,
    arguments: &Job,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let units = names::resolve(session, &arguments.units.units)?;
    let wait = !arguments.no_block;
    let asked: Vec<Asked> = units
        .into_iter()
        .map(|unit| Asked { parameters: json!({ "unit": unit, "wait": wait }), unit })
        .collect();
    ask(kind, &asked, json, session, screen)
}

/// The verb `scale`.
pub fn scale(
    arguments: &Scale,
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let mut asked = Vec::new();
    for (word, number) in &arguments.numbers {
        for unit in names::resolve(session, std::slice::from_ref(word))? {
            let wait = !arguments.no_block;
            let parameters = json!({ "unit": unit, "instances": number, "wait": wait });
            asked.push(Asked { unit, parameters });
        }
    }
    ask(Kind::Scale, &asked, json, session, screen)
}

/// One call.
struct Asked {
    unit: String,
    parameters: Value,
}

fn ask(
    kind: Kind,
    asked: &[Asked],
    json: bool,
    session: &mut Session,
    screen: &mut Screen<'_>,
) -> Result<u8, Failure> {
    let mut ends = Vec::new();
    for asked in asked.chunks(AT_ONCE) {
        ends.extend(some(kind, asked, json, session, screen)?);
    }
    screen.clear_progress();
    let mut code = DONE;
    let mut objects = Vec::new();
    for (unit, end) in asked.iter().map(|asked| &asked.unit).zip(ends) {
        let (own, lines) = told(kind, unit, &end, session.timeout());
        code = code.max(own);
        if json {
            objects.push(object(kind, unit, &end));
        } else if own == DONE {
            screen.out(&lines);
        } else {
            screen.err(&lines);
            if own == FAILED && end.is_ok() {
                let events = recent(session, Some(unit)).unwrap_or_default();
                cause(&events).iter().for_each(|line| screen.err(&format!("  {line}\n")));
            }
        }
    }
    if json {
        screen.json(&Value::Array(objects));
    }
    Ok(code)
}

/// Asks for the jobs of some units; gives how each ended, in their order.
fn some(
    kind: Kind,
    asked: &[Asked],
    json: bool,
    session: &Session,
    screen: &mut Screen<'_>,
) -> Result<Vec<Result<Value, CallError>>, Failure> {
    let (sender, news) = channel();
    let rolls = !json && matches!(kind, Kind::Restart | Kind::Reload | Kind::Scale);
    let (deadline, more) = (session.deadline(), screen.look.progress || rolls);
    for (at, Asked { parameters, .. }) in asked.iter().enumerate() {
        let mut client = session.another()?;
        // Asked for in the order given; only the answers come as they come.
        match client.send(kind.method(), parameters, more, deadline) {
            Ok(()) => {
                let sender = sender.clone();
                std::thread::spawn(move || follow(client, deadline, at, &sender));
            }
            Err(error) => drop(sender.send(News::End(at, Err(error)))),
        }
    }
    drop(sender);
    let units: Vec<String> = asked.iter().map(|asked| asked.unit.clone()).collect();
    Ok(collect(kind, &units, rolls, &news, screen))
}

/// Reads what comes, up to the end.
fn follow(mut client: Client, deadline: Option<Instant>, at: usize, news: &Sender<News>) {
    let end = loop {
        match client.reply(deadline) {
            Ok(reply) if reply.continues => drop(news.send(News::Event(reply.parameters))),
            Ok(reply) => break Ok(reply.parameters),
            Err(error) => break Err(error),
        }
    };
    drop(news.send(News::End(at, end)));
}

fn collect(
    kind: Kind,
    units: &[String],
    rolls: bool,
    news: &Receiver<News>,
    screen: &mut Screen<'_>,
) -> Vec<Result<Value, CallError>> {
    let mut ends: Vec<Option<Result<Value, CallError>>> = units.iter().map(|_| None).collect();
    let mut last = String::new();
    let began = Instant::now();
    loop {
        match news.recv_timeout(FRAME) {
            Ok(News::Event(reply)) => {
                let event = reply.get("event").cloned().unwrap_or_default();
                last = format!("{}: {}", text(&event, "unit"), text(&event, "message"));
                // How a roll goes is what somebody who started it wants to have on record.
                if rolls && text(&event, "event") == "roll" {
                    let line = format!("{}\n", screen.look.symbols(&one_line(&last)));
                    screen.out(&line);
                }
            }
            Ok(News::End(at, end)) => {
                if let Some(place) = ends.get_mut(at) {
                    *place = Some(end);
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let waiting = units.iter().zip(&ends).filter(|(_, end)| end.is_none());
                let names: Vec<&str> = waiting.map(|(unit, _)| unit.as_str()).collect();
                screen.progress(&progress(kind, &names, began.elapsed(), &last));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    ends.into_iter().map(|end| end.unwrap_or(Err(CallError::Closed))).collect()
}

/// `/ starting web.service (3s) web.service: started, pid 12`.
fn progress(kind: Kind, waiting: &[&str], since: Duration, last: &str) -> String {
    const WIDTH: usize = 79; // a longer line would wrap, and could not be written over
    let frames = ['|', '/', '-', '\\'];
    let turn = usize::try_from(since.as_millis() / FRAME.as_millis()).unwrap_or(0);
    let frame = frames.get(turn % frames.len()).unwrap_or(&'|');
    let what = match waiting {
        [one] => (*one).to_owned(),
        several => format!("{} units", several.len()),
    };
    let seconds = left(Duration::from_secs(since.as_secs()));
    let line = format!("{frame} {} {what} ({seconds})  {last}", kind.going_on());
    line.chars().filter(|c| !c.is_control()).take(WIDTH).collect()
}

/// The exit status, and what a person reads.
fn told(
    kind: Kind,
    unit: &str,
    end: &Result<Value, CallError>,
    timeout: Option<Duration>,
) -> (u8, String) {
    let verb = kind.verb();
    let reply = match end {
        Ok(reply) => reply,
        Err(CallError::TimedOut) => {
            let after = timeout.map_or_else(String::new, |limit| format!(" after {}", left(limit)));
            let message = format!(
                "rinitctl: {unit} is still {}{after}; rinit goes on with it\n",
                kind.going_on()
            );
            return (TIMED_OUT, message);
        }
        Err(error) => {
            let failure = Failure::of_call(error.clone()).during(&format!("{verb} {unit}"));
            return (failure.code, failure.line());
        }
    };
    let reason = text(reply, "reason");
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let look = format!("See \"rinitctl status {unit}\" for details.\n");
    let code = if text(reply, "result") == "timeout" { TIMED_OUT } else { FAILED };
    let line = match text(reply, "result") {
        "skipped" => {
            return (DONE, format!("{unit} was skipped{why}\n{}", taken_along(kind, reply)));
        }
        "failed" => format!("Job for {unit} failed{why}\n{look}"),
        "dependency" => format!("A dependency job for {unit} failed{why}\n{look}"),
        "timeout" => format!("Job for {unit} timed out{why}\n{look}"),
        "canceled" => format!("Job for {unit} canceled{why}\n"),
        "assert" => format!("Assertion failed on job for {unit}{why}\n"),
        _ => return (DONE, taken_along(kind, reply)),
    };
    // A start that failed may not have come to the others; a stop has.
    let also = if kind == Kind::Start { String::new() } else { taken_along(kind, reply) };
    (code, line + &also)
}

/// What went wrong in the last run of a unit, by its events: what a person would look for next.
fn cause(events: &[Value]) -> Vec<String> {
    let begins =
        |event: &Value| text(event, "event") == "state" && text(event, "to") == "condition";
    let begin = events.iter().rposition(begins).unwrap_or(0);
    let bad = events.iter().skip(begin).filter(|event| {
        matches!(text(event, "level"), "warn" | "error")
            && matches!(text(event, "event"), "exit" | "message")
    });
    bad.map(|event| one_line(text(event, "message"))).collect()
}

/// What else the job has stopped or started.
fn taken_along(kind: Kind, reply: &Value) -> String {
    let also = reply.get("also").and_then(Value::as_array);
    let names: Vec<&str> = also.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() {
        return String::new();
    }
    let verb = match kind {
        Kind::Start => "started",
        Kind::Stop => "stopped",
        Kind::Restart => "restarted",
        Kind::Reload => "reloaded",
        Kind::Scale => "scaled",
    };
    format!("Also {verb}: {}\n", names.join(", "))
}

fn object(kind: Kind, unit: &str, end: &Result<Value, CallError>) -> Value {
    let (result, reason, also) = match end {
        Ok(reply) => {
            let also = reply.get("also").cloned().unwrap_or_else(|| json!([]));
            (text(reply, "result").to_owned(), text(reply, "reason").to_owned(), also)
        }
        Err(error) => {
            let result = if *error == CallError::TimedOut { "waiting" } else { "error" };
            (result.to_owned(), Failure::of_call(error.clone()).message, json!([]))
        }
    };
    json!({ "unit": unit, "job": kind.verb(), "result": result, "reason": reason, "also": also })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_is_told() {
        let reply = |result: &str, reason: &str, also: &[&str]| {
            Ok(json!({"result": result, "reason": reason, "also": also}))
        };
        let see = "\nSee \"rinitctl status web.service\" for details.\n";
        for (kind, end, code, words) in [
            (Kind::Start, reply("done", "", &[]), 0, String::new()),
            (
                Kind::Stop,
                reply("done", "", &["api.service", "job.service"]),
                0,
                "Also stopped: api.service, job.service\n".to_owned(),
            ),
            (
                Kind::Start,
                reply("skipped", "ConditionPathExists=/x", &[]),
                0,
                "web.service was skipped: ConditionPathExists=/x\n".to_owned(),
            ),
            (
                Kind::Start,
                reply("failed", "exit-code", &[]),
                1,
                format!("Job for web.service failed: exit-code{see}"),
            ),
            (
                Kind::Start,
                reply("dependency", "db.service", &[]),
                1,
                format!("A dependency job for web.service failed: db.service{see}"),
            ),
            (
                Kind::Start,
                reply("timeout", "", &[]),
                5,
                format!("Job for web.service timed out{see}"),
            ),
            (
                Kind::Start,
                reply("canceled", "stop", &[]),
                1,
                "Job for web.service canceled: stop\n".to_owned(),
            ),
            (
                Kind::Start,
                reply("assert", "", &[]),
                1,
                "Assertion failed on job for web.service\n".to_owned(),
            ),
            (
                Kind::Stop,
                Err(CallError::TimedOut),
                5,
                "rinitctl: web.service is still stopping after 5s; rinit goes on with it\n"
                    .to_owned(),
            ),
            (
                Kind::Reload,
                Err(CallError::Refused("Refused".to_owned(), json!({"reason": "no"}))),
                1,
                "rinitctl: Failed to reload web.service: no\n".to_owned(),
            ),
        ] {
            let told = told(kind, "web.service", &end, Some(Duration::from_secs(5)));
            assert_eq!(told, (code, words));
        }
    }

    #[test]
    fn the_cause_is_of_the_last_run() {
        let event = |kind: &str, level: &str, to: &str, message: &str| json!({"event": kind, "level": level, "to": to, "message": message});
        let events = [
            event("state", "debug", "condition", "dead → condition"),
            event("exit", "warn", "", "long ago"),
            event("state", "debug", "condition", "failed → condition"),
            event("start", "info", "", "started"),
            event("exit", "warn", "", "ExecStart exited with status 1 after 4ms"),
            event("state", "error", "failed", "failed (exit-code)"),
            event("job", "error", "", "start failed"),
        ];
        assert_eq!(cause(&events), ["ExecStart exited with status 1 after 4ms"]);
        assert!(cause(&[]).is_empty());
    }

    #[test]
    fn one_line_of_progress() {
        let line = progress(Kind::Start, &["web.service"], Duration::from_millis(3_100), "x\ny");
        assert_eq!(line, "\\ starting web.service (3s)  xy");
        let long = progress(Kind::Stop, &["a", "b"], Duration::ZERO, &"x".repeat(200));
        assert_eq!(long.chars().count(), 79);
        assert!(long.starts_with("| stopping 2 units (0)"), "{long}");
    }
}
