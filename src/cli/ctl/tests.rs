//! The program without a rinit: usage, `check`, `help`, completions, manual pages.

use super::*;

/// Exit status, then both streams.
fn rinitctl(arguments: &[&str]) -> (u8, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let arguments = arguments.iter().map(OsString::from).collect();
    let environment = Environment::from([("RINIT_SOCKET".into(), "/no/such/socket".into())]);
    let code = run(arguments, &environment, Look::default(), &mut stdout, &mut stderr);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(stdout), text(stderr))
}

#[test]
fn usage() {
    for (arguments, code, out, err) in [
        (&["--help"][..], 0, "Usage: rinitctl", ""),
        (&["--version"], 0, "rinitctl 0.", ""),
        (&[], 64, "", "say what to do"),
        (&["chek"], 64, "", "unknown verb chek; did you mean check?"),
        (&["sttaus"], 64, "", "unknown verb sttaus; did you mean status?"),
        (&["frobnicate"], 64, "", "unknown verb frobnicate\n"),
        (&["--frob"], 64, "", "unexpected --frob\n"),
        (&["status", "--jsn"], 64, "", "unexpected --jsn; did you mean --json?"),
        (&["check", "--units"], 64, "", "--units"),
        (&["check", "-x"], 64, "", "-x"),
        (&["start"], 64, "", "<UNIT>... is missing"),
        (&["wait", "web", "--for", "actve"], 64, "", "did you mean active?"),
        (&["kill", "web", "--kill-whom", "some"], 64, "", "it takes main, control, all"),
        (&["start", "web", "--timeout", "soon"], 64, "", "soon"),
        (&["list-dependencies", "--dot", "--json"], 64, "", "cannot be used with"),
        (&["help"], 0, "RestartSec", ""),
        (&["help", "RestartSec"], 0, "[Service] RestartSec=", ""),
        (&["help", "list-units"], 0, "--no-legend", ""),
        (&["help", "RestartSecs"], 64, "", "did you mean RestartSec?"),
        (&["status"], 6, "", "/no/such/socket: No such file"),
        (&["status", "--socket", "none"], 6, "", "switched off"),
    ] {
        let (found, stdout, stderr) = rinitctl(arguments);
        assert_eq!(found, code, "{arguments:?}: {stderr}");
        assert!(stdout.contains(out), "{arguments:?}: {stdout}");
        assert!(stderr.contains(err), "{arguments:?}: {stderr}");
    }
}

#[test]
fn check_tells_by_its_status() {
    let directory = tempfile::tempdir().unwrap();
    let units = directory.path().display().to_string();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let web = file("web.toml", "[Service]\nExecStart = '/bin/sh'\n");
    assert_eq!(rinitctl(&["check", "--units", &units]).0, 0);
    assert_eq!(rinitctl(&["check", &web]).0, 0);
    file("web.toml", "[Unit]\nAfter = 'x.service'\n[Service]\nExecStart = '/bin/sh'\n");
    assert_eq!(rinitctl(&["check", "--units", &units]).0, 0, "a warning");
    let (code, _, stderr) = rinitctl(&["check", "--strict", "--units", &units]);
    assert_eq!(code, 78);
    assert!(stderr.ends_with("1 error: rinit would start nothing\n"), "{stderr}");
    file("web.toml", "[Service]\nExecStrt = '/bin/sh'\n");
    assert_eq!(rinitctl(&["check", &web]).0, 78);
    assert_eq!(rinitctl(&["check", "--units", "/no/such/directory"]).0, 78);
}

/// A file is held to what rinit holds a directory to.
#[test]
fn check_holds_a_file_to_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let says = |arguments: &[&str], code: u8, words: &[&str]| {
        let (found, out, err) = rinitctl(&[&["check"], arguments].concat());
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        let both = out + &err;
        words.iter().for_each(|word| assert!(both.contains(word), "{arguments:?}: {both}"));
    };
    let service = "[Service]\nExecStart = '/bin/sh'\n";
    let needs = |name: &str| format!("[Unit]\nRequires = '{name}.service'\n{service}");
    let wrong = "[Unit]\nRequires = 'gone.service'\n[Service]\nExecStart = '/nope/prog'\n\
                 User = 'nosuch'\nEnvironmentFile = '/nope/env'\n";
    let wrong = file("files/wrong.toml", wrong);
    let told = ["4 errors", "/nope/prog", "nosuch", "/nope/env", "gone.service"];
    says(&[&wrong], 78, &told);
    // Beside a file is what it names, and nothing else is read there.
    let web = file("files/web.toml", &needs("db"));
    says(&[&web], 78, &["db.service, and there is no such unit"]);
    file("files/db.toml", &needs("disk"));
    says(&[&web], 78, &["disk.service, and there is no such unit"]);
    file("files/disk.toml", service);
    file("files/pyproject.toml", "[project]\n");
    says(&[&web], 0, &["1 file: may be started"]);
    file("files/web.toml.d/1.toml", "[Service]\nExecStrt = 1\n");
    says(&[&web], 78, &["ExecStrt"]);
    std::fs::remove_dir_all(directory.path().join("files/web.toml.d")).unwrap();
    let wish = "[Unit]\nWants = 'gone.service'\n".to_string() + service;
    let wish = file("files/wish.toml", &wish);
    says(&[&wish], 0, &["1 warning"]);
    says(&["--strict", &wish], 78, &["1 error"]);
    // With a directory only that is looked at, and the file goes before its own there.
    file("units/db.toml", service);
    let units = directory.path().join("units").display().to_string();
    says(&["--units", &units, &wrong], 78, &told);
    says(&["--units", &units, &web], 0, &["2 units: may be started"]);
    let db = directory.path().join("units/db.toml").display().to_string();
    says(&["--units", &units, &db, &web], 0, &["2 units: may be started"]);
    let other = file("other/db.toml", "[Service]\nExecStart = '/nope/db'\n");
    says(&["--units", &units, &other], 78, &["/nope/db", "units/db.toml is not read"]);
    says(&[&db, &other], 78, &["define one unit"]);
    let manager = file("other/rinit.toml", "[Manager]\nDefaultRestart = 'alway'\n");
    says(&[&manager], 78, &["alway"]);
    says(&["/nope/x.toml"], 78, &["/nope/x.toml"]);
    // A directory is one of units; one that is called like a unit is no unit.
    says(&[&units], 0, &["1 unit: may be started"]);
    says(&[&units, &web], 0, &["2 units: may be started"]);
    std::fs::create_dir(directory.path().join("dir.toml")).unwrap();
    let unit = directory.path().join("dir.toml").display().to_string();
    says(&[&unit], 78, &["dir.toml", "directory"]);
}

/// What is generated knows every verb and every long option.
#[test]
fn completions_and_pages_are_whole() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = rinitctl(&["completions", shell]);
        assert_eq!(code, 0);
        for word in usage::verbs().iter().map(String::as_str).chain(["kill-whom", "no-block"]) {
            assert!(script.contains(word), "{shell} has no {word}");
        }
    }
    let (code, page, _) = rinitctl(&["man"]);
    assert_eq!((code, page.contains("Exit status")), (0, true), "{page}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("man1");
    let (code, names, _) = rinitctl(&["man", path.to_str().unwrap()]);
    assert_eq!((code, names.lines().count()), (0, usage::verbs().len() + 1));
    let page = std::fs::read_to_string(path.join("rinitctl-start.1")).unwrap();
    assert!(page.contains("no\\-block") && page.contains("timeout"), "{page}");
    assert_eq!(rinitctl(&["man", "/proc/no/such"]).0, 1);
}

#[test]
fn the_definition_is_sound() {
    <Arguments as clap::CommandFactory>::command().debug_assert();
}
