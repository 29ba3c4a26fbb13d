//! A small web server that says who it is: `demo-server PORT [COUNT_FILE]`.
//!
//! It is the service of `units/demo`, and a payload for tests that have no shell: a static program
//! that stops as a good service does, finishing the requests it has. It is not an example of how
//! to write a web server: one thread a connection, one request a connection, no limits.
//!
//! - `GET /` tells pid, start number and uptime.
//! - `GET /slow?seconds=N` answers after N seconds.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use nix::sys::signal::{SigSet, Signal};

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (port, count_file) = match args.as_slice() {
        [port] => (port.parse(), None),
        [port, file] => (port.parse(), Some(file.as_str())),
        _ => return usage("one or two arguments are needed"),
    };
    let Ok(port) = port else { return usage("the port is a number up to 65535") };
    match serve(port, count_file) {
        Ok(signal) => {
            say(&format!("{signal}: all requests are finished, bye"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    complain(&format!("{problem}\nusage: demo-server PORT [COUNT_FILE]"));
    ExitCode::from(USAGE)
}

/// Not `println!`, which panics when nobody reads the log any more.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "demo-server: {line}");
}

fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "demo-server: {line}");
}

/// Serves until SIGTERM or SIGINT, then waits for the requests that are under way.
fn serve(port: u16, count_file: Option<&str>) -> io::Result<Signal> {
    // Blocked before the first thread exists, so that only `wait` below ever takes one.
    let stop_signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    stop_signals.thread_block()?;

    let start_number = count_file.map(count_start).transpose()?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let address = listener.local_addr()?;
    let server = Arc::new(Server {
        start_number,
        started: Instant::now(),
        requests: Mutex::new(0),
        idle: Condvar::new(),
    });
    say(&format!("pid {}, listening on http://{address}/", process::id()));

    let acceptor = Arc::clone(&server);
    thread::spawn(move || acceptor.accept(&listener));
    let signal = stop_signals.wait()?;
    server.wait_until_idle();
    Ok(signal)
}

/// One line a start; how many there are now.
fn count_start(file: &str) -> io::Result<usize> {
    let in_file = |error| io::Error::other(format!("{file}: {error}"));
    let mut starts = OpenOptions::new().create(true).append(true).open(file).map_err(in_file)?;
    writeln!(starts, "pid {}", process::id()).map_err(in_file)?;
    Ok(fs::read_to_string(file).map_err(in_file)?.lines().count())
}

struct Server {
    start_number: Option<usize>,
    started: Instant,
    /// How many connections are being answered now.
    requests: Mutex<usize>,
    /// Signalled whenever `requests` falls to 0.
    idle: Condvar,
}

impl Server {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            self.change_requests(|requests| requests + 1);
            let server = Arc::clone(&self);
            thread::spawn(move || {
                // A client that has gone away is its own business.
                let _ = server.answer(stream);
                server.change_requests(|requests| requests.saturating_sub(1));
            });
        }
    }

    fn change_requests(&self, change: impl FnOnce(usize) -> usize) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests = change(*requests);
        if *requests == 0 {
            self.idle.notify_all();
        }
    }

    fn wait_until_idle(&self) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = self.idle.wait_while(requests, |requests| *requests > 0);
        drop(idle.unwrap_or_else(PoisonError::into_inner));
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        // A connection that says nothing must not hold up a stop for ever.
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        // The headers are read to their end: to close with unread input resets the connection.
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, body) = self.page(path);
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn page(&self, path: &str) -> (&'static str, String) {
        if path == "/" {
            return ("200 OK", self.greeting());
        }
        match path.strip_prefix("/slow?seconds=").map(str::parse) {
            Some(Ok(seconds)) => {
                say(&format!("a slow request of {seconds} s begins"));
                thread::sleep(Duration::from_secs(seconds));
                ("200 OK", format!("That took {seconds} s.\n"))
            }
            Some(Err(_)) => ("400 Bad Request", "seconds is a whole number.\n".to_owned()),
            None => ("404 Not Found", "There are / and /slow?seconds=N.\n".to_owned()),
        }
    }

    fn greeting(&self) -> String {
        let pid = process::id();
        let start = self.start_number.map(|n| format!("start number {n}, ")).unwrap_or_default();
        let up = self.started.elapsed().as_secs();
        format!(
            "Hello, I am process {pid}, {start}up for {up} s.\n\
             Try `kill -9 {pid}`, and load this page again.\n"
        )
    }
}
