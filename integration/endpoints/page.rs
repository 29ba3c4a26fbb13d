//! `/` in a real browser: Chromium, without a screen.

use std::net::SocketAddr;
use std::process::Command;

use super::{exchange, served};
use crate::harness::Rinit;
use crate::{require, tools};

/// The page as the browser has it, and what it complains of.
#[track_caller]
fn browse(address: SocketAddr, profile: &std::path::Path, more: &[&str]) -> (String, String) {
    let output = Command::new("chromium-headless-shell")
        .args(["--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(more)
        .arg(format!("http://{address}/"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// The hash that allows the page's style is that of the style.
#[test]
fn the_style_is_the_allowed_one() {
    require!("sh", "sha256sum", "xxd", "base64");
    let (setup, address) = served(Rinit::subreaper().service("web", "say up wait", ""));
    let mut rinit = setup.start();
    rinit.wait_line("up");
    let answer = exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let style = body.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    std::fs::write(rinit.path("style"), style).unwrap();
    let line = "sha256sum < style | cut -c 1-64 | xxd -r -p | base64";
    let hash = Command::new("sh").args(["-c", line]).current_dir(rinit.path("")).output().unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    let allowed = format!("style-src 'sha256-{}'", hash.trim());
    assert!(head.contains(&allowed), "{allowed} is not in {head}");
    assert!(head.contains("default-src 'none'"), "{head}");
    rinit.terminate().assert_code(0);
}

#[test]
fn a_browser_shows_it() {
    if tools::need(tools::program("chromium-headless-shell")).is_none() {
        return;
    }
    let (setup, address) = served(Rinit::subreaper());
    let hostile = "[Unit]\nDescription = \"<script>document.title = 'bad'</script>\"\n\
        FailureAction = \"none\"\n[Service]\nExecStart = \"@probe@ exit 3\"\n";
    let mut rinit =
        setup.service("web", "say up wait", "Instances = 2").unit("broken", hostile).start();
    rinit.wait_message("boot done");
    rinit.wait_state("broken", "failed");
    let (page, complaints) = browse(address, &rinit.path("profile"), &["--dump-dom"]);
    for part in [
        "<title>degraded - rinit</title>",
        "<h1>rinit: degraded</h1>",
        "<p class=\"ok\">Ready for traffic.</p>",
        "web@2.service",
        "active (running), 2 of 2 ready",
        "failed (failed)",
        "status 3",
        "&lt;script&gt;document.title = 'bad'&lt;/script&gt;",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    // Where something is not allowed the browser says "Refused to …" on its console.
    assert!(!complaints.contains("CONSOLE"), "{complaints}");
    let picture = rinit.path("page.png");
    let screenshot = format!("--screenshot={}", picture.display());
    browse(address, &rinit.path("profile"), &["--window-size=1100,600", &screenshot]);
    let bytes = std::fs::read(&picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"), "a picture");
    if let Some(directory) = std::env::var_os("RINIT_TEST_SCREENSHOTS") {
        std::fs::copy(&picture, std::path::Path::new(&directory).join("page.png")).unwrap();
    }
    rinit.terminate().assert_code(0);
}
