//! The client against a peer that is slow, torn, wrong or gone.

use super::*;

/// A client and what the peer sends it before it hangs up, in these pieces.
fn client(pieces: &[&[u8]]) -> (Client, std::thread::JoinHandle<Vec<u8>>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let peer = std::thread::spawn(move || {
        let mut call = Vec::new();
        let mut byte = [0];
        while theirs.read(&mut byte).unwrap() == 1 && byte[0] != 0 {
            call.push(byte[0]);
        }
        for piece in pieces {
            theirs.write_all(&piece).unwrap();
        }
        call
    });
    (Client::on(ours), peer)
}

#[test]
fn a_call_and_its_reply() {
    let (mut client, peer) = client(&[b"{\"parameters\":{\"st", b"ate\":\"running\"}}\0"]);
    let reply = client.call("SystemState", &json!({}), None);
    assert_eq!(reply, Ok(json!({"state": "running"})));
    let call: Value = serde_json::from_slice(&peer.join().unwrap()).unwrap();
    assert_eq!(call, json!({"method": "io.rinit.Manager.SystemState", "parameters": {}}));
    assert_eq!(client.reply(None), Err(CallError::Closed));
}

#[test]
fn several_replies_in_one_piece() {
    let stream = b"{\"parameters\":{\"n\":1},\"continues\":true}\0{\"parameters\":{\"n\":2}}\0";
    let (mut client, peer) = client(&[stream]);
    client.send("org.varlink.service.GetInfo", &json!({}), true, None).unwrap();
    let call = String::from_utf8(peer.join().unwrap()).unwrap();
    assert!(call.contains("\"more\":true") && call.contains("\"org.varlink.service.GetInfo\""));
    let reply = |n, continues| Ok(Reply { parameters: json!({ "n": n }), continues });
    assert_eq!(client.reply(None), reply(1, true));
    assert_eq!(client.reply(None), reply(2, false));
}

#[test]
fn what_is_no_reply() {
    let refused = |name: &str| Err(CallError::Refused(name.to_owned(), json!({})));
    for (answer, expected) in [
        (&b"{\"error\":\"io.rinit.Manager.Refused\"}\0"[..], refused("Refused")),
        (
            b"{\"error\":\"org.varlink.service.MethodNotFound\"}\0",
            refused("org.varlink.service.MethodNotFound"),
        ),
        (b"{\"error\":7}\0", Err(CallError::Garbled("error is 7".to_owned()))),
        (b"{}\0", Ok(json!({}))),
        (b"{\"parameters\":{}", Err(CallError::Closed)),
        (b"", Err(CallError::Closed)),
    ] {
        let (mut client, _peer) = client(&[answer]);
        assert_eq!(client.call("List", &json!({}), None), expected);
    }
    let (mut client, _peer) = client(&[b"hello\0"]);
    let answer = client.call("List", &json!({}), None);
    assert!(matches!(answer, Err(CallError::Garbled(_))), "{answer:?}");
}

#[test]
fn a_silent_peer_costs_no_more_than_the_deadline() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut client = Client::on(ours);
    let deadline = Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(client.call("List", &json!({}), deadline), Err(CallError::TimedOut));
    assert_eq!(client.call("List", &json!({}), deadline), Err(CallError::TimedOut));
}

/// A queue that nobody empties: connect(2) itself would wait for ever.
#[test]
fn a_peer_that_does_not_accept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut held = Vec::new();
    let full = loop {
        match Client::connect(&path, Duration::from_millis(1)) {
            Ok(client) => held.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock, "after {}", held.len());
    let gone = Client::connect(&directory.path().join("none"), Duration::from_secs(1));
    assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
}
