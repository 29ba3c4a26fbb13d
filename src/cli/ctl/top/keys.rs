//! What a key does.
//!
//! Not where keys come from (`feed`). **Invariant:** what ends a process is asked about first, and
//! Ctrl-C always ends `top`.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{End, Job, Mode, Model};
use crate::cli::ctl::jobs::Kind;

/// So many rows are a page.
const PAGE: isize = 10;

/// Each key and what it does, as the help shows them.
pub const HELP: [(&str, &str); 11] = [
    ("j k ↓ ↑", "select a unit (PgDn PgUp Home End)"),
    ("r", "restart it: asks first"),
    ("s", "stop it: asks first"),
    ("S", "start it"),
    ("l", "reload it (ExecReload=, or one instance after another)"),
    ("f", "follow: only its events and lines; again: those of all"),
    ("/", "filter units by name: Enter keeps it, Esc forgets it"),
    ("Esc", "forget filter and message"),
    ("?", "this help"),
    ("q Ctrl-C", "quit; what was asked for goes on"),
    ("", "SINCE is the time in the present state; MEMORY is current/MemoryMax="),
];

/// Takes a key; what is to be asked of rinit, if anything is.
pub fn press(model: &mut Model, key: KeyEvent) -> Option<Job> {
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        model.end = Some(End::Quit);
        return None;
    }
    model.note = None;
    match std::mem::take(&mut model.mode) {
        Mode::Browse => browse(model, key.code),
        Mode::Help => None,
        Mode::Confirm(job) => confirm(model, job, key.code),
        Mode::Filter => {
            filter(model, key.code);
            None
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // not our enum: most keys do nothing
fn browse(model: &mut Model, key: KeyCode) -> Option<Job> {
    match key {
        KeyCode::Char('q') => model.end = Some(End::Quit),
        KeyCode::Char('j') | KeyCode::Down => model.select(1),
        KeyCode::Char('k') | KeyCode::Up => model.select(-1),
        KeyCode::PageDown => model.select(PAGE),
        KeyCode::PageUp => model.select(-PAGE),
        KeyCode::Char('g') | KeyCode::Home => model.select(isize::MIN),
        KeyCode::Char('G') | KeyCode::End => model.select(isize::MAX),
        KeyCode::Char('f') => model.follow = !model.follow,
        KeyCode::Char('/') => model.mode = Mode::Filter,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => model.mode = Mode::Help,
        KeyCode::Esc => forget_filter(model),
        KeyCode::Char('r') => model.mode = confirmed(model, Kind::Restart),
        KeyCode::Char('s') => model.mode = confirmed(model, Kind::Stop),
        KeyCode::Char('S') => return ask(model, job(model, Kind::Start)?),
        KeyCode::Char('l') => return ask(model, job(model, Kind::Reload)?),
        _ => {}
    }
    None
}

fn job(model: &Model, kind: Kind) -> Option<Job> {
    let unit = model.selected.clone();
    (!unit.is_empty()).then_some(Job { kind, unit })
}

fn confirmed(model: &Model, kind: Kind) -> Mode {
    job(model, kind).map_or(Mode::Browse, Mode::Confirm)
}

fn ask(model: &mut Model, job: Job) -> Option<Job> {
    model.ask(&job);
    Some(job)
}

/// `y` does it; `n`, or anything else that a hurried hand meets, does not.
fn confirm(model: &mut Model, job: Job, key: KeyCode) -> Option<Job> {
    if matches!(key, KeyCode::Char('y' | 'Y')) { ask(model, job) } else { None }
}

#[allow(clippy::wildcard_enum_match_arm)] // not our enum: most keys do nothing
fn filter(model: &mut Model, key: KeyCode) {
    model.mode = Mode::Filter;
    match key {
        KeyCode::Char(letter) => model.filter.push(letter),
        KeyCode::Backspace => drop(model.filter.pop()),
        KeyCode::Enter => model.mode = Mode::Browse,
        KeyCode::Esc => {
            model.mode = Mode::Browse;
            model.filter.clear();
        }
        KeyCode::Up => model.select(-1),
        KeyCode::Down => model.select(1),
        _ => {}
    }
    model.settle();
}

fn forget_filter(model: &mut Model) {
    model.filter.clear();
    model.settle();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::properties::Properties;
    use crate::cli::ctl::screen::Tint;
    use crate::cli::ctl::top::model::News;
    use serde_json::json;

    fn model() -> Model {
        let unit = |name: &str| {
            Properties::of_reply(json!({"properties": {"Id": name, "ActiveState": "active"}}))
        };
        let units = ["db.service", "web.service", "worker.service"].map(unit);
        let mut model = Model::default();
        model.take(News::Units("running".to_owned(), units.to_vec()));
        model
    }

    /// Types; `Enter` is `\n`, `Esc` is `\x1b`, Backspace `\x7f`.
    fn type_keys(model: &mut Model, keys: &str) -> Vec<String> {
        let code = |key| match key {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\x7f' => KeyCode::Backspace,
            letter => KeyCode::Char(letter),
        };
        let jobs = keys.chars().filter_map(|key| press(model, code(key).into()));
        jobs.map(|job| job.words()).collect()
    }

    #[test]
    fn what_ends_a_process_is_asked_about() {
        for (keys, asked) in [
            ("r", &[][..]),
            ("ry", &["restart db.service"]),
            ("rY", &["restart db.service"]),
            ("rn", &[]),
            ("r\n", &[]),
            ("rr", &[]),
            ("rjy", &[]),
            ("sy", &["stop db.service"]),
            ("s\x1b", &[]),
            ("jsy", &["stop web.service"]),
            ("jjS", &["start worker.service"]),
            ("Gl", &["reload worker.service"]),
            ("Ggl", &["reload db.service"]),
            ("y", &[]),
            ("?ry", &[]),
        ] {
            assert_eq!(type_keys(&mut model(), keys), asked, "{keys:?}");
        }
        assert!(type_keys(&mut Model::default(), "rysySl").is_empty(), "there is no unit");
    }

    #[test]
    fn ctrl_c_always_ends_it() {
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for keys in ["", "r", "/", "?"] {
            let mut model = model();
            type_keys(&mut model, keys);
            assert_eq!(press(&mut model, ctrl_c), None);
            assert_eq!(model.end, Some(End::Quit), "{keys:?}");
        }
        let mut model = model();
        type_keys(&mut model, "/q");
        assert_eq!((model.end.take(), model.filter.as_str()), (None, "q"));
        type_keys(&mut model, "\nq");
        assert_eq!(model.end, Some(End::Quit));
    }

    #[test]
    fn a_filter_is_typed() {
        let mut model = model();
        for (keys, filter, mode, selected) in [
            ("j/w", "w", Mode::Filter, "web.service"),
            ("o", "wo", Mode::Filter, "worker.service"),
            ("\x7f", "w", Mode::Filter, "worker.service"),
            ("\n", "w", Mode::Browse, "worker.service"),
            ("k", "w", Mode::Browse, "web.service"),
            ("\x1b", "", Mode::Browse, "web.service"),
            ("/x", "x", Mode::Filter, ""),
            ("\x1b", "", Mode::Browse, "db.service"),
        ] {
            type_keys(&mut model, keys);
            let found = (model.filter.as_str(), &model.mode, model.selected.as_str());
            assert_eq!(found, (filter, &mode, selected), "{keys:?}");
        }
    }

    #[test]
    fn a_key_takes_the_message_away() {
        let mut model = model();
        model.note = Some((Tint::Bad, "restart web.service: failed".to_owned()));
        type_keys(&mut model, "f");
        assert_eq!((model.note.clone(), model.followed()), (None, Some("db.service")));
        type_keys(&mut model, "f");
        assert_eq!(model.followed(), None);
    }
}
