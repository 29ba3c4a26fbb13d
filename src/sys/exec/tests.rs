//! Real children: what each stage of a start does, and what each failure says.

use super::*;
use crate::sys::reap;
use crate::unit::process::ExitStatus;
use std::os::unix::fs::PermissionsExt;

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn plan(argv: &[&str]) -> ExecPlan {
    ExecPlan {
        program: argv[0].to_owned(),
        candidates: vec![c(argv[0])],
        argv: argv.iter().map(|text| c(text)).collect(),
        envp: vec![c("PATH=/usr/bin:/bin")],
        grouping: Grouping::Session,
        stdio: [Stdio::Inherit, Stdio::Inherit, Stdio::Inherit],
        umask: 0o022,
        limits: Vec::new(),
        nice: None,
        oom_score_adjust: None,
        identity: Identity::default(),
        directory: Directory::Inherited(c("/")),
        ignore_sigpipe: false,
        failure_code: FailureCode::Stage,
    }
}

/// Runs to the end: how it ended, and what it said if it never became the program.
fn run(plan: &ExecPlan) -> (ExitStatus, Option<ExecError>) {
    let (pid, mut starting) = spawn(plan.clone()).unwrap();
    let mut status = 0;
    // SAFETY: a valid place for the status; other tests' children are left alone.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    let exit = if libc::WIFEXITED(status) {
        ExitStatus::Exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap())
    } else {
        let signal = crate::unit::process::Signal::from_number(libc::WTERMSIG(status)).unwrap();
        ExitStatus::Killed { signal, core_dumped: false }
    };
    let error = match starting.look() {
        ExecState::Failed(report) => Some(starting.describe(report)),
        ExecState::Execed => None,
        ExecState::Pending => panic!("a dead child's pipe is closed"),
    };
    (exit, error)
}

fn script(dir: &tempfile::TempDir, name: &str, text: &str, mode: u32) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_cannot_become_a_program_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let no_interpreter = script(&dir, "a", "#!/nope -x\n", 0o755);
    let no_shebang = script(&dir, "b", "echo hello\n", 0o755);
    let not_executable = script(&dir, "c", "#!/bin/sh\n", 0o644);
    let windows = script(&dir, "d", "#!/bin/sh\r\n", 0o755);
    for (program, code, shell_code, message) in [
        ("/nope/x".to_owned(), 203, 127, "exec /nope/x: No such file or directory".to_owned()),
        (
            no_interpreter.clone(),
            203,
            127,
            format!("exec {no_interpreter}: its interpreter /nope was not found"),
        ),
        (
            windows.clone(),
            203,
            127,
            format!(
                "exec {windows}: its interpreter /bin/sh was not found (the line ends in CR LF)"
            ),
        ),
        (
            no_shebang.clone(),
            203,
            126,
            format!(
                "exec {no_shebang}: neither a program for this machine nor a script that begins \
                 with #!"
            ),
        ),
        (not_executable.clone(), 203, 126, format!("exec {not_executable}: Permission denied")),
        ("/usr".to_owned(), 203, 126, "exec /usr: Permission denied".to_owned()),
    ] {
        let mut plan = plan(&[&program]);
        let (exit, error) = run(&plan);
        assert_eq!(exit, ExitStatus::Exited(code), "{program}");
        assert_eq!(error.unwrap().message, message);
        plan.failure_code = FailureCode::Shell;
        assert_eq!(run(&plan).0, ExitStatus::Exited(shell_code), "{program}");
    }
}

#[test]
fn programs_that_exist_run() {
    assert_eq!(run(&plan(&["/bin/true"])), (ExitStatus::Exited(0), None));
    assert_eq!(run(&plan(&["/bin/sh", "-c", "exit 7"])), (ExitStatus::Exited(7), None));
    let killed =
        ExitStatus::Killed { signal: crate::unit::process::Signal::KILL, core_dumped: false };
    assert_eq!(run(&plan(&["/bin/sh", "-c", "kill -9 $$"])), (killed, None));
}

#[test]
fn a_bare_name_is_searched() {
    let mut found = plan(&["true"]);
    found.candidates = vec![c("/nope/true"), c("/bin/true")];
    assert_eq!(run(&found), (ExitStatus::Exited(0), None));
    let mut missing = plan(&["uvicorn"]);
    missing.candidates = vec![c("/nope/uvicorn"), c("/bin/uvicorn/x")];
    let message = run(&missing).1.unwrap().message;
    assert_eq!(message, "exec uvicorn: not found in /nope:/bin/uvicorn");
    let mut denied = plan(&["usr"]);
    denied.candidates = vec![c("/usr"), c("/nope/usr")];
    assert_eq!(run(&denied).1.unwrap().message, "exec /usr: Permission denied");
}

#[test]
fn each_stage_is_named() {
    type Change = fn(&mut ExecPlan);
    let cases: [(Change, u8, &str); 4] = [
        (
            |p| p.directory = Directory::Declared { path: c("/nope"), optional: false },
            200,
            "chdir /nope: No such file or directory",
        ),
        (
            |p| p.stdio[1] = open("/nope/log", libc::O_WRONLY | libc::O_CREAT),
            209,
            "standard output /nope/log: No such file or directory",
        ),
        (
            |p| {
                let hard = 4;
                p.limits = vec![Rlimit { resource: libc::RLIMIT_CORE, name: "CORE", soft: 5, hard }]
            },
            205,
            "setrlimit CORE: Invalid argument",
        ),
        (|p| p.stdio[0] = open("/usr", libc::O_WRONLY), 208, "standard input /usr: Is a directory"),
    ];
    for (change, code, message) in cases {
        let mut plan = plan(&["/bin/true"]);
        change(&mut plan);
        let (exit, error) = run(&plan);
        assert_eq!((exit, error.unwrap().message.as_str()), (ExitStatus::Exited(code), message));
    }
    let mut optional = plan(&["/bin/true"]);
    optional.directory = Directory::Declared { path: c("/nope"), optional: true };
    assert_eq!(run(&optional), (ExitStatus::Exited(0), None));
}

fn open(path: &str, flags: libc::c_int) -> Stdio {
    Stdio::Open { path: c(path), flags, terminal: false }
}

/// What a shell in the child prints.
fn output(change: impl FnOnce(&mut ExecPlan), command: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let mut plan = plan(&["/bin/sh", "-c", command]);
    plan.stdio[1] = open(path.to_str().unwrap(), libc::O_WRONLY | libc::O_CREAT);
    plan.stdio[0] = open("/dev/null", libc::O_RDONLY);
    change(&mut plan);
    assert_eq!(run(&plan), (ExitStatus::Exited(0), None));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_child_starts_clean() {
    // As `early` does it; Rust's runtime needs its own two, and the other tests ignore SIGPIPE.
    for number in (1..=64).filter(|n| ![libc::SIGSEGV, libc::SIGBUS, libc::SIGPIPE].contains(n)) {
        crate::sys::signals::set_disposition(number, crate::sys::signals::Disposition::Default);
    }
    crate::sys::signals::set_mask(crate::sys::signals::ALL_BUT_FAULTS);
    let leak = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: a descriptor of ours, made to survive exec.
    unsafe { libc::fcntl(leak.as_raw_fd(), libc::F_SETFD, 0) };
    let status = output(|_| (), "grep -E 'SigBlk|SigIgn' /proc/self/status");
    assert_eq!(status, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    let ignored = output(|p| p.ignore_sigpipe = true, "grep SigIgn /proc/self/status");
    assert_eq!(ignored, "SigIgn:\t0000000000001000\n");
    assert_eq!(output(|_| (), "echo /proc/self/fd/*").matches("/fd/").count(), 4); // 3: the glob
    assert_eq!(output(|_| (), "ps -o sid= -p $$ | grep -cw $$"), "1\n");
    crate::sys::signals::set_mask(0);
}

#[test]
fn what_a_unit_may_set() {
    assert_eq!(output(|p| p.umask = 0o027, "umask"), "0027\n");
    assert_eq!(output(|p| p.nice = Some(7), "nice"), "7\n");
    let to = |p: &mut ExecPlan| {
        p.directory = Directory::Declared { path: c("/usr"), optional: false };
    };
    assert_eq!(output(to, "pwd"), "/usr\n");
    let limit = Rlimit { resource: libc::RLIMIT_NOFILE, name: "NOFILE", soft: 33, hard: 44 };
    assert_eq!(output(|p| p.limits = vec![limit], "ulimit -Sn; ulimit -Hn"), "33\n44\n");
    let raised =
        output(|p| p.oom_score_adjust = Some((c("500"), true)), "cat /proc/self/oom_score_adj");
    assert_eq!(raised, "500\n");
    assert_eq!(output(|p| p.stdio[2] = Stdio::AsOutput, "echo error >&2"), "error\n");
}

#[test]
fn a_death_is_peeked_until_it_is_reaped() {
    // Other tests' children may be seen by a peek as well: ask only about this one.
    let (pid, _starting) = spawn(plan(&["/bin/true"])).unwrap();
    let seen = |stat: Option<crate::sys::proc::Stat>| stat.is_some_and(|stat| stat.is_alive());
    while seen(crate::sys::proc::stat(pid)) {
        std::thread::yield_now();
    }
    assert_ne!(reap::peek(), reap::Peeked::NoChildren);
    assert!(crate::sys::proc::stat(pid).is_some(), "a zombie");
    reap::reap(pid);
    assert_eq!(crate::sys::proc::stat(pid), None);
}

#[test]
fn reports_cross_the_pipe() {
    let report = Report { stage: ExecStage::Exec, index: 513, errno: libc::E2BIG };
    assert_eq!(Report::from_bytes(report.to_bytes()), Some(report));
    assert_eq!(Report::from_bytes([0; 8]), None);
}
