//! Descriptors, directory and mask: what rinit inherits, keeps and passes on.

use crate::harness::{Rinit, processes};
use crate::require;

/// Closed standard streams are opened on /dev/null before anything else could take the numbers.
#[test]
fn trap_27_closed_standard_streams() {
    for init in [Rinit::subreaper(), Rinit::pid1()] {
        let closed = ["--close", "0", "--close", "2"];
        let init = init.plain().launch(&closed);
        let mut rinit = init.command_probe("report exit 3").start();
        let report = rinit.wait_report();
        assert_eq!(report.fds(), [0, 1, 2]);
        assert_eq!((report.fd(0), report.fd(2)), ("/dev/null", "/dev/null"));
        rinit.wait().assert_code(3);
    }
    let all = ["--close", "0", "--close", "1", "--close", "2"];
    Rinit::subreaper().plain().launch(&all).command_probe("exit 3").run().assert_code(3);
}

/// An fd that somebody leaked into rinit reaches no service, and is not kept open by rinit:
/// whoever reads the other end of that pipe must see its end.
#[test]
fn trap_28_a_leaked_descriptor_is_neither_passed_on_nor_kept() {
    for setup in [
        Rinit::subreaper().command_probe("report wait"),
        Rinit::subreaper().service("web", "report wait", ""),
    ] {
        let mut rinit =
            setup.launch(&["--leak", "7=/etc/hostname", "--leak", "200=/dev/zero"]).start();
        let report = rinit.wait_report();
        assert_eq!(report.fds(), [0, 1, 2]);
        let kept = processes::open_files(rinit.pid);
        let leaked = |path: &std::path::Path| path.ends_with("hostname") || path.ends_with("zero");
        assert!(!kept.iter().any(|(_, path)| leaked(path)), "{kept:?}");
        rinit.signal(libc::SIGTERM);
        rinit.wait();
    }
}

/// rinit's own descriptors (epoll, signalfd, error pipes, its files) stay its own.
#[test]
fn trap_29_a_service_has_three_descriptors() {
    let mut setup = Rinit::subreaper();
    for n in 0..10 {
        setup = setup.service(&format!("s{n}"), "report wait", "");
    }
    let mut rinit = setup.start();
    for _ in 0..10 {
        assert_eq!(rinit.wait_report().fds(), [0, 1, 2]);
    }
    assert!(processes::open_files(rinit.pid).len() > 4, "rinit itself has more");
    rinit.terminate().assert_code(0);
}

/// rinit stands in `/`, so that it pins no mount; services start where rinit was started.
#[test]
fn trap_30_rinit_pins_no_directory() {
    let mut rinit = Rinit::subreaper().service("web", "report wait", "").start();
    let report = rinit.wait_report();
    assert_eq!(report.text("cwd"), rinit.path("").to_str().unwrap().trim_end_matches('/'));
    let own = std::fs::read_link(format!("/proc/{}/cwd", rinit.pid)).unwrap();
    assert_eq!(own.to_str(), Some("/"));
    rinit.terminate().assert_code(0);
}

/// A working directory that is gone is no reason not to start.
#[test]
fn trap_30_a_deleted_working_directory() {
    let setup = Rinit::subreaper().launch(&["--cwd-deleted", "@dir@/gone"]);
    setup.command_probe("exit 3").run().assert_code(3);
}

/// `docker run --user 1000 -w /root`: who left that directory would not get in again.
#[test]
fn trap_30_a_directory_with_no_way_back() {
    require!("root");
    use std::os::unix::fs::PermissionsExt;
    let setup = Rinit::subreaper().plain();
    let barred = setup.path("barred");
    std::fs::create_dir(&barred).unwrap();
    std::fs::set_permissions(&barred, std::fs::Permissions::from_mode(0o700)).unwrap();
    let setup = setup.launch(&["--cwd", "@dir@/barred", "--uid", "10001"]);
    let outcome = setup.command(&["pwd"]).run();
    outcome.assert_code(0);
    assert_eq!(outcome.stdout(), [barred.to_str().unwrap()]);
}

/// The umask is the launcher's, or the unit's.
#[test]
fn trap_31_umask_is_inherited_or_configured() {
    for (lines, expected) in [("", "0077"), ("UMask = \"0002\"", "0002")] {
        let setup = Rinit::subreaper().launch(&["--umask", "0077"]);
        let mut rinit = setup.service("web", "report exit 0", lines).start();
        assert_eq!(rinit.wait_report().text("umask"), expected);
        rinit.wait().assert_code(0);
    }
}

/// StandardOutput= to files: created, appended, truncated.
#[test]
fn output_to_files() {
    let setup = Rinit::subreaper()
        .service("a", "say one", "StandardOutput = \"append:@dir@/appended\"")
        .service("b", "say two", "StandardOutput = \"truncate:@dir@/truncated\"")
        .service("c", "say three", "StandardOutput = \"null\"");
    std::fs::write(setup.path("appended"), "zero\n").unwrap();
    std::fs::write(setup.path("truncated"), "zero\n").unwrap();
    let outcome = setup.run();
    outcome.assert_code(0).assert(outcome.stdout().is_empty(), "nothing on rinit's own");
    assert_eq!(outcome.lines_of("appended"), ["zero", "one"]);
    assert_eq!(outcome.lines_of("truncated"), ["two"]);
}
