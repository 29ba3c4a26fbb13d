//! HTTP for probes, Prometheus and a person's browser: what is asked, and what is answered.
//!
//! Not the listening socket (`init::http`). `connections` has the sockets, `request` reads a
//! request, the others write answers: `probes` (/livez, /readyz), `metrics` in the format that
//! `exposition` knows, `page` (/). **Invariant:** nothing here changes anything: GET and HEAD are
//! all there is; and no client makes rinit wait or grow.

pub mod connections;
pub mod exposition;
pub mod metrics;
pub mod page;
pub mod probes;
pub mod request;
pub mod view;

use exposition::Format;
use request::Request;
use view::View;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// `/livez`: whether the loop turns.
    Live,
    /// `/readyz`: whether traffic may come; and each unit that decides it.
    Ready {
        /// `?verbose`.
        verbose: bool,
    },
    /// `/metrics`.
    Metrics(Format),
    /// `/`.
    Page,
}

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// 200, …
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// More lines of the head, each with its end.
    pub headers: &'static str,
    /// What is sent, unless only the head was asked for.
    pub body: String,
}

/// Of answers in words.
const PLAIN: &str = "text/plain; charset=utf-8";

impl Answer {
    /// A few words.
    pub fn words(status: u16, body: impl Into<String>) -> Answer {
        Answer { status, content_type: PLAIN, headers: "", body: body.into() }
    }

    /// As it is sent. `date`: RFC 9110's (section 5.6.7).
    pub fn bytes(&self, head_only: bool, date: &str) -> Vec<u8> {
        let reason = reason(self.status);
        let mut text = format!(
            "HTTP/1.1 {} {reason}\r\nDate: {date}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{}\
             Connection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len(),
            self.headers,
        );
        if !head_only {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}

/// RFC 9110, section 15.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// What a request is for.
///
/// # Errors
/// The answer to what is not there.
pub fn route(request: &Request) -> Result<Asked, Answer> {
    let asked = match request.path.as_str() {
        "/livez" => Asked::Live,
        "/readyz" => Asked::Ready { verbose: request.has_parameter("verbose") },
        "/metrics" => Asked::Metrics(exposition::negotiate(&request.accept)),
        "/" => Asked::Page,
        _ => return Err(Answer::words(404, "here are /livez, /readyz, /metrics and /\n")),
    };
    if request.is_get {
        return Ok(asked);
    }
    let answer = Answer::words(405, "nothing can be changed here: GET and HEAD only\n");
    Err(Answer { headers: "Allow: GET, HEAD\r\n", ..answer })
}

/// Looks, and says what is seen.
pub fn answer(asked: Asked, view: &dyn View) -> Answer {
    match asked {
        // Whoever gets this far has proven it.
        Asked::Live => Answer::words(200, "ok\n"),
        Asked::Ready { verbose } => probes::ready(&view.readiness(), verbose),
        Asked::Metrics(format) => metrics::answer(format, view),
        Asked::Page => page::answer(view),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Result<Asked, u16> {
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
        let request = Request::parse(text.as_bytes()).unwrap().unwrap();
        route(&request).map_err(|answer| answer.status)
    }

    #[test]
    fn routes() {
        for (line, asked) in [
            ("GET /livez", Ok(Asked::Live)),
            ("HEAD /readyz", Ok(Asked::Ready { verbose: false })),
            ("GET /readyz?verbose", Ok(Asked::Ready { verbose: true })),
            ("GET /readyz?a=b&verbose=1", Ok(Asked::Ready { verbose: true })),
            ("GET http://x:1/readyz?verbos", Ok(Asked::Ready { verbose: false })),
            ("GET /metrics", Ok(Asked::Metrics(Format::Text))),
            ("GET /", Ok(Asked::Page)),
            ("GET http://x", Ok(Asked::Page)),
            ("GET http://x?y", Ok(Asked::Page)),
            ("GET /readyz/", Err(404)),
            ("GET /readyz/../livez", Err(404)),
            ("POST /nothing", Err(404)),
            ("POST /readyz", Err(405)),
            ("DELETE /", Err(405)),
            ("get /", Err(405)),
            ("OPTIONS *", Err(404)),
        ] {
            assert_eq!(ask(line), asked, "{line}");
        }
    }

    #[test]
    fn as_it_is_sent() {
        let answer = Answer::words(200, "ok\n");
        let text = |head_only| String::from_utf8(answer.bytes(head_only, "now")).unwrap();
        let head = "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Length: 3\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
            Connection: close\r\n\r\n";
        assert_eq!(text(true), head);
        assert_eq!(text(false), format!("{head}ok\n"));
    }
}
