//! What holds for every text: no parser panics, every error points into its text, what is
//! written is read back, and systemd's own tools give the same answers.
//!
//! Not the tables of each parser: those stand beside it. `RINIT_CASES` sets how many texts are
//! tried (2,000). A tool that is not here is said and passed over, or is an error under
//! `RINIT_TEST_REQUIRE=all`. **Invariant:** every parser of this layer is called here.

#![allow(clippy::disallowed_methods)] // tests ask the environment and run systemd's tools

use std::fmt::Write;
use std::process::{Command, Output};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::address::{parse_http, parse_listen, parse_tcp};
use super::command::{ExecCommand, parse_commands};
use super::condition::parse_condition;
use super::environment::{
    Environment, apply_unset, is_variable_name, parse_assignments, parse_environment_file,
};
use super::instances::{MARK, numbered, parse_cfs_quota, parse_cpu_max, parse_memory_max};
use super::name::UnitName;
use super::notification::{NotifyMessage, is_fd_name};
use super::service::{ExitStatusSet, Resource};
use super::socket::{ListenAddress, ListenKind};
use super::specifier::{HostFacts, Specifiers, escape, escape_path, unescape, unescape_path};
use super::syntax::split_words;
use super::value::*;
use super::{Condition, ConditionKind};

fn config() -> ProptestConfig {
    let cases = std::env::var("RINIT_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(2_000),
        failure_persistence: None,
        ..Default::default()
    }
}

/// Pieces that mean something to one parser or another, and any character between them.
const PIECES: [&str; 64] = [
    " ",
    "\t",
    "\n",
    "\r",
    "\u{b}",
    "\0",
    "\\",
    "\"",
    "'",
    ";",
    "\\;",
    "$",
    "$$",
    "${",
    "}",
    "$A",
    "${A}",
    ":",
    "-",
    "+",
    "!",
    "|",
    "@",
    "/",
    "//",
    ".",
    "..",
    "%",
    "%%",
    "%i",
    "%I",
    "%f",
    "%n",
    "%m",
    "=",
    "A",
    "A=",
    "#",
    "\\x",
    "\\x41",
    "\\xff",
    "\\101",
    "\\u00e9",
    "\\U0001F600",
    "é",
    "😀",
    "infinity",
    "0",
    "5",
    "9223372036854775807",
    "18446744073709551615",
    "s",
    "min",
    "M",
    "µs",
    "K",
    "E",
    "SIG",
    "TERM",
    "RTMIN",
    "file:",
    "append:",
    "0x",
    "yes",
];

const NOTIFY_PIECES: [&str; 24] = [
    "READY=1",
    "RELOADING=1",
    "STOPPING=1",
    "STATUS=",
    "ERRNO=",
    "MAINPID=",
    "WATCHDOG=",
    "WATCHDOG_USEC=",
    "EXTEND_TIMEOUT_USEC=",
    "MONOTONIC_USEC=",
    "FDSTORE=1",
    "FDSTOREREMOVE=1",
    "FDNAME=",
    "FDPOLL=0",
    "BARRIER=1",
    "trigger",
    "\n",
    "\n",
    "\r",
    "0",
    "1",
    "-",
    ":",
    "\u{e9}",
];

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => select(PIECES.as_slice()).prop_map(str::to_string),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn points_into(text: &str, error: &ValueError) {
    if let Some(range) = &error.range {
        assert!(text.get(range.clone()).is_some(), "{range:?} of {text:?}: {error}");
    }
    let hint = error.hint.as_deref().unwrap_or("-");
    for shown in [error.message.as_str(), hint] {
        assert!(!shown.is_empty() && !shown.contains(char::is_control), "{error:?}");
    }
}

fn check<T>(text: &str, result: Result<T, ValueError>) -> Option<T> {
    result.map_err(|error| points_into(text, &error)).ok()
}

const RESOURCES: [Resource; 5] =
    [Resource::Nofile, Resource::Memlock, Resource::Cpu, Resource::Rttime, Resource::Nice];

const KINDS: [ListenKind; 4] =
    [ListenKind::Stream, ListenKind::Datagram, ListenKind::SequentialPacket, ListenKind::Fifo];

fn written_as_name(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Path(name) | ListenAddress::Abstract(name) => !name.contains('\0'),
        ListenAddress::Port(_) | ListenAddress::Ip(_) => false,
    }
}

fn every_value_parser(text: &str) {
    check(text, parse_timespan(text));
    check(text, parse_bool(text));
    check(text, parse_size(text));
    check(text, parse_mode(text)).inspect(|mode| assert!(*mode <= 0o7777));
    check(text, parse_unsigned(text, 3..=300)).inspect(|n| assert!((3..=300).contains(n)));
    check(text, parse_signed(text, -20..=19)).inspect(|n| assert!((-20..=19).contains(n)));
    check(text, parse_signal(text));
    check(text, parse_stream_input(text));
    check(text, parse_stream_output(text));
    for kind in KINDS {
        let address = check(text, parse_listen(kind, text));
        let unix = text.starts_with(['/', '@']);
        assert!(address.is_none_or(|address| unix == written_as_name(&address)), "{text:?}");
    }
    check(text, parse_http(text));
    check(text, parse_tcp(text));
    parse_cpu_max(text).inspect(|quota| assert!(quota.quota > 0 && quota.period > 0));
    parse_cfs_quota(text, text);
    parse_memory_max(text);
    for resource in RESOURCES {
        if let Some(limit) = check(text, parse_limit(resource, text)) {
            assert!(limit.soft.unwrap_or(u64::MAX) <= limit.hard.unwrap_or(u64::MAX));
        }
    }
    let mut statuses = ExitStatusSet::default();
    check(text, parse_exit_statuses(text, &mut statuses));
    suggest(text, ["ExecStart", "User"].into_iter());
}

fn every_line_parser(text: &str, specifiers: &Specifiers<'_>) {
    if let Some((words, warnings)) = check(text, split_words(text)) {
        warnings.iter().for_each(|warning| points_into(text, warning));
        let mut end = 0;
        for word in words {
            assert!(word.range.start >= end && !word.range.is_empty(), "{text:?}");
            end = word.range.end;
        }
    }
    let environment: Environment = [("A".into(), " 'b c' \\".into())].into();
    let (commands, errors, warnings) = parse_commands(text, specifiers);
    errors.iter().chain(&warnings).for_each(|error| points_into(text, error));
    for command in commands {
        assert!(!command.argv(&environment).is_empty());
        assert!(command.program.starts_with('/') || !command.program.contains('/'), "{text:?}");
    }
    if let Ok(command) = ExecCommand::from_argv(text.split(' ').map(str::to_string).collect()) {
        assert_eq!(command.argv(&environment).len(), text.split(' ').count());
    }
    for (name, _) in check(text, parse_assignments(text, specifiers)).unwrap_or_default() {
        assert!(is_variable_name(&name));
    }
    let plain = check(text, specifiers.expand(text));
    let web = UnitName::parse("web.service").unwrap();
    let instances = Specifiers { unit: &web, instances: true, ..*specifiers };
    if let Some(marked) = check(text, instances.expand(text)) {
        // What comes of the mark is what a template's instance would be given.
        let first = UnitName::parse("web@1.service").unwrap();
        let alone = Specifiers { unit: &first, instances: false, ..*specifiers };
        assert!(plain.is_some() || text.contains('%'), "{text:?}");
        assert_eq!(Ok(numbered(&marked, 1)), alone.expand(text), "{text:?}");
        assert!(!numbered(&marked, 1).contains(MARK));
    }
    check(text, unescape(text));
    unescape_path(text).unwrap_or_default();
    let _condition: Condition = parse_condition(ConditionKind::PathExists, text);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_text_panics_a_parser(text in any_text()) {
        let (unit, host) = (UnitName::parse(r"a-b@c\x2dd.service").unwrap(), HostFacts::default());
        every_value_parser(&text);
        every_line_parser(&text, &Specifiers { unit: &unit, fragment: None, host: &host, instances: false });
    }

    #[test]
    fn no_bytes_panic_the_file_reader(bytes in proptest::collection::vec(
        prop_oneof![8 => select(b"A=\\\"'#; \t\n\r$`".as_slice()), 1 => any::<u8>()], 0..64)
    ) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        let (assignments, problems) = parse_environment_file(&bytes);
        assert!(assignments.iter().all(|(name, _)| is_variable_name(name.to_str().unwrap())));
        assert!(problems.iter().all(|(line, _)| (1..=lines).contains(line)), "{problems:?}");
        let mut environment: Environment = assignments.into_iter().collect();
        apply_unset(&mut environment, &["A".to_string(), "AA=".to_string()]);
        assert!(!environment.contains_key(std::ffi::OsStr::new("A")));
    }

    /// Lines that nearly are what sd_notify(3) knows, and bytes between them.
    #[test]
    fn no_bytes_panic_the_reader_of_notifications(pieces in proptest::collection::vec(
        prop_oneof![
            8 => select(NOTIFY_PIECES.as_slice()).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ], 0..24)
    ) {
        let bytes = pieces.concat();
        let message = NotifyMessage::parse(&bytes);
        assert!(message.main_pid.is_none_or(|pid| pid > 0));
        assert!(message.fdname.as_deref().is_none_or(is_fd_name));
        assert!(message.status.as_deref().is_none_or(|status| !status.contains(['\n', '\0'])));
        if message.barrier {
            let alone = NotifyMessage { barrier: true, ..NotifyMessage::default() };
            assert_eq!(message, alone);
        }
        // A line more changes nothing that was said before it, unless it is a barrier.
        let more = [bytes.as_slice(), b"\nX=1\n"].concat();
        assert_eq!(NotifyMessage::parse(&more), message);
    }

    #[test]
    fn a_span_is_read_back(
        microseconds in prop_oneof![any::<u64>(), 0..10_000_000_000_u64, 0..2_000_000_u64]
    ) {
        let span = Duration::from_micros(microseconds.min(u64::MAX / 2));
        let text = format_timespan(span);
        assert_eq!(parse_timespan(&text), Ok(Some(span)), "{text}");
    }

    #[test]
    fn a_name_is_unescaped_to_what_was_escaped(text in any_text()) {
        if !text.contains('\0') {
            assert_eq!(unescape(&escape(&text)).as_deref(), Ok(text.as_str()));
        }
    }

    /// Whatever the words: quoted, they are read as they were.
    #[test]
    fn quoted_words_are_read_back(words in proptest::collection::vec(any_text(), 0..4)) {
        let quote = |word: &String| {
            format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
        };
        let text = words.iter().map(quote).collect::<Vec<_>>().join(" ");
        let (found, warnings) = split_words(&text).unwrap();
        assert_eq!(found.into_iter().map(|word| word.text).collect::<Vec<_>>(), words);
        assert_eq!(warnings, []);
    }
}

/// Runs a tool of systemd; `None`, with a line that says so, where it is missing.
/// What one of systemd's tools answers; `None`: it is not here, and that was said.
pub(crate) fn oracle(tool: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(tool);
    command.args(arguments).env("LC_ALL", "C.UTF-8").env("SYSTEMD_LOG_LEVEL", "info");
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            let required = std::env::var("RINIT_TEST_REQUIRE").is_ok_and(|value| value == "all");
            assert!(!required, "{tool} is required: {error}");
            println!("skipped: {tool} does not run here: {error}");
            None
        }
    }
}

fn spans() -> Vec<String> {
    let numbers = [
        "5",
        "05",
        "+5",
        "5.5",
        ".7",
        "5.",
        "0",
        "1e3",
        "1.2.3",
        "-5",
        "1.000001",
        "0.0000019",
        "9223372036854775807",
        "9223372036854775808",
    ];
    let units = [
        "", "s", "sec", "secs", "second", "seconds", "m", "M", "min", "minute", "mins", "ms",
        "msec", "us", "usec", "µs", "μs", "h", "hr", "hour", "d", "day", "w", "weeks", "month",
        "months", "y", "years", "x", "S", " s", " 2", ".5", "s.2", "min30s", "+3", "-3", " x",
    ];
    let fixed = [
        "",
        " ",
        "infinity",
        "infinity .7",
        " infinity ",
        "Infinity",
        "infinit",
        "+.7",
        "3.s",
        "12.34 .56",
        "12.34s.56",
        "0.-0",
        "3. 1",
        "1y 2M 3w 4d 5h 6min 7s 8ms 9us",
        "18446744073708",
        "18446744073709",
        "600000y",
        "400000y 400000y",
        "\u{b}5",
        "5\u{b}",
        "5 s s",
        "1,5s",
        "٣s",
    ];
    let mut table: Vec<String> = fixed.iter().map(|text| text.to_string()).collect();
    for number in numbers {
        table.extend(units.iter().map(|unit| format!("{number}{unit}")));
    }
    table
}

#[test]
fn spans_are_read_as_systemd_reads_them() {
    let (good, bad): (Vec<String>, Vec<String>) =
        spans().into_iter().partition(|text| parse_timespan(text).is_ok());
    assert!(good.len() > 200 && bad.len() > 100, "{} and {}", good.len(), bad.len());
    let arguments: Vec<&str> =
        ["timespan", "--"].into_iter().chain(good.iter().map(String::as_str)).collect();
    let Some(output) = oracle("systemd-analyze", &arguments) else { return };
    let (shown, failed) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "systemd refuses what rinit reads: {failed}");
    let field = |name: &str| -> Vec<String> {
        let lines = shown.lines().filter_map(|line| line.trim().strip_prefix(name));
        lines.map(|value| value.trim().to_string()).collect()
    };
    let (numbers, written) = (field("μs:"), field("Human:"));
    assert_eq!((numbers.len(), written.len()), (good.len(), good.len()));
    for ((text, number), written) in good.iter().zip(numbers).zip(written) {
        let span = parse_timespan(text).unwrap();
        let ours = span.map_or(u64::MAX, |span| u64::try_from(span.as_micros()).unwrap());
        assert_eq!(ours.to_string(), number, "{text}");
        let ours = span.map_or("infinity".to_string(), format_timespan);
        assert_eq!(ours, without_trailing_zeros(&written), "{text}");
    }
    for text in bad {
        let Some(output) = oracle("systemd-analyze", &["timespan", "--", &text]) else { return };
        assert!(!output.status.success(), "systemd reads what rinit refuses: {text:?}");
    }
}

/// systemd writes `5.500000s` where we write `5.5s`.
fn without_trailing_zeros(text: &str) -> String {
    let shorten = |part: &str| match part.split_once('.') {
        Some((whole, fraction)) => {
            let digits = fraction.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = fraction.strip_prefix(digits).unwrap();
            format!("{whole}.{}{unit}", digits.trim_end_matches('0'))
        }
        None => part.to_string(),
    };
    text.split(' ').map(shorten).collect::<Vec<_>>().join(" ")
}

#[test]
fn names_are_escaped_as_systemd_escapes_them() {
    let texts = [
        "foo/bar", "foo-bar", ".x", "a.b", "é ü", "a\\b", "a\"b'c", "/", "//a//b/", "/a/./b",
        "%$@!", "a\nb", "A:_9",
    ];
    let run = |options: &[&str], texts: &[&str]| {
        let arguments: Vec<&str> = [options, &["--"], texts].concat();
        let output = oracle("systemd-escape", &arguments)?;
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let ours: Vec<String> = texts.iter().map(|text| escape(text)).collect();
    let Some(theirs) = run(&[], &texts) else { return };
    assert_eq!(ours.join(" "), theirs.trim_end());
    for (text, escaped) in texts.iter().zip(&ours) {
        assert_eq!(run(&["--unescape"], &[escaped]).unwrap(), format!("{text}\n"));
    }
    for path in ["/", "//a//b/", "/a/./b", "/.x", "/a b-c", "/é"] {
        let escaped = escape_path(path).unwrap();
        assert_eq!(run(&["--path"], &[path]).unwrap(), format!("{escaped}\n"));
        let back = run(&["--path", "--unescape"], &[&escaped]).unwrap();
        assert_eq!(format!("{}\n", unescape_path(&escaped).unwrap()), back);
    }
}

#[test]
fn exit_statuses_have_systemds_names() {
    let Some(output) = oracle("systemd-analyze", &["exit-status", "--no-pager"]) else { return };
    let shown = String::from_utf8(output.stdout).unwrap();
    let mut theirs = String::new();
    for line in shown.lines().skip(1) {
        let mut fields = line.split_whitespace();
        let (name, number) = (fields.next().unwrap(), fields.next().unwrap());
        writeln!(theirs, "{name} {number}").unwrap();
    }
    let ours = EXIT_STATUS_NAMES.map(|(name, number)| format!("{name} {number}\n"));
    assert_eq!(ours.concat(), theirs);
}

/// Lines that systemd starts and lines that it refuses; none ends with a backslash, which a unit
/// file cannot hold.
const LINES: [&str; 34] = [
    "/bin/echo one 'two two'",
    "/bin//echo///x ; /bin/true ; ; /bin/true ;",
    "/bin/true/",
    r"/bin/tr\ue",
    r"/bin/echo '\w+\K' \x00 \;x \; \073",
    "--/bin/true",
    "- /bin/true",
    "-",
    "@",
    "+",
    "+ /bin/true",
    "@/bin/true",
    "@/bin/true ; /bin/true",
    r"@/bin/true \; x",
    "-@/bin/true",
    "@-:+/bin/true x",
    "!!/bin/true",
    "!!!/bin/true",
    "+!/bin/true",
    "!+/bin/true",
    "::/bin/true",
    "/bin/echo 'x",
    "-/bin/echo 'x",
    "/bin/echo x ; /bin/echo \"y",
    "-/bin/true ; /bin/true/",
    "bin/true",
    "./true",
    "..",
    "true x",
    "\"-/bin/true\" x",
    "/bin/echo a\"b c\"d 'e'f",
    "'/bin/tr\"ue'",
    "/bin/./true",
    "/bin/echo $A ${A} $$ %i %%",
];

/// Addresses that both take, that both refuse, and that only rinit refuses.
const ADDRESSES: [(&str, bool); 34] = [
    ("8000", true),
    ("1", true),
    ("65535", true),
    ("127.0.0.1:80", true),
    ("0.0.0.0:80", true),
    ("[::1]:80", true),
    ("[::]:80", true),
    ("[::ffff:1.2.3.4]:80", true),
    ("/run/x.sock", true),
    ("/run/a b", true),
    ("@x", true),
    ("@x y", true),
    ("0", false),
    ("65536", false),
    ("-1", false),
    ("99999999999", false),
    ("127.0.0.1", false),
    ("127.0.0.1:0", false),
    ("127.0.0.1:65536", false),
    ("127.0.0.1:http", false),
    ("127.0.0.1:", false),
    ("1.2.3:80", false),
    ("1.2.3.4.5:80", false),
    ("256.0.0.1:80", false),
    ("::1", false),
    ("[::1]", false),
    ("[::1:80", false),
    ("[127.0.0.1]:80", false),
    ("localhost:80", false),
    ("*:80", false),
    (":80", false),
    ("run/x", false),
    ("/", false),
    ("@", false),
];

#[test]
fn addresses_are_refused_as_systemd_refuses_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (number, (address, _)) in ADDRESSES.iter().enumerate() {
        let stem = directory.path().join(format!("rinit-address{number}"));
        std::fs::write(stem.with_extension("service"), "[Service]\nExecStart=/bin/true\n").unwrap();
        let socket = stem.with_extension("socket");
        std::fs::write(&socket, format!("[Socket]\nListenStream={address}\n")).unwrap();
        paths.push(socket.into_os_string().into_string().unwrap());
    }
    for (address, taken) in ADDRESSES {
        let ours = parse_listen(ListenKind::Stream, address);
        assert_eq!(ours.is_ok(), taken, "{address}: {ours:?}");
    }
    let arguments: Vec<&str> = ["verify", "--man=no", "--generators=no"]
        .into_iter()
        .chain(paths.iter().map(String::as_str))
        .collect();
    let Some(output) = oracle("systemd-analyze", &arguments) else { return };
    let said = String::from_utf8(output.stderr).unwrap();
    for (number, (address, taken)) in ADDRESSES.iter().enumerate() {
        // A socket that listens nowhere is what is left of a refused address.
        let refused = format!("rinit-address{number}.socket: Unit has no Listen setting");
        assert_eq!(*taken, !said.contains(&refused), "{address}\n{said}");
    }
}

#[test]
fn command_lines_are_refused_as_systemd_refuses_them() {
    let directory = tempfile::tempdir().unwrap();
    let (unit, host) = (UnitName::parse("t.service").unwrap(), HostFacts::default());
    let mut paths = Vec::new();
    for (number, line) in LINES.iter().enumerate() {
        let path = directory.path().join(format!("rinit-line{number}.service"));
        let rest = "Type=oneshot\nRemainAfterExit=yes\nExecStop=/bin/true";
        std::fs::write(&path, format!("[Service]\n{rest}\nExecStart={line}\n")).unwrap();
        paths.push(path.into_os_string().into_string().unwrap());
    }
    let arguments: Vec<&str> = ["verify", "--man=no", "--generators=no"]
        .into_iter()
        .chain(paths.iter().map(String::as_str))
        .collect();
    let Some(output) = oracle("systemd-analyze", &arguments) else { return };
    let said = String::from_utf8(output.stderr).unwrap();
    for (number, line) in LINES.iter().enumerate() {
        let fatal = format!("rinit-line{number}.service: Unit configuration has fatal error");
        let specifiers = Specifiers { unit: &unit, fragment: None, host: &host, instances: false };
        let errors = parse_commands(line, &specifiers).1;
        assert_eq!(!errors.is_empty(), said.contains(&fatal), "{line}: {errors:?}\n{said}");
    }
}
