//! Real files and directories, one for each row of what bad input gets.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use expect_test::{Expect, expect};

use super::*;
use crate::cli::diagnostics::{Style, render};
use crate::cli::plain;

const SERVICE: &str = "[Service]\nExecStart = '/bin/sh -c true'\n";

fn request(directory: &Path) -> LoadRequest {
    LoadRequest { directories: vec![directory.to_path_buf()], ..LoadRequest::default() }
}

fn drawn(loaded: &Loaded, directory: &Path) -> String {
    let style = Style { colour: false, notes: true };
    let text = render(&loaded.problems, "nothing was started", style);
    assert_eq!(plain::render(&loaded.problems, "nothing was started", true), text);
    text.replace(&directory.display().to_string(), "DIR")
}

fn check(fill: impl FnOnce(&Path), expect: Expect) {
    check_with(|_| (), fill, expect);
}

fn check_with(change: impl FnOnce(&mut LoadRequest), fill: impl FnOnce(&Path), expect: Expect) {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let mut request = request(directory.path());
    change(&mut request);
    expect.assert_eq(&drawn(&load(&request), directory.path()));
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).unwrap();
}

#[test]
fn files_that_are_no_text() {
    check(
        |dir| {
            let strange = |name: &[u8]| dir.join(std::ffi::OsStr::from_bytes(name));
            for name in [&b"a\xff.toml"[..], b".\xff.toml", b"a\xff.txt"] {
                fs::write(strange(name), SERVICE).unwrap();
            }
            fs::create_dir(strange(b"a\xff.toml.d")).unwrap();
            fs::write(dir.join("bytes.toml"), b"[Unit]\nDescription = '\xff'\n").unwrap();
            fs::create_dir(dir.join("directory.toml")).unwrap();
            symlink("/nowhere/at/all", dir.join("dangling.toml")).unwrap();
            symlink("/dev/null", dir.join("null.toml")).unwrap();
            symlink("loop.toml", dir.join("loop.toml")).unwrap();
            write(dir, "empty.toml", "");
            write(dir, "comment.toml", "# nothing\n");
            write(dir, "huge.toml", &"#".repeat(2 << 20));
            write(dir, "a b.toml", SERVICE);
            nix::unistd::mkfifo(&dir.join("fifo.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        },
        expect![[r#"
            error: DIR/a b.toml names no unit: ' ' cannot stand in a unit's name

            error: DIR/bytes.toml:2: not UTF-8: byte 0xff at offset 22

            error: DIR/dangling.toml is a link to /nowhere/at/all, which does not exist

            error: DIR/directory.toml is a directory, not a file

            error: DIR/empty.toml defines nothing
             |
             = help: a unit has [Service]; [Install] Enabled = false keeps one from starting

            error: DIR/fifo.toml is not a regular file, so it defines nothing

            error: DIR/huge.toml has 2097152 bytes; a unit has at most 1048576

            error: DIR/null.toml is not a regular file, so it defines nothing

            error: cannot read DIR/loop.toml: Too many levels of symbolic links (os error 40)

            error: the name of "DIR/a\xFF.toml" is not UTF-8, so it cannot be a unit's
             |
             = help: give it another name, or take it away

            error: the name of "DIR/a\xFF.toml.d" is not UTF-8, so it cannot be a unit's
             |
             = help: give it another name, or take it away

            error: DIR/comment.toml defines nothing
             --> DIR/comment.toml:1:1
              |
            1 | # nothing
              | ^
              |
              = help: a unit has [Service]; [Install] Enabled = false keeps one from starting

            12 errors: nothing was started
        "#]],
    );
}

#[test]
fn a_file_that_may_not_be_read() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: root may read every file");
        return;
    }
    check(
        |dir| {
            write(dir, "secret.toml", SERVICE);
            let mode = fs::Permissions::from_mode(0o000);
            fs::set_permissions(dir.join("secret.toml"), mode).unwrap();
        },
        expect![[r#"
            error: cannot read DIR/secret.toml: Permission denied (os error 13)

            1 error: nothing was started
        "#]],
    );
}

#[test]
fn nobody_begins() {
    check(
        |dir| {
            for (name, other) in [("a", "b"), ("b", "a")] {
                let unit = format!("[Unit]\nOnFailure = '{other}.service'\n{SERVICE}");
                write(dir, &format!("{name}.toml"), &unit);
            }
        },
        expect![[r#"
            warning: boot starts none of the units, of which there are 2: rinit ends at once
             |
             = help: boot starts each but those with [Install] Enabled = false, and those that another names in OnFailure= or OnSuccess=

            1 warning: nothing was started
        "#]],
    );
    check(
        |dir| {
            write(dir, "a.toml", &format!("[Unit]\nOnFailure = 'b.service'\n{SERVICE}"));
            write(dir, "b.toml", SERVICE);
        },
        expect![[r#""#]],
    );
}

#[test]
fn names_that_count_and_names_that_do_not() {
    check(
        |dir| {
            write(dir, "web.toml", SERVICE);
            for name in ["..data", ".web.toml.swp", "README.md", "web.toml~", "x.toml.bak"] {
                write(dir, name, "not a unit");
            }
        },
        expect![[r#""#]],
    );
}

#[test]
fn systemds_spelling_is_refused() {
    check(
        |dir| {
            write(dir, "web.toml", SERVICE);
            write(dir, "web.service", "[Service]\nExecStart=true\n");
            write(dir, "db.socket", "");
            fs::create_dir(dir.join("db.service.d")).unwrap();
        },
        expect![[r#"
            error: DIR/db.service.d: systemd's spelling is not read by this version of rinit
             |
             = help: write it as TOML, NAME.toml, with the same directives

            error: DIR/db.socket: systemd's spelling is not read by this version of rinit
             |
             = help: write it as TOML, NAME.toml, with the same directives

            error: DIR/web.service and DIR/web.toml both define web.service
             |
             = help: keep the .toml: this version reads TOML only

            3 errors: nothing was started
        "#]],
    );
}

#[test]
fn directories() {
    check_with(
        |request| request.directories = vec!["/nowhere/units".into()],
        |_| (),
        expect![[r#"
            error: the units directory /nowhere/units does not exist
             |
             = help: name another with --units DIR, or give a COMMAND

            1 error: nothing was started
        "#]],
    );
    check_with(
        |request| {
            request.directories = vec!["/nowhere/units".into()];
            request.default_directory_may_be_absent = true;
            request.command = Some((vec!["x".into()], Vec::new()));
        },
        |_| (),
        expect![[r#""#]],
    );
    check(
        |_| (),
        expect![[r#"
        error: nothing to run: no COMMAND, and no unit (NAME.toml) in DIR
         |
         = help: rinit -- COMMAND, or rinit --units DIR

        1 error: nothing was started
    "#]],
    );
    check_with(
        |request| request.directories.clear(),
        |_| (),
        expect![[r#"
        error: nothing to run: there is no COMMAND and no units directory
         |
         = help: rinit -- COMMAND, or rinit --units DIR

        1 error: nothing was started
    "#]],
    );
    check_with(
        |request| request.directories = vec!["/dev/null".into()],
        |_| (),
        expect![[r#"
        error: cannot list the units directory /dev/null: Not a directory (os error 20)

        1 error: nothing was started
    "#]],
    );
}

#[test]
fn the_first_directory_wins_and_drop_ins_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    for dir in [&one, &two] {
        fs::create_dir_all(dir.join("web.toml.d")).unwrap();
        write(dir, "web.toml", SERVICE);
        write(dir, "rinit.toml", "[Manager]\nDefaultRestart = 'always'\nShutdownTimeoutSec = 5\n");
    }
    write(&one, "web.toml.d/20.toml", "[Service]\nNice = 1\n");
    write(&two, "web.toml.d/20.toml", "[Service]\nNice = 2\n");
    write(&two, "web.toml.d/10.toml", "[Service]\nNice = 3\nUMask = '0077'\n");
    fs::create_dir_all(two.join("gone.toml.d")).unwrap();
    write(&two, "gone.toml.d/1.toml", "[Service]\n");
    let directories = vec![one, two];
    let loaded = load(&LoadRequest { directories, ..LoadRequest::default() });
    expect![[r#"
        warning: DIR/two/gone.toml.d/1.toml changes gone.service, which no file defines

        note: DIR/two/rinit.toml is not read: DIR/one/rinit.toml goes first

        note: DIR/two/web.toml is not read: DIR/one/web.toml defines the unit already

        1 warning, 2 notes: nothing was started
    "#]]
    .assert_eq(&drawn(&loaded, directory.path()));
    let unit = loaded.units.get(&UnitName::service("web").unwrap()).unwrap();
    assert_eq!(unit.service.exec.nice, Some(1));
    assert_eq!(unit.service.exec.umask, Some(0o077));
    assert_eq!(unit.service.restart, crate::unit::service::Restart::Always);
    assert_eq!(loaded.manager.shutdown_timeout, Some(std::time::Duration::from_secs(5)));
}

#[test]
fn a_drain_leaves_time_to_stop() {
    let drains = |text: &str, asked: Option<u64>, expected: Expect| {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "web.toml", SERVICE);
        write(directory.path(), "rinit.toml", text);
        let shutdown_timeout = asked.map(std::time::Duration::from_secs);
        let loaded = load(&LoadRequest { shutdown_timeout, ..request(directory.path()) });
        expected.assert_eq(&drawn(&loaded, directory.path()));
    };
    let long = "[Manager]\nDrainSec = '10s'\n";
    drains(long, Some(11), expect![""]);
    drains("[Manager]\nDrainSec = 8\n", None, expect![""]);
    drains("[Manager]\nDrainSec = '10s'\nShutdownTimeoutSec = '1min'\n", None, expect![""]);
    drains(
        long,
        None,
        expect![[r#"
            warning: DrainSec of 10s leaves no time to stop: a whole stop has 9s, and then processes are killed at once
             --> DIR/rinit.toml:2:1
              |
            2 | DrainSec = '10s'
              | ^^^^^^^^
              |
              = help: the drain is part of ShutdownTimeoutSec (--shutdown-timeout): raise that, too

            1 warning: nothing was started
        "#]],
    );
}

/// An empty `rinit.toml` configures nothing; it is no unit that lacks something.
#[test]
fn settings_may_be_empty() {
    for text in ["", "# ShutdownTimeoutSec = 5\n", "[Manager]\n"] {
        check(
            |dir| {
                write(dir, "web.toml", SERVICE);
                write(dir, "rinit.toml", text);
                let alone = load_files(&[dir.join("rinit.toml")], &LoadRequest::default());
                assert_eq!(alone.problems, [], "{text:?}");
            },
            expect![""],
        );
    }
}

#[test]
fn what_the_host_does_not_have() {
    check_with(
        |request| {
            let path = ("PATH".into(), "/bin:/usr/bin".into());
            request.inherited_environment = Environment::from([path]);
        },
        |dir| {
            write(dir, "a.toml", "[Service]\nExecStart = 'no-such-program x'\n");
            write(dir, "b.toml", "[Service]\nExecStart = '/no/such/program'\nUser = 'nobdy'\n");
            write(dir, "c.toml", "[Service]\nExecStart = '/etc/passwd'\nGroup = 'no-group-here'\n");
            write(dir, "d.toml", "[Service]\nExecStart = '/etc'\nEnvironmentFile = '/no/file'\n");
            write(
                dir,
                "e.toml",
                "[Service]\nExecStart = '-/no/program'\nUser = 12345\n\
                                  EnvironmentFile = ['-/no/file', '/no/*.env']\n",
            );
            write(
                dir,
                "f.toml",
                "[Unit]\nConditionPathExists = '/no'\n[Service]\n\
                                  ExecStart = '/no/program'\n",
            );
        },
        expect![[r#"
            error: a.service: there is no program no-such-program
             --> DIR/a.toml:2:13
              |
            2 | ExecStart = 'no-such-program x'
              |             ^^^^^^^^^^^^^^^^^^^
              |
              = help: looked in /bin:/usr/bin

            error: b.service: there is no program /no/such/program
             --> DIR/b.toml:2:13
              |
            2 | ExecStart = '/no/such/program'
              |             ^^^^^^^^^^^^^^^^^^

            error: b.service: there is no user nobdy
             --> DIR/b.toml:3:8
              |
            3 | User = 'nobdy'
              |        ^^^^^^^
              |
              = help: did you mean nobody?

            error: c.service: /etc/passwd is not executable
             --> DIR/c.toml:2:13
              |
            2 | ExecStart = '/etc/passwd'
              |             ^^^^^^^^^^^^^

            error: c.service: there is no group no-group-here
             --> DIR/c.toml:3:9
              |
            3 | Group = 'no-group-here'
              |         ^^^^^^^^^^^^^^^
              |
              = help: /etc/group does not have it; a number needs no entry there

            error: d.service: /etc is not a program
             --> DIR/d.toml:2:13
              |
            2 | ExecStart = '/etc'
              |             ^^^^^^

            error: d.service: cannot read the environment file /no/file: No such file or directory
             --> DIR/d.toml:3:19
              |
            3 | EnvironmentFile = '/no/file'
              |                   ^^^^^^^^^^
              |
              = help: "-/no/file" allows it to be missing

            warning: e.service: there is no program /no/program
             --> DIR/e.toml:2:13
              |
            2 | ExecStart = '-/no/program'
              |             ^^^^^^^^^^^^^^

            error: e.service: cannot read the environment file /no/*.env: no file matches this pattern
             --> DIR/e.toml:4:19
              |
            4 | EnvironmentFile = ['-/no/file', '/no/*.env']
              |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: "-/no/*.env" allows it to be missing

            warning: f.service: there is no program /no/program
             --> DIR/f.toml:4:13
              |
            4 | ExecStart = '/no/program'
              |             ^^^^^^^^^^^^^

            8 errors, 2 warnings: nothing was started
        "#]],
    );
}

#[test]
fn after_a_step_it_is_a_warning_and_for_a_command_nothing() {
    check_with(
        |request| request.command = Some((vec!["/no/program".into()], Vec::new())),
        |dir| {
            write(dir, "10-a.toml", "[Service]\nType = 'oneshot'\nExecStart = '/no/step'\n");
            write(dir, "20-b.toml", "[Service]\nType = 'oneshot'\nExecStart = '/no/step'\n");
            write(dir, "web.toml", "[Service]\nExecStart = '/no/web'\n");
            write(
                dir,
                "free.toml",
                "[Unit]\nDefaultDependencies = false\n[Service]\n\
                                     ExecStart = '/no/free'\n",
            );
            write(
                dir,
                "late.toml",
                "[Unit]\nDefaultDependencies = false\nAfter = 'web.service'\n\
                                     [Service]\nExecStart = '/no/late'\n",
            );
        },
        expect![[r#"
            error: 10-a.service: there is no program /no/step
             --> DIR/10-a.toml:3:13
              |
            3 | ExecStart = '/no/step'
              |             ^^^^^^^^^^

            warning: 20-b.service: there is no program /no/step
             --> DIR/20-b.toml:3:13
              |
            3 | ExecStart = '/no/step'
              |             ^^^^^^^^^^

            error: free.service: there is no program /no/free
             --> DIR/free.toml:4:13
              |
            4 | ExecStart = '/no/free'
              |             ^^^^^^^^^^

            warning: late.service: there is no program /no/late
             --> DIR/late.toml:5:13
              |
            5 | ExecStart = '/no/late'
              |             ^^^^^^^^^^

            warning: web.service: there is no program /no/web
             --> DIR/web.toml:2:13
              |
            2 | ExecStart = '/no/web'
              |             ^^^^^^^^^

            2 errors, 3 warnings: nothing was started
        "#]],
    );
}

#[test]
fn only_the_named_units() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "web.toml", SERVICE);
    write(directory.path(), "db.toml", SERVICE);
    let names = vec!["web".to_string(), "dbb.service".to_string()];
    let loaded = load(&LoadRequest { names, ..request(directory.path()) });
    expect![[r#"
        error: --unit dbb.service: there is no such unit
         |
         = help: did you mean db.service?

        1 error: nothing was started
    "#]]
    .assert_eq(&drawn(&loaded, directory.path()));
    let boot: Vec<String> = loaded.units.boot().iter().map(ToString::to_string).collect();
    assert_eq!(boot, ["web.service"]);
}

#[test]
fn a_unit_called_as_the_command_is() {
    check_with(
        |request| request.command = Some((vec!["x".into()], Vec::new())),
        |dir| write(dir, "main.toml", SERVICE),
        expect![[r#"
            error: this file defines main.service, and so does the COMMAND
             --> DIR/main.toml:1:1
              |
            1 | [Service]
              | ^
              |
              = help: give the file another name

            1 error: nothing was started
        "#]],
    );
}

#[test]
fn ten_thousand_units() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "00-first.toml", "[Service]\nType='oneshot'\nExecStart='/bin/true'\n");
    for n in 0..10_000_u32 {
        let after = format!("[Unit]\nAfter = 's{}.service'\n{SERVICE}", n / 2 + 20_000);
        let chain = format!("[Unit]\nAfter = 's{}.service'\n{SERVICE}", n.saturating_sub(1));
        let text = if n % 2 == 0 || n < 2 { SERVICE } else { &chain };
        let text = if n == 5 { &after } else { text };
        write(directory.path(), &format!("s{n}.toml"), text);
    }
    let loaded = load(&request(directory.path()));
    assert_eq!(loaded.units.units.len(), 10_001);
    assert!(!loaded.has_errors());
    let edges: usize = loaded.units.units.values().map(|unit| unit.after.len()).sum();
    assert!(edges < 20_000, "{edges} edges for 10,000 units");
    let units = crate::unit::compact::compact(&loaded.units);
    let texts = units.units.values().filter_map(|unit| unit.file.as_ref());
    assert!(texts.into_iter().all(|file| file.text.is_empty()), "texts stay in memory");
}

#[test]
fn sockets_and_instances_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    write(dir, "front.toml", "[Socket]\nListenStream = 8000\nService = 'web.service'\n");
    write(dir, "web.toml", "[Service]\nExecStart = '/bin/sh %i'\nInstances = 2\nUser = '%i'\n");
    write(dir, "late.toml", "[Service]\nExecStart = '/bin/sh'\n[Socket]\nListenStream = 8001\n");
    fs::create_dir(dir.join("front.toml.d")).unwrap();
    write(&dir.join("front.toml.d"), "x.toml", "[Socket]\nBacklog = 5\n");
    let loaded = load(&request(dir));
    assert_eq!(drawn(&loaded, dir), "");
    let unit = |loaded: &Loaded, name: &str| {
        let name = UnitName::parse(name).unwrap();
        std::sync::Arc::clone(loaded.units.get(&name).unwrap())
    };
    assert_eq!(unit(&loaded, "front.socket").socket.as_ref().unwrap().backlog, 5);
    assert!(!unit(&loaded, "late.service").is_on_demand());
    // What --unit leaves out is not started by a connection either.
    let names = vec!["front.socket".to_string(), "web".to_string()];
    let loaded = load(&LoadRequest { names, ..request(dir) });
    assert_eq!(drawn(&loaded, dir), "");
    assert!(!unit(&loaded, "late.service").is_on_demand());
    let boot: Vec<String> = loaded.units.boot().iter().map(ToString::to_string).collect();
    assert_eq!(boot, ["front.socket", "web.service"]);
}

#[test]
fn what_the_host_does_not_have_for_sockets_and_instances() {
    check(
        |dir| {
            let web = "[Service]\nExecStart = '/srv/%i/app'\nInstances = 2\n\
                       [Socket]\nListenStream = '/run/x'\nSocketUser = 'nobody-here'\n\
                       [Health]\nExec = '/no/probe'\n";
            write(dir, "web.toml", web);
        },
        expect![[r#"
            error: web.service: there is no program /srv/1/app
             --> DIR/web.toml:2:13
              |
            2 | ExecStart = '/srv/%i/app'
              |             ^^^^^^^^^^^^^

            error: web.service: there is no user nobody-here
             --> DIR/web.toml:6:14
              |
            6 | SocketUser = 'nobody-here'
              |              ^^^^^^^^^^^^^
              |
              = help: /etc/passwd does not have it; a number needs no entry there

            error: web.service: there is no program /no/probe
             --> DIR/web.toml:8:8
              |
            8 | Exec = '/no/probe'
              |        ^^^^^^^^^^^

            3 errors: nothing was started
        "#]],
    );
}
