//! `/`: what runs, on one page for a browser.
//!
//! It loads nothing and runs nothing, and says so to the browser. **Invariant:** every text that is
//! not rinit's own goes through `escape`.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use super::metrics::is_ready;
use super::view::View;
use super::{Answer, probes};
use crate::control::usage::Usage;
use crate::manager::readiness::{Readiness, ServingPhase};
use crate::manager::status::UnitStatus;
use crate::unit::process::ExitStatus;
use crate::unit::timespan::format_timespan;

/// Between `<style>` and its end; [`HEADERS`] has its hash, which a test holds it to.
const STYLE: &str = "\
:root{color-scheme:light dark;--ok:#1a7f37;--bad:#cf222e;--busy:#9a6700;--line:#8884}
@media(prefers-color-scheme:dark){:root{--ok:#3fb950;--bad:#f85149;--busy:#d29922}}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
h1{font-size:1.4rem;margin:0}
table{border-collapse:collapse;margin-top:1.5rem;width:100%}
th,td{border-bottom:1px solid var(--line);padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top}
thead th{font-weight:600}
tbody th{font-weight:400}
tbody th small{display:block;opacity:.7}
.part{padding-left:1.5rem}
.number{font-variant-numeric:tabular-nums;text-align:right}
.ok{color:var(--ok)}.bad{color:var(--bad)}.busy{color:var(--busy)}
footer{margin-top:1.5rem;opacity:.7}
";

/// Nothing is loaded, no script runs, nobody frames it; the style is the one above.
const HEADERS: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'sha256-EYUKx6MRk5HT/A7+//7YJJyRV75zqCGLI1bxR04QqRE='; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n";

/// The page.
pub fn answer(view: &dyn View) -> Answer {
    let (state, readiness, own) = (view.system_state(), view.readiness(), view.own());
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<title>{0} - rinit</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>rinit: {0}</h1>\n",
        state.as_str(),
    );
    html.push_str(&of_readiness(&readiness));
    let units = view.used_units();
    let memory = units.iter().any(|(_, usage)| usage.current.is_some());
    html.push_str("<table>\n<thead><tr>");
    let mut columns = vec!["unit", "state", "since", "pid", "restarts", "last exit"];
    columns.extend(memory.then_some("memory"));
    columns.push("says");
    for column in columns {
        let class = match column {
            "pid" | "restarts" | "memory" => " class=\"number\"",
            _ => "",
        };
        html.push_str(&format!("<th scope=\"col\"{class}>{column}</th>"));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for (unit, usage) in &units {
        html.push_str(&row(unit, usage, memory, view));
    }
    let up = ago(view.now().since(own.started));
    let version = env!("CARGO_PKG_VERSION");
    html.push_str(&format!(
        "</tbody>\n</table>\n<footer>rinit {version}, started {up} ago. This page looks again \
         every 5 seconds and changes nothing: <code>rinitctl</code> does.</footer>\n\
         </body>\n</html>\n"
    ));
    let content_type = "text/html; charset=utf-8";
    Answer { status: 200, content_type, headers: HEADERS, body: html }
}

fn of_readiness(readiness: &Readiness) -> String {
    let late: Vec<String> = readiness
        .units
        .iter()
        .filter(|unit| !unit.ready)
        .map(|unit| format!("{}: {}", escape(unit.unit.as_str()), probes::in_words(unit)))
        .collect();
    let (class, words) = match readiness.phase {
        ServingPhase::Up if late.is_empty() => ("ok", "Ready for traffic.".to_owned()),
        ServingPhase::Up => ("busy", format!("Not ready for traffic: {}.", late.join("; "))),
        ServingPhase::Draining => ("busy", "Draining: send no more traffic.".to_owned()),
        ServingPhase::Stopping => ("bad", "Stopping.".to_owned()),
    };
    format!("<p class=\"{class}\">{words}</p>\n")
}

fn row(unit: &UnitStatus, usage: &Usage, memory: bool, view: &dyn View) -> String {
    let name = escape(unit.unit.name.as_str());
    let part = if unit.instance_of.is_some() { " class=\"part\"" } else { "" };
    let description = match unit.unit.description.as_str() {
        "" => String::new(),
        text => format!("<small>{}</small>", escape(text)),
    };
    let (class, state) = state(unit);
    let since = unit.since.map(|at| ago(view.now().since(at))).unwrap_or_default();
    let pid = unit.main.and_then(|process| view.pid(process));
    let pid = pid.map(|pid| pid.to_string()).unwrap_or_default();
    let exit = unit.last_exit.map(in_words).unwrap_or_default();
    let mut html = format!(
        "<tr><th scope=\"row\"{part}>{name}{description}</th><td class=\"{class}\">{state}</td>\
         <td>{since}</td><td class=\"number\">{pid}</td><td class=\"number\">{}</td><td>{exit}</td>",
        unit.n_restarts,
    );
    if memory {
        let text = usage.current.map(|bytes| of_memory(bytes, usage.max));
        html.push_str(&format!("<td class=\"number\">{}</td>", text.unwrap_or_default()));
    }
    let says = escape(unit.status_text.as_deref().unwrap_or_default());
    html.push_str(&format!("<td>{says}</td></tr>\n"));
    html
}

/// `active (running)`, and what is to be known beside it.
fn state(unit: &UnitStatus) -> (&'static str, String) {
    use crate::manager::state::ActiveState;
    let active = unit.state.active_state();
    let class = match active {
        ActiveState::Active | ActiveState::Reloading if is_ready(unit) => "ok",
        ActiveState::Active | ActiveState::Reloading | ActiveState::Failed => "bad",
        ActiveState::Activating | ActiveState::Deactivating => "busy",
        ActiveState::Inactive => "",
    };
    let mut text = format!("{active} ({})", unit.state);
    if let Some(instances) = &unit.instances {
        text.push_str(&format!(", {} of {} ready", instances.ready, instances.wanted));
    }
    if unit.healthy == Some(false) {
        text.push_str(", unhealthy");
    }
    if unit.exhausted {
        text.push_str(", start limit used up");
    }
    (class, text)
}

fn in_words(exit: ExitStatus) -> String {
    match exit {
        ExitStatus::Exited(code) => format!("status {code}"),
        ExitStatus::Killed { signal, core_dumped: false } => format!("{signal}"),
        ExitStatus::Killed { signal, core_dumped: true } => format!("{signal}, core dumped"),
    }
}

fn of_memory(bytes: u64, max: Option<u64>) -> String {
    let mebi = |bytes: u64| format!("{} MiB", bytes >> 20);
    match max {
        Some(max) => format!("{} of {}", mebi(bytes), mebi(max)),
        None => mebi(bytes),
    }
}

/// Nobody wants to know the milliseconds, nor of a day the seconds.
fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    let grain = match seconds {
        0..3_600 => 1,
        3_600..86_400 => 60,
        _ => 3_600,
    };
    format_timespan(Duration::from_secs(seconds - seconds % grain))
}

/// Text between tags.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others() {
        assert_eq!(
            escape("<a href='x'>&\"</a>"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;"
        );
    }

    #[test]
    fn ages() {
        for (seconds, text) in
            [(0, "0"), (59, "59s"), (61, "1min 1s"), (3_661, "1h 1min"), (90_061, "1d 1h")]
        {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn memory() {
        assert_eq!(of_memory(5 << 20, None), "5 MiB");
        assert_eq!(of_memory(5 << 20, Some(1 << 30)), "5 MiB of 1024 MiB");
    }
}
