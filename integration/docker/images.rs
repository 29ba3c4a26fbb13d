//! The images that the tests run, each made once a run, from the smallest up.
//!
//! - `bare`: this build's static rinit, demo server and probe, nothing else. No shell, no /etc, no /tmp.
//! - `tools`: the same and busybox.
//! - `python`: Debian with Python, bootstrapped from this machine's own package mirror. That takes a
//!   minute, so it stays in the daemon's image store for the next run.
//! - `fastapi`: the repository's `Dockerfile.example` as it stands, on the images above.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use nix::unistd::geteuid;
use tempfile::TempDir;

use super::client::{self, BUILD_DEADLINE};
use super::daemon;
use crate::harness::payload;
use crate::tools;

/// The label says that a later run may remove the image once the next one has taken its name.
const ENTRYPOINT: [&str; 2] = ["ENTRYPOINT [\"/sbin/rinit\"]", "LABEL rinit-test=import"];
const DEBIAN_PACKAGES: &str = "ca-certificates,python3,python3-venv";
const BUSYBOX_APPLETS: [&str; 10] =
    ["cat", "echo", "false", "id", "kill", "ls", "sh", "sleep", "tail", "true"];

type Image = Result<&'static str, String>;

pub fn bare() -> Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            daemon::host()?;
            let root = bare_root();
            import("rinit-test:bare", root.path(), &ENTRYPOINT);
            Ok("rinit-test:bare")
        })
        .clone()
}

pub fn tools() -> Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            daemon::host()?;
            let busybox = tools::program("busybox")?;
            let root = bare_root();
            let bin = root.path().join("bin");
            make_folder(&bin);
            install(&busybox, &bin.join("busybox"));
            for applet in BUSYBOX_APPLETS {
                symlink("busybox", bin.join(applet)).expect("link an applet");
            }
            import("rinit-test:tools", root.path(), &ENTRYPOINT);
            Ok("rinit-test:tools")
        })
        .clone()
}

/// `Dockerfile.example`, built.
pub fn fastapi() -> Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            let rinit = bare()?;
            let python = python_for_this_machine()?;
            // Only what the file copies: the whole tree has gigabytes of build output.
            let sources = ["Dockerfile.example", "units/fastapi", "integration/apps/fastapi"];
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(tools::repository()).args(["--exclude=__pycache__", "-c"]);
            tar.args(sources);
            let arguments = [&format!("PYTHON_IMAGE={python}"), &format!("RINIT_IMAGE={rinit}")];
            build("rinit-test:fastapi", "Dockerfile.example", &arguments, tar);
            Ok("rinit-test:fastapi")
        })
        .clone()
}

/// A root file system of rinit, rinitctl and the programs of the tests.
pub fn bare_root() -> TempDir {
    let root = tempfile::tempdir().expect("a directory for an image");
    open_to_all(root.path());
    make_folder(&root.path().join("sbin"));
    install(payload::rinit_binary(), &root.path().join("sbin/rinit"));
    install(env!("CARGO_BIN_EXE_rinitctl").as_ref(), &root.path().join("sbin/rinitctl"));
    install(&payload::example("demo-server"), &root.path().join("demo-server"));
    install(&payload::example("probe"), &root.path().join("probe"));
    root
}

/// The bootstrapped image plus this machine's way to PyPI: `pip`'s own configuration and the
/// certificates to trust. An organisation's base image carries the same, and so `Dockerfile.example`
/// needs to know nothing of it.
fn python_for_this_machine() -> Image {
    let python = python()?;
    let context = tempfile::tempdir().expect("a build context");
    let file = |name: &str| context.path().join(name);
    fs::write(file("pip.conf"), pip_configuration()).expect("write pip.conf");
    let certificates = "/etc/ssl/certs/ca-certificates.crt";
    let mut dockerfile = format!("FROM {python}\nCOPY pip.conf /etc/pip.conf\n");
    if fs::copy(certificates, file("certificates")).is_ok() {
        dockerfile += &format!("COPY certificates {certificates}\n");
    }
    // As the official Python images have it.
    dockerfile += "RUN ln -sf python3 /usr/bin/python\n";
    fs::write(file("Dockerfile"), dockerfile).expect("write a Dockerfile");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(context.path()).args(["-c", "."]);
    build("rinit-test:python", "Dockerfile", &[], tar);
    Ok("rinit-test:python")
}

/// What of this machine's `pip` settings means anything on another file system.
fn pip_configuration() -> String {
    const KEYS: [&str; 5] = ["index-url", "extra-index-url", "trusted-host", "proxy", "timeout"];
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "config", "list"]);
    let listed = client::run(pip, BUILD_DEADLINE).stdout;
    // Each line is: scope.key='value'
    let settings = listed.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let key = name.rsplit('.').next()?;
        KEYS.contains(&key).then(|| format!("{key} = {}\n", value.trim_matches('\'')))
    });
    let mut text = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n".to_owned();
    text.extend(settings);
    text
}

/// Debian's Python, as debootstrap makes it, and kept until the recipe changes.
fn python() -> Result<String, String> {
    daemon::host()?;
    let (mirror, suite) = debian_mirror()?;
    let mut hasher = DefaultHasher::new();
    (&mirror, &suite, DEBIAN_PACKAGES).hash(&mut hasher);
    let tag = format!("rinit-test-debian:{suite}-{:016x}", hasher.finish());
    if client::docker(&["image", "inspect", &tag]).status == 0 {
        return Ok(tag);
    }
    tools::program("debootstrap")?;
    if !geteuid().is_root() {
        return Err("only root can debootstrap".to_owned());
    }
    let root = tempfile::tempdir().expect("a directory for Debian");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={DEBIAN_PACKAGES}"), &suite]);
    debootstrap.arg(root.path()).arg(&mirror);
    client::run(debootstrap, BUILD_DEADLINE).success("debootstrap");
    // Downloaded packages: a third of the size, and of no use inside.
    let _ = fs::remove_dir_all(root.path().join("var/cache/apt/archives"));
    open_to_all(root.path());
    import(&tag, root.path(), &[]);
    Ok(tag)
}

/// The mirror and the release that this machine's own apt uses.
fn debian_mirror() -> Result<(String, String), String> {
    tools::program("apt-get")?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.ok_or("this is no Debian: the base image is bootstrapped from its mirror")?;
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)"]);
    targets.arg("Created-By: Packages");
    let listed = client::run(targets, BUILD_DEADLINE).success("apt-get indextargets");
    let wanted = format!("{suite} main ");
    let mirror = listed.lines().find_map(|line| line.strip_prefix(&wanted));
    let mirror = mirror.ok_or_else(|| format!("apt has no mirror for {suite}"))?;
    Ok((mirror.to_owned(), suite.to_owned()))
}

fn import(tag: &str, root: &Path, changes: &[&str]) {
    let archive = root.with_extension("tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).args(["--numeric-owner", "-cf"]).arg(&archive).arg(".");
    client::run(tar, BUILD_DEADLINE).success("tar");
    let mut import = client::command(&["import"]);
    for change in changes {
        import.args(["--change", change]);
    }
    import.arg(&archive).arg(tag);
    let output = client::run(import, BUILD_DEADLINE);
    let _ = fs::remove_file(&archive);
    output.success("docker import");
}

/// Builds with a context that `tar` writes. The host's network is the only one there is.
fn build(tag: &str, file: &str, arguments: &[&String], tar: Command) {
    let context = output_bytes(tar);
    let mut build = client::command(&["build", "--network", "host", "-t", tag, "-f", file]);
    for argument in arguments {
        build.args(["--build-arg", argument]);
    }
    build.args(["--label", "rinit-test=build", "-"]);
    client::run_with_input(build, context, BUILD_DEADLINE).success("docker build");
}

fn output_bytes(mut command: Command) -> Vec<u8> {
    let output = command.output().expect("tar starts");
    assert!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn install(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    open_to_all(to);
}

fn make_folder(folder: &Path) {
    fs::create_dir_all(folder).expect("make a folder");
    open_to_all(folder);
}

/// Whatever this machine's umask: images are run as other users, too.
pub fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set a mode");
}
