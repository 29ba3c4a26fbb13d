//! The rows of `[Service]` about what lies between fork and exec (systemd.exec(5)).
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

use super::Section::Service;
use super::unit::U32;
use super::{Context, Directive, Draft, Kind, row};
use crate::unit::passwd;
use crate::unit::raw::{Item, Value};
use crate::unit::service::{EnvironmentFile, Resource, WorkingDirectory};
use crate::unit::value::{self, ValueError};

#[rustfmt::skip]
pub(super) const ROWS: &[Directive] = &[
    row(Service, "User", Kind::Identity, "rinit's own", "Who the processes run as",
        |draft, item, cx| identity(&mut draft.unit.service.exec.user, item, cx)),
    row(Service, "Group", Kind::Identity, "the user's", "Their group",
        |draft, item, cx| identity(&mut draft.unit.service.exec.group, item, cx)),
    row(Service, "SupplementaryGroups", Kind::Identity, "the user's", "Further groups; an empty text resets the list",
        supplementary_groups),
    row(Service, "WorkingDirectory", Kind::Path, "rinit's own", "Where they start; ~ is the user's home, a leading - allows it to be missing",
        working_directory),
    row(Service, "UMask", Kind::Mode, "rinit's own", "Which permissions new files do not get",
        umask),
    row(Service, "Environment", Kind::Variables, "", "Variables, over those that rinit got",
        |draft, item, cx| cx.variables(&mut draft.unit.service.exec.environment, item)),
    row(Service, "EnvironmentFile", Kind::Paths, "", "Files of variables, read at each start, over Environment=; a leading - allows one to be missing",
        environment_file),
    row(Service, "PassEnvironment", Kind::Texts, "everything", "Documents what is passed on: rinit passes everything on",
        |draft, item, cx| cx.words(&mut draft.unit.service.exec.pass_environment, item)),
    row(Service, "UnsetEnvironment", Kind::Texts, "", "Variables, or NAME=value pairs, taken away last",
        |draft, item, cx| cx.words(&mut draft.unit.service.exec.unset_environment, item)),
    row(Service, "ExecSearchPath", Kind::Paths, "the unit's PATH", "Directories for a program named without a slash",
        exec_search_path),

    limit("LimitCPU", "Seconds of processor time"),
    limit("LimitFSIZE", "Bytes of a file"),
    limit("LimitDATA", "Bytes of the data segment"),
    limit("LimitSTACK", "Bytes of the stack"),
    limit("LimitCORE", "Bytes of a core dump"),
    limit("LimitRSS", "Bytes resident; no effect since Linux 2.4.30"),
    limit("LimitNOFILE", "Open files"),
    limit("LimitAS", "Bytes of address space"),
    limit("LimitNPROC", "Processes of the user"),
    limit("LimitMEMLOCK", "Bytes locked in memory"),
    limit("LimitLOCKS", "File locks; no effect since Linux 2.6"),
    limit("LimitSIGPENDING", "Queued signals"),
    limit("LimitMSGQUEUE", "Bytes of POSIX message queues"),
    limit("LimitNICE", "How far nice may be lowered"),
    limit("LimitRTPRIO", "The highest real-time priority"),
    limit("LimitRTTIME", "Microseconds of real-time processing without a pause"),
    row(Service, "Nice", Kind::Integer(-20, 19), "rinit's own", "Scheduling: -20 goes first, 19 last",
        |draft, item, cx| if let Some(nice) = cx.integer(item) {
            draft.unit.service.exec.nice = Some(nice);
        }),
    row(Service, "OOMScoreAdjust", Kind::Integer(-1000, 1000), "rinit's own, 100 more with Instances= or a memory limit", "Who the kernel kills when memory ends: 1000 first, -1000 never",
        |draft, item, cx| if let Some(adjust) = cx.integer(item) {
            draft.unit.service.exec.oom_score_adjust = Some(adjust);
        }),
    row(Service, "IgnoreSIGPIPE", Kind::Boolean, "no", "Whether SIGPIPE is ignored; no, as a shell and Docker start a program",
        |draft, item, cx| if let Some(yes) = cx.boolean(item) {
            draft.unit.service.exec.ignore_sigpipe = yes;
        }),
    row(Service, "StandardInput", Kind::Stream, "null, for a COMMAND inherit", "Where input comes from: null, inherit, tty, file:PATH, socket",
        |draft, item, cx| if let Some(stream) = path_text(item, cx, value::parse_stream_input) {
            draft.unit.service.exec.standard_input = Some(stream);
        }),
    row(Service, "StandardOutput", Kind::Stream, "journal, for a COMMAND inherit", "Where output goes: journal (captured, with the unit's name before each line), inherit, null, tty, socket, file:PATH, append:PATH, truncate:PATH",
        |draft, item, cx| if let Some(stream) = path_text(item, cx, value::parse_stream_output) {
            draft.unit.service.exec.standard_output = Some(stream);
        }),
    row(Service, "StandardError", Kind::Stream, "as StandardOutput=", "Where errors go",
        |draft, item, cx| if let Some(stream) = path_text(item, cx, value::parse_stream_output) {
            draft.unit.service.exec.standard_error = Some(stream);
        }),
    row(Service, "LogRateLimitBurst", Kind::Integer(0, U32), "0: all", "How many lines of the unit come out in an interval; the others are counted",
        |draft, item, cx| if let Some(burst) = cx.integer(item) {
            draft.unit.service.exec.log_rate_limit_burst = burst;
        }),
    row(Service, "LogRateLimitIntervalSec", Kind::TimeSpan, "30s", "The interval of LogRateLimitBurst=",
        |draft, item, cx| if let Some(span) = cx.duration(item) {
            draft.unit.service.exec.log_rate_limit_interval = Some(span);
        }),
    row(Service, "LogFile", Kind::Path, "", "Captured lines are appended to this file, too; a full one becomes FILE.1, and so on; rinit's own: images have no logrotate",
        |draft, item, cx| if let Some(path) = cx.text(item).and_then(|text| cx.path(item, text)) {
            draft.unit.service.exec.log_file = Some(path);
        }),
    row(Service, "LogMaxFileSize", Kind::Size, "10M", "When LogFile= is full: journald's SystemMaxFileSize=, for one unit; rinit's own",
        |draft, item, cx| if let Some(size) = cx.parsed(item, log_max_file_size) {
            draft.unit.service.exec.log_max_file_size = Some(size);
        }),
    row(Service, "LogMaxFiles", Kind::Integer(1, 1000), "5", "How many files LogFile= becomes at most, with the one that is written: journald's SystemMaxFiles=; rinit's own",
        |draft, item, cx| if let Some(count) = cx.integer(item) {
            draft.unit.service.exec.log_max_files = Some(count);
        }),
    row(Service, "TTYPath", Kind::Path, "/dev/console", "The terminal that tty means",
        |draft, item, cx| if let Some(path) = cx.text(item).and_then(|text| cx.path(item, text)) {
            draft.unit.service.exec.tty_path = Some(path);
        }),
];

const fn limit(name: &'static str, doc: &'static str) -> Directive {
    row(Service, name, Kind::Limit, "rinit's own", doc, set_limit)
}

const RESOURCES: [(&str, Resource); 16] = [
    ("LimitCPU", Resource::Cpu),
    ("LimitFSIZE", Resource::Fsize),
    ("LimitDATA", Resource::Data),
    ("LimitSTACK", Resource::Stack),
    ("LimitCORE", Resource::Core),
    ("LimitRSS", Resource::Rss),
    ("LimitNOFILE", Resource::Nofile),
    ("LimitAS", Resource::As),
    ("LimitNPROC", Resource::Nproc),
    ("LimitMEMLOCK", Resource::Memlock),
    ("LimitLOCKS", Resource::Locks),
    ("LimitSIGPENDING", Resource::Sigpending),
    ("LimitMSGQUEUE", Resource::Msgqueue),
    ("LimitNICE", Resource::Nice),
    ("LimitRTPRIO", Resource::Rtprio),
    ("LimitRTTIME", Resource::Rttime),
];

fn set_limit(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let name = cx.directive.name;
    let Some((_, resource)) = RESOURCES.iter().find(|(known, _)| *known == name) else {
        return;
    };
    if let Some(limit) = cx.parsed(item, |text| value::parse_limit(*resource, text)) {
        draft.unit.service.exec.limits.insert(*resource, limit);
    }
}

pub(super) fn identity(into: &mut Option<String>, item: &Item, cx: &mut Context<'_>) {
    if let Value::Float(_) = item.value {
        cx.mismatch(item);
        return;
    }
    let Some(text) = cx.scalar(item).and_then(|text| cx.expanded(item, text)) else {
        return;
    };
    let bad = |c: char| c.is_whitespace() || matches!(c, ':' | '/' | '\0');
    if text.is_empty() {
        *into = None;
    } else if text.contains(bad) || text.starts_with('-') {
        cx.refuse_text(item, format!("{text:?} is neither a name nor a number"));
    } else if may_be_identity(&text, item, cx) {
        *into = Some(text);
    }
}

fn supplementary_groups(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let groups = &mut draft.unit.service.exec.supplementary_groups;
    cx.words(groups, item);
    groups.retain(|group| may_be_identity(group, item, cx));
}

/// Whether a text may be a user or group: refuses numbers that the kernel knows otherwise.
fn may_be_identity(text: &str, item: &Item, cx: &mut Context<'_>) -> bool {
    let why = passwd::why_no_id(text);
    if let Some(why) = why {
        cx.refuse_text(item, format!("{text:?} is no user or group: {why}"));
    }
    why.is_none()
}

/// Less than this would be a new file every few lines.
const LOG_FILE_MIN: u64 = 4096;

fn log_max_file_size(text: &str) -> Result<u64, ValueError> {
    match value::parse_size(text)? {
        Some(size) if size < LOG_FILE_MIN => {
            let message = format!("{text} is too little for a log file");
            Err(ValueError::new(message).hint("the least is 4K; infinity: it grows for ever"))
        }
        size => Ok(size.unwrap_or(u64::MAX)),
    }
}

/// A leading `-` off a path, and whether it was there.
fn optional(text: &str) -> (&str, bool) {
    text.strip_prefix('-').map_or((text, false), |rest| (rest, true))
}

fn working_directory(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    let Some(text) = cx.text(item) else {
        return;
    };
    let (path, optional) = optional(text);
    let path = match path {
        "" => {
            draft.unit.service.exec.working_directory = None;
            return;
        }
        "~" => Some("~".to_string()),
        path => cx.path(item, path),
    };
    if let Some(path) = path {
        draft.unit.service.exec.working_directory = Some(WorkingDirectory { path, optional });
    }
}

fn umask(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    if let Some(mode) = cx.mode(item) {
        if mode > 0o777 {
            cx.refuse_text(item, format!("{mode:04o} is more than 0777"));
        } else {
            draft.unit.service.exec.umask = Some(mode);
        }
    }
}

fn environment_file(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    for part in cx.parts(item) {
        let list = &mut draft.unit.service.exec.environment_files;
        let Some(part) = part else {
            list.clear();
            continue;
        };
        let (path, optional) = optional(part.text);
        if let Some(path) = cx.path(part.item, path) {
            list.push(EnvironmentFile { path, optional });
        }
    }
}

fn exec_search_path(draft: &mut Draft, item: &Item, cx: &mut Context<'_>) {
    for part in cx.parts(item) {
        let list = &mut draft.unit.service.exec.exec_search_path;
        let Some(part) = part else {
            list.clear();
            continue;
        };
        for directory in part.text.split(':').filter(|directory| !directory.is_empty()) {
            list.extend(cx.path(part.item, directory));
        }
    }
}

/// A stream: specifiers are replaced first, for its path.
fn path_text<T>(
    item: &Item,
    cx: &mut Context<'_>,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Option<T> {
    let text = cx.text(item)?;
    let expanded = cx.expanded(item, text)?;
    parse(&expanded).map_err(|error| cx.refuse(item, ValueError { range: None, ..error })).ok()
}
