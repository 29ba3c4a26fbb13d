//! The image of `Dockerfile.example`, run as its comments say, locked down.

use super::container::{Container, LOCKED_DOWN, end, run_to_end};
use super::images;
use crate::{http, tools};

#[test]
fn the_fastapi_image_migrates_once_serves_and_finishes_its_requests() {
    let Some(image) = tools::need(images::fastapi()) else { return };
    // An anonymous volume, as the image declares it: removed with the container.
    let options = [&LOCKED_DOWN[..], &["--volume", "/data", "--tmpfs", "/tmp"]].concat();
    let container = Container::run(image, &options, &[]);
    let mut lines = container.follow();
    lines.wait_for_text("Uvicorn running");
    let healthy = container.exec(&["rinitctl", "wait", "--for", "active", "web"]);
    assert_eq!(end(healthy), Some(0), "{}", container.logs());
    let healthy = container.exec(&["rinitctl", "is-system-running"]);
    assert_eq!(end(healthy), Some(0), "{}", container.logs());
    let log = http::get(container.connect(8000), "/migrations").json();
    assert_eq!(log["migration_runs"].as_array().map(Vec::len), Some(1), "{log}");
    assert_eq!(log["app_starts"].as_array().map(Vec::len), Some(1), "{log}");
    // The app found the newest schema when it started: before its first request.
    assert_eq!(log["app_starts"][0]["revision"], log["revision"], "{log}");

    let mut slow = container.connect(8000);
    http::ask(&mut slow, "/slow?seconds=3");
    lines.wait_for_text("slow request of 3 s begins");
    let stopping = container.begin_stop(60);
    let answer = http::receive(&mut slow);
    assert_eq!((answer.status, &answer.json()["slept"]), (200, &3.0.into()));
    assert_eq!(end(stopping), Some(0));
    assert_eq!(container.wait(), 0);

    // The volume stays with the container: one run more for one start more.
    container.start_again();
    lines = container.follow();
    lines.wait_for_text("Uvicorn running");
    lines.wait_for_text("Uvicorn running");
    let log = http::get(container.connect(8000), "/migrations").json();
    assert_eq!(log["migration_runs"].as_array().map(Vec::len), Some(2), "{log}");
    assert_eq!(log["app_starts"].as_array().map(Vec::len), Some(2), "{log}");
    assert_eq!(container.stop(60), 0);
}

#[test]
fn the_fastapi_image_waits_for_its_storage_until_it_is_stopped() {
    let Some(image) = tools::need(images::fastapi()) else { return };
    let options = ["--env", "DATABASE_PATH=/not-mounted/notes.sqlite3"];
    let container = Container::run(image, &options, &[]);
    let mut lines = container.follow();
    // Twice: it tries again.
    lines.wait_for_text("storage is not ready: /not-mounted");
    lines.wait_for_text("storage is not ready: /not-mounted");
    assert_eq!(container.stop(60), 0);
    let logs = container.logs();
    assert!(!logs.contains("alembic.runtime"), "the next step was started:\n{logs}");
}

/// The container's exit status is the migration's own: here Alembic's, on a file that is no database.
#[test]
fn the_fastapi_image_does_not_start_when_the_migration_fails() {
    let Some(image) = tools::need(images::fastapi()) else { return };
    let options = ["--env", "DATABASE_PATH=/etc/rinit/20-migrate.toml", "--user", "0"];
    let output = run_to_end(image, &options, &[]);
    let shown = output.stdout + &output.stderr;
    assert_eq!(output.status, 1, "{shown}");
    assert!(shown.contains("file is not a database"), "{shown}");
    assert!(!shown.contains("Started server process"), "{shown}");
}
