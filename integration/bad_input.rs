//! Bad input, and what it gets: every error at once, with file and line; nothing starts; 78.

use std::os::unix::ffi::OsStringExt as _;

use crate::harness::Rinit;

/// A unit that is wrong, beside one that is right: 78, these words, and the right one not started.
#[track_caller]
fn check(text: &str, words: &[&str]) {
    let setup = Rinit::subreaper().plain().service("fine", "say started", "");
    let outcome = setup.unit("web", text).run();
    outcome.assert_code(78).assert_stderr(words);
    outcome.assert(outcome.stdout().is_empty(), "nothing started");
}

#[test]
fn unknown_words_get_a_suggestion() {
    check(
        "[Service]\nExecStart = \"true\"\nRestrat = \"no\"\n",
        &["web.toml:3", "Restrat", "Restart"],
    );
    check("[Servce]\nExecStart = \"true\"\n", &["web.toml:1", "Servce", "[Service]"]);
    check("[Unit]\nAfetr = \"x\"\n[Service]\nExecStart = \"true\"\n", &["web.toml:2", "After"]);
    check(
        "[Service]\nExecStart = \"true\"\nRestart = \"alway\"\n",
        &["web.toml:3", "alway", "always"],
    );
}

#[test]
fn wrong_types_and_ranges_name_both() {
    let service = |line: &str| format!("[Service]\nExecStart = \"true\"\n{line}\n");
    check(&service("Nice = 40"), &["web.toml:3", "40", "-20", "19"]);
    check(&service("Nice = \"high\""), &["web.toml:3", "high", "whole number"]);
    check(&service("RestartSec = true"), &["web.toml:3", "RestartSec"]);
    check(&service("RemainAfterExit = 7"), &["web.toml:3", "RemainAfterExit"]);
    check(&service("TimeoutStopSec = \"soon\""), &["web.toml:3", "soon"]);
    check(&service("KillSignal = \"SIGTREM\""), &["web.toml:3", "SIGTREM"]);
    check(&service("UMask = \"0999\""), &["web.toml:3", "0999"]);
    check(&service("Type = \"notifyy\""), &["web.toml:3", "notifyy"]);
}

#[test]
fn an_open_quote_has_a_caret() {
    let text = "[Service]\nExecStart = \"/bin/sh -c 'echo hello\"\n";
    check(text, &["web.toml:2", "quote", "^"]);
    check("[Service]\nExecStart = \"/bin/sleep 5\n", &["web.toml:2", "^"]);
}

#[test]
fn what_a_unit_names_must_be_there() {
    check("[Service]\nExecStart = \"/nope/program\"\n", &["web.toml:2", "/nope/program"]);
    check(
        "[Service]\nExecStart = \"true\"\nUser = \"nosuchuser\"\n",
        &["web.toml:3", "nosuchuser"],
    );
    let file = "[Service]\nExecStart = \"true\"\nEnvironmentFile = \"/nope/env\"\n";
    check(file, &["web.toml:3", "/nope/env"]);
    check(
        "[Unit]\nRequires = \"fin.service\"\n[Service]\nExecStart = \"true\"\n",
        &["web.toml:2", "fine"],
    );
}

#[test]
fn a_missing_environment_file_may_be_allowed() {
    let lines = "EnvironmentFile = \"-/nope/env\"";
    Rinit::subreaper().service("web", "exit 0", lines).run().assert_code(0);
}

/// What a file of variables says wrongly is left out, and told when it is loaded and once a start.
#[test]
fn wrong_lines_of_an_environment_file() {
    let text = "[Service]\nType = \"oneshot\"\nEnvironmentFile = \"@dir@/env\"\n\
                StandardOutput = \"inherit\"\nExecStartPre = \"@probe@ exit 0\"\nExecStart = \"@probe@ report\"\n";
    let setup = || {
        let setup = Rinit::subreaper().plain().unit("web", text);
        let bytes = b"\xef\xbb\xbfA=1\nexport B=2\nC 3\nD=\xff\nE=5\nF='6\n";
        std::fs::write(setup.path("env"), bytes).unwrap();
        setup
    };
    let told =
        ["env:2: `export`", "env:3: it has no =", "env:4: the value of D", "env:6: the quote"];
    let outcome = setup().options(&["--check"]).run();
    outcome.assert_code(0).assert_stderr(&told).assert_stderr(&["web.toml:3", "warning"]);
    let mut rinit = setup().start();
    let report = rinit.wait_report();
    let found = ["A", "B", "C", "D", "E", "F"].map(|name| report.env(name).map(str::to_owned));
    assert_eq!(
        found,
        [Some("1"), None, None, None, Some("5"), Some("6\n")].map(|v| v.map(str::to_owned))
    );
    let outcome = rinit.wait();
    let twice = told.iter().all(|told| outcome.stderr().matches(told).count() == 2);
    outcome.assert_code(0).assert(twice, "at load and once for the start");
}

/// What no start could read is an error at load.
#[test]
fn environment_files_that_cannot_be_read() {
    let with = |file: &str| {
        let text = format!("[Service]\nExecStart = \"true\"\nEnvironmentFile = \"{file}\"\n");
        check(&text, &["web.toml:3", "cannot read the environment file", file]);
    };
    with("/etc");
    with("/nope/*.env");
    with("/dev/zero");
}

/// What systemd refuses as a number of a user or group, and the kernel takes for something else.
#[test]
fn numbers_that_are_no_user() {
    for number in ["4294967295", "65535", "+5", "05"] {
        for directive in ["User", "Group", "SupplementaryGroups"] {
            let text = format!("[Service]\nExecStart = \"true\"\n{directive} = \"{number}\"\n");
            check(&text, &["web.toml:3", number, "is no user or group"]);
        }
    }
}

/// In a user namespace nobody may raise a hard limit: the service runs with what there is.
#[test]
fn a_limit_that_cannot_be_raised() {
    crate::require!("user namespace");
    let lines = "LimitNOFILE = \"infinity\"\nLimitNICE = \"40\"\n";
    let setup = || Rinit::pid1().plain().service("web", "exit 3", lines);
    let words = ["web.toml:3", "LimitNOFILE=infinity is above the hard limit", "LimitNICE=40"];
    setup().options(&["--check"]).run().assert_code(0).assert_stderr(&words);
    setup().run().assert_code(3).assert_stderr(&words);
}

/// A signal that could never stop rinit is refused before anything starts.
#[test]
fn stop_signals_that_cannot_stop() {
    for signal in ["KILL", "SIGSTOP", "CHLD", "SEGV"] {
        let setup = || Rinit::subreaper().plain().service("web", "say never", "");
        let outcome = setup().env("RINIT_STOP_SIGNAL", signal).run();
        outcome.assert_code(64).assert_stderr(&["RINIT_STOP_SIGNAL", "WINCH"]);
        let manager = format!("[Manager]\nStopSignal = \"{signal}\"\n");
        let outcome = setup().unit("rinit", &manager).run();
        outcome.assert_code(78).assert_stderr(&["rinit.toml:2", "cannot stop rinit", "WINCH"]);
        outcome.assert(outcome.stdout().is_empty(), "nothing started");
    }
}

/// All members of a cycle, each with its line.
#[test]
fn a_cycle_names_every_member() {
    let link = |after: &str| {
        format!("[Unit]\nAfter = \"{after}.service\"\n[Service]\nExecStart = \"true\"\n")
    };
    let setup = Rinit::subreaper().plain().unit("a", &link("b")).unit("b", &link("c"));
    let outcome = setup.unit("c", &link("a")).run();
    outcome.assert_code(78).assert_stderr(&["a.toml:2", "b.toml:2", "c.toml:2"]);
}

/// Every error of every file, in one run.
#[test]
fn all_errors_are_told_at_once() {
    let setup = Rinit::subreaper().plain().unit("a", "[Service]\nExecStrat = \"x\"\nNice = 99\n");
    let outcome = setup.unit("b", "not toml at all").unit("c", "[Bogus]\n").run();
    outcome.assert_code(78).assert_stderr(&["a.toml:2", "a.toml:3", "b.toml:1", "c.toml:1"]);
}

/// Files that cannot be read as units: each named with the reason.
#[test]
fn unreadable_files() {
    let broken = |prepare: &dyn Fn(&std::path::Path)| {
        let setup = Rinit::subreaper().plain().empty_units();
        prepare(&setup.units_directory().join("web.toml"));
        setup.run()
    };
    let not_utf8 =
        broken(&|path| std::fs::write(path, b"[Unit]\nDescription = \"\xff\"\n").unwrap());
    not_utf8.assert_code(78).assert_stderr(&["web.toml", "UTF-8"]);
    let strange = broken(&|path| {
        let name = std::ffi::OsString::from_vec(b"\xff.toml".to_vec());
        std::fs::write(path.with_file_name(name), "").unwrap();
    });
    strange.assert_code(78).assert_stderr(&[r"\xFF.toml", "is not UTF-8"]);
    let directory = broken(&|path| std::fs::create_dir(path).unwrap());
    directory.assert_code(78).assert_stderr(&["web.toml", "directory"]);
    let dangling = broken(&|path| std::os::unix::fs::symlink("/nope", path).unwrap());
    dangling.assert_code(78).assert_stderr(&["web.toml", "/nope"]);
    let empty = broken(&|path| std::fs::write(path, "").unwrap());
    empty.assert_code(78).assert_stderr(&["web.toml"]);
}

/// A file without read permission, as somebody who is not root.
#[test]
fn a_file_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    crate::require!("root");
    let setup = Rinit::subreaper().plain().service("web", "say never", "");
    let path = setup.units_directory().join("web.toml");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let outcome = setup.launch(&["--uid", "54321"]).run();
    outcome.assert_code(78).assert_stderr(&["web.toml", "Permission denied"]);
}

/// Two files that define one unit.
#[test]
fn one_unit_twice() {
    let text = "[Service]\nExecStart = \"true\"\n";
    let setup = Rinit::subreaper().plain().unit("web", text);
    let outcome = setup.unit("web.service", "[Service]\nExecStart=true\n").run();
    outcome.assert_code(78).assert_stderr(&["web.toml", "units/web.service"]);
}

/// A units directory that is not there, or holds nothing.
#[test]
fn units_directories() {
    let outcome = Rinit::subreaper().plain().options(&["--units", "@dir@/nope"]).run();
    outcome.assert_code(78).assert_stderr(&["/nope"]);
    let outcome = Rinit::subreaper().plain().empty_units().run();
    outcome.assert_code(78).assert_stderr(&["units"]);
    let outcome = Rinit::subreaper().plain().empty_units().command_probe("exit 4").run();
    outcome.assert_code(4);
    let outcome =
        Rinit::subreaper().plain().options(&["--units", "@dir@/nope"]).command(&["true"]).run();
    outcome.assert_code(78).assert_stderr(&["/nope"]);
}

/// Wrong command lines: 64, and the word that is wrong.
#[test]
fn usage_errors() {
    for (options, word) in [
        (&["--nope"][..], "--nope"),
        (&["--log-level", "loud"], "loud"),
        (&["--log-format", "xml"], "xml"),
        (&["--shutdown-timeout", "soon"], "soon"),
        (&["--units"], "--units"),
        (&["-p", "Restart=no"], "-p"),
    ] {
        let outcome = Rinit::subreaper().plain().options(options).run();
        outcome.assert_code(64).assert_stderr(&[word]);
    }
    let outcome = Rinit::subreaper().plain().options(&["--help"]).run();
    outcome.assert_code(0).assert(outcome.stderr().is_empty(), "help goes to stdout");
    outcome.assert(outcome.stdout().join("\n").contains("--units"), "and says something");
    let outcome = Rinit::subreaper().plain().options(&["--version"]).run();
    outcome.assert_code(0).assert(outcome.stdout().join("\n").contains("0.1.0"), "the version");
}

/// `--check` reads, verifies, says, and starts nothing.
#[test]
fn check_only() {
    let setup = || Rinit::subreaper().plain().options(&["--check"]);
    let outcome = setup().service("web", "say started", "").run();
    outcome.assert_code(0).assert(!outcome.stdout().contains(&"started"), "nothing started");
    setup().unit("web", "[Service]\nNice = 99\n").run().assert_code(78);
}

/// Ten thousand units load.
#[test]
fn ten_thousand_units_load() {
    let setup = Rinit::subreaper().plain().empty_units().options(&["--check"]);
    for n in 0..10_000 {
        let text = format!(
            "[Unit]\nAfter = \"u{:05}.service\"\n[Service]\nExecStart = \"/bin/true\"\n",
            n + 1
        );
        std::fs::write(setup.units_directory().join(format!("u{n:05}.toml")), text).unwrap();
    }
    setup.run().assert_code(0);
}

/// A mistake far out on a line is shown like any other: the 66,000th column, and after as many
/// brackets.
#[test]
fn a_mistake_far_out() {
    let far = format!("[Service]\nExecStart = \"/bin/true {} %Q\"\n", "x".repeat(66_000));
    let deep = format!("[Service]\nExecStart = {}\n", "[".repeat(100_000));
    for text in [far, deep] {
        let setup = Rinit::subreaper().plain().empty_units();
        std::fs::write(setup.units_directory().join("web.toml"), text).unwrap();
        let outcome = setup.run();
        outcome.assert_code(78).assert_stderr(&["web.toml:2:"]);
        assert!(outcome.stderr().lines().all(|line| line.len() < 300), "as a person can read it");
    }
}

/// Bytes of no meaning at all: an answer, never a crash.
#[test]
fn garbage() {
    for seed in 0..20_u64 {
        let setup = Rinit::subreaper().plain().empty_units();
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let next = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        let bytes: Vec<u8> = next.take(500).collect();
        std::fs::write(setup.units_directory().join("web.toml"), bytes).unwrap();
        setup.run().assert_code(78).assert_stderr(&["web.toml"]);
    }
}
