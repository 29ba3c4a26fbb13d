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
        pid_variables: Vec::new(),
        descriptors: Vec::new(),
        cgroups: Vec::new(),
        grouping: Grouping::Session,
        stdio: [Stdio::Inherit, Stdio::Inherit, Stdio::Inherit],
        umask: 0o022,
        limits: Vec::new(),
        nice: None,
        oom_score_adjust: None,
        merges_memory: false,
        identity: Identity::default(),
        directory: Directory::Inherited(Some(c("/"))),
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
    // A child of another test may have been born with our pipe, and has it until its own exec.
    loop {
        match starting.look() {
            ExecState::Failed(report) => return (exit, Some(starting.describe(report))),
            ExecState::Execed => return (exit, None),
            ExecState::Pending => std::thread::yield_now(),
        }
    }
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

/// What a shell has open that gets these, but for its three streams: number and path.
fn passed(descriptors: &[(RawFd, RawFd)]) -> Vec<(RawFd, String)> {
    let list = descriptors.iter().map(|(source, target)| (*source, *target));
    let list = list.map(|(source, target)| Descriptor { source, target }).collect();
    let shown = output(|p| p.descriptors = list, "ls -l /proc/$$/fd");
    let arrows = shown.lines().filter_map(|line| line.split_once(" -> "));
    let number = |left: &str| left.rsplit(' ').next().unwrap().parse().unwrap();
    let all = arrows.map(|(left, path)| (number(left), path.to_owned()));
    let mut found: Vec<_> = all.filter(|(number, _)| *number > 2).collect();
    found.sort();
    found
}

#[test]
fn descriptors_are_at_their_numbers_whatever_theirs_were() {
    let paths = ["/bin", "/usr", "/etc"].map(|path| std::fs::canonicalize(path).unwrap());
    let files = paths.each_ref().map(|path| std::fs::File::open(path).unwrap());
    let [a, b, c] = files.each_ref().map(AsRawFd::as_raw_fd);
    let paths = paths.map(|path| path.to_str().unwrap().to_owned());
    let expect = |numbers: [RawFd; 3]| {
        let mut list: Vec<_> = numbers.into_iter().zip(paths.clone()).collect();
        list.sort();
        list
    };
    assert_eq!(passed(&[]), []);
    for targets in
        [[3, 4, 5], [5, 3, 4], [b, c, a], [c, b, a], [a, b, c], [a, 700, 701], [800, a, b]]
    {
        let [x, y, z] = targets;
        assert_eq!(passed(&[(a, x), (b, y), (c, z)]), expect(targets), "{targets:?}");
    }
}

#[test]
fn a_descriptor_may_take_the_number_of_the_error_pipe() {
    let file = std::fs::File::open("/usr").unwrap();
    let many: Vec<_> = (3..120).map(|target| (file.as_raw_fd(), target)).collect();
    let expected: Vec<_> = (3..120).map(|target| (target, "/usr".to_owned())).collect();
    assert_eq!(passed(&many), expected);
    let mut missing = plan(&["/nope/x"]);
    let descriptor = |(source, target)| Descriptor { source, target };
    missing.descriptors = many.into_iter().map(descriptor).collect();
    let (exit, error) = run(&missing);
    assert_eq!(exit, ExitStatus::Exited(203));
    assert_eq!(error.unwrap().message, "exec /nope/x: No such file or directory");
}

#[test]
fn a_descriptor_that_is_not_there_is_named() {
    let file = std::fs::File::open("/usr").unwrap();
    let closed = 1_000_000;
    let mut plan = plan(&["/bin/true"]);
    plan.descriptors = vec![
        Descriptor { source: file.as_raw_fd(), target: 3 },
        Descriptor { source: closed, target: 4 },
    ];
    let (exit, error) = run(&plan);
    assert_eq!(exit, ExitStatus::Exited(202));
    let message = "descriptor 4 (rinit's 1000000): Bad file descriptor";
    assert_eq!(error.unwrap().message, message);
}

#[test]
fn a_stream_may_be_a_descriptor_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(&dir, "input", "hello\n", 0o644);
    let file = std::fs::File::open(path).unwrap();
    let fd = file.as_raw_fd();
    // Also where its own number is needed for something else.
    let usr = std::fs::File::open("/usr").unwrap();
    let both = |p: &mut ExecPlan| {
        p.stdio[0] = Stdio::Descriptor(fd);
        p.descriptors = vec![Descriptor { source: usr.as_raw_fd(), target: fd }];
    };
    let shown = output(both, &format!("cat; readlink /proc/$$/fd/{fd}"));
    assert_eq!(shown, "hello\n/usr\n");
    let mut plan = plan(&["/bin/true"]);
    plan.stdio[0] = Stdio::Descriptor(1_000_000);
    let message = "standard input (rinit's descriptor 1000000): Bad file descriptor";
    assert_eq!(run(&plan).1.unwrap().message, message);
}

#[test]
fn variables_hold_the_childs_own_pid() {
    let change = |p: &mut ExecPlan| {
        p.pid_variables = vec![c("LISTEN_PID"), c("WATCHDOG_PID")];
        p.envp.extend([c("LISTEN_PID=1"), c("LISTEN_PIDX=2"), c("WATCHDOG_PID")]);
    };
    let shown =
        output(change, "echo $LISTEN_PID $WATCHDOG_PID $LISTEN_PIDX $$; env | grep -c _PID=");
    let words: Vec<&str> = shown.split_ascii_whitespace().collect();
    let [listen, watchdog, other, own, count] = words[..] else { panic!("{shown}") };
    assert_eq!((listen, watchdog, other, count), (own, own, "2", "2"));
}

#[test]
fn reports_cross_the_pipe() {
    let report = Report { stage: ExecStage::Exec, index: 513, errno: libc::E2BIG };
    assert_eq!(Report::from_bytes(report.to_bytes()), Some(report));
    assert_eq!(Report::from_bytes([0; 8]), None);
}
