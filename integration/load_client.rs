//! The load client against a server that does, on purpose, each thing that is counted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::harness::DEADLINE;
use crate::load::{Kind, Load, Plan, Tally, in_hands};

const OK: &str = "HTTP/1.1 200 OK\r\nx-worker: 7\r\nx-version: 2\r\ncontent-length: 2\r\n\r\nok";

/// What the server does with each of its connections, by number; it runs until the test is over.
fn serve(handle: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = std::sync::Arc::new(handle);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let handle = std::sync::Arc::clone(&handle);
            std::thread::spawn(move || handle(number, stream));
        }
    });
    address
}

/// Reads one request; false at the end of the connection.
fn receive(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn answer(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes());
}

/// Closes with RST, as a killed server's connection does.
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option's value and its size are those of `linger`.
    unsafe {
        let value = (&raw const linger).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size)
    };
}

/// Waits until the other side closes.
fn hold(mut stream: TcpStream) {
    while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
}

fn finish(plan: Plan) -> Tally {
    let load = Load::start(plan).unwrap();
    let tally = load.finish();
    assert_eq!(tally.ended(), tally.ok + tally.failures.len() as u64);
    tally
}

fn kinds(tally: &Tally) -> Vec<Kind> {
    tally.failures.iter().map(|failure| failure.kind).collect()
}

#[test]
fn good_answers_are_counted_with_who_gave_them() {
    let address = serve(|_, mut stream| {
        receive(&mut stream);
        answer(&mut stream, OK);
    });
    let tally = finish(Plan::new(address).rate(1000).requests(50));
    assert_eq!((tally.ok, tally.failed(), tally.version("2")), (50, 0, 50), "{tally}");
    assert_eq!(tally.workers["7"].answers, 50);
    assert!(tally.latency(0.5) > Duration::ZERO && tally.latency(0.5) <= tally.latency(1.0));
    assert_eq!(tally.shares(), [100.0]);
}

/// Each way to fail, by a server that does just that to every connection.
#[test]
fn each_failure_is_of_its_kind() {
    type Handle = fn(usize, TcpStream);
    let cases: [(Kind, Duration, Handle); 6] = [
        (Kind::Cut, Duration::ZERO, |_, mut stream| {
            receive(&mut stream);
        }),
        (Kind::Cut, Duration::ZERO, |_, mut stream| {
            receive(&mut stream);
            reset(stream);
        }),
        (Kind::Cut, Duration::ZERO, |_, mut stream| {
            receive(&mut stream);
            answer(&mut stream, &OK[..OK.len() - 1]);
        }),
        (Kind::CutSilent, Duration::from_secs(5), |_, stream| reset(stream)),
        (Kind::CutSilent, Duration::from_secs(5), |_, stream| drop(stream)),
        (Kind::BadStatus, Duration::ZERO, |_, mut stream| {
            receive(&mut stream);
            answer(&mut stream, &OK.replace("200 OK", "503 Ill"));
        }),
    ];
    for (kind, pause, handle) in cases {
        let address = serve(handle);
        let tally = finish(Plan::new(address).rate(1000).requests(20).pause(pause));
        assert_eq!(kinds(&tally), [kind; 20], "{tally}");
        assert!(tally.failures.iter().all(|failure| failure.port != 0));
    }
}

#[test]
fn a_port_that_nobody_listens_on_refuses() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tally = finish(Plan::new(closed).rate(1000).requests(20));
    assert_eq!(kinds(&tally), [Kind::Refused; 20], "{tally}");
}

/// Only one connection gets no answer; the others do not wait for it.
#[test]
fn a_request_without_an_answer_times_out_and_holds_up_no_other() {
    let address = serve(|number, mut stream| {
        receive(&mut stream);
        if number == 3 {
            return hold(stream);
        }
        answer(&mut stream, OK);
    });
    let timeout = Duration::from_millis(300);
    let tally = finish(Plan::new(address).rate(1000).requests(20).timeout(timeout));
    assert_eq!((tally.ok, kinds(&tally)), (19, vec![Kind::TimedOut]), "{tally}");
    assert!(tally.failures[0].after >= timeout);
}

/// Nobody accepts, and the kernel's queue is full: connects hang, and time out.
#[test]
fn a_connect_that_hangs_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: listen(2) touches no memory. A second one only changes the length of the queue.
    unsafe { libc::listen(listener.as_raw_fd(), 0) };
    let address = listener.local_addr().unwrap();
    let timeout = Duration::from_millis(300);
    let tally = finish(Plan::new(address).rate(1000).requests(20).timeout(timeout));
    assert_eq!(kinds(&tally), [Kind::TimedOut; 20], "{tally}");
}

#[test]
fn connections_are_kept_and_used_in_turn() {
    let address = serve(|number, mut stream| {
        let text = OK.replace("x-worker: 7", &format!("x-worker: {number}"));
        while receive(&mut stream) {
            answer(&mut stream, &text);
        }
    });
    let tally = finish(Plan::new(address).rate(500).keep_alive(4).requests(100));
    assert_eq!((tally.ok, tally.idle_closed), (100, 0), "{tally}");
    assert!(tally.workers.len() <= 4, "{:?}", tally.workers);
}

/// Closed after three answers each: seen while idle, so no request is lost by it.
#[test]
fn an_idle_connection_that_is_closed_costs_no_request() {
    let address = serve(|_, mut stream| {
        for _ in 0..3 {
            receive(&mut stream);
            answer(&mut stream, OK);
        }
    });
    // One at a time: an answer and the end of its connection are there long before the next.
    let tally = finish(Plan::new(address).rate(10).keep_alive(1).requests(8));
    assert_eq!((tally.ok, tally.idle_closed), (8, 2), "{tally}");
}

/// Closed with a request read and not answered: that is no idle connection, whatever a client may do.
#[test]
fn a_reused_connection_cut_under_a_request_is_a_failure_of_its_own_kind() {
    let address = serve(|_, mut stream| {
        receive(&mut stream);
        answer(&mut stream, OK);
        receive(&mut stream);
    });
    let tally = finish(Plan::new(address).rate(100).keep_alive(1).requests(10));
    assert_eq!((tally.ok, kinds(&tally)), (5, vec![Kind::CutReused; 5]), "{tally}");
    assert_eq!((tally.lost(), tally.failed()), (0, 5));
}

/// Nothing is idle, so requests wait; all of them have their end before `stop` returns.
#[test]
fn requests_wait_for_a_connection_and_are_not_forgotten() {
    let address = serve(|_, mut stream| {
        receive(&mut stream);
        hold(stream);
    });
    let timeout = Duration::from_millis(500);
    let load = Load::start(Plan::new(address).rate(100).keep_alive(2).timeout(timeout)).unwrap();
    assert!(load.wait_more(DEADLINE, 10));
    let tally = load.stop();
    assert_eq!((tally.ok, tally.count(Kind::TimedOut)), (0, tally.ended()), "{tally}");
    assert!(tally.ended() > 10, "{tally}");
}

#[test]
fn without_a_rate_every_connection_is_always_busy() {
    let address = serve(|_, mut stream| {
        while receive(&mut stream) {
            answer(&mut stream, OK);
        }
    });
    let load = Load::start(Plan::new(address).saturating(8)).unwrap();
    assert!(load.wait(DEADLINE, |tally| tally.ok >= 500));
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally}");
}

#[test]
fn a_stop_ends_arrivals_and_waits_for_what_is_under_way() {
    let address = serve(|_, mut stream| {
        receive(&mut stream);
        answer(&mut stream, OK);
    });
    let load = Load::start(Plan::new(address).rate(200)).unwrap();
    assert!(load.wait_more(DEADLINE, 20));
    let tally = load.stop();
    assert_eq!(tally.failed(), 0, "{tally}");
    assert!(tally.ok >= 20);
}

#[test]
fn a_tally_reads_as_a_sentence() {
    let mut tally = Tally::default();
    tally.ok = 4197;
    assert_eq!(tally.to_string(), "0 of 4197 lost");
    for kind in [Kind::Cut, Kind::TimedOut, Kind::Cut] {
        tally.add_failure(kind, tally.begin, 0);
    }
    assert_eq!(tally.to_string(), "3 of 4200 lost: 2 cut, 1 timed out");
}

/// This process accepts one connection and leaves another in the queue.
#[test]
fn only_what_was_accepted_is_in_a_process_s_hands() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (first, second) = (TcpStream::connect(address), TcpStream::connect(address));
    let (first, second) = (first.unwrap(), second.unwrap());
    let accepted = listener.accept().unwrap().0;
    let me = std::process::id() as i32;
    let ports = in_hands(me, address.port());
    assert!(ports.contains(&first.local_addr().unwrap().port()), "{ports:?}");
    assert!(!ports.contains(&second.local_addr().unwrap().port()), "{ports:?}");
    drop(accepted);
    assert!(in_hands(me, address.port()).is_empty());
}
