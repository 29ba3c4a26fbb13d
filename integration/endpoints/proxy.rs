//! `units/haproxy-tls`, with HAProxy itself: two replicas behind it are replaced one after the other
//! under load, and not one request is lost.
//!
//! The load client speaks no TLS, so a second HAProxy does for it: a tunnel that checks the
//! certificate.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::{free_address, get};
use crate::harness::{DEADLINE, Rinit, Running};
use crate::load::{Load, Plan};
use crate::tools;

/// Two replicas, the proxy, and the way through TLS to it.
struct Site {
    replicas: [Replica; 2],
    proxy: Running,
    tunnel: Tunnel,
}

/// The app in its rinit.
struct Replica {
    rinit: Running,
    app: SocketAddr,
    http: SocketAddr,
}

/// Plain on this side, TLS on the other. Dropped, it ends.
struct Tunnel {
    child: Child,
    address: SocketAddr,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the tests run is here.
fn programs() -> Result<(), String> {
    tools::program("haproxy")?;
    tools::program("openssl")?;
    match tools::repository().join("target/fastapi-venv/bin/uvicorn").is_file() {
        true => Ok(()),
        false => Err("no target/fastapi-venv".to_string()),
    }
}

/// Of a file of the example, with the test's own ports and paths.
fn shown(file: &str, ports: &[(&str, SocketAddr)]) -> String {
    let path = tools::repository().join("units/haproxy-tls").join(file);
    let text = fs::read_to_string(path).unwrap();
    let text = ports.iter().fold(text, |text, (shown, address)| {
        assert!(shown.len() == 4, "a port");
        text.replace(&format!(":{shown}"), &format!(":{}", address.port()))
            .replace(&format!("port {shown}"), &format!("port {}", address.port()))
    });
    text.replace("--app-dir units/uvicorn", "--app-dir @hello@")
        .replace("@hello@", tools::repository().join("units/uvicorn").to_str().unwrap())
        .replace("units/haproxy-tls/proxy/haproxy.cfg", "@dir@/haproxy.cfg")
        .replace("/tmp/rinit-haproxy", "@dir@")
}

/// On a busy machine two seconds are not many.
fn patient(text: &str) -> String {
    text.replace("DrainSec = \"2s\"", "DrainSec = \"5s\"\nShutdownTimeoutSec = \"20s\"")
}

impl Replica {
    /// Starts it, and waits until it is ready.
    fn start(app: SocketAddr, http: SocketAddr) -> Replica {
        let venv = tools::repository().join("target/fastapi-venv/bin");
        let path = format!("{}:{}", venv.display(), std::env::var("PATH").unwrap());
        let ports = [("8000", app), ("9000", http)];
        let mut rinit = Rinit::subreaper()
            .unit("web", &shown("app/web.toml", &ports))
            .unit("rinit.toml", &patient(&shown("app/rinit.toml", &ports)))
            .env("PATH", &path)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .start();
        rinit.wait_message("boot done");
        assert_eq!(get(http, "/readyz").status, 200);
        Replica { rinit, app, http }
    }

    /// A new version of it in its place, as an orchestrator does it. The proxy is told in time, by
    /// rinit: the app still serves when no more requests come.
    #[track_caller]
    fn replace(self, server: &str, proxy: &mut Running) -> Replica {
        self.rinit.signal(libc::SIGTERM);
        let told = "is DOWN, reason: Layer7 wrong status, code: 503";
        proxy.wait_stderr(&format!("Server {server} {told}"));
        assert_eq!(get(self.app, "/").status, 200, "while it drains");
        self.rinit.wait().assert_code(0);
        let replica = Replica::start(self.app, self.http);
        proxy.wait_stderr(&format!("Server {server} is UP"));
        replica
    }
}

impl Site {
    fn start() -> Site {
        let (app, http) = ([free_address(), free_address()], [free_address(), free_address()]);
        let replicas = [0, 1].map(|at| Replica::start(app[at], http[at]));
        let https = free_address();
        let ports = [
            ("8443", https),
            ("8000", app[0]),
            ("9000", http[0]),
            ("8001", app[1]),
            ("9001", http[1]),
        ];
        let setup = Rinit::subreaper().unit("haproxy", &shown("proxy/haproxy.toml", &ports));
        let config = setup.substitute(&shown("proxy/haproxy.cfg", &ports));
        fs::write(setup.path("haproxy.cfg"), config).unwrap();
        make_certificate(&setup.path("site.pem"));
        let mut proxy = setup.start();
        proxy.wait_message("boot done");
        let tunnel = Tunnel::start(&proxy, https);
        Site { replicas, proxy, tunnel }
    }
}

/// As the comment in `haproxy.toml` says.
fn make_certificate(path: &Path) {
    let key = format!("{}.key", path.display());
    let line = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout";
    let shown = shown("proxy/haproxy.toml", &[]);
    assert!(shown.contains(line), "the example's own line");
    let mut openssl = Command::new("openssl");
    openssl.args(line.split_ascii_whitespace()).arg(&key).arg("-out").arg(path);
    assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
}

impl Tunnel {
    fn start(proxy: &Running, https: SocketAddr) -> Tunnel {
        let address = free_address();
        let certificate = proxy.path("site.pem").display().to_string();
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen tunnel\n bind {address}\n server https {https} ssl verify required \
             ca-file {certificate} verifyhost localhost sni str(localhost)\n"
        );
        let path = proxy.path("tunnel.cfg");
        fs::write(&path, config).unwrap();
        let mut haproxy = Command::new("haproxy");
        haproxy.arg("-db").arg("-f").arg(&path).stderr(Stdio::null());
        let tunnel = Tunnel { child: haproxy.spawn().unwrap(), address };
        let deadline = Instant::now() + DEADLINE;
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the tunnel does not open");
            std::thread::yield_now();
        }
        tunnel
    }
}

/// Both replicas are replaced, one after the other, as a rolling update of a platform does it.
#[test]
fn replicas_behind_a_tls_proxy_are_replaced_without_a_loss() {
    if tools::need(programs()).is_none() {
        return;
    }
    let Site { replicas, mut proxy, tunnel } = Site::start();
    // Connections that stay open, as a browser's do: with a handshake of TLS for each request that
    // would be all that is measured.
    let plan = Plan::new(tunnel.address).path("/").rate(50).keep_alive(8).timeout(DEADLINE);
    let load = Load::start(plan).unwrap();
    assert!(load.wait_more(DEADLINE, 50), "{}", load.tally());
    let mut after = Vec::new();
    for (replica, server) in replicas.into_iter().zip(["app/one", "app/two"]) {
        after.push(replica.replace(server, &mut proxy));
        assert!(load.wait_more(DEADLINE, 50), "{}", load.tally());
    }
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally}; {:?}", tally.failures);
    drop(tunnel);
    for replica in after {
        replica.rinit.terminate().assert_code(0);
    }
    proxy.terminate().assert_code(0);
}
