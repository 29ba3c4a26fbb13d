//! The head of a request, as far as it matters here (RFC 9112).
//!
//! A body is not read: no request here has use for one. **Invariant:** every function is total
//! over what a stranger may send.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Answer;

/// A request's head may have so many bytes.
pub const REQUEST_MAX: usize = 4096;

/// So many lines of a head.
const HEADERS_MAX: usize = 48;

/// One request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// GET or HEAD.
    pub is_get: bool,
    /// HEAD.
    pub head_only: bool,
    /// As it was sent, with nothing unescaped: `/`, `/readyz`.
    pub path: String,
    /// What follows `?`.
    pub query: String,
    /// All of `Accept`.
    pub accept: String,
}

impl Request {
    /// Reads what has come so far; `None`: the end of the head is still to come.
    ///
    /// # Errors
    /// The answer to what is no request.
    pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Answer> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => Request::of(&parsed).map(Some),
            Ok(httparse::Status::Partial) if bytes.len() < REQUEST_MAX => Ok(None),
            Ok(httparse::Status::Partial) => Err(too_long(bytes)),
            Err(httparse::Error::TooManyHeaders) => Err(too_long(bytes)),
            Err(httparse::Error::Version) => Err(Answer::words(505, "HTTP/1.1, please\n")),
            Err(
                error @ (httparse::Error::HeaderName
                | httparse::Error::HeaderValue
                | httparse::Error::NewLine
                | httparse::Error::Status
                | httparse::Error::Token),
            ) => Err(Answer::words(400, format!("no request of HTTP/1.1: {error}\n"))),
        }
    }

    fn of(parsed: &httparse::Request<'_, '_>) -> Result<Request, Answer> {
        let all = |name: &'static str| {
            let named = parsed.headers.iter().filter(move |it| it.name.eq_ignore_ascii_case(name));
            named.map(|header| String::from_utf8_lossy(header.value))
        };
        // RFC 9112, section 3.2: a client that does not say it may mean another server.
        let hosts = all("host").count();
        if hosts > 1 || (hosts == 0 && parsed.version == Some(1)) {
            return Err(Answer::words(400, "exactly one Host is needed\n"));
        }
        let method = parsed.method.unwrap_or_default();
        let target = origin_form(parsed.path.unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Request {
            is_get: matches!(method, "GET" | "HEAD"),
            head_only: method == "HEAD",
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            query: query.to_owned(),
            accept: all("accept").collect::<Vec<_>>().join(","),
        })
    }

    /// Whether the query has this parameter, with a value or without.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.query.split('&').any(|it| it.split('=').next() == Some(name))
    }
}

/// A proxy's `GET http://host/path` means `/path` (RFC 9112, section 3.2.2).
fn origin_form(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return target;
    };
    rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("")
}

fn too_long(bytes: &[u8]) -> Answer {
    match bytes.contains(&b'\n') {
        true => Answer::words(431, format!("a request here has at most {REQUEST_MAX} bytes\n")),
        false => Answer::words(414, "that is no address of anything here\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The path and `Accept`, or the status of the answer.
    fn read(text: &str) -> Result<Option<(String, String)>, u16> {
        let found = Request::parse(text.as_bytes()).map_err(|answer| answer.status)?;
        Ok(found.map(|request| (request.path, request.accept)))
    }

    #[test]
    fn heads() {
        let complete = |path: &str, accept: &str| Ok(Some((path.to_owned(), accept.to_owned())));
        let long = "x".repeat(REQUEST_MAX);
        for (text, found) in [
            ("", Ok(None)),
            ("\r\n\r\n", Ok(None)),
            ("GET", Ok(None)),
            ("GET / HTTP/1.1\r\nHost: a\r\n", Ok(None)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", complete("/", "")),
            ("GET / HTTP/1.0\r\n\r\n", complete("/", "")),
            ("GET / HTTP/1.1\nhost:a\n\n", complete("/", "")),
            (
                "GET /%2e HTTP/1.1\r\nHost: a\r\nACCEPT: b\r\naccept: c\r\n\r\n",
                complete("/%2e", "b,c"),
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", complete("/", "")),
            ("GET / HTTP/1.1\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Err(400)),
            ("GET /\r\n\r\n", Err(400)),
            ("G\0T / HTTP/1.1\r\n\r\n", Err(400)),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Err(400)),
            ("\x16\x03\x01\x02\x00", Err(400)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(505)),
            (&format!("GET /{long}"), Err(414)),
            (&format!("GET / HTTP/1.1\r\nA: {long}"), Err(431)),
            (&format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(49)), Err(431)),
        ] {
            assert_eq!(read(text), found, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(super::super::super::fuzz_cases()))]

        #[test]
        fn bytes_of_strangers(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn almost_requests(text in "(GET|HEAD|X) [/a-z?&=:%]{0,12} HTTP/1.[0-2]\r\n(Host: [a-z]{0,3}\r\n){0,2}\r\n") {
            if let Ok(Some(request)) = Request::parse(text.as_bytes()) {
                prop_assert!(!request.path.is_empty());
                let _ = super::super::route(&request);
            }
        }
    }
}
