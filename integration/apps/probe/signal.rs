//! Signals of the probe: names, dispositions, handlers that print or exit.
//!
//! Handlers only call write(2) and _exit(2); what they need is in static tables.

use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};

const NAMES: [(&str, c_int); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The number behind `TERM`, `RTMIN+3` or `15`.
pub fn number(name: &str) -> c_int {
    let real_time = name.strip_prefix("RTMIN+").and_then(|n| n.parse::<c_int>().ok());
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or(real_time.map(|n| n + 34)).or_else(|| name.parse().ok()).expect("a signal")
}

/// Every signal that can have a disposition: not KILL, STOP, nor the thread library's 32 and 33.
pub fn all() -> impl Iterator<Item = c_int> {
    (1..=64).filter(|n| ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(n))
}

pub fn ignore(signal: c_int) {
    disposition(signal, libc::SIG_IGN);
}

pub fn default(signal: c_int) {
    disposition(signal, libc::SIG_DFL);
}

fn disposition(signal: c_int, to: libc::sighandler_t) {
    // SAFETY: SIG_IGN, SIG_DFL or one of the handlers below, which are async-signal-safe.
    unsafe { libc::signal(signal, to) };
}

pub fn raise(signal: c_int) {
    // SAFETY: sends a signal to this process.
    unsafe { libc::raise(signal) };
}

pub fn kill(pid: c_int, name: &str) {
    // SAFETY: kill(2) touches no memory.
    unsafe { libc::kill(pid, number(name)) };
}

/// Sends a signal to pid 1 and says what the kernel said.
pub fn kill_init(signal: c_int) {
    // SAFETY: kill(2) touches no memory.
    let sent = unsafe { libc::kill(1, signal) };
    super::say(&format!("kill 1 {signal}: {sent}"));
}

/// Blocks these signals for this process and what it becomes.
pub fn block(signals: impl Iterator<Item = c_int>) {
    // SAFETY: a zeroed set is a valid one; sigprocmask reads it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        signals.for_each(|signal| _ = libc::sigaddset(&raw mut set, signal));
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

static EXIT_CODE: [AtomicI32; 65] = [const { AtomicI32::new(0) }; 65];
static TEXT: [AtomicPtr<c_char>; 65] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 65];
static TEXT_LENGTH: [AtomicUsize; 65] = [const { AtomicUsize::new(0) }; 65];

/// Also prints what `say-on` gave for this signal before.
extern "C" fn on_exit(signal: c_int) {
    on_say(signal);
    // SAFETY: _exit(2) is async-signal-safe.
    unsafe { libc::_exit(EXIT_CODE[signal as usize].load(Ordering::Relaxed)) }
}

extern "C" fn on_say(signal: c_int) {
    let text = TEXT[signal as usize].load(Ordering::Relaxed);
    let length = TEXT_LENGTH[signal as usize].load(Ordering::Relaxed);
    if !text.is_null() {
        // SAFETY: the text was leaked, with this length, before the handler was set.
        unsafe { libc::write(1, text.cast(), length) };
    }
}

pub fn exit_on(signal: c_int, code: c_int) {
    EXIT_CODE[signal as usize].store(code, Ordering::Relaxed);
    disposition(signal, on_exit as *const () as libc::sighandler_t);
}

pub fn say_on(signal: c_int, text: &str) {
    let line = format!("{text}\n");
    TEXT_LENGTH[signal as usize].store(line.len(), Ordering::Relaxed);
    TEXT[signal as usize].store(super::c_string(&line).into_raw(), Ordering::Relaxed);
    disposition(signal, on_say as *const () as libc::sighandler_t);
}

/// Prints `got N` for whatever comes.
pub fn catch_all() {
    all().for_each(|signal| say_on(signal, &format!("got {signal}")));
}
