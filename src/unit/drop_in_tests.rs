//! What a drop-in adds to, replaces and takes away.

use std::sync::Arc;

use expect_test::expect;

use super::directive::{self, Kind, Section, Setter, UnitDefaults};
use super::problem::{Problem, SourceFile};
use super::specifier::HostFacts;
use super::verify_tests::drawn;
use super::{Unit, UnitName, build, toml};

/// The unit `w.service` of these files.
fn built(files: &[(&str, &str)]) -> (Unit, Vec<Problem>) {
    let mut problems = Vec::new();
    let raw = |(path, text): &(&str, &str)| {
        let file = Arc::new(SourceFile { path: path.into(), text: (*text).to_string() });
        let (raw, found) = toml::read(&file);
        assert_eq!(found, [], "{text}");
        raw
    };
    let files: Vec<_> = files.iter().map(raw).collect();
    let (name, host) = (UnitName::service("w").unwrap(), HostFacts::default());
    let draft = build::build(name, &files, &UnitDefaults::default(), &host, &mut problems);
    (Unit { file: None, ..draft.unit }, problems)
}

/// Two values of a list, or none for what is no list.
fn two_values(row: &directive::Directive) -> Option<(&'static str, &'static str)> {
    Some(match row.kind {
        Kind::Commands => ("/one", "/two x"),
        Kind::Texts => ("one", "two"),
        Kind::Paths | Kind::Condition => ("/one", "/two"),
        Kind::Variables => ("A=1", "B=2"),
        Kind::ExitStatuses => ("3", "4"),
        Kind::Signals => ("USR1", "USR2"),
        Kind::Addresses if row.name == "ListenFIFO" => ("/one", "/two"),
        Kind::Addresses => ("@one", "@two"),
        Kind::Identity if row.name == "SupplementaryGroups" => ("one", "two"),
        Kind::Boolean
        | Kind::TimeSpan
        | Kind::Timeout
        | Kind::Integer(..)
        | Kind::Mode
        | Kind::Text
        | Kind::Path
        | Kind::Units // systemd.unit(5): "dependencies … cannot be reset to an empty list"
        | Kind::Choice(_)
        | Kind::Identity
        | Kind::Signal
        | Kind::Limit
        | Kind::Stream
        | Kind::Size
        | Kind::Url
        | Kind::HostPort
        | Kind::Instances
        | Kind::Rolling => return None,
    })
}

#[test]
fn an_empty_text_first_replaces_a_list() {
    let mut n_lists = 0;
    for row in directive::all().filter(|row| row.section != Section::Manager) {
        let (Setter::Unit(_), Some((one, two))) = (&row.set, two_values(row)) else {
            continue;
        };
        n_lists += 1;
        let (section, name) = (row.section.name(), row.name);
        let main = format!("[{section}]\n{name} = '{one}'\n");
        let replaced = format!("[{section}]\n{name} = ['', '{two}']\n");
        let alone = format!("[{section}]\n{name} = '{two}'\n");
        let (unit, problems) = built(&[("w.toml", &main), ("w.toml.d/1.toml", &replaced)]);
        let (wanted, expected) = built(&[("w.toml", &alone)]);
        let messages = |problems: Vec<Problem>| -> Vec<String> {
            problems.into_iter().map(|problem| problem.message).collect()
        };
        assert_eq!(messages(problems), messages(expected), "{name}");
        assert_eq!(unit, wanted, "{name}");
        assert_ne!(unit, built(&[("w.toml", &main)]).0, "{name}");
    }
    assert!(n_lists > 35, "{n_lists}");
}

#[test]
fn what_follows_the_empty_text_is_a_line_or_words() {
    for (written, shown) in [
        (r#"["", "/new"]"#, "/new"),
        (r#"["", "/new --port $PORT"]"#, "/new --port $PORT"),
        (r#"["", "/new", "a b"]"#, "'/new', 'a b'"),
        (r#"["", "/bin/a ; /bin/b"]"#, "/bin/a ; /bin/b"),
        (r#"["", ["/bin/a"], ["/bin/b", "c"]]"#, "['/bin/a'], ['/bin/b', 'c']"),
    ] {
        let alone = match shown {
            list if list.starts_with(['\'', '[']) => format!("[{list}]"),
            line => format!("'{line}'"),
        };
        let unit = |value: &str| {
            let text = format!("[Service]\nType = 'oneshot'\nExecStart = {value}\n");
            let old = "[Service]\nType = 'oneshot'\nExecStart = ['/old']\n";
            let (unit, problems) = built(&[("w.toml", old), ("w.toml.d/1.toml", &text)]);
            assert_eq!(problems, [], "{value}");
            unit.service.exec_start.to_vec()
        };
        let (replaced, added) = (unit(written), unit(&alone));
        assert_eq!(replaced, added.get(1..).unwrap(), "{written}");
    }
    let (unit, problems) = built(&[
        ("w.toml", "[Service]\nExecStart = '/old'\n"),
        ("w.toml.d/1.toml", "[Service]\nExecStart = ['']\n"),
    ]);
    assert!(unit.service.exec_start.is_empty());
    assert_eq!(problems.first().unwrap().message, "w.service has no ExecStart");
}

#[test]
fn a_drop_in_that_adds_a_second_command() {
    let (_, problems) = built(&[
        ("w.toml", "[Service]\nExecStart = '/gone'\n"),
        ("w.toml.d/1.toml", "[Service]\nExecStart = ['', '/old']\n"),
        ("w.toml.d/2.toml", "[Service]\nExecStart = '/new'\n"),
    ]);
    expect![[r#"
        error: w.service has 2 ExecStart commands, and only a oneshot may
         --> w.toml.d/2.toml:2:13
          |
        2 | ExecStart = '/new'
          |             ^^^^^^
          |
         ::: w.toml.d/1.toml:2:13
          |
        2 | ExecStart = ['', '/old']
          |             ------------ ExecStart here
          |
          = help: it adds to the list; ExecStart = ["", "program argument"] replaces what was there

        1 error: nothing was started
    "#]]
    .assert_eq(&drawn(&problems));
}
