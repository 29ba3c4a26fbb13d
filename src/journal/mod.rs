//! The journal process: it relays what services write to rinit's own output.
//!
//! rinit starts it from its own binary (`rinit --journal`, not for people) and starts it again
//! when it ends. Each stream of each process is a pipe of its own, of which rinit keeps the read
//! end as well, so that the pipe and what is in it outlive the journal. The journal looks into a
//! pipe without taking anything out ([`crate::sys::capture`]), writes whole lines, and only then
//! takes out what it has written: killed in between, it leaves the lines to its successor, who
//! writes them once more. A line that has no end yet stays in its pipe. Where nobody reads our
//! output nothing is taken out of the pipes any more, and only who writes to them waits.
//!
//! Not a decision about units and not rinit's own lines (`init::report`), which never come here.
//! Start with `relay`. **Invariant:** a line is written whole, at least once, and nothing is
//! written within it; whatever befalls the journal, no service and not rinit is held up by it
//! for longer than its restart.

pub mod line;
mod output;
pub mod protocol;
mod rate;
mod relay;
mod ring;
mod rotate;
mod viewer;

use std::ffi::OsString;
use std::fs::File;
use std::io;

use crate::sys::channel::Channel;
use crate::sys::{self, memory, stderr};
use line::Format;
use relay::Relay;

/// The first argument of the journal process.
pub const ARGUMENT: &str = "--journal";
/// Its end of the channel to rinit.
pub const CHANNEL_FD: i32 = 3;
/// From here on what is left of a line that one of the outputs took only in part, by output.
pub const REST_FD: i32 = 4;
/// So many outputs there are.
pub const OUTPUTS: usize = 2;
/// Then, in a file of its own, which log file is being written.
pub const KEPT: usize = OUTPUTS + 1;

/// The second argument, for a format.
pub fn format_argument(json: bool) -> &'static str {
    if json { "json" } else { "text" }
}

/// The journal process, if these arguments are its own; its exit status.
pub fn main_if_ours(mut arguments: impl Iterator<Item = OsString>) -> Option<u8> {
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let format = match arguments.next()?.to_str()? {
        "text" => Format::Text,
        "json" => Format::Json,
        _ => return None,
    };
    memory::prefer_small();
    let _ = nix::sys::prctl::set_name(c"rinit-journal"); // else it is `exe`
    let relay = Channel::inherited(CHANNEL_FD).and_then(|channel| {
        let rests: io::Result<Vec<File>> =
            (REST_FD..).take(KEPT).map(|fd| Ok(File::from(sys::inherited(fd)?))).collect();
        Relay::new(channel, rests?, format)
    });
    match relay.and_then(Relay::run) {
        Ok(()) => Some(0),
        Err(error) => {
            stderr::write_line(&format!("rinit: journal: {error}"));
            Some(1)
        }
    }
}
