//! How metrics are written: OpenMetrics 1.0, or Prometheus' older text format (0.0.4).
//!
//! Not which metrics there are (`metrics`). **Invariant:** a family is written whole, its head
//! once and before its samples, and only if it has a sample.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::time::Duration;

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, which everything reads.
    Text,
}

impl Format {
    /// What `Content-Type` says.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics for who asks for it, and not for the other one more urgently (RFC 9110, Accept).
pub fn negotiate(accept: &str) -> Format {
    let (mut open, mut text) = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("").to_ascii_lowercase();
        let (mut quality, mut version) = (1000, "");
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.to_ascii_lowercase().as_str() {
                "q" => quality = permille(value),
                "version" => version = value.trim_matches('"'),
                _ => {}
            }
        }
        match name.as_str() {
            "application/openmetrics-text" if matches!(version, "" | "1.0.0") => {
                open = open.max(quality);
            }
            "text/plain" => text = text.max(quality),
            _ => {}
        }
    }
    if open > 0 && open >= text { Format::OpenMetrics } else { Format::Text }
}

/// `0.5` is 500; what is no quality is none.
fn permille(text: &str) -> u32 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" => 1000,
        "0" if digits(rest) && rest.len() <= 3 => format!("{rest:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// What a family is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows; its samples end in `_total`.
    Counter,
    /// Says something in its labels; its samples end in `_info`.
    Info,
}

/// A number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// As it is.
    Number(u64),
    /// In seconds.
    Seconds(Duration),
}

impl From<bool> for Value {
    fn from(it: bool) -> Value {
        Value::Number(u64::from(it))
    }
}

/// A name and its value; an empty value is as good as no label.
pub type Label<'a> = (&'static str, &'a str);

/// A text that grows by families.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    text: String,
}

/// A family that is being written.
#[derive(Debug)]
pub struct Family<'a> {
    exposition: &'a mut Exposition,
    name: &'static str,
    kind: Kind,
    help: &'static str,
    begun: bool,
}

impl Exposition {
    /// Nothing yet.
    pub fn new(format: Format) -> Exposition {
        Exposition { format, text: String::new() }
    }

    /// Begins a family; one whose name ends in `_seconds` or `_bytes` has that unit.
    pub fn family(&mut self, kind: Kind, name: &'static str, help: &'static str) -> Family<'_> {
        Family { exposition: self, name, kind, help, begun: false }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[Label<'_>], value: impl Into<Value>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.head();
        }
        let suffix = self.suffix();
        let text = &mut self.exposition.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let mut mark = '{';
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            text.push(mark);
            text.push_str(name);
            text.push_str("=\"");
            escape(value, text);
            text.push('"');
            mark = ',';
        }
        if mark == ',' {
            text.push('}');
        }
        // Writing to a String cannot fail.
        let _ = match value.into() {
            Value::Number(number) => writeln!(text, " {number}"),
            Value::Seconds(time) => {
                writeln!(text, " {}.{:06}", time.as_secs(), time.subsec_micros())
            }
        };
    }

    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Gauge => "",
            Kind::Counter => "_total",
            Kind::Info => "_info",
        }
    }

    fn head(&mut self) {
        let (name, help, suffix) = (self.name, self.help, self.suffix());
        let text = &mut self.exposition.text;
        let _ = match self.exposition.format {
            Format::OpenMetrics => {
                let kind = match self.kind {
                    Kind::Gauge => "gauge",
                    Kind::Counter => "counter",
                    Kind::Info => "info",
                };
                let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit));
                let unit = unit.map_or_else(String::new, |unit| format!("# UNIT {name} {unit}\n"));
                write!(text, "# TYPE {name} {kind}\n{unit}# HELP {name} {help}\n")
            }
            Format::Text => {
                let kind = if self.kind == Kind::Counter { "counter" } else { "gauge" };
                write!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n")
            }
        };
    }
}

impl From<u64> for Value {
    fn from(it: u64) -> Value {
        Value::Number(it)
    }
}

impl From<Duration> for Value {
    fn from(it: Duration) -> Value {
        Value::Seconds(it)
    }
}

/// Both formats escape the same three in a label's value.
fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn who_gets_which() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.1";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, */*", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.001", Format::OpenMetrics),
            ("application/openmetrics-text; version=2.0.0", Format::Text),
            ("application/openmetrics-text; version=0.0.1", Format::Text),
            ("application/openmetrics-text; q=0", Format::Text),
            ("application/openmetrics-text; q=0.5, text/plain; q=0.51", Format::Text),
            ("application/openmetrics-text; q=0.5, text/plain; q=0.5", Format::OpenMetrics),
            ("application/openmetrics-text; q=x;;=,;", Format::Text),
        ] {
            assert_eq!(negotiate(accept), format, "{accept}");
        }
    }

    fn example(format: Format) -> String {
        let mut text = Exposition::new(format);
        text.family(Kind::Gauge, "x_none_bytes", "Has no sample.");
        let mut family = text.family(Kind::Counter, "x_cpu_seconds", "CPU time.");
        family.sample(&[("unit", "a\"b\\c\nd"), ("empty", "")], Duration::from_millis(1_500));
        family.sample(&[("unit", "e"), ("more", "f")], 0u64);
        text.family(Kind::Info, "x_build", "Build.").sample(&[("version", "1")], true);
        text.family(Kind::Gauge, "x_ready", "Whether.").sample(&[], false);
        text.finish()
    }

    #[test]
    fn two_formats() {
        expect![[r#"
            # TYPE x_cpu_seconds counter
            # UNIT x_cpu_seconds seconds
            # HELP x_cpu_seconds CPU time.
            x_cpu_seconds_total{unit="a\"b\\c\nd"} 1.500000
            x_cpu_seconds_total{unit="e",more="f"} 0
            # TYPE x_build info
            # HELP x_build Build.
            x_build_info{version="1"} 1
            # TYPE x_ready gauge
            # HELP x_ready Whether.
            x_ready 0
            # EOF
        "#]]
        .assert_eq(&example(Format::OpenMetrics));
        expect![[r#"
            # HELP x_cpu_seconds_total CPU time.
            # TYPE x_cpu_seconds_total counter
            x_cpu_seconds_total{unit="a\"b\\c\nd"} 1.500000
            x_cpu_seconds_total{unit="e",more="f"} 0
            # HELP x_build_info Build.
            # TYPE x_build_info gauge
            x_build_info{version="1"} 1
            # HELP x_ready Whether.
            # TYPE x_ready gauge
            x_ready 0
        "#]]
        .assert_eq(&example(Format::Text));
    }
}
