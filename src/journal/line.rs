//! How a line of a service looks on our own output.
//!
//! Not where lines end (`relay`). **Invariant:** one line in is one line out, and on a terminal
//! no line can do more than set its own colours.

use std::borrow::Cow;

use super::protocol::Source;
use super::ring::Record;
use crate::sys::clock;
use crate::unit::counted::counted;

/// How lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `web@2 | listening on 8000`
    Text,
    /// One JSON object a line.
    Json,
}

/// A piece of a stream: a line, or a part of one that is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// Without its newline.
    pub text: &'a [u8],
    /// Its end has not come: the pipe was full before.
    pub is_cut: bool,
}

/// Appends a line as text; control characters are made harmless for a terminal.
pub fn write_text(into: &mut Vec<u8>, source: &Source, line: Line<'_>, terminal: bool) {
    into.extend_from_slice(source.label().as_bytes());
    into.extend_from_slice(b" | ");
    if terminal {
        write_harmless(into, line.text)
    } else {
        into.extend_from_slice(line.text)
    }
    into.push(b'\n');
}

/// Appends a line as JSON; `time` as RFC 3339 has it.
pub fn write_json(into: &mut Vec<u8>, source: &Source, line: Line<'_>, time: &str) {
    let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
    let message: Cow<'_, str> = String::from_utf8_lossy(text);
    into.extend_from_slice(b"{\"time\":");
    write_string(into, time);
    into.extend_from_slice(b",\"unit\":");
    write_string(into, &source.unit);
    if let Some(instance) = source.instance() {
        into.extend_from_slice(b",\"instance\":");
        write_string(into, instance);
    }
    into.extend_from_slice(b",\"stream\":");
    write_string(into, source.stream.as_str());
    into.extend_from_slice(format!(",\"pid\":{}", source.pid).as_bytes());
    into.extend_from_slice(b",\"message\":");
    write_string(into, &message);
    if line.is_cut {
        into.extend_from_slice(b",\"line_break\":\"line-max\"");
    }
    into.extend_from_slice(b"}\n");
}

/// Appends the last lines of a unit that failed: lines of rinit's own, as they look.
pub fn write_tail(into: &mut Vec<u8>, unit: &str, tail: &[Record], format: Format, terminal: bool) {
    match format {
        Format::Text => {
            let lines = counted(tail.len(), "line");
            let head = format!("rinit: {unit}: the last {lines} it wrote:\n");
            into.extend_from_slice(head.as_bytes());
            for record in tail {
                into.extend_from_slice(b"rinit:   ");
                write_text(into, &record.source, record.line(), terminal);
            }
        }
        Format::Json => {
            let text = |record: &Record| String::from_utf8_lossy(&record.text).into_owned();
            let lines: Vec<String> = tail.iter().map(text).collect();
            let object = serde_json::json!({
                "time": clock::wall(), "level": "error", "event": "lines", "unit": unit,
                "message": format!("the last {} lines it wrote", lines.len()), "lines": lines,
            });
            into.extend_from_slice(object.to_string().as_bytes());
            into.push(b'\n');
        }
    }
}

fn write_string(into: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(into, text);
}

/// Colours (ECMA-48, SGR) and tabs pass; every other control character, and what is no UTF-8,
/// is shown as `\x1b`. After colours the terminal's own come back.
pub fn write_harmless(into: &mut Vec<u8>, text: &[u8]) {
    if write_shown(into, text, true) {
        into.extend_from_slice(b"\x1b[0m");
    }
}

/// The same without the colours.
pub fn write_colourless(into: &mut Vec<u8>, text: &[u8]) {
    write_shown(into, text, false);
}

/// Whether there were colours; `keep`: they pass.
fn write_shown(into: &mut Vec<u8>, text: &[u8], keep: bool) -> bool {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut coloured = false;
    for part in text.utf8_chunks() {
        let mut rest = part.valid();
        while let Some(character) = rest.chars().next() {
            let size = match sgr(rest) {
                Some(size) => {
                    coloured = true;
                    into.extend(rest.bytes().take(if keep { size } else { 0 }));
                    size
                }
                None => {
                    write_character(into, character);
                    character.len_utf8()
                }
            };
            rest = rest.get(size..).unwrap_or("");
        }
        part.invalid().iter().for_each(|byte| write_escaped(into, u32::from(*byte)));
    }
    coloured
}

/// The length of the sequence that sets colours with which a text begins.
pub fn sgr(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let size = parameters.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'))?;
    parameters.get(size..)?.starts_with('m').then_some(size + 3)
}

fn write_character(into: &mut Vec<u8>, character: char) {
    // Those of U+0080 to U+009F can begin a sequence as well as ESC.
    if character.is_control() && character != '\t' {
        write_escaped(into, u32::from(character));
    } else {
        into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn write_escaped(into: &mut Vec<u8>, code: u32) {
    into.extend_from_slice(format!("\\x{code:02x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::protocol::Stream;

    fn source() -> Source {
        let unit = "web@2.service".into();
        Source { unit, is_instance: true, stream: Stream::Stderr, pid: 7 }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut into = Vec::new();
        write(&mut into);
        into.escape_ascii().to_string()
    }

    #[test]
    fn text_is_left_as_it_is_but_on_a_terminal() {
        let line = Line { text: b"a\x1b[2Jb\xff\x07\r", is_cut: false };
        for (terminal, expected) in
            [(false, r"web@2 | a\x1b[2Jb\xff\x07\r\n"), (true, r"web@2 | a\\x1b[2Jb\\xff\\x07\n")]
        {
            assert_eq!(written(|into| write_text(into, &source(), line, terminal)), expected);
        }
    }

    #[test]
    fn what_a_terminal_is_shown() {
        for (text, expected) in [
            (&b""[..], ""),
            ("tab\tä".as_bytes(), "tab\\t\\xc3\\xa4"),
            (b"\x1b[1;31mred\x1b[m", "\\x1b[1;31mred\\x1b[m\\x1b[0m"),
            (b"\x1b[31", "\\\\x1b[31"),
            (b"\x1b]0;title\x07", "\\\\x1b]0;title\\\\x07"),
            (b"50%\r100%", "50%\\\\x0d100%"),
            ("\u{9b}2J".as_bytes(), "\\\\x9b2J"),
            (b"\x1b[31m\x1b[2J", "\\x1b[31m\\\\x1b[2J\\x1b[0m"),
        ] {
            assert_eq!(written(|into| write_harmless(into, text)), expected, "{text:?}");
        }
    }

    #[test]
    fn json_is_json_whatever_the_line() {
        let line = Line { text: b"\"\xff\x01\n\r", is_cut: true };
        let mut into = Vec::new();
        write_json(&mut into, &source(), line, "2026-01-31T12:00:00.000000Z");
        assert_eq!(into.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&into).unwrap();
        let expected = serde_json::json!({
            "time": "2026-01-31T12:00:00.000000Z", "unit": "web@2.service", "instance": "2",
            "stream": "stderr", "pid": 7, "message": "\"\u{fffd}\u{1}\n", "line_break": "line-max",
        });
        assert_eq!(value, expected);
    }
}
