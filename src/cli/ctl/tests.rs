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
