//! A machine of our own: what the first process of a kernel does before and after everything else.
//!
//! Not for containers: their runtime has done it, and does the rest. **Invariant:** nothing here
//! happens unless we are PID 1 of the initial pid namespace, and what is mounted or set already
//! is left as it is.

use std::ffi::{CStr, CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{cvt, own_pid};

/// The initial pid namespace, on every Linux (`PROC_PID_INIT_INO` of `linux/proc_ns.h`).
const INITIAL: &str = "pid:[4026531836]";

/// The kernel gives none; this is systemd's (systemd.exec(5)).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How the machine ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    /// It is switched off.
    Off,
    /// It starts again.
    Reboot,
}

/// What the kernel must show before programs can run, in order (hier(7), file-hierarchy(7)).
struct Place {
    target: &'static CStr,
    kind: &'static CStr,
    flags: libc::c_ulong,
    options: &'static CStr,
    /// A directory of which the place must be a mount point of its own.
    required: bool,
}

const SAFE: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

const PLACES: [Place; 7] = [
    Place { target: c"/proc", kind: c"proc", flags: SAFE, options: c"", required: true },
    Place { target: c"/sys", kind: c"sysfs", flags: SAFE, options: c"", required: true },
    Place {
        target: c"/dev",
        kind: c"devtmpfs",
        flags: libc::MS_NOSUID,
        options: c"mode=0755",
        required: true,
    },
    Place {
        target: c"/dev/pts",
        kind: c"devpts",
        flags: libc::MS_NOSUID | libc::MS_NOEXEC,
        options: c"mode=0620,gid=5,ptmxmode=0666",
        required: false,
    },
    Place {
        target: c"/dev/shm",
        kind: c"tmpfs",
        flags: libc::MS_NOSUID | libc::MS_NODEV,
        options: c"mode=1777",
        required: false,
    },
    Place {
        target: c"/run",
        kind: c"tmpfs",
        flags: libc::MS_NOSUID | libc::MS_NODEV,
        options: c"mode=0755",
        required: false,
    },
    Place {
        target: c"/sys/fs/cgroup",
        kind: c"cgroup2",
        flags: SAFE,
        options: c"nsdelegate,memory_recursiveprot",
        required: false,
    },
];

/// That we are the first process of a kernel; the only way to what the others of this file do.
#[derive(Debug)]
pub struct Machine {
    _private: (),
}

impl Machine {
    /// Whether we are PID 1 of the initial pid namespace. Mounts /proc for that where it is not.
    pub fn ours() -> Option<Machine> {
        if own_pid() != 1 {
            return None;
        }
        if !Path::new("/proc/self").exists()
            && let [proc, ..] = &PLACES
        {
            // In a container without /proc this is refused (EPERM): then it is none of ours.
            let _ = fs::create_dir("/proc");
            let _ = mount(proc);
        }
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        (namespace.as_os_str() == INITIAL).then_some(Machine { _private: () })
    }

    /// Mounts what is not mounted, names the machine, brings its loopback up. What could not be
    /// done, a sentence each.
    pub fn set_up(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for place in &PLACES {
            if let Err(error) = ensure(place) {
                let target = place.target.to_string_lossy();
                let kind = place.kind.to_string_lossy();
                warnings.push(format!("mount {kind} on {target}: {error}"));
            }
        }
        link_streams();
        use_console();
        if std::env::var_os("PATH").is_none() {
            // SAFETY: there is one thread; main has just begun.
            unsafe { std::env::set_var("PATH", PATH) };
        }
        if let Err(error) = name_host() {
            warnings.push(format!("hostname: {error}"));
        }
        if let Err(error) = raise_loopback() {
            warnings.push(format!("loopback interface: {error}"));
        }
        // Ctrl-Alt-Del is SIGINT to us from now on, not a reboot in the middle of a write.
        // SAFETY: a command without an argument.
        if let Err(error) = cvt(unsafe { libc::reboot(libc::RB_DISABLE_CAD) }) {
            warnings.push(format!("Ctrl-Alt-Del: {error}"));
        }
        warnings
    }

    /// The arguments that are meant for us: what follows `--` on the kernel's command line. Before
    /// it the kernel hands over every word that it does not know itself (init/main.c).
    pub fn arguments(&self, given: Vec<OsString>) -> Vec<OsString> {
        let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let after = given.len().saturating_sub(words_after_dashes(&line));
        given.into_iter().skip(after).collect()
    }

    /// Writes everything to the disks, unmounts what can be, and switches off or starts again.
    /// Comes back only if the kernel refuses.
    pub fn end(&self, power: Power) -> io::Error {
        // SAFETY: sync takes nothing and cannot fail.
        unsafe { libc::sync() };
        unmount_all();
        // SAFETY: as above.
        unsafe { libc::sync() };
        let command = match power {
            Power::Off => libc::RB_POWER_OFF,
            Power::Reboot => libc::RB_AUTOBOOT,
        };
        // SAFETY: a command without an argument.
        match cvt(unsafe { libc::reboot(command) }) {
            Ok(_) => io::Error::other("the kernel goes on"),
            Err(error) => error,
        }
    }
}

/// How many words follow `--`.
fn words_after_dashes(line: &str) -> usize {
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "--");
    words.next().map_or(0, |_| words.count())
}

/// Mounts one place unless something is mounted there.
fn ensure(place: &Place) -> io::Result<()> {
    let path = Path::new(std::ffi::OsStr::from_bytes(place.target.to_bytes()));
    if is_mount_point(path) {
        return Ok(());
    }
    if !path.exists() {
        fs::create_dir_all(path)?;
    }
    match mount(place) {
        // Somebody was faster, or a kernel has none of it: /run is a directory all the same.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        Err(error) if !place.required && error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

/// A directory on another device than its parent. `/proc` itself need not be there for that.
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Some(parent) = path.parent() else { return true };
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
    match (device(path), device(parent)) {
        (Some(own), Some(above)) => own != above,
        (_, _) => false,
    }
}

fn mount(place: &Place) -> io::Result<()> {
    let (target, kind) = (place.target.as_ptr(), place.kind.as_ptr());
    let mut result = Err(io::ErrorKind::InvalidInput.into());
    // An older kernel knows fewer options (EINVAL): then none.
    for options in [place.options, c""] {
        // SAFETY: four C strings and a number.
        result =
            cvt(unsafe { libc::mount(kind, target, kind, place.flags, options.as_ptr().cast()) });
        match &result {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            _ => break,
        }
    }
    result.map(drop)
}

/// The names that shells expect, elsewhere made by udev. What is there stays.
fn link_streams() {
    for (target, name) in [
        ("/proc/self/fd", "/dev/fd"),
        ("fd/0", "/dev/stdin"),
        ("fd/1", "/dev/stdout"),
        ("fd/2", "/dev/stderr"),
    ] {
        let _ = std::os::unix::fs::symlink(target, name);
    }
}

/// A kernel that found no /dev/console gave us no standard streams: now there is one.
fn use_console() {
    let Ok(console) = fs::OpenOptions::new().read(true).write(true).open("/dev/console") else {
        return;
    };
    for fd in 0..=2 {
        // SAFETY: isatty looks at a number and changes nothing.
        let has_terminal = unsafe { libc::isatty(fd) } == 1;
        if !has_terminal && is_placeholder(fd) {
            // SAFETY: both are open; 0 to 2 stay open and are nobody's to close.
            unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&console), fd) };
        }
    }
}

/// Whether a standard stream is what `early` put there: `/` or `/dev/null`.
fn is_placeholder(fd: i32) -> bool {
    let target = fs::read_link(format!("/proc/self/fd/{fd}"));
    target.is_ok_and(|path| path == Path::new("/") || path == Path::new("/dev/null"))
}

/// `/etc/hostname` (hostname(5)), if nobody has given a name.
fn name_host() -> io::Result<()> {
    let current = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if !matches!(current.trim(), "" | "(none)") {
        return Ok(());
    }
    let text = match fs::read_to_string("/etc/hostname") {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "localhost".to_owned(),
        Err(error) => return Err(error),
    };
    let lines = text.lines().map(str::trim);
    let name = lines.into_iter().find(|line| !line.is_empty() && !line.starts_with('#'));
    let name = name.unwrap_or("localhost");
    // SAFETY: the pointer and the length are those of `name`.
    cvt(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Sets `lo` up (netdevice(7)); the kernel gives it its addresses then.
fn raise_loopback() -> io::Result<()> {
    // SAFETY: numbers only.
    let socket =
        cvt(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) });
    let socket = match socket {
        Ok(socket) => socket,
        // A kernel without a network has no loopback.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(()),
        Err(error) => return Err(error),
    };
    // SAFETY: an `ifreq` is plain bytes; all zeroes is one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    // SAFETY: SIOCGIFFLAGS and SIOCSIFFLAGS read and write one `ifreq`, which lives; the flags
    // are the member of the union that both use.
    let result = unsafe {
        cvt(libc::ioctl(socket, libc::SIOCGIFFLAGS as _, &raw mut request)).and_then(|_| {
            request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
            cvt(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request))
        })
    };
    // SAFETY: our own descriptor, closed once.
    unsafe { libc::close(socket) };
    result.map(drop)
}

/// Unmounts from the last mount to the first; what is busy is made read-only, `/` at least.
fn unmount_all() {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for target in mount_points(&table).iter().rev() {
        let Ok(path) = CString::new(target.as_slice()) else { continue };
        // SAFETY: a C string and a number.
        let gone = target != b"/" && unsafe { libc::umount2(path.as_ptr(), 0) } == 0;
        if !gone {
            let flags = libc::MS_REMOUNT | libc::MS_RDONLY | libc::MS_BIND;
            for flags in [flags & !libc::MS_BIND, flags] {
                // SAFETY: a C string, a number, and no other arguments for a remount.
                let done = unsafe {
                    libc::mount(
                        std::ptr::null(),
                        path.as_ptr(),
                        std::ptr::null(),
                        flags,
                        std::ptr::null(),
                    )
                };
                if done == 0 {
                    break;
                }
            }
        }
    }
}

/// The mount points of disks and the like in `/proc/self/mountinfo` (proc(5)), in its order; not
/// those that are only the kernel's own memory.
fn mount_points(table: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(target), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else {
            continue;
        };
        let kernels = ["proc", "sysfs", "devtmpfs", "devpts", "cgroup2", "cgroup", "rootfs"];
        if !kernels.contains(&kind) {
            found.push(unescape(target));
        }
    }
    found
}

/// `\040` is a space (proc(5)).
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(b'\\');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unmounted() {
        let table = "\
21 1 0:20 / / rw - ext4 /dev/vda rw
22 21 0:4 / /proc rw,nosuid shared:5 - proc proc rw
23 21 0:5 / /mnt/a\\040b rw - ext4 /dev/vdb rw
24 21 0:6 / /run rw - tmpfs tmpfs rw
garbage
";
        let found = mount_points(table);
        let expected: [&[u8]; 3] = [b"/", b"/mnt/a b", b"/run"];
        assert_eq!(found, expected);
        assert_eq!(unescape("a\\134b\\"), b"a\\b\\");
    }

    #[test]
    fn arguments_of_the_kernels_line() {
        for (line, count) in [
            ("console=ttyS0 quiet single\n", 0),
            ("console=ttyS0 -- --units /etc/rinit\n", 2),
            ("a --\n", 0),
            ("", 0),
        ] {
            assert_eq!(words_after_dashes(line), count, "{line}");
        }
    }

    #[test]
    fn a_container_is_not_ours() {
        // The tests are not PID 1 of a kernel.
        assert!(Machine::ours().is_none());
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(Path::new("/proc/self")));
    }
}
