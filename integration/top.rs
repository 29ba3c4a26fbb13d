//! `rinitctl top` on a terminal: what a person sees, what keys do, and that the terminal is given
//! back on every way out.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use nix::sys::termios::{Termios, tcgetattr};

use crate::harness::pty::Terminal;
use crate::harness::{Rinit, Running};

const RINITCTL: &str = env!("CARGO_BIN_EXE_rinitctl");

fn rinit() -> Rinit {
    Rinit::subreaper().options(&["--socket", "@dir@/socket"])
}

fn rinitctl(rinit: &Running, arguments: &[&str]) -> Command {
    let mut command = Command::new(RINITCTL);
    command.args(arguments).env("RINIT_SOCKET", rinit.path("socket"));
    command.env("TERM", "xterm").env("LANG", "C.UTF-8");
    command.env_remove("LC_ALL").env_remove("NO_COLOR");
    command
}

/// A `top` that runs.
struct Top {
    terminal: Terminal,
    /// The side that it has.
    inner: OwnedFd,
    before: Termios,
    child: Child,
}

impl Top {
    fn start(rinit: &Running) -> Top {
        let (terminal, inner) = Terminal::open();
        let before = tcgetattr(inner.as_fd()).unwrap();
        let side = || Stdio::from(inner.try_clone().unwrap());
        let mut command = rinitctl(rinit, &["top"]);
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        Top { terminal, inner, before, child }
    }

    /// Waits until the screen shows all of these; what it shows then.
    fn wait(&mut self, texts: &[&str]) -> String {
        self.terminal.wait_screen(&texts.join(" and "), |screen| {
            let contents = screen.contents();
            texts.iter().all(|text| contents.contains(text))
        })
    }

    /// Waits for its end: its status, and what the terminal shows after that.
    fn end(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap();
        let left = |screen: &vt100::Screen| !screen.alternate_screen() && !screen.hide_cursor();
        self.terminal.wait_screen("the first screen again", left);
        assert_eq!(tcgetattr(self.inner.as_fd()).unwrap(), self.before, "echo and line mode");
        drop(self.inner);
        let all = self.terminal.read_to_end();
        let end = all.rsplit("\x1b[?1049l").next().unwrap().replace("\x1b[?25h", "");
        (code, end)
    }
}

#[test]
fn a_person_sees_asks_and_quits() {
    let web = "[Service]\nInstances = 2\nExecStart = \"@probe@ say listening wait\"\n\
               RollingUpdate = { MonitorSec = 0 }\n";
    let failing = "[Unit]\nFailureAction = \"none\"\n[Service]\nExecStart = \"@probe@ exit 4\"\n";
    let setup = rinit().unit("web", web).unit("bad", failing).service("db", "say up wait", "");
    let mut rinit = setup.start();
    rinit.wait_state("web", "running");
    rinit.wait_state("bad", "failed");
    rinit.wait_state("db", "running");
    let mut top = Top::start(&rinit);
    top.wait(&["rinit is degraded: 1 failed, 4 active", "web@1 | listening", "? help  q quit"]);
    top.wait(&["\nbad ", "failed (exit-code)", "\n├─ web@1 ", "\n└─ web@2 "]);
    top.wait(&["bad: ExecStart exited with status 4"]);

    top.terminal.type_keys("jr");
    top.wait(&["restart db.service? y/n"]);
    top.terminal.type_keys("n");
    top.wait(&["? help  q quit"]);
    top.terminal.type_keys("ry");
    top.wait(&["restart db.service: done"]);

    top.terminal.type_keys("sy");
    top.wait(&["stop db.service: done", "3 active, 1 inactive"]);
    top.terminal.type_keys("S");
    top.wait(&["start db.service: done", "4 active"]);

    top.terminal.type_keys("f");
    let screen = top.wait(&["── db.service: events and lines", "db | up"]);
    assert!(!screen.contains("web@1 | listening"), "{screen}");
    top.terminal.type_keys("j");
    top.wait(&["── web.service: events and lines", "web@1 | listening", "web@2 | listening"]);
    top.terminal.type_keys("l");
    top.wait(&["reload web.service: done", "web: 2 of 2 instances replaced"]);

    top.terminal.type_keys("q");
    assert_eq!(top.end(), (0, String::new()));
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(outcome.n_starts("db") == 3, "boot, restart, start: no more");
}

#[test]
fn the_terminal_is_given_back_on_every_way_out() {
    let mut rinit = rinit().service("web", "say up wait", "").start();
    rinit.wait_line("up");
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGHUP, 129), (libc::SIGINT, 130)] {
        let mut top = Top::start(&rinit);
        top.wait(&["web | up"]);
        let pid = nix::unistd::Pid::from_raw(top.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::try_from(signal).unwrap()).unwrap();
        assert_eq!(top.end(), (code, String::new()));
    }
    let mut top = Top::start(&rinit);
    top.wait(&["web | up"]);
    top.terminal.type_keys("\x03");
    assert_eq!(top.end(), (0, String::new()));

    let mut top = Top::start(&rinit);
    top.wait(&["web | up"]);
    rinit.signal(libc::SIGSTOP);
    top.wait(&["no answer for "]);
    top.terminal.type_keys("?");
    top.wait(&["restart it: asks first"]);
    rinit.signal(libc::SIGCONT);
    top.terminal.wait_screen("an answer", |screen| !screen.contents().contains("no answer"));
    rinit.terminate().assert_code(0);
    let (code, said) = top.end();
    assert_eq!(code, 6);
    assert!(said.contains("rinitctl: rinit has closed the connection: it has ended"), "{said:?}");
}

#[test]
fn it_needs_a_terminal_and_all_of_it() {
    let mut rinit = rinit().service("web", "say up wait", "").start();
    rinit.wait_line("up");
    let (_terminal, inner) = Terminal::open();
    for (arguments, on_terminal, term, words) in [
        (&["top"][..], false, "xterm", "top needs a terminal"),
        (&["top"], true, "dumb", "top needs a terminal"),
        (&["top", "--plain"], true, "xterm", "top cannot be plain"),
        (&["top", "--json"], true, "xterm", "top has no JSON"),
    ] {
        let side = || match on_terminal {
            true => Stdio::from(inner.try_clone().unwrap()),
            false => Stdio::null(),
        };
        let mut command = rinitctl(&rinit, arguments);
        let output = command.env("TERM", term).stdin(side()).stdout(side()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?} {said}");
        assert!(said.contains(words) && said.contains("rinitctl list-units"), "{said}");
    }
    rinit.terminate();
}
