//! The program that the black-box tests run as a service: it does exactly what its arguments say,
//! one after another, and reports what it sees, so that no test depends on a shell's habits.
//!
//! `probe ignore TERM say ready wait` ignores SIGTERM, prints `ready` and waits for ever.
//! `fork [ … ]` and `orphan [ … ]` give a list to a child; `launch` (in its own file) is the odd
//! parent that rinit itself is started by. Without Rust's own `main`, because that would open
//! fds 0-2 and ignore SIGPIPE before anything could be reported.
#![no_main]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

#[path = "probe/launch.rs"]
mod launch;
#[path = "probe/memory.rs"]
mod memory;
#[path = "probe/report.rs"]
mod report;
#[path = "probe/serve.rs"]
mod serve;
#[path = "probe/signal.rs"]
mod signal;
#[path = "probe/web.rs"]
mod web;

use std::ffi::{CString, c_char, c_int};
use std::io::{Read, Write};
use std::path::Path;

use nix::unistd::{ForkResult, Pid};

/// What the C library calls.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    match arguments.first().map(String::as_str) {
        Some("launch") => launch::launch(&arguments[1..]),
        _ => run(&arguments),
    }
    0
}

/// Runs the actions in order; `[ … ]` after an action that forks is the child's.
fn run(actions: &[String]) {
    let mut rest = actions;
    while let Some((action, tail)) = rest.split_first() {
        rest = perform(action, tail);
    }
}

/// One action; gives what is left after its own arguments.
fn perform<'a>(action: &str, rest: &'a [String]) -> &'a [String] {
    let number = |at: usize| -> i64 { rest[at].parse().expect("a number") };
    match action {
        "wait" => wait_for_ever(),
        "report" => say(&report::report().to_string()),
        "setsid" => drop(nix::unistd::setsid().expect("setsid")),
        "setpgid" => nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).expect("setpgid"),
        "catch-all" => signal::catch_all(),
        "abort" => std::process::abort(),
        "cat" => cat(),
        "stop" => signal::raise(libc::SIGSTOP),
        "foreground" => take_foreground(),
        "tostop" => set_tostop(),
        "ok" => (),
        _ => return perform_with_arguments(action, rest, &number),
    }
    rest
}

fn perform_with_arguments<'a>(
    action: &str,
    rest: &'a [String],
    number: &dyn Fn(usize) -> i64,
) -> &'a [String] {
    match action {
        "say" => say(&rest[0]),
        "complain" => complain(&rest[0]),
        "lines" => lines(number(0)),
        "print" => print(&rest[0]),
        "exit" => exit(number(0) as c_int),
        "sleep" => std::thread::sleep(std::time::Duration::from_millis(number(0) as u64)),
        "ignore" => signal::ignore(signal::number(&rest[0])),
        "default" => signal::default(signal::number(&rest[0])),
        "kill-self" => signal::raise(signal::number(&rest[0])),
        "kill-init" => signal::kill_init(signal::number(&rest[0])),
        "kill-parent" => signal::kill(std::os::unix::process::parent_id() as i32, &rest[0]),
        "env" => say(&std::env::var(&rest[0]).unwrap_or_else(|_| "(unset)".to_string())),
        "close" => drop(nix::unistd::close(number(0) as c_int)),
        "orphans" => many_orphans(number(0)),
        "allocate" => memory::allocate(number(0)),
        "leak" => memory::leak(number(0)),
        "touch" => std::fs::write(&rest[0], "").expect("touch"),
        "pidfile" => std::fs::write(&rest[0], std::process::id().to_string()).expect("pidfile"),
        "reuse" => reuse_pid(&rest[0]),
        "serve" => serve::serve(number(0) as c_int),
        "read" => drop(std::fs::read(&rest[0]).expect("read")),
        "must-exist" => exit_unless(Path::new(&rest[0]).exists()),
        "web" => {
            web::web(number(0) as c_int, &rest[1]);
            return &rest[2..];
        }
        "visit" => {
            web::visit(number(0) as u16, number(1), &rest[2]);
            return &rest[3..];
        }
        "append" => return append(rest),
        "exit-on" => return exit_on(rest),
        "say-on" => return say_on(rest),
        "nth" => return exit_by_count(rest),
        "fork" => return fork_list(rest, false),
        "orphan" => return fork_list(rest, true),
        _ => complain(&format!("probe: unknown action {action}")),
    }
    &rest[1..]
}

/// One line on stdout, in one write.
fn say(text: &str) {
    write_line(std::io::stdout().lock(), text);
}

fn complain(text: &str) {
    write_line(std::io::stderr().lock(), text);
}

/// Without a newline.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Numbered lines, many at once and cut anywhere, as a program that buffers its output writes
/// them: most short, some longer than a pipe takes as a whole.
fn lines(count: i64) {
    let mut out = std::io::BufWriter::with_capacity(50_000, std::io::stdout().lock());
    for number in 0..count {
        let size = if number % 1_000 == 999 { 20_000 } else { number * 7 % 200 };
        let _ = writeln!(out, "{number} {}", "x".repeat(size as usize));
    }
}

fn write_line(mut stream: impl Write, text: &str) {
    let _ = stream.write_all(format!("{text}\n").as_bytes()).and_then(|()| stream.flush());
}

/// Leaves at once: no exit handlers, as after fork.
fn exit(code: c_int) -> ! {
    // SAFETY: ends the process; nothing follows.
    unsafe { libc::_exit(code) }
}

fn exit_unless(holds: bool) {
    if !holds {
        exit(1);
    }
}

fn wait_for_ever() -> ! {
    loop {
        nix::unistd::pause();
    }
}

/// Copies stdin to stdout until its end.
fn cat() {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = std::io::stdin().read(&mut buffer) {
        let _ = std::io::stdout().write_all(&buffer[..n]);
        let _ = std::io::stdout().flush();
    }
}

/// `append PATH TEXT`: one line at the end of a file that several processes write.
fn append(rest: &[String]) -> &[String] {
    let file = std::fs::OpenOptions::new().append(true).create(true).open(&rest[0]);
    write_line(file.expect("append"), &rest[1]);
    &rest[2..]
}

/// `exit-on SIGNAL CODE`: when the signal comes, exit with the code.
fn exit_on(rest: &[String]) -> &[String] {
    signal::exit_on(signal::number(&rest[0]), rest[1].parse().expect("a code"));
    &rest[2..]
}

/// `say-on SIGNAL TEXT`: when the signal comes, print the text.
fn say_on(rest: &[String]) -> &[String] {
    signal::say_on(signal::number(&rest[0]), &rest[1]);
    &rest[2..]
}

/// `nth PATH N CODE`: counts its runs in a file; up to the N-th run, exits with the code.
fn exit_by_count(rest: &[String]) -> &[String] {
    let runs = std::fs::read(&rest[0]).map_or(0, |bytes| bytes.len()) + 1;
    std::fs::write(&rest[0], vec![b'x'; runs]).expect("count");
    if runs <= rest[1].parse().expect("a number") {
        exit(rest[2].parse().expect("a code"));
    }
    &rest[3..]
}

fn fork() -> ForkResult {
    // SAFETY: this program has one thread, so the child may do anything.
    unsafe { nix::unistd::fork() }.expect("fork")
}

/// `fork [ … ]`: a child runs the list and exits 0; `orphan [ … ]`: its parent is already dead.
fn fork_list(rest: &[String], orphan: bool) -> &[String] {
    assert_eq!(rest[0], "[", "fork needs a list");
    let mut depth = 0;
    let end = rest.iter().position(|word| {
        depth += i32::from(word == "[") - i32::from(word == "]");
        depth == 0
    });
    let end = end.expect("a closing ]");
    if let ForkResult::Parent { child } = fork() {
        if orphan {
            nix::sys::wait::waitpid(child, None).expect("waitpid");
        }
        return &rest[end + 1..];
    }
    if !orphan || matches!(fork(), ForkResult::Child) {
        run(&rest[1..end]);
    }
    exit(0)
}

/// `orphans N`: N grandchildren whose parents are dead, and which exit at once.
fn many_orphans(n: i64) {
    for _ in 0..n {
        match fork() {
            ForkResult::Parent { child } => drop(nix::sys::wait::waitpid(child, None)),
            ForkResult::Child => {
                let _ = fork();
                exit(0);
            }
        }
    }
}

/// The next fork gets the pid that is written in the file (pid_namespaces(7), ns_last_pid).
fn reuse_pid(path: &str) {
    let pid: i32 = std::fs::read_to_string(path).expect("a pidfile").parse().expect("a pid");
    std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("ns_last_pid");
}

/// Makes its process group the terminal's foreground, as a shell does for a job.
fn take_foreground() {
    signal::ignore(libc::SIGTTOU);
    let _ = nix::unistd::tcsetpgrp(std::io::stdin(), nix::unistd::getpgrp());
    signal::default(libc::SIGTTOU);
}

/// Sets TOSTOP on the terminal: who writes from the background gets SIGTTOU.
fn set_tostop() {
    let mut modes = nix::sys::termios::tcgetattr(std::io::stdin()).expect("tcgetattr");
    modes.local_flags |= nix::sys::termios::LocalFlags::TOSTOP;
    let now = nix::sys::termios::SetArg::TCSANOW;
    nix::sys::termios::tcsetattr(std::io::stdin(), now, &modes).expect("tcsetattr");
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}
