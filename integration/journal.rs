//! What services write: captured, relayed line by line, and not lost when the journal dies.

use std::io::{BufRead, Read, Write};

use crate::harness::{Event, Outcome, Rinit, Running, processes};

/// Lines that the probe's `lines` writes.
const LINES: usize = 60_000;

/// Their size on average, in bytes.
const LINE_SIZE: usize = 128;

fn expected(number: usize) -> String {
    let size = if number % 1_000 == 999 { 20_000 } else { number * 7 % 200 };
    format!("{number} {}", "x".repeat(size))
}

/// Every line of a unit came, and came whole; how many came more than once.
fn check_lines<'a>(lines: impl Iterator<Item = &'a str>, unit: &str) -> usize {
    let mut times = vec![0; LINES];
    let prefix = format!("{unit} | ");
    for line in lines.filter_map(|line| line.strip_prefix(&prefix)) {
        let number: usize = line.split(' ').next().unwrap().parse().unwrap_or(LINES);
        assert!(number < LINES && line == expected(number), "torn: {line:.100}");
        times[number] += 1;
    }
    let missing = times.iter().position(|times| *times == 0);
    assert_eq!(missing, None, "the first line that is missing");
    times.iter().filter(|times| **times > 1).count()
}

fn kill_journal(rinit: &Running) {
    let journal = rinit.journal().unwrap_or_else(|| rinit.fail("no journal runs"));
    processes::kill(journal.pid, libc::SIGKILL);
}

/// The processor time of a process.
fn processor_millis(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split(' ').next().unwrap().parse::<u64>().unwrap_or(0) / 1_000_000
}

/// Each line has the unit's name before it, and each stream stays what it was.
#[test]
fn lines_say_whose_they_are() {
    for init in [Rinit::subreaper(), Rinit::pid1()] {
        let setup = init.plain().service("one", "say out complain err print end", "");
        let outcome = setup.service("two", "report", "Instances = 2").run();
        outcome.assert_code(0).assert_stderr(&["one | err\n"]);
        let stdout = outcome.stdout();
        for line in ["one | out", "one | end"] {
            outcome.assert(stdout.contains(&line), line);
        }
        for instance in ["two@1 | {", "two@2 | {"] {
            outcome.assert(stdout.iter().any(|line| line.starts_with(instance)), instance);
        }
    }
}

/// A line says in JSON when it was written, by whom and where.
#[test]
fn lines_as_json() {
    let options = ["--log-format", "json"];
    let setup = Rinit::subreaper().plain().options(&options).service("web", "complain hi", "");
    let outcome = setup.run();
    let objects = outcome.log();
    let start = outcome.events().find(|event| event.is_start("web", "ExecStart")).unwrap();
    let pid = start.number("pid").unwrap();
    outcome.assert(objects.contains("stderr hi"), "the harness takes it out of its object");
    outcome.assert(pid > 1, "and the event has the pid");
}

/// SIGKILL at any time costs no line, and tears none: one may only come twice.
#[test]
fn a_killed_journal_loses_nothing() {
    let lines = format!("lines {LINES}");
    let setup = Rinit::pid1().plain().service("a", &lines, "").service("b", &lines, "");
    let mut rinit = setup.start();
    for part in 1..=3 {
        rinit.wait_line_with(&format!("a | {} ", part * LINES / 4));
        kill_journal(&rinit);
    }
    let outcome = rinit.wait();
    outcome.assert_code(0).assert_stderr(&["it starts again, no line is lost"]);
    for unit in ["a", "b"] {
        let twice = check_lines(outcome.stdout().into_iter(), unit);
        outcome.assert(twice < LINES / 10, "most lines came once");
    }
}

/// A flood that outlives three journals, and what it costs. `RINIT_TEST_MEGABYTES=1000` has a
/// gigabyte of it.
#[test]
fn a_flood_of_lines() {
    let megabytes = std::env::var("RINIT_TEST_MEGABYTES").ok();
    let megabytes = megabytes.map_or(8, |number| number.parse().unwrap());
    let count = megabytes * 1_000_000 / LINE_SIZE;
    let actions = format!("lines {count} say end wait");
    let mut rinit = Rinit::pid1().plain().unread_stdout().service("web", &actions, "").start();
    rinit.wait_stderr("started, pid");
    let mut times = vec![0_u8; count];
    let (mut bytes, mut highest, mut kills, mut journals) = (0, 0, 0, 0);
    let began = std::time::Instant::now();
    for line in std::io::BufReader::new(rinit.read_stdout()).lines() {
        let line = line.unwrap();
        let line = line.strip_prefix("web | ").unwrap_or_else(|| panic!("torn: {line:.100}"));
        if line == "end" {
            break;
        }
        let number: usize = line.split(' ').next().unwrap().parse().unwrap();
        assert!(line == expected(number), "torn: {line:.100}");
        times[number] = times[number].saturating_add(1);
        bytes += line.len() + 1;
        highest = highest.max(number);
        if kills < 3 && highest > (kills + 1) * count / 4 {
            journals += rinit.journal().map_or(0, |journal| processor_millis(journal.pid));
            kill_journal(&rinit);
            kills += 1;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let own = processor_millis(rinit.pid);
    journals += rinit.journal().map_or(0, |journal| processor_millis(journal.pid));
    let missing = times.iter().filter(|times| **times == 0).count();
    let twice = times.iter().filter(|times| **times > 1).count();
    let text = format!(
        "{count} lines, {bytes} bytes in {seconds:.1} s: {missing} missing, 0 torn, {twice} twice; \
         rinit {own} ms, its journals {journals} ms\n"
    );
    let _ = std::io::stderr().write_all(text.as_bytes());
    assert_eq!((missing, kills), (0, 3), "{text}");
    assert!(twice < count / 10, "most lines came once");
    rinit.terminate().assert_code(0);
}

/// What a service wrote while the journal stood still, and then ended, is not lost.
#[test]
fn the_last_words_of_a_service_outlive_it() {
    let actions = "say-on TERM bye exit-on TERM 0 say ready wait";
    for init in [Rinit::subreaper(), Rinit::pid1()] {
        let mut rinit = init.service("web", actions, "").start();
        rinit.wait_line("ready");
        let journal = rinit.journal().unwrap().pid;
        processes::kill(journal, libc::SIGSTOP);
        rinit.signal(libc::SIGTERM);
        rinit.wait_state("web", "dead");
        processes::kill(journal, libc::SIGKILL);
        let outcome = rinit.wait();
        outcome.assert_code(0).assert(outcome.stdout().contains(&"bye"), "its last word");
    }
}

/// A stop sends SIGTERM to everybody: the journal stays until there is nothing to relay.
#[test]
fn the_journal_heeds_no_signal() {
    let setup = Rinit::pid1().service("web", "say-on TERM bye exit-on TERM 0 say ready wait", "");
    let mut rinit = setup.start();
    rinit.wait_line("ready");
    let journal = rinit.journal().unwrap().pid;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        processes::kill(journal, signal);
    }
    rinit.signal(libc::SIGTERM);
    rinit.wait_line("bye");
    let outcome = rinit.wait();
    let restarted = |outcome: &Outcome| outcome.log().contains("starts again");
    outcome.assert_code(0).assert(!restarted(&outcome), "it was one journal all the time");
}

/// Where nobody reads rinit's output, only who writes to it waits; a stop keeps to its budget.
#[test]
fn a_stalled_stdout_stalls_only_who_writes() {
    let lines = format!("lines {LINES}");
    let quiet = "Restart = \"always\"\nRestartSec = 0\nStartLimitIntervalSec = 0";
    let setup = Rinit::pid1().unread_stdout().service("loud", &lines, "");
    let setup = setup.service("quiet", "sleep 10", quiet);
    let mut rinit = setup.start();
    for _ in 0..5 {
        rinit.wait_restart("quiet");
    }
    rinit.terminate().assert_code(0);
}

/// And when somebody does read in the end, everything is there.
#[test]
fn a_stall_that_ends_costs_nothing() {
    let lines = format!("lines {LINES}");
    let mut rinit = Rinit::pid1().plain().unread_stdout().service("loud", &lines, "").start();
    rinit.wait_stderr("started, pid");
    let mut text = String::new();
    rinit.read_stdout().read_to_string(&mut text).unwrap();
    rinit.wait().assert_code(0);
    assert_eq!(check_lines(text.lines(), "loud"), 0);
}

/// What a unit wrote is shown when it fails, once more and beside the reason.
#[test]
fn a_failure_shows_the_last_lines() {
    let actions: String = (1..=12).map(|number| format!("say {number} ")).collect();
    let setup = Rinit::pid1().plain().service("web", &format!("{actions} exit 3"), "");
    let outcome = setup.run();
    let tail: String = (3..=12).map(|number| format!("rinit:   web | {number}\n")).collect();
    let tail = format!("rinit: web.service: the last 10 lines it wrote:\n{tail}");
    outcome.assert_code(3).assert_stderr(&[&tail]);
}

/// Those of an instance are shown once: the service has none of its own.
#[test]
fn a_failed_instance_shows_its_lines_once() {
    let setup = Rinit::pid1().plain().service("web", "say told exit 3", "Instances = 2");
    let outcome = setup.run();
    outcome.assert_code(3).assert_stderr(&["rinit: web@1.service: the last 1 line it wrote:\n"]);
    let text = outcome.stderr();
    assert!(!text.contains("web.service: the last"), "{text}");
}

/// rinitctl asks rinit, and the journal answers.
#[test]
fn lines_are_remembered() {
    let setup = Rinit::subreaper().options(&["--socket", "@dir@/socket"]);
    let setup = setup.service("one", "say a say-on USR1 told say ready wait", "");
    let mut rinit = setup.service("two", "say b complain c wait", "Instances = 2").start();
    for line in ["ready", "b", "b"] {
        rinit.wait_line(line);
    }
    let logs = |rinit: &Running, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rinitctl"));
        command.arg("--socket").arg(rinit.path("socket")).arg("logs").args(arguments);
        command.stdout(std::process::Stdio::piped());
        command
    };
    let text = |rinit: &Running, arguments: &[&str]| {
        let output = logs(rinit, arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // Without date and time.
        let bare = text.lines().map(|line| line.splitn(3, ' ').last().unwrap_or("").to_string());
        (output.status.code().unwrap(), bare.collect::<Vec<String>>())
    };
    rinit.wait_stderr("c");
    rinit.wait_stderr("c");
    assert_eq!(text(&rinit, &["one"]), (0, vec!["one | a".into(), "one | ready".into()]));
    assert_eq!(text(&rinit, &["one", "-n", "1"]), (0, vec!["one | ready".into()]));
    assert_eq!(text(&rinit, &["one", "--since", "2999-01-01T00:00:00Z"]), (0, vec![]));
    let mut both = text(&rinit, &["two"]).1;
    both.sort();
    assert_eq!(both, ["two@1 | b", "two@1 | c", "two@2 | b", "two@2 | c"]);
    assert_eq!(text(&rinit, &["two@2"]).1.len(), 2);
    assert_eq!(text(&rinit, &[]).1.len(), 6);
    assert_eq!(text(&rinit, &["three"]).0, 4);
    let mut following = logs(&rinit, &["-f", "one", "--json"]).spawn().unwrap();
    let mut lines = std::io::BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(
        (next()["message"].clone(), next()["message"].clone()),
        ("a".into(), "ready".into())
    );
    let pid = rinit.wait_start("one", "ExecStart").number("pid").unwrap();
    processes::kill(pid as i32, libc::SIGUSR1);
    let told = next();
    assert_eq!((told["message"].clone(), told["pid"].clone()), ("told".into(), pid.into()));
    assert_eq!(
        (told["unit"].clone(), told["stream"].clone()),
        ("one.service".into(), "stdout".into())
    );
    // The journal dies; what comes after that can be seen again, and is followed.
    kill_journal(&rinit);
    rinit.wait_message("it starts again");
    processes::kill(pid as i32, libc::SIGUSR1);
    rinit.wait_line("told");
    rinit.wait_line("told");
    assert_eq!(text(&rinit, &["one"]), (0, vec!["one | told".into()]));
    assert_eq!(next()["message"], "told");
    rinit.terminate().assert_code(0);
    assert_eq!(following.wait().unwrap().code(), Some(0));
}

/// Who replaces an instance has its name in the end, in the journal too: which has read a line of
/// it under its first name by then.
#[test]
fn a_replacement_has_the_name_of_its_place() {
    let roll = "Instances = 1\nReadyLogPattern = \"^ready\"\n\
        RollingUpdate = { Order = \"start-first\", MonitorSec = 0 }";
    let setup = Rinit::subreaper().options(&["--socket", "@dir@/socket"]);
    let mut rinit = setup.service("web", "say-on USR1 told say ready wait", roll).start();
    let first = rinit.wait_start("web@1", "ExecStart").number("pid");
    rinit.wait_line("ready");
    let socket = rinit.path("socket");
    let ctl = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rinitctl"));
        let output = command.arg("--socket").arg(&socket).args(arguments).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    ctl(&["restart", "web"]);
    let is_next = |event: &Event| event.text("role") == "ExecStart" && event.number("pid") != first;
    let next =
        rinit.wait_event("its successor", |event| event.text("event") == "start" && is_next(event));
    rinit.wait_line("ready");
    processes::kill(next.number("pid").unwrap() as i32, libc::SIGUSR1);
    rinit.wait_line("told");
    let text = ctl(&["logs", "web@1", "-n", "1"]);
    assert!(text.ends_with(" web@1 | told\n"), "{text}");
    rinit.terminate().assert_code(0);
}

/// `ReadyLogPattern=`: a line makes a service ready, and nothing else does.
#[test]
fn a_line_makes_a_service_ready() {
    let actions = "say-on USR1 'listening on 80' say starting wait";
    let setup = Rinit::pid1().service("web", actions, "ReadyLogPattern = '^listening on [0-9]+$'");
    let setup = setup.unit(
        "never",
        "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = \"@probe@ say ready wait\"\n\
         ReadyLogPattern = \"^listening\"\nTimeoutStartSec = \"300ms\"\n",
    );
    let mut rinit = setup.start();
    rinit.wait_line("starting");
    rinit.wait_message("a line with its ReadyLogPattern=");
    rinit.wait_state("never", "failed");
    let pid = rinit.wait_start("web", "ExecStart").number("pid").unwrap();
    let inner = |process: &processes::Process| processes::inner_pid(process.pid) == Some(pid);
    let web = rinit.processes().into_iter().find(inner).unwrap();
    processes::kill(web.pid, libc::SIGUSR1);
    rinit.wait_state("web", "running");
    rinit.terminate().assert_code(0);
}

/// `LogRateLimitBurst=`: what is over it does not come out, and other units do not suffer.
#[test]
fn a_flood_is_cut() {
    let limit = "LogRateLimitBurst = 2\nLogRateLimitIntervalSec = \"1h\"";
    let say = "say 1 say 2 say 3 say 4 exit 0";
    let outcome = Rinit::subreaper().service("loud", say, limit).service("other", say, "").run();
    let mut lines = outcome.stdout();
    lines.sort_unstable();
    outcome.assert_code(0).assert(lines == ["1", "1", "2", "2", "3", "4"], "2 and 4 lines");
}

/// What services write goes past rinit: it reads none of it, and spends no time on it.
#[test]
fn rinit_reads_no_line() {
    let actions = format!("lines {LINES} say end wait");
    let mut rinit = Rinit::subreaper().plain().service("web", &actions, "").start();
    rinit.wait_line("web | end");
    let journal = rinit.journal().unwrap().pid;
    let read = |pid: i32| -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    };
    let bytes: usize = rinit.stdout_so_far().iter().map(|line| line.len()).sum();
    let (own, its) = (processor_millis(rinit.pid), processor_millis(journal));
    let text = format!("{bytes} bytes of lines: rinit {own} ms, its journal {its} ms\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
    assert!(read(journal) > bytes as u64, "the journal reads them, twice");
    assert!(read(rinit.pid) < bytes as u64 / 10, "rinit read {}", read(rinit.pid));
    rinit.terminate().assert_code(0);
}
