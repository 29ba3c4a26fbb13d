//! The bytes of an answer: how much of it is there, its status, which worker and version it names.
//!
//! Not an HTTP parser: `Content-Length` or the end of the connection is the end of a body, which is
//! all that the apps here send.

/// What has been received of one answer.
#[derive(Debug, Default)]
pub struct Answer {
    bytes: Vec<u8>,
    head: Option<Head>,
}

/// The part before the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// `x-worker`, empty without one.
    pub worker: String,
    /// `x-version`, empty without one.
    pub version: String,
    /// The server will close.
    pub closes: bool,
    body_start: usize,
    body_length: Option<usize>,
}

impl Answer {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.head.is_none() {
            self.head = Head::parse(&self.bytes);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The head of an answer that is all there.
    pub fn complete(&self) -> Option<&Head> {
        let head = self.head.as_ref()?;
        (self.bytes.len() >= head.body_start + head.body_length?).then_some(head)
    }

    /// The head, where the connection has ended and that is a regular end of the answer.
    pub fn complete_at_end(&self) -> Option<&Head> {
        let head = self.head.as_ref()?;
        if head.body_length.is_some() { self.complete() } else { Some(head) }
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Head> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(bytes.get(..end)?);
        let mut lines = text.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let mut head = Head { status, body_start: end + 4, ..Head::default() };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.body_length = value.parse().ok(),
                "connection" => head.closes = value.eq_ignore_ascii_case("close"),
                "x-worker" => head.worker = value.into(),
                "x-version" => head.version = value.into(),
                _ => {}
            }
        }
        Some(head)
    }
}
