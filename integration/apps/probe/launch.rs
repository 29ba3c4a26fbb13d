//! The odd parent: sets up what rinit inherits, then becomes rinit.
//!
//! `launch [OPTION…] -- PROGRAM [ARGUMENT…]`. With `--pid1` the program is PID 1 of a pid namespace
//! of its own. This process waits for it, and both die with the test. What the test must know
//! comes on `--report FD`: `pid N` (as seen from outside), `status RAW` (wait(2)), and with
//! `--trace` the system calls before signals were blocked.

use std::ffi::{CString, c_int};
use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::signal as signals;

/// What was asked for; steps are taken in the order given.
#[derive(Default)]
struct Plan {
    pid1: bool,
    user_namespace: bool,
    report: Option<c_int>,
    /// Detach after so many stops past the one that blocked SIGTERM, having sent SIGTERM.
    trace: Option<usize>,
    monotonic_offset: Option<i64>,
    steps: Vec<(String, String)>,
    program: Vec<CString>,
}

pub fn launch(arguments: &[String]) {
    let plan = parse(arguments);
    die_with_parent();
    watch(&plan);
}

/// Killed with the test's thread, whatever becomes of it; a change of credentials clears it.
fn die_with_parent() {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("pdeathsig");
}

fn parse(arguments: &[String]) -> Plan {
    let mut plan = Plan { user_namespace: true, ..Plan::default() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("a value").clone();
        match word.as_str() {
            "--" => break,
            "--pid1" => plan.pid1 = true,
            "--no-user-namespace" => plan.user_namespace = false,
            "--report" => plan.report = value().parse().ok(),
            "--trace" => plan.trace = value().parse().ok(),
            "--monotonic-offset" => plan.monotonic_offset = value().parse().ok(),
            step => plan.steps.push((step.to_string(), value())),
        }
    }
    plan.program = words.map(|word| super::c_string(word)).collect();
    plan
}

/// Forks the program into its namespaces and stays as its parent.
fn watch(plan: &Plan) {
    if plan.pid1 {
        enter_namespaces(plan.user_namespace);
        die_with_parent();
    }
    if let Some(offset) = plan.monotonic_offset {
        unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)).expect("unshare time");
        let line = format!("monotonic {offset} 0");
        std::fs::write("/proc/self/timens_offsets", line).expect("timens_offsets");
    }
    let child = match super::fork() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            die_with_parent();
            if plan.pid1 {
                mount_own_proc();
            }
            if plan.trace.is_some() {
                ptrace::traceme().expect("traceme");
            }
            become_program(plan)
        }
    };
    // SAFETY: the test passed this fd for this use only.
    let mut report = plan.report.map(|fd| unsafe { File::from_raw_fd(fd) });
    // Only the program may hold the test's pipes, or their end would never be seen.
    let others = (0..3).filter(|fd| Some(*fd) != plan.report);
    others.for_each(|fd| _ = nix::unistd::close(fd));
    tell(&mut report, &format!("pid {child}"));
    if let Some(stops) = plan.trace {
        let (before, stops) = trace(child, stops);
        tell(&mut report, &format!("stops {stops}"));
        tell(&mut report, &format!("before {before:?}"));
    }
    tell(&mut report, &format!("status {}", wait_raw(child)));
    super::exit(0);
}

fn tell(report: &mut Option<File>, line: &str) {
    if let Some(file) = report {
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

/// A user namespace (without one this needs root), and a pid namespace for the children.
fn enter_namespaces(user: bool) {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let mut flags = CloneFlags::CLONE_NEWPID;
    flags.set(CloneFlags::CLONE_NEWUSER, user);
    unshare(flags).expect("unshare");
    if user {
        std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
    }
}

/// Only in the child: the parent still needs the /proc in which the child has its outer pid.
fn mount_own_proc() {
    unshare(CloneFlags::CLONE_NEWNS).expect("unshare mounts");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).expect("mount /proc");
}

/// Applies the steps and execs; signals last, because nothing of ours may be hit by them.
fn become_program(plan: &Plan) -> ! {
    if let Some(fd) = plan.report {
        let _ = nix::unistd::close(fd);
    }
    for (name, value) in &plan.steps {
        apply(name, value);
    }
    let _ = nix::unistd::execv(&plan.program[0], &plan.program);
    super::exit(99)
}

fn apply(step: &str, value: &str) {
    match step {
        "--block" if value == "all" => signals::block(signals::all()),
        "--block" => signals::block(std::iter::once(signals::number(value))),
        "--ignore" if value == "all" => signals::all().for_each(signals::ignore),
        "--ignore" => signals::ignore(signals::number(value)),
        "--close" => drop(nix::unistd::close(value.parse::<c_int>().expect("an fd"))),
        "--listen" => listen(value),
        "--leak" => leak(value),
        "--broken-pipe" => broken_pipe(value.parse().expect("an fd")),
        "--umask" => {
            let mode = u32::from_str_radix(value, 8).expect("octal");
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mode));
        }
        "--limit" => limit(value),
        "--cwd" => nix::unistd::chdir(value).expect("chdir"),
        "--cwd-deleted" => {
            std::fs::create_dir(value).expect("mkdir");
            nix::unistd::chdir(value).expect("chdir");
            std::fs::remove_dir(value).expect("rmdir");
        }
        "--terminal" => controlling_terminal(value.parse().expect("an fd")),
        "--uid" => become_user(value.parse().expect("a uid")),
        "--no-new-privs" => nix::sys::prctl::set_no_new_privs().expect("no_new_privs"),
        "--drop-capabilities" => (0..64).for_each(drop_capability),
        "--drop-capability" => drop_capability(value.parse().expect("its number")),
        "--read-only" => read_only(value),
        "--hide" => hide(value),
        "--small" => small(value),
        "--oom-score-adj" => std::fs::write("/proc/self/oom_score_adj", value).expect("oom"),
        _ => super::complain(&format!("launch: unknown step {step}")),
    }
}

/// `N=PATH`: opens PATH as fd N, inherited across exec.
fn leak(value: &str) {
    let (fd, path) = value.split_once('=').expect("N=PATH");
    let flags = libc::O_RDWR | libc::O_NONBLOCK;
    // SAFETY: plain system calls with a NUL-terminated path.
    unsafe {
        let opened = libc::open(super::c_string(path).as_ptr(), flags);
        let fd = fd.parse().expect("an fd");
        if opened != fd {
            libc::dup2(opened, fd);
            libc::close(opened);
        }
    }
}

/// `NAME=ADDRESS`: a listening socket as sd_listen_fds(3) has it, for the program that follows.
fn listen(value: &str) {
    let (name, address) = value.split_once('=').expect("NAME=ADDRESS");
    let listener = std::net::TcpListener::bind(address).expect("bind");
    // SAFETY: one thread; dup2(2) clears close-on-exec, and where the number is 3 already fcntl
    // does.
    unsafe {
        let fd = std::os::fd::IntoRawFd::into_raw_fd(listener);
        libc::dup2(fd, 3);
        libc::fcntl(3, libc::F_SETFD, 0);
        std::env::set_var("LISTEN_PID", std::process::id().to_string());
        std::env::set_var("LISTEN_FDS", "1");
        std::env::set_var("LISTEN_FDNAMES", name);
    }
}

/// The fd becomes a pipe that nobody reads.
fn broken_pipe(fd: c_int) {
    let (reader, writer) = nix::unistd::pipe().expect("pipe");
    // SAFETY: dup2(2) on an fd that is open.
    unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&writer), fd) };
    drop(reader);
}

/// `NAME=SOFT:HARD`.
fn limit(value: &str) {
    use nix::sys::resource::{Resource, setrlimit};
    let (name, values) = value.split_once('=').expect("NAME=SOFT:HARD");
    let (soft, hard) = values.split_once(':').expect("SOFT:HARD");
    let resource = match name {
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "core" => Resource::RLIMIT_CORE,
        "stack" => Resource::RLIMIT_STACK,
        _ => return super::complain(&format!("launch: unknown limit {name}")),
    };
    let number = |text: &str| text.parse().expect("a number");
    setrlimit(resource, number(soft), number(hard)).expect("setrlimit");
}

/// As `docker run -t`: a session of its own whose terminal is this fd.
fn controlling_terminal(fd: c_int) {
    nix::unistd::setsid().expect("setsid");
    // SAFETY: TIOCSCTTY takes an integer.
    let taken = unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) };
    assert_eq!(taken, 0, "TIOCSCTTY");
}

fn become_user(uid: u32) {
    nix::unistd::setgroups(&[]).expect("setgroups");
    nix::unistd::setgid(uid.into()).expect("setgid");
    nix::unistd::setuid(uid.into()).expect("setuid");
    die_with_parent();
}

/// From the bounding set and so, through a bare exec as root, from everything else.
fn drop_capability(capability: c_int) {
    // SAFETY: prctl(2) with integers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
}

fn read_only(path: &str) {
    let none: Option<&str> = None;
    mount(Some(path), path, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).expect("bind");
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, path, none, flags, none).expect("remount read-only");
}

/// Puts an empty directory over the path, as if it were not there.
fn hide(path: &str) {
    mount(Some("none"), path, Some("tmpfs"), MsFlags::MS_RDONLY, None::<&str>).expect("tmpfs");
}

/// Puts an empty file system there that is soon full.
fn small(path: &str) {
    let options = Some("size=64k");
    mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), options).expect("tmpfs");
}

fn wait_raw(child: Pid) -> c_int {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        let got = unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) };
        if got == child.as_raw() {
            return status;
        }
    }
}

/// Follows the program from exec until it has blocked SIGTERM, then for `stops` more stops at a
/// system call, or until it would wait for events; there it sends SIGTERM and lets go.
/// Gives the calls made before the block, and the number of stops after it.
fn trace(child: Pid, stops: usize) -> (Vec<u64>, usize) {
    let mut before = Vec::new();
    waitpid(child, None).expect("the stop after exec");
    while !blocks_term(child) && next_stop(child) {
        before.push(current_call(child));
    }
    let mut done = 0;
    while done < stops && !waits_for_events(child) && next_stop(child) {
        done += 1;
    }
    let _ = nix::sys::signal::kill(child, Signal::SIGTERM);
    let _ = ptrace::detach(child, None);
    (before, done)
}

fn waits_for_events(child: Pid) -> bool {
    let call = current_call(child) as i64;
    [libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_rt_sigtimedwait].contains(&call)
}

/// Runs to the next entry to or exit from a system call; false if the program is gone.
fn next_stop(child: Pid) -> bool {
    ptrace::syscall(child, None).is_ok()
        && waitpid(child, Some(WaitPidFlag::__WALL))
            .is_ok_and(|status| matches!(status, nix::sys::wait::WaitStatus::Stopped(..)))
}

fn current_call(child: Pid) -> u64 {
    ptrace::getregs(child).map_or(0, |registers| registers.orig_rax)
}

fn blocks_term(child: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or_default();
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap_or(0);
    mask & (1 << (libc::SIGTERM - 1)) != 0
}
