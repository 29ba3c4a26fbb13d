//! Readiness as services say it: by `systemd-notify`, by PyPI's `sdnotify`, by a descriptor, by
//! forking. The other side of the protocol is always somebody else's code.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Event, Rinit, Running, processes};
use crate::{require, tools};

/// The virtualenv that `integration/setup.sh` makes.
fn python() -> Result<PathBuf, String> {
    let python = tools::repository().join("target/sdnotify-venv/bin/python");
    let works = Command::new(&python).args(["-c", "import sdnotify"]).output();
    match works {
        Ok(output) if output.status.success() => Ok(python),
        Ok(_) | Err(_) => Err(format!("{} has no sdnotify package", python.display())),
    }
}

/// What every script begins with. A gate is a FIFO: the script goes on once the test opens it.
const PRELUDE: &str = r#"
import os, signal, socket, sys, time
import sdnotify
tell = sdnotify.SystemdNotifier(debug=True).notify
def gate(name): open(os.path.join(sys.argv[1], name)).read()
def say(text): print(text, flush=True)
"#;

/// `web` is a Python script, with these lines of `[Service]`, and a gate.
fn script(init: Rinit, text: &str, lines: &str) -> Option<Rinit> {
    let python = tools::need(python())?;
    std::fs::write(init.path("web.py"), format!("{PRELUDE}{text}")).unwrap();
    nix::unistd::mkfifo(&init.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let command = format!("{} @dir@/web.py @dir@", python.display());
    let unit = format!("[Service]\nExecStart = \"{command}\"\n{lines}\n");
    Some(init.unit("web", &unit))
}

/// One that must not start before `web` is ready.
fn with_follower(init: Rinit) -> Rinit {
    init.unit("next", "[Unit]\nAfter = \"web.service\"\n[Service]\nExecStart = \"@probe@ wait\"\n")
}

fn open(rinit: &Running, gate: &str) {
    drop(std::fs::OpenOptions::new().write(true).open(rinit.path(gate)).unwrap());
}

fn is_message(event: &Event, text: &str) -> bool {
    event.text("message").contains(text)
}

/// `web` was ready before `next` was started.
#[track_caller]
fn assert_order(outcome: &crate::harness::Outcome) {
    let mut events = outcome.events();
    let ready = events.any(|event| event.is_state("web", "running"));
    let followed = events.any(|event| event.is_start("next", "ExecStart"));
    outcome.assert(ready && followed, "next is started after web is ready, not before");
}

#[test]
fn systemd_notify_says_ready_and_its_barrier_is_answered() {
    require!("systemd-notify");
    // It waits for the barrier, and fails after five seconds without an answer.
    let shell = "read x < @dir@/gate; systemd-notify --ready --status='Warm, at last' && \
                 echo told; exec sleep infinity";
    let unit = format!(
        "[Service]\nType = \"notify\"\nNotifyAccess = \"all\"\n\
         ExecStart = [[\"/bin/sh\", \"-c\", \"{shell}\"]]\n"
    );
    let init = with_follower(Rinit::subreaper().unit("web", &unit));
    nix::unistd::mkfifo(&init.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = init.start();
    rinit.wait_start("web", "ExecStart");
    open(&rinit, "gate");
    rinit.wait_message("Warm, at last");
    rinit.wait_line("told");
    rinit.wait_start("next", "ExecStart");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_order(&outcome);
}

#[test]
fn sdnotify_says_ready_as_pid_1() {
    require!("user namespace");
    let text = "say('up'); gate('gate'); tell('READY=1'); signal.pause()";
    let Some(init) = script(Rinit::pid1(), text, "Type = \"notify\"") else { return };
    let mut rinit = with_follower(init).start();
    rinit.wait_line("up");
    open(&rinit, "gate");
    rinit.wait_start("next", "ExecStart");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_order(&outcome);
}

/// A child's READY counts with NotifyAccess=all only; with main it changes nothing.
#[test]
fn whose_word_counts() {
    let text = "
told, tells = os.pipe()
if os.fork() == 0:
    tell('READY=1\\nSTATUS=child')
    os.write(tells, b'.')
    signal.pause()
os.read(told, 1)
gate('gate')
tell('READY=1\\nSTATUS=parent')
signal.pause()
";
    for (access, first) in [("main", "says: parent"), ("all", "says: child")] {
        let lines = format!("Type = \"notify\"\nNotifyAccess = \"{access}\"");
        let Some(init) = script(Rinit::subreaper(), text, &lines) else { return };
        let mut rinit = init.start();
        if access == "all" {
            rinit.wait_state("web", "running"); // the gate is still shut
        }
        open(&rinit, "gate");
        rinit.wait_message("says: parent");
        if access == "main" {
            rinit.wait_state("web", "running");
        }
        let outcome = rinit.terminate();
        let said = outcome.events().find(|event| is_message(event, "says: "));
        let said = said.map(|event| event.text("message").to_owned()).unwrap_or_default();
        outcome.assert_code(0).assert(said.contains(first), &format!("{access}: {said}"));
    }
}

/// READY and the end right after it: the word is heard before the death.
#[test]
fn the_last_word_before_the_end_counts() {
    let text = "tell('READY=1')\nos._exit(0)";
    let Some(init) = script(Rinit::subreaper(), text, "Type = \"notify\"") else { return };
    let outcome = init.run();
    outcome.assert_code(0).assert_sequence(&[("web", "running"), ("web", "dead")]);
}

/// Without it, the end is a failure of its own kind.
#[test]
fn an_end_without_ready_is_a_protocol_failure() {
    let text = "tell('STATUS=never mind')\nos._exit(0)";
    let Some(init) = script(Rinit::subreaper(), text, "Type = \"notify\"") else { return };
    let outcome = init.run();
    let protocol = |e: &Event| e.is_state("web", "failed") && e.text("result") == "protocol";
    outcome.assert_code(1).assert(outcome.events().any(protocol), "result protocol");
}

/// MAINPID= hands over to a child whose parent then ends: the child's end is the service's.
#[test]
fn main_pid_hands_over() {
    // The child waits for its parent's end: else its status would be its parent's to read.
    let text = "
parent = os.getpid()
pid = os.fork()
if pid == 0:
    while os.getppid() == parent: time.sleep(0.001)
    gate('gate')
    os._exit(7)
tell('READY=1\\nMAINPID=%d' % pid)
say('handed over')
os._exit(0)
";
    let Some(init) = script(Rinit::subreaper(), text, "Type = \"notify\"") else { return };
    let mut rinit = init.start();
    rinit.wait_line("handed over");
    rinit.wait_state("web", "running");
    open(&rinit, "gate");
    let outcome = rinit.wait();
    outcome.assert_code(7);
}

/// MAINPID= of a process whose parent stays: nobody tells rinit of its end but a pidfd.
#[test]
fn the_main_process_may_be_anothers_child() {
    let text = "
pid = os.fork()
if pid == 0:
    gate('gate')
    os._exit(7)
tell('READY=1\\nMAINPID=%d' % pid)
say('handed over')
signal.pause()
";
    let lines = "Type = \"notify\"\nExecStopPost = \"@probe@ say over\"";
    let Some(init) = script(Rinit::subreaper(), text, lines) else { return };
    let mut rinit = init.start();
    rinit.wait_line("handed over");
    rinit.wait_state("web", "running");
    open(&rinit, "gate");
    rinit.wait_line("over");
    let outcome = rinit.wait(); // the parent is stopped with the rest
    outcome.assert_sequence(&[("web", "running"), ("web", "dead")]);
}

/// MAINPID= of a stranger is not believed.
#[test]
fn a_strangers_main_pid_is_refused() {
    require!("user namespace");
    let text = "tell('READY=1\\nMAINPID=1')\ntell('MAINPID=99999')\nsay('told')\nsignal.pause()";
    let Some(init) = script(Rinit::pid1(), text, "Type = \"notify\"") else { return };
    let mut rinit = init.start();
    rinit.wait_line("told");
    rinit.wait_message("MAINPID=1 is not taken");
    rinit.wait_message("MAINPID=99999 is not taken: there is no such process");
    rinit.terminate().assert_code(0);
}

/// Type=notify-reload: SIGHUP, RELOADING=1 with its time, READY=1.
#[test]
fn notify_reload_is_a_dialogue() {
    let text = "
def reload(*_):
    tell('RELOADING=1\\nMONOTONIC_USEC=%d' % (time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))
    gate('gate')
    tell('READY=1\\nSTATUS=reloaded')
signal.signal(signal.SIGHUP, reload)
tell('READY=1')
while True: signal.pause()
";
    let Some(init) = script(Rinit::subreaper(), text, "Type = \"notify-reload\"") else { return };
    let mut rinit = init.start();
    rinit.wait_state("web", "running");
    rinit.signal(libc::SIGHUP);
    rinit.wait_state("web", "reload");
    open(&rinit, "gate");
    rinit.wait_state("web", "running");
    rinit.wait_message("says: reloaded");
    let outcome = rinit.terminate();
    outcome.assert_code(0).assert(outcome.n_starts("web") == 1, "it was not restarted");
}

/// EXTEND_TIMEOUT_USEC= lets a start take longer than TimeoutStartSec=.
#[test]
fn a_start_may_ask_for_more_time() {
    let text = "
tell('EXTEND_TIMEOUT_USEC=60000000')
time.sleep(2)
tell('READY=1')
signal.pause()
";
    let lines = "Type = \"notify\"\nTimeoutStartSec = \"1500ms\"";
    let Some(init) = script(Rinit::subreaper(), text, lines) else { return };
    let mut rinit = init.start();
    rinit.wait_state("web", "running");
    rinit.terminate().assert_code(0);
}

/// The watchdog is told by its variables; one that falls silent is aborted and restarted.
#[test]
fn a_silent_service_is_aborted() {
    let text = "
assert os.environ['WATCHDOG_PID'] == str(os.getpid())
assert os.environ['WATCHDOG_USEC'] == '300000'
tell('READY=1')
if os.path.exists('again'):
    say('again')
    while True:
        tell('WATCHDOG=1')
        time.sleep(0.05)
open('again', 'w')
signal.pause()
";
    let lines = "Type = \"notify\"\nWatchdogSec = \"300ms\"\nRestart = \"on-watchdog\"\n\
                 RestartSec = \"1ms\"\nWorkingDirectory = \"@dir@\"";
    let Some(init) = script(Rinit::subreaper(), text, lines) else { return };
    let mut rinit = init.start();
    rinit.wait_state("web", "stop-watchdog");
    rinit.wait_line("again");
    let outcome = rinit.terminate();
    let aborted = |event: &Event| event.is("exit", "web") && is_message(event, "SIGABRT");
    outcome.assert_code(0).assert(outcome.events().any(aborted), "by SIGABRT");
}

/// WATCHDOG=trigger is as good as silence.
#[test]
fn a_service_may_pull_the_trigger() {
    let text = "tell('READY=1')\ntell('WATCHDOG=trigger')\nsignal.pause()";
    let lines = "Type = \"notify\"\nWatchdogSec = \"1h\"";
    let Some(init) = script(Rinit::subreaper(), text, lines) else { return };
    let outcome = init.run();
    let failed = |e: &Event| e.is_state("web", "failed") && e.text("result") == "watchdog";
    outcome.assert_code(134).assert(outcome.events().any(failed), "result watchdog");
}

/// A descriptor that is stored comes back after a crash, under its name, with what is in it.
#[test]
fn stored_descriptors_come_back() {
    let text = "
def send(text, *fds):
    path = os.environ['NOTIFY_SOCKET']
    path = '\\0' + path[1:] if path[0] == '@' else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(path)
        socket.send_fds(s, [text.encode()], list(fds))
if 'LISTEN_FDS' in os.environ:
    assert os.environ['LISTEN_PID'] == str(os.getpid())
    say('names ' + os.environ['LISTEN_FDNAMES'])
    say('kept ' + os.read(3, 100).decode())
    signal.pause()
mine, theirs = os.memfd_create('x'), os.memfd_create('y')
os.write(mine, b'a treasure')
os.lseek(mine, 0, 0)
send('FDSTORE=1\\nFDNAME=loot', mine)
send('FDSTORE=1\\nFDNAME=loot', mine)
send('FDSTORE=1\\nFDNAME=ballast', theirs)
send('FDSTOREREMOVE=1\\nFDNAME=ballast')
extra = os.memfd_create('z')
send('FDSTORE=1', extra)
over = os.memfd_create('over')
send('FDSTORE=1', over)
tell('READY=1')
os.kill(os.getpid(), signal.SIGKILL)
";
    let lines = "Type = \"notify\"\nFileDescriptorStoreMax = 2\nRestart = \"always\"\n\
                 RestartSec = \"1ms\"\nTimeoutStartSec = \"infinity\"";
    let Some(init) = script(Rinit::subreaper(), text, lines) else { return };
    let mut rinit = init.start();
    rinit.wait_message("FileDescriptorStoreMax=2 is reached");
    rinit.wait_line("names loot:stored");
    rinit.wait_line("kept a treasure");
    rinit.terminate();
}

/// A newline on the descriptor that the unit names (s6, dinit).
#[test]
fn a_newline_on_a_descriptor_is_ready() {
    let shell = "read x < @dir@/gate; echo >&5; exec sleep infinity";
    let unit = format!(
        "[Service]\nNotificationFd = 5\nExecStart = [[\"/bin/sh\", \"-c\", \"{shell}\"]]\n"
    );
    let init = with_follower(Rinit::subreaper().unit("web", &unit));
    nix::unistd::mkfifo(&init.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = init.start();
    rinit.wait_start("web", "ExecStart");
    open(&rinit, "gate");
    rinit.wait_start("next", "ExecStart");
    let outcome = rinit.terminate();
    outcome.assert_code(0);
    assert_order(&outcome);
}

/// The newline just before the end.
#[test]
fn a_last_newline_counts() {
    let unit = "[Service]\nNotificationFd = 3\nExecStart = [[\"/bin/sh\", \"-c\", \"echo >&3\"]]\n";
    let outcome = Rinit::subreaper().unit("web", unit).run();
    outcome.assert_code(0).assert_sequence(&[("web", "running"), ("web", "dead")]);
}

/// Type=forking: the daemon that the first process leaves is the main process, by its file…
#[test]
fn a_forking_service_has_the_main_process_of_its_pid_file() {
    let actions = "fork [ pidfile @dir@/pid append @dir@/gate up exit-on TERM 0 wait ] \
                   fork [ wait ] read @dir@/gate exit 0";
    let lines = "Type = \"forking\"\nPIDFile = \"@dir@/pid\"\nKillMode = \"mixed\"";
    let init = Rinit::subreaper().service("web", actions, lines);
    nix::unistd::mkfifo(&init.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = init.start();
    rinit.wait_state("web", "running");
    let pid: i32 = std::fs::read_to_string(rinit.path("pid")).unwrap().parse().unwrap();
    processes::kill(pid, libc::SIGKILL);
    let outcome = rinit.wait();
    outcome.assert_code(137);
}

/// …or, without one, because there is no other.
#[test]
fn a_forking_service_without_a_pid_file_is_guessed() {
    let actions = "fork [ pidfile @dir@/pid append @dir@/gate up wait ] read @dir@/gate exit 0";
    let init = Rinit::subreaper().service("web", actions, "Type = \"forking\"");
    nix::unistd::mkfifo(&init.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut rinit = init.start();
    rinit.wait_state("web", "running");
    let pid: i32 = std::fs::read_to_string(rinit.path("pid")).unwrap().parse().unwrap();
    processes::kill(pid, libc::SIGKILL);
    rinit.wait().assert_code(137);
}

/// What was meant for rinit is not handed on: a service that has nothing to say has no socket.
#[test]
fn nobody_else_has_a_socket() {
    let init =
        Rinit::subreaper().env("NOTIFY_SOCKET", "@nobody").service("web", "env NOTIFY_SOCKET", "");
    let outcome = init.run();
    outcome.assert_code(0).assert(outcome.stdout() == ["(unset)"], "unset");
}

/// rinit itself has a supervisor: it says when the boot is done, when it reloads, when it stops,
/// and between that it lives.
#[test]
fn rinit_tells_who_is_above_it() {
    let init = Rinit::subreaper();
    let above = std::os::unix::net::UnixDatagram::bind(init.path("above")).unwrap();
    above.set_read_timeout(Some(crate::harness::DEADLINE)).unwrap();
    let wait_for = |wanted: &str| {
        let mut buffer = [0; 1024];
        loop {
            let size = above.recv(&mut buffer).unwrap_or_else(|_| panic!("no {wanted}"));
            let said = String::from_utf8_lossy(&buffer[..size]);
            if said.lines().any(|line| line == wanted) {
                return said.into_owned();
            }
        }
    };
    let init = init.env("NOTIFY_SOCKET", "@dir@/above").env("WATCHDOG_USEC", "100000");
    let rinit = init.service("web", "env NOTIFY_SOCKET wait", "").start();
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    rinit.signal(libc::SIGHUP);
    assert!(wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    rinit.signal(libc::SIGTERM);
    assert!(wait_for("STOPPING=1").contains("STATUS=stopping: SIGTERM"));
    let outcome = rinit.wait();
    outcome.assert_code(0).assert(outcome.stdout() == ["(unset)"], "the service has no part in it");
}
