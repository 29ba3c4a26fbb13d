//! varlink on bytes: messages out of a stream, calls out of messages, replies into bytes.
//!
//! Not a socket (`server`) and not what a method means (`interface`). A message is one JSON
//! object that ends with a NUL byte (<https://varlink.org/Method-Call>). **Invariant:** whatever
//! the bytes are, reading them ends in a call or in a sentence that says what is wrong, and no
//! more than [`MESSAGE_MAX`] bytes of them are ever kept.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use serde_json::{Map, Value, json};

/// So long a message may be, its NUL not counted. The longest call that means anything has two
/// names of units in it.
pub const MESSAGE_MAX: usize = 64 << 10;

/// Bytes that came in and are no message yet.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    /// So many of them have no NUL: they need not be looked at again.
    seen: usize,
}

impl Input {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message without its NUL, if one is there.
    pub fn next_message(&mut self) -> Option<Vec<u8>> {
        let rest = self.bytes.get(self.seen..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == 0) else {
            self.seen = self.bytes.len();
            return None;
        };
        let end = self.seen + end;
        let rest = self.bytes.split_off(end + 1);
        let mut message = std::mem::replace(&mut self.bytes, rest);
        message.truncate(end);
        self.seen = 0;
        Some(message)
    }

    /// Whether what is here cannot become a message any more.
    pub fn is_too_long(&self) -> bool {
        self.seen > MESSAGE_MAX
    }

    /// How many more bytes may be taken now.
    pub fn room(&self) -> usize {
        (MESSAGE_MAX + 1).saturating_sub(self.bytes.len())
    }

    /// Whether a message was begun and not ended.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A method call, before anybody knows the method.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// As in `io.rinit.Manager.List`.
    pub method: String,
    /// By name; an absent one and `null` are the same.
    pub parameters: Map<String, Value>,
    /// The caller takes several replies.
    pub more: bool,
    /// The caller takes no reply.
    pub oneway: bool,
}

/// Why bytes are no call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// Nothing that follows can be trusted either: the connection ends.
    NotJson(String),
    /// It is JSON, and this member of it is missing or of the wrong type.
    Member(&'static str),
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// It is not a JSON object, or not one that calls a method.
    pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Malformed::NotJson(format!("not JSON: {error}")))?;
        let Value::Object(mut object) = value else {
            return Err(Malformed::NotJson("a message is a JSON object".to_owned()));
        };
        let Some(Value::String(method)) = object.remove("method") else {
            return Err(Malformed::Member("method"));
        };
        let parameters = match object.remove("parameters") {
            Some(Value::Object(parameters)) => parameters,
            None | Some(Value::Null) => Map::new(),
            Some(_) => return Err(Malformed::Member("parameters")),
        };
        let mut flag = |name| match object.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Malformed::Member(name)),
        };
        Ok(Message { method, parameters, more: flag("more")?, oneway: flag("oneway")? })
    }
}

/// The last reply to a call.
pub fn reply(parameters: &Value) -> Vec<u8> {
    ended(format!("{{\"parameters\":{parameters}}}"))
}

/// A reply that others follow.
pub fn reply_and_go_on(parameters: &str) -> Vec<u8> {
    ended(format!("{{\"continues\":true,\"parameters\":{parameters}}}"))
}

/// The last reply to a call that went wrong.
pub fn error(error: &Error) -> Vec<u8> {
    let (name, parameters) = error.parts();
    ended(json!({"error": name, "parameters": parameters}).to_string())
}

fn ended(text: String) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    bytes.push(0);
    bytes.shrink_to_fit();
    bytes
}

/// What a call can come to instead of a reply: the errors of `org.varlink.service` and ours.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)] // the fields are the interface's, and so are their names
pub enum Error {
    /// No such interface here.
    InterfaceNotFound { interface: String },
    /// The interface has no such method.
    MethodNotFound { method: String },
    /// The method is in the interface and not in this rinit.
    MethodNotImplemented { method: String },
    /// A parameter is missing, unknown, or of the wrong type.
    InvalidParameter { parameter: String },
    /// The method streams, and the caller takes one reply only.
    ExpectedMore,
    /// There is no unit of this name.
    NoSuchUnit { unit: String, suggestion: Option<String> },
    /// It could not begin.
    Refused { unit: Option<String>, reason: String },
    /// The units on disk have errors; each problem as the interface has it.
    InvalidUnits { problems: Vec<Value> },
    /// There is no signal of this name.
    NoSuchSignal { signal: String, suggestion: Option<String> },
    /// The caller's uid may not do this.
    PermissionDenied { reason: String },
    /// The caller did not read what it asked for.
    TooSlow { dropped: u64 },
}

impl Error {
    fn parts(&self) -> (String, Value) {
        let standard = |name: &str| format!("org.varlink.service.{name}");
        let ours = |name: &str| format!("{}.{name}", super::interface::NAME);
        match self {
            Error::InterfaceNotFound { interface } => {
                (standard("InterfaceNotFound"), json!({ "interface": interface }))
            }
            Error::MethodNotFound { method } => {
                (standard("MethodNotFound"), json!({ "method": method }))
            }
            Error::MethodNotImplemented { method } => {
                (standard("MethodNotImplemented"), json!({ "method": method }))
            }
            Error::InvalidParameter { parameter } => {
                (standard("InvalidParameter"), json!({ "parameter": parameter }))
            }
            Error::ExpectedMore => (standard("ExpectedMore"), json!({})),
            Error::NoSuchUnit { unit, suggestion } => {
                (ours("NoSuchUnit"), json!({ "unit": unit, "suggestion": suggestion }))
            }
            Error::Refused { unit, reason } => {
                (ours("Refused"), json!({ "unit": unit, "reason": reason }))
            }
            Error::InvalidUnits { problems } => {
                (ours("InvalidUnits"), json!({ "problems": problems }))
            }
            Error::NoSuchSignal { signal, suggestion } => {
                (ours("NoSuchSignal"), json!({ "signal": signal, "suggestion": suggestion }))
            }
            Error::PermissionDenied { reason } => {
                (ours("PermissionDenied"), json!({ "reason": reason }))
            }
            Error::TooSlow { dropped } => (ours("TooSlow"), json!({ "dropped": dropped })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages(chunks: &[&[u8]]) -> Vec<String> {
        let mut input = Input::default();
        let mut found = Vec::new();
        for chunk in chunks {
            input.push(chunk);
            while let Some(message) = input.next_message() {
                found.push(String::from_utf8(message).unwrap());
            }
        }
        found
    }

    #[test]
    fn messages_end_with_nul() {
        assert_eq!(messages(&[b"a\0b\0c"]), ["a", "b"]);
        assert_eq!(messages(&[b"a", b"b", b"\0", b"c\0\0"]), ["ab", "c", ""]);
        assert!(messages(&[b"", b"abc"]).is_empty());
    }

    #[test]
    fn a_message_without_end_is_cut() {
        let mut input = Input::default();
        input.push(&vec![b'x'; MESSAGE_MAX]);
        assert_eq!(input.next_message(), None);
        assert!(!input.is_too_long());
        assert_eq!(input.room(), 1);
        input.push(b"x");
        assert_eq!(input.next_message(), None);
        assert!(input.is_too_long());
        assert_eq!(input.room(), 0);
    }

    #[test]
    fn calls() {
        let parse = |text: &str| Message::parse(text.as_bytes());
        let call = parse(r#"{"method":"a.b.C","parameters":{"x":1},"more":true}"#).unwrap();
        assert_eq!((call.method.as_str(), call.more, call.oneway), ("a.b.C", true, false));
        assert_eq!(call.parameters["x"], 1);
        let call = parse(r#"{"method":"C","parameters":null,"oneway":true,"z":1}"#).unwrap();
        assert!(call.parameters.is_empty() && call.oneway);
        for (text, member) in [
            ("{}", "method"),
            (r#"{"method":1}"#, "method"),
            (r#"{"method":"x","parameters":[]}"#, "parameters"),
            (r#"{"method":"x","more":1}"#, "more"),
            (r#"{"method":"x","oneway":"yes"}"#, "oneway"),
        ] {
            assert_eq!(parse(text), Err(Malformed::Member(member)), "{text}");
        }
        for text in ["", "x", "[]", "1", "{\"method\":\"x\"}}", "{\"method\":\"\u{0}\"}"] {
            assert!(matches!(parse(text), Err(Malformed::NotJson(_))), "{text}");
        }
        let deep = "[".repeat(MESSAGE_MAX);
        assert!(matches!(parse(&deep), Err(Malformed::NotJson(_))), "no recursion without end");
    }

    #[test]
    fn replies() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(reply(&json!({"a": "\u{0}"}))), "{\"parameters\":{\"a\":\"\\u0000\"}}\0");
        assert_eq!(text(reply_and_go_on("{}")), "{\"continues\":true,\"parameters\":{}}\0");
        let refused = Error::Refused { unit: None, reason: "no".to_owned() };
        assert_eq!(
            text(error(&refused)),
            "{\"error\":\"io.rinit.Manager.Refused\",\
             \"parameters\":{\"reason\":\"no\",\"unit\":null}}\0"
        );
        let unknown = Error::MethodNotFound { method: "x".to_owned() };
        assert!(text(error(&unknown)).contains("org.varlink.service.MethodNotFound"));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: crate::control::fuzz_cases(),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// However a stream is cut into pieces, the same messages come out, and every one ends
        /// in a call or in a reason.
        #[test]
        fn any_bytes_in_any_pieces(
            bytes in proptest::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(0)], 0..400),
            cuts in proptest::collection::vec(0usize..400, 0..6),
        ) {
            let whole: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut input = Input::default();
            let mut found = Vec::new();
            for pair in cuts.windows(2) {
                input.push(&bytes[pair[0]..pair[1]]);
                while let Some(message) = input.next_message() {
                    found.push(message);
                }
            }
            prop_assert_eq!(found.len(), whole.len() - 1);
            for (message, part) in found.iter().zip(&whole) {
                prop_assert_eq!(message.as_slice(), *part);
                let _ = Message::parse(message);
            }
        }

        /// Calls that are nearly right: routing answers each, and every answer is JSON.
        #[test]
        fn nearly_calls(
            method in prop_oneof![
                "[a-zA-Z.]{0,12}",
                "(io.rinit.Manager|org.varlink.service)[.]?(List|Describe|Start|Events|GetInfo|X)?",
            ],
            key in "(unit|wait|signal|interface|x)",
            value in prop_oneof![
                Just(Value::Null), any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from), ".{0,8}".prop_map(Value::from),
            ],
            more in any::<bool>(),
        ) {
            let text = json!({"method": method, "parameters": {key: value}, "more": more});
            let message = Message::parse(text.to_string().as_bytes()).unwrap();
            if let Err(found) = crate::control::interface::Call::route(&message) {
                let bytes = error(&found);
                let (last, json) = bytes.split_last().unwrap();
                prop_assert_eq!(*last, 0);
                prop_assert!(serde_json::from_slice::<Value>(json).unwrap()["error"].is_string());
            }
        }
    }
}
