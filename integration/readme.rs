//! README.md: what it claims is run here, what it shows is compared with what is printed.
//!
//! The page keeps to a few conventions. A `toml` block's first line names its file, in the
//! directory `units` or the one that its info names; files of earlier blocks stay. A `console` block
//! is one session of a shell in the directory above: `$ COMMAND`, then all that it prints, with
//! `…` for what differs from run to run. Programs that the examples name are stand-ins that
//! succeed. `UPDATE_EXPECT=1` writes the table of directives.

mod page;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rinit::manager::state::SubState;
use rinit::unit::directive;
use rinit::unit::rolling::{RollingFailure, RollingUpdate};
use serde_json::json;

use crate::harness::payload::{example, rinit_binary};
use crate::harness::varlink::Varlink;
use crate::harness::{Rinit, Running, processes};
use crate::{http, require, tools};

/// What the README's examples run, and no machine needs to have.
const STAND_INS: [&str; 4] = ["alembic", "my-app", "python", "uvicorn"];

/// A directory with the stand-ins in `bin`.
fn scratch() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("rinit-readme-").tempdir().unwrap();
    fs::create_dir(directory.path().join("bin")).unwrap();
    for name in STAND_INS {
        std::os::unix::fs::symlink("/bin/true", directory.path().join("bin").join(name)).unwrap();
    }
    directory
}

/// A command that finds rinit, rinitctl and the stand-ins, and no variable of rinit's.
fn command(program: impl AsRef<std::ffi::OsStr>, directory: &Path) -> Command {
    let binaries = rinit_binary().parent().unwrap().display();
    let path = format!("{}/bin:{binaries}:/usr/bin:/bin", directory.display());
    let mut command = Command::new(program);
    command.current_dir(directory).env_clear().env("PATH", path).env("HOME", "/");
    command.stdin(Stdio::null());
    command
}

/// Whether the text is the pattern with something in place of each `…`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn patterns() {
    for (pattern, text, same) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("…b…d", "abcd", true),
        ("a…c", "ab", false),
        ("a…bc…", "abc", true),
        ("ab…b", "ab", false),
    ] {
        assert_eq!(matches(pattern, text), same, "{pattern} {text}");
    }
}

/// Runs the commands as one session; what each has printed, both streams as one.
fn session(commands: &[&str], directory: &Path) -> Vec<String> {
    // A byte that nothing prints stands between the commands, and leaves $? alone.
    let steps = commands.iter().map(|text| format!("{text}\n(s=$?; printf '\\001'; exit $s)\n"));
    let script: String = std::iter::once("exec 2>&1\n".to_string()).chain(steps).collect();
    let output = command("/bin/sh", directory).args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split('\u{1}').map(str::to_string).collect()
}

/// Writes the file that a TOML block shows.
fn write(block: &page::Block, directory: &Path) {
    let path = directory.join(block.file_name());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, &block.text).unwrap();
}

/// Every `console` block, in the directory that the `toml` blocks before it have made.
#[test]
fn sessions_print_what_is_shown() {
    let directory = scratch();
    let mut n_commands = 0;
    for block in page::blocks() {
        match block.language() {
            "toml" => {
                write(&block, &directory.path().join(block.directory()));
            }
            "console" => {
                let mut shown: Vec<(&str, String)> = Vec::new();
                for line in block.text.lines() {
                    match (line.strip_prefix("$ "), shown.last_mut()) {
                        (Some(command), _) => shown.push((command, String::new())),
                        (None, Some((_, output))) => *output += &format!("{line}\n"),
                        (None, None) => panic!("README.md:{}: no command", block.line),
                    }
                }
                let commands: Vec<&str> = shown.iter().map(|(command, _)| *command).collect();
                let printed = session(&commands, directory.path());
                for ((command, expected), found) in shown.iter().zip(&printed) {
                    let same = matches(expected, found);
                    let line = block.line;
                    assert!(
                        same,
                        "README.md:{line}: {command}\nshows\n{expected}\nbut is\n{found}"
                    );
                }
                n_commands += commands.len();
            }
            _ => (),
        }
    }
    assert!(n_commands >= 5, "only {n_commands} commands were found");
}

/// Every unit shown may be started, but for those of the directory `wrong`.
#[test]
fn units_shown_load() {
    let blocks = page::blocks_of("toml");
    assert!(blocks.len() >= 5);
    for block in &blocks {
        let directory = scratch();
        write(block, directory.path());
        // A drop-in is read with the unit that it changes.
        if let Some((unit, _)) = block.file_name().split_once(".d/") {
            let changed = blocks.iter().find(|other| other.file_name() == unit).unwrap();
            write(changed, directory.path());
        }
        let mut check = command(rinit_binary(), directory.path());
        let output = check.args(["--check", "--units", "."]).output().unwrap();
        let expected = if block.directory() == "wrong" { 78 } else { 0 };
        let problems = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "README.md:{}: {problems}", block.line);
        assert_eq!(problems.is_empty(), expected == 0, "README.md:{}: {problems}", block.line);
    }
}

/// The FastAPI units are those of `units/fastapi`, without comments and descriptions.
#[test]
fn fastapi_units_are_the_repositorys() {
    let directory = tools::repository().join("units/fastapi");
    let mut n_files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let blocks = page::blocks_of("toml");
        let mut same_name =
            blocks.iter().filter(|b| b.directory() == "units" && b.file_name() == name);
        let shown = same_name.next().unwrap_or_else(|| panic!("README.md does not show {name}"));
        assert_eq!(essence(&shown.text), essence(&fs::read_to_string(&path).unwrap()), "{name}");
        n_files += 1;
    }
    assert_eq!(n_files, 3);
}

/// The lines that matter, and no section without any.
fn essence(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() || line.starts_with("Description") {
            continue;
        }
        if line.starts_with('[') && lines.last().is_some_and(|last| last.starts_with('[')) {
            lines.pop();
        }
        lines.push(line);
    }
    lines
}

/// The image's commands are those at the top of Dockerfile.example, which the Docker tests build.
#[test]
fn image_commands_are_those_of_the_dockerfile() {
    let dockerfile = fs::read_to_string(tools::repository().join("Dockerfile.example")).unwrap();
    let blocks = page::blocks_of("sh");
    let block = blocks.iter().find(|block| block.text.contains("docker build")).unwrap();
    for line in block.text.lines() {
        let found = dockerfile.lines().any(|comment| comment.strip_prefix("#   ") == Some(line));
        assert!(found, "Dockerfile.example does not say {line}");
    }
}

/// The smallest image: its ENTRYPOINT and CMD as one command line, as PID 1.
#[test]
fn the_smallest_image_runs_its_command() {
    require!("user namespace");
    let blocks = page::blocks_of("dockerfile");
    let words = |instruction: &str| -> Vec<String> {
        let line = blocks[0].text.lines().find_map(|line| line.strip_prefix(instruction));
        serde_json::from_str(line.unwrap()).unwrap()
    };
    let (entry, arguments) = (words("ENTRYPOINT "), words("CMD "));
    assert_eq!(entry, ["/sbin/rinit", "--"]);
    let directory = scratch();
    let bin = directory.path().join("bin");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rinit = Rinit::pid1().plain().env("PATH", bin.to_str().unwrap());
    let outcome = rinit.command(&arguments).run();
    outcome.assert_code(0).assert(outcome.stderr().is_empty(), "it says nothing of its own");
}

/// A fresh clone's two commands are on the page, and .ci/run runs just these.
#[test]
fn the_two_commands_are_those_of_ci() {
    let blocks = page::blocks_of("sh");
    let lines: Vec<&str> = blocks.iter().flat_map(|block| block.text.lines()).collect();
    let ci = fs::read_to_string(tools::repository().join(".ci/run")).unwrap();
    let ci: Vec<&str> = ci.lines().map(str::trim).collect();
    let (build, run) = demo_command();
    let (_, units) = run.split_once(" --units ").unwrap();
    assert!(tools::repository().join(units).is_dir(), "there is no {units}");
    let tests = "integration/setup.sh && cargo test";
    assert!(lines.contains(&tests), "README.md does not say {tests}");
    for needed in [tests, build.as_str()] {
        assert!(ci.iter().any(|line| line.starts_with(needed)), ".ci/run does not run {needed}");
    }
    assert!(ci.iter().any(|line| line.contains("RINIT_TEST_REQUIRE=all")));
}

/// The demo's command: how it is built, how it is run.
fn demo_command() -> (String, String) {
    let blocks = page::blocks_of("sh");
    let mut lines = blocks.iter().flat_map(|block| block.text.lines());
    let line = lines.find(|line| line.contains("--units units/demo")).unwrap();
    let (build, run) = line.split_once(" && ").unwrap();
    (build.to_string(), run.to_string())
}

/// The demo just as the README starts it, where its first half has been run.
#[test]
fn the_demo_as_written() {
    let built = || {
        TcpStream::connect(("127.0.0.1", 8080)).err().ok_or("port 8080 is in use")?;
        let release = rinit_binary().ancestors().nth(2).unwrap().join("release");
        let is_fresh = |path: &Path| modified(path) >= newest_source();
        let fresh = [release.join("rinit"), release.join("examples/demo-server")];
        let fresh = fresh.iter().all(|path| is_fresh(path));
        fresh.then_some(()).ok_or("the release build is missing or older than its source")
    };
    if tools::need(built()).is_none() {
        return;
    }
    let root = tools::repository().to_str().unwrap();
    let (_, run) = demo_command();
    let shell = Rinit::subreaper().peer("/bin/sh").launch(&["--cwd", root]);
    live_through_the_demo(shell.options(&["-c", &format!("exec {run}")]).start(), true);
}

/// The same with the binaries that cargo built for this test, and any free port.
#[test]
fn the_demo() {
    let mut setup = Rinit::subreaper();
    for entry in fs::read_dir(tools::repository().join("units/demo")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let server = format!("{} 0", example("demo-server").display());
        let text = text.replace("target/*/release/examples/demo-server 8080", &server);
        setup = setup.unit(path.file_name().unwrap().to_str().unwrap(), &text);
    }
    live_through_the_demo(setup.start(), false);
}

/// HTTP answers, kill -9 brings another pid and the next number, Ctrl-C is 0 and leaves nothing.
/// `text`: lines come as a person sees them, with their unit before them.
fn live_through_the_demo(mut rinit: Running, text: bool) {
    let line = |unit: &str, words: &str| {
        if text { format!("{unit} | {words}") } else { words.to_string() }
    };
    rinit.wait_line(&line("10-prepare", "demo: prepared"));
    let begins = line("web", "demo-server: pid ");
    let greeting = |rinit: &mut Running| {
        let line = rinit.wait_line_with(&begins);
        let line = line.trim_start_matches(&begins);
        let (pid, address) = line.split_once(", listening on http://").unwrap();
        let address = address.trim_end_matches('/');
        let page = http::get(TcpStream::connect(address).unwrap(), "/");
        assert!(page.body.contains(&format!("process {pid}, ")), "{}", page.body);
        (pid.parse::<i32>().unwrap(), page.body)
    };
    let (first, page) = greeting(&mut rinit);
    assert!(page.contains("start number 1,"), "{page}");
    processes::kill(first, libc::SIGKILL);
    let (second, page) = greeting(&mut rinit);
    assert!(page.contains("start number 2,"), "{page}");
    assert_ne!(first, second);
    // The worker fails three times before it works.
    rinit.wait_line(&line("worker", "worker: working"));
    rinit.signal(libc::SIGINT);
    rinit.wait().assert_code(0);
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// When the youngest file of the program was written.
fn newest_source() -> Option<std::time::SystemTime> {
    let mut open = vec![tools::repository().join("src")];
    let mut newest = None;
    while let Some(path) = open.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => newest = newest.max(modified(&path)),
        }
    }
    newest
}

/// Every row of the table of exit statuses.
#[test]
fn exit_statuses() {
    let rows = page::table("| status | when |");
    let shown: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(
        shown,
        ["0", "N", "128+n", "137", "200–245", "127", "126", "64", "78", "71", "70"],
        "each of them is made below"
    );
    let rinit = || Rinit::subreaper().plain();
    rinit().service("web", "exit 0", "").run().assert_code(0);
    rinit().service("web", "exit 23", "").run().assert_code(23);
    rinit().service("web", "kill-self USR1", "").run().assert_code(128 + 10);
    let mut stopped = rinit().command_probe("say ready wait").start();
    stopped.wait_line("ready");
    stopped.terminate().assert_code(143);
    let units = [("say ready wait", 0), ("ignore TERM say ready wait", 137)];
    for (actions, code) in units {
        let setup = rinit().service("web", actions, "TimeoutStopSec = \"100ms\"");
        let mut stopped = setup.start();
        stopped.wait_line("web | ready");
        stopped.terminate().assert_code(code);
    }
    let late = |line: &str| {
        // What is not there yet when rinit loads may come from a step: only then is it started.
        let setup = rinit().service("10-step", "exit 0", "Type = \"oneshot\"");
        setup.unit("web", &format!("[Service]\n{line}\n")).run()
    };
    late("ExecStart = \"@probe@ ok\"\nWorkingDirectory = \"/nope\"").assert_code(200);
    late("ExecStart = \"/nope\"").assert_code(203);
    late("ExecStart = \"@probe@ ok\"\nUser = \"nosuchuser\"").assert_code(217);
    rinit().command(&["no-such-program"]).run().assert_code(127);
    rinit().command(&["/etc/passwd"]).run().assert_code(126);
    rinit().options(&["--nope"]).run().assert_code(64);
    rinit().unit("web", "[Servce]\n").run().assert_code(78);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let unheard = Command::new(rinit_binary()).arg("--help").stdout(full).status().unwrap();
    assert_eq!(unheard.code(), Some(71));
    // Nothing from outside makes rinit panic, as far as is known.
    assert_eq!(rinit::init::INTERNAL, 70);
}

/// Every row of the table of signals, with units.
#[test]
fn signals_with_units() {
    let rows = page::table("| signal | to rinit with units | to `rinit -- COMMAND` |");
    let shown: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(shown, ["TERM", "INT, QUIT, PWR, RTMIN+3", "HUP", "USR1, USR2, WINCH, …"]);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGPWR, 34 + 3] {
        let mut rinit = Rinit::subreaper().service("web", "say ready wait", "").start();
        rinit.wait_line("ready");
        rinit.signal(signal);
        rinit.wait().assert_code(0);
    }
    let lines = "ExecReload = \"@probe@ say reloaded\"";
    let actions = "say-on USR1 one say-on USR2 two say-on WINCH three say ready wait";
    let setup = Rinit::subreaper().service("web", actions, lines);
    let mut rinit = setup.service("deaf", "say deaf wait", "").start();
    rinit.wait_line("deaf");
    rinit.wait_line("ready");
    rinit.wait_state("web", "running");
    rinit.signal(libc::SIGHUP);
    rinit.wait_line("reloaded");
    for (signal, line) in
        [(libc::SIGUSR1, "one"), (libc::SIGUSR2, "two"), (libc::SIGWINCH, "three")]
    {
        rinit.signal(signal);
        rinit.wait_line(line);
    }
    rinit.terminate().assert_code(0);
}

/// The same signals to COMMAND: each arrives, and TERM starts the budget.
#[test]
fn signals_with_a_command() {
    let rinit = Rinit::subreaper().plain().options(&["--shutdown-timeout", "1s"]);
    let mut rinit = rinit.command_probe("catch-all say ready wait").start();
    rinit.wait_line("ready");
    for signal in [1, 2, 3, 10, 12, 28, 30, 37, 15] {
        rinit.signal(signal);
        rinit.wait_line(&format!("got {signal}"));
    }
    rinit.wait().assert_code(137);
}

/// Every row of the table of rinit and tini that is not `the same` for both by `command_mode`.
#[test]
fn beside_tini() {
    let rows = page::table("| | rinit | tini |");
    assert_eq!(rows.len(), 8, "each is here or in command_mode: {rows:?}");
    require!("user namespace");
    let mut inits = vec![(false, Rinit::pid1 as fn() -> Rinit)];
    if crate::harness::available("tini") {
        inits.push((true, || Rinit::pid1().peer("/usr/bin/tini")));
    }
    for (is_tini, init) in inits {
        for (actions, code) in [("exit 3", 3), ("kill-self USR1", 138)] {
            assert_eq!(init().plain().command_probe(actions).run().code(), code);
        }
        assert_eq!(init().plain().command(&["no-such-program"]).run().code(), 127);
        assert_eq!(init().plain().command(&["/etc/passwd"]).run().code(), 126);
        // What COMMAND leaves behind: rinit gives it time, tini's end is the kernel's SIGKILL.
        let left = "fork [ say-on TERM saved exit-on TERM 0 say sibling wait ]";
        let setup = init().plain().piped_stdin().command_probe(&format!("{left} cat exit 4"));
        let mut running = setup.start();
        running.wait_line("sibling");
        running.close_stdin();
        let outcome = running.wait();
        outcome.assert_code(4);
        outcome.assert(outcome.stdout().contains(&"saved") != is_tini, "what is left behind");
    }
}

/// The delays are the formula's, and the first of them are what rinit does.
#[test]
fn delays() {
    let shown: Vec<f64> = page::between("delays")
        .split(',')
        .map(|delay| delay.trim().trim_end_matches(" s").parse().unwrap())
        .collect();
    assert_eq!(shown.len(), 11);
    for (k, delay) in shown.iter().enumerate() {
        let formula = (0.1 * 2f64.powi(k as i32)).min(30.0);
        assert!((delay - formula).abs() < 1e-9, "{delay} is not {formula}");
    }
    let unit = "[Unit]\nStartLimitIntervalSec = 0\n[Service]\nExecStart = \"@probe@ exit 1\"\n\
                Restart = \"always\"\n";
    let mut rinit = Rinit::subreaper().unit("web", unit).start();
    for delay in shown.iter().take(4) {
        let usec = rinit.wait_restart("web").number("delay_usec").unwrap();
        let ratio = usec as f64 / (delay * 1e6);
        assert!((0.9..=1.1).contains(&ratio), "{usec} µs for {delay} s");
    }
    // In the middle of a backoff a stop is at once.
    rinit.terminate().assert_code(0);
}

/// The table of states is the code's.
#[test]
fn states() {
    let rows = page::table("| state | part of | it is |");
    let shown: Vec<_> =
        rows.iter().map(|row| (row[0].trim_matches('`'), row[1].as_str())).collect();
    let states = SubState::ALL.map(|state| (state.as_str(), state.active_state().as_str()));
    // The page may have an order of its own.
    assert_eq!(shown.iter().collect::<BTreeSet<_>>(), states.iter().collect::<BTreeSet<_>>());
    assert_eq!(shown.len(), states.len());
}

/// The table of directives is the code's.
#[test]
fn directives() {
    let table = format!("\n{}\n", directive::readme_table());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        page::replace_between("directives", &table);
    }
    let same = page::between("directives") == table;
    assert!(same, "README.md's directives are old: UPDATE_EXPECT=1 cargo test directives");
}

/// What boot starts and in which order, as `How a boot goes` has it.
#[test]
fn how_a_boot_goes() {
    let step = "Type = \"oneshot\"";
    let unit = |section: &str, actions: &str| {
        format!("{section}\n[Service]\nExecStart = \"@probe@ {actions}\"\n")
    };
    // 30 would be the last step by its name, and opens the gate that the second one waits at.
    let early = unit("[Unit]\nDefaultDependencies = false", "append @dir@/gate open") + step;
    let web = "env A append @dir@/order web append @dir@/last open";
    let setup = Rinit::subreaper()
        .service("10-one", "append @dir@/order one", step)
        .service("20-two", "read @dir@/gate append @dir@/order two", step)
        .unit("30-early", &early)
        .unit("web", &unit("[Unit]\nOnFailure = \"handler.service\"", web))
        .unit("handler", &unit("", "append @dir@/order handler"))
        .unit("off", &unit("[Install]\nEnabled = false", "append @dir@/order off"));
    for gate in ["gate", "last"] {
        nix::unistd::mkfifo(&setup.path(gate), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    // A drop-in and rinit.toml count as well.
    let units = setup.units_directory();
    fs::create_dir(units.join("web.toml.d")).unwrap();
    fs::write(units.join("web.toml.d/a.toml"), "[Service]\nEnvironment = \"A=b\"\n").unwrap();
    fs::write(units.join("rinit.toml"), "[Manager]\nDefaultEnvironment = \"C=d\"\n").unwrap();
    let command = "read @dir@/last append @dir@/order command env C exit 0";
    let outcome = setup.command_probe(command).run();
    // What the unit says comes by way of the journal, and so perhaps after COMMAND's.
    let mut said = outcome.stdout();
    said.sort_unstable();
    outcome.assert_code(0).assert(said == ["b", "d"], "the drop-in, [Manager]");
    assert_eq!(outcome.lines_of("order"), ["one", "two", "web", "command"]);
}

/// The list of what is not systemd's default: what a service inherits and what it does not.
#[test]
fn what_is_not_systemds_default() {
    let rinit = Rinit::subreaper().launch(&["--umask", "027", "--limit", "nofile=500:600"]);
    let rinit = rinit.env("COLOUR", "blue").env("NOTIFY_SOCKET", "/nope").env("LISTEN_FDS", "1");
    let rinit = rinit.env("WATCHDOG_USEC", "1").piped_stdin();
    let unit = "[Service]\nExecStart = \"@probe@ say ${COLOUR} report exit 0\"\n";
    let mut rinit = rinit.unit("web", unit).start();
    rinit.wait_line("blue");
    let report = rinit.wait_report();
    assert_eq!(report.env("COLOUR"), Some("blue"));
    assert_eq!(report.text("cwd"), rinit.path("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(report.text("umask"), "0027");
    assert_eq!(report.limit("Max open files"), ("500", "600"));
    assert_eq!(report.fd(0), "/dev/null");
    assert!(report.fd(1).starts_with("pipe:"), "rinit's own: {}", report.fd(1));
    assert_eq!(report.mask("ignored"), 0, "SIGPIPE is not ignored");
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC"] {
        assert_eq!(report.env(name), None, "{name}");
    }
    rinit.wait().assert_code(0);
}

/// What `Not yet` names is refused, and not silently ignored.
#[test]
fn what_is_not_there_is_refused() {
    let timer = "[Timer]\nOnCalendar = \"daily\"\n";
    Rinit::subreaper().plain().unit("web", timer).run().assert_code(78);
    let unit = "[Service]\nExecStart=/bin/true\n";
    Rinit::subreaper().plain().unit("web.service", unit).run().assert_code(78);
}

/// The unit shown in this directory of the page's examples.
pub fn shown(directory: &str) -> String {
    let blocks = page::blocks_of("toml");
    let mut blocks = blocks.into_iter().filter(|block| block.directory() == directory);
    let block = blocks.next().unwrap_or_else(|| panic!("README.md shows no {directory}"));
    block.text
}

/// The line of the page's shell blocks that begins so.
pub fn command_line(beginning: &str) -> String {
    let blocks = page::blocks_of("sh");
    let mut lines = blocks.iter().flat_map(|block| block.text.lines());
    lines.find(|line| line.starts_with(beginning)).expect("the page shows it").to_string()
}

/// Every directory of examples that the page names is there, and every one there is named.
#[test]
fn the_examples_are_named() {
    let text = page::text();
    for entry in fs::read_dir(tools::repository().join("units")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(text.contains(&format!("`units/{name}`")), "README.md does not name units/{name}");
    }
    for word in text.split('`').filter(|word| word.starts_with("units/")) {
        assert!(tools::repository().join(word).is_dir(), "there is no {word}");
    }
}

/// What the rolling example spells out are the defaults.
#[test]
fn rolling_defaults() {
    let default = RollingUpdate::default();
    assert_eq!(default.failure_action, RollingFailure::Pause);
    let line = format!(
        "RollingUpdate = {{ Parallelism = {}, Order = \"start-first\", MonitorSec = \"{}s\", \
         FailureAction = \"pause\" }}",
        default.parallelism,
        default.monitor.as_secs()
    );
    assert!(shown("rolling").lines().any(|shown| shown == line), "not {line}");
}

/// What the example of health spells out are the defaults.
#[test]
fn health_defaults() {
    let table = directive::readme_table();
    let (_, table) = table.split_once("#### [Health]").unwrap();
    let mut n_lines = 0;
    for line in shown("health").lines().skip_while(|line| *line != "[Health]") {
        let Some((name, value)) = line.split_once(" = ").filter(|(name, _)| *name != "Http") else {
            continue;
        };
        let prefix = format!("| `{name}` |");
        let row = table.lines().find(|row| row.starts_with(&prefix)).expect("its row");
        let default = row.split('|').nth(3).unwrap().trim();
        assert_eq!(value.trim_matches('"'), default, "{name}");
        n_lines += 1;
    }
    assert_eq!(n_lines, 3);
}

/// Each source of readiness: what comes after the service is not started before it has come.
#[test]
fn when_it_is_ready() {
    require!("systemd-notify", "python3");
    let rows = page::table("| in the unit | ready |");
    let sources: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let pattern = "ReadyLogPattern = \"^listening on\"";
    let expected =
        ["Type = \"notify\"", "NotificationFd = 4", pattern, "ReadyOn = \"accept\"", "[Health]"];
    assert_eq!(sources, expected);
    let socket = "[Socket]\nListenStream = \"@dir@/web.sock\"";
    let health = "[Health]\nExec = \"test -e @dir@/come\"\nStartIntervalSec = \"10ms\"";
    let serve =
        "exec python3 -c 'import select; poll = select.epoll(); poll.register(3, 1); poll.poll()'";
    // What gives the sign once the gate is open.
    let give = [
        "systemd-notify --ready; exec @probe@ wait",
        "echo >&4; exec @probe@ wait",
        "echo listening on 80; exec @probe@ wait",
        serve,
        "touch @dir@/come; exec @probe@ wait",
    ];
    for (source, give) in sources.iter().zip(give) {
        let (line, rest) = match *source {
            "[Health]" => ("", health),
            "ReadyOn = \"accept\"" => (*source, socket),
            _ => (*source, ""),
        };
        let unit = format!(
            "[Service]\nExecStart = [\"sh\", \"-c\", \"read x < @dir@/gate; {give}\"]\n\
             NotifyAccess = \"all\"\n{line}\n{rest}\n"
        );
        let next =
            "[Unit]\nAfter = \"web.service\"\n[Service]\nExecStart = \"@probe@ say next wait\"\n";
        let setup = Rinit::subreaper().unit("web", &unit).unit("next", next);
        let gate = setup.path("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut rinit = setup.options(&["--socket", "@dir@/control"]).start();
        rinit.wait_start("web", "ExecStart");
        let mut control = Varlink::connect(&rinit.path("control")).unwrap();
        let web = control.get("Describe", json!({ "unit": "web.service" }));
        assert_eq!(web["properties"]["ActiveState"], "activating", "{source}: the gate is closed");
        fs::write(&gate, "open\n").unwrap();
        rinit.wait_line("next");
        let outcome = rinit.terminate();
        outcome.assert_code(0).assert_sequence(&[("web", "running"), ("next", "start")]);
    }
}
