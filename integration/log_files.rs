//! `LogFile=`: what services write, in files that are set aside when they are full.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::{Rinit, Running, processes};

/// Lines that the probe's `lines` writes; two megabytes and more of them for each 20,000.
const LINES: usize = 60_000;

/// Without the time before it, which is checked.
#[track_caller]
fn bare(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("torn: {line:.100}"));
    let is_time = time.len() == "2026-01-31T12:00:00.000000Z".len() && time.ends_with('Z');
    assert!(is_time, "torn: {line:.100}");
    rest
}

/// The file and those that were set aside, the oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let aside = (1..).map(|n| PathBuf::from(format!("{}.{n}", path.display())));
    let mut all: Vec<PathBuf> = aside.take_while(|path| path.exists()).collect();
    all.reverse();
    all.push(path.to_path_buf());
    all
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn kill_journal(rinit: &Running) {
    let journal = rinit.journal().unwrap_or_else(|| rinit.fail("no journal runs"));
    processes::kill(journal.pid, libc::SIGKILL);
}

fn tell(rinit: &Running, pid: i64) {
    let inner = |process: &processes::Process| processes::inner_pid(process.pid) == Some(pid);
    let found = rinit.processes().into_iter().find(inner);
    processes::kill(found.unwrap().pid, libc::SIGUSR1);
}

/// What is in a file already stays, streams and instances share one, and nobody else may read it.
#[test]
fn lines_go_into_a_file_too() {
    let setup = Rinit::subreaper().plain();
    let setup =
        setup.service("web", "say out complain err", "LogFile = \"@dir@/log/deep/web.log\"");
    let two = "Instances = 2\nLogFile = \"@dir@/log/two@%i.log\"";
    let setup =
        setup.service("two", "say hi", two).service("old", "say new", "LogFile = \"@dir@/old\"");
    fs::write(setup.path("old"), "whole\nhalf").unwrap();
    let outcome = setup.run();
    outcome.assert_code(0).assert(outcome.stdout().contains(&"web | out"), "stdout has it, too");
    let lines = outcome.lines_of("log/deep/web.log");
    let mut lines: Vec<&str> = lines.iter().map(|line| bare(line)).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["web | err", "web | out"]);
    for n in 1..=2 {
        let lines = outcome.lines_of(&format!("log/two@{n}.log"));
        assert_eq!(bare(&lines[0]), format!("two@{n} | hi"));
    }
    let old = outcome.lines_of("old");
    assert_eq!((&old[..2], bare(&old[2])), (&["whole".into(), "half".into()][..], "old | new"));
    assert_eq!(mode(&outcome.path("log/deep")), 0o750);
    assert_eq!(mode(&outcome.path("log/deep/web.log")), 0o640);
}

/// What stdout does not take yet is not in the file either, and then it is there once.
#[test]
fn a_stalled_stdout_doubles_no_line() {
    let file = "LogFile = \"@dir@/web.log\"";
    let setup = Rinit::pid1().plain().unread_stdout().service("web", "lines 5000", file);
    let mut rinit = setup.start();
    rinit.wait_stderr("started, pid");
    let text = std::io::read_to_string(rinit.read_stdout()).unwrap();
    let outcome = rinit.wait();
    outcome.assert_code(0);
    let lines = outcome.lines_of("web.log");
    assert!(lines.iter().map(|line| bare(line)).eq(text.lines()), "as on stdout, once each");
}

/// With JSON the file has JSON.
#[test]
fn a_file_of_json() {
    let setup = Rinit::subreaper().plain().options(&["--log-format", "json"]);
    let outcome = setup.service("web", "say hi", "LogFile = \"@dir@/web.log\"").run();
    let line: serde_json::Value = serde_json::from_str(&outcome.lines_of("web.log")[0]).unwrap();
    assert_eq!((&line["unit"], &line["message"]), (&"web.service".into(), &"hi".into()));
}

/// Whatever is killed when, each line is in one of the files, whole, and they are in order.
#[test]
fn a_killed_journal_loses_no_line_of_a_file() {
    let file = "LogFile = \"@dir@/web.log\"\nLogMaxFileSize = \"512K\"\nLogMaxFiles = 100";
    let setup = Rinit::pid1().plain().service("web", &format!("lines {LINES}"), file);
    let mut rinit = setup.start();
    for part in 1..=5 {
        rinit.wait_line_with(&format!("web | {} ", part * LINES / 10));
        kill_journal(&rinit);
        rinit.wait_stderr("it starts again, no line is lost");
    }
    let outcome = rinit.wait();
    outcome.assert_code(0);
    let files = files(&outcome.path("web.log"));
    assert!(files.len() > 10, "{files:?}");
    let mut next = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.len() <= 512 << 10 && text.ends_with('\n'), "{file:?}: {}", text.len());
        for line in text.lines() {
            let line = bare(line).strip_prefix("web | ").unwrap();
            let number: usize = line.split(' ').next().unwrap().parse().unwrap();
            let size = if number % 1_000 == 999 { 20_000 } else { number * 7 % 200 };
            assert_eq!(line.len(), number.to_string().len() + 1 + size, "torn: {line:.100}");
            assert!(number <= next, "{next} is missing before {number}, in {file:?}");
            next = number + usize::from(number == next).max(next - number);
        }
    }
    assert_eq!(next, LINES);
}

/// `LogMaxFiles=` counts them all, and a file is never over its size.
#[test]
fn only_so_many_files() {
    for (most, expected) in [(1, &["web.log"][..]), (3, &["web.log", "web.log.1", "web.log.2"])] {
        let limits = "LogFile = \"@dir@/log/web.log\"\nLogMaxFileSize = \"64K\"";
        let limits = format!("{limits}\nLogMaxFiles = {most}");
        let setup = Rinit::subreaper().service("web", "lines 5000 say end", &limits);
        fs::create_dir(setup.path("log")).unwrap();
        for older in ["web.log.3", "web.log.4", "web.logs"] {
            fs::write(setup.path("log").join(older), "older\n").unwrap();
        }
        let outcome = setup.run();
        let found = fs::read_dir(outcome.path("log")).unwrap().map(|entry| entry.unwrap());
        let mut found: Vec<_> =
            found.map(|entry| entry.file_name().into_string().unwrap()).collect();
        found.sort_unstable();
        let mut expected = expected.to_vec();
        if most == 1 {
            expected.extend(["web.log.3", "web.log.4"]); // not next to those that there are
        }
        expected.push("web.logs");
        assert_eq!(found, expected);
        for name in expected {
            let file = outcome.path("log").join(name);
            assert!(fs::metadata(file).unwrap().len() <= 64 << 10, "{name}");
        }
        assert!(outcome.lines_of("log/web.log").last().unwrap().contains("\"message\":\"end\""));
    }
}

/// A full disk is said once; lines go on to come out, the file has no half ones, and goes on
/// once there is room.
#[test]
fn a_full_disk() {
    let setup = Rinit::pid1().launch(&["--small", "@dir@/log"]);
    let file = "LogFile = \"@dir@/log/web.log\"";
    let setup = setup.service("web", "lines 5000 say-on USR1 told say ready wait", file);
    fs::create_dir(setup.path("log")).unwrap();
    let mut rinit = setup.start();
    let message = rinit.wait_message("No space left on device").text("message").to_string();
    assert!(message.starts_with("web.service: cannot write LogFile="), "{message}");
    assert!(message.ends_with("until that works its lines go to rinit's output only"), "{message}");
    rinit.wait_line("ready");
    let inner = rinit.path("log/web.log");
    let inner = format!("/proc/{}/root{}", rinit.pid, inner.display());
    // What is refused in the middle of a write is taken away again at once.
    let read = || fs::read_to_string(&inner).unwrap();
    let text = (0..100_000).map(|_| read()).find(|text| text.ends_with("\"}\n")).unwrap();
    assert!(!text.is_empty());
    fs::remove_file(&inner).unwrap();
    let pid = rinit.wait_start("web", "ExecStart").number("pid").unwrap();
    tell(&rinit, pid);
    rinit.wait_line("told");
    kill_journal(&rinit);
    rinit.wait_message("it starts again");
    // Lines are in the file after they have come out, and before others do; and the first may
    // come twice, and the second with it.
    for _ in 0..3 {
        tell(&rinit, pid);
        rinit.wait_line("told");
    }
    let mut next = fs::File::open(&inner).unwrap();
    let outcome = rinit.terminate();
    let text = std::io::read_to_string(&mut next).unwrap();
    let is_told = |line: &str| line.contains("\"message\":\"told\"") && line.ends_with('}');
    assert!(text.lines().filter(|line| is_told(line)).count() >= 2, "{text}");
    let times = outcome.log().matches("No space left on device").count();
    outcome.assert_code(0).assert(times == 1, "said once");
}

/// What cannot be a log file is said, with the reason, and nothing else suffers.
#[test]
fn a_file_that_cannot_be() {
    let mut setup = Rinit::pid1().launch(&["--read-only", "@dir@/log"]);
    for (unit, file) in [("web", "log/web.log"), ("link", "link"), ("directory", "units")] {
        setup = setup.service(unit, "say out wait", &format!("LogFile = \"@dir@/{file}\""));
    }
    fs::create_dir(setup.path("log")).unwrap();
    std::os::unix::fs::symlink(setup.path("target"), setup.path("link")).unwrap();
    let mut rinit = setup.start();
    for (unit, why) in [
        ("directory", "Is a directory"),
        ("link", "Too many levels of symbolic links"),
        ("web", "Read-only file system"),
    ] {
        let start = format!("{unit}.service: cannot open LogFile=");
        let is_it = |text: &str| text.starts_with(&start) && text.contains(why);
        rinit.wait_event(&start, |event| is_it(event.text("message")));
        rinit.wait_line("out");
    }
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    outcome.assert(!outcome.path("target").exists(), "no link is followed");
}

/// Mistakes are found before anything starts.
#[test]
fn mistakes() {
    for (lines, place, expected) in [
        ("LogFile = \"web.log\"", "web.toml:3", "\"web.log\" is not an absolute path"),
        (
            "LogFile = \"/l\"\nLogMaxFileSize = 1000",
            "web.toml:4",
            "1000 is too little for a log file",
        ),
        ("LogFile = \"/l\"\nLogMaxFiles = 0", "web.toml:4", "0 is not in the range from 1 to 1000"),
        (
            "StandardOutput = \"null\"\nLogFile = \"/l\"",
            "web.toml:4",
            "LogFile of web.service needs its output",
        ),
    ] {
        let outcome = Rinit::subreaper().plain().service("web", "ok", lines).run();
        outcome.assert_code(78).assert_stderr(&[place]).assert_stderr(&[expected]);
    }
    let outcome = Rinit::subreaper().plain().service("web", "ok", "LogMaxFiles = 3").run();
    outcome.assert_code(0).assert_stderr(&["LogMaxFiles has no effect: it is for LogFile="]);
}
