//! The rows: what is done to a running subject, and what a cell says of it.

mod block;
mod crash;
mod end;
mod kill;
mod leak;
mod reload;
mod speed;

use std::time::Duration;

use crate::group::Group;
use crate::load::{Load, Plan, Tally};
use crate::options::Options;
use crate::subject::{Setup, Subject};
use crate::table::thousands;

/// The text of a cell, or why there is none.
pub type Cell = Result<String, String>;

/// One line of the table.
pub struct Row {
    /// For `--row`.
    pub key: &'static str,
    /// For the table.
    pub title: &'static str,
    /// Does it to one subject.
    pub measure: fn(&Options, Subject) -> Cell,
}

/// In the order of the table.
pub const ROWS: &[Row] = &[
    kill::ONE,
    kill::MANY,
    crash::AGAIN_IMPORT,
    crash::AGAIN_LIFESPAN,
    crash::ALL,
    crash::ALL_EXIT,
    reload::BROKEN,
    reload::SLOW,
    reload::SILENT,
    reload::KEEP_ALIVE,
    block::BLOCKED,
    end::SLOW_REQUEST,
    end::UNDER_LOAD,
    end::PARENT,
    leak::LEAK,
    reload::STREAM,
    speed::UVLOOP,
    speed::ASYNCIO,
    speed::BALANCE_NEW,
    speed::BALANCE_KEPT,
];

/// A client that has no answer for so long gives up.
const PATIENCE: Duration = Duration::from_secs(4);

/// A load as most rows have it.
fn plan(options: &Options, group: &Group) -> Plan {
    Plan::new(group.address).rate(options.rate).timeout(PATIENCE)
}

/// Starts a load, and waits until it flows.
fn start_load(plan: Plan) -> Result<Load, String> {
    let load = Load::start(plan).map_err(|error| format!("the load client: {error}"))?;
    if load.wait(Duration::from_secs(20), |tally| tally.ok >= 50) {
        Ok(load)
    } else {
        Err(format!("no answers: {}", load.stop()))
    }
}

/// A group with its load.
fn start(options: &Options, subject: Subject, setup: &Setup) -> Result<(Group, Load), String> {
    let group = Group::start(options, subject, setup)?;
    let load = start_load(plan(options, &group))?;
    Ok((group, load))
}

/// Lets time pass under load: the rest of what a load lasts at least.
fn watch(span: Duration) {
    std::thread::sleep(span);
}

/// `3 of 4,200 lost (2 cut, 1 timed out)`, with idle connections that were closed.
fn losses(tally: &Tally) -> String {
    let text = tally.to_string();
    let kinds = text.split_once(": ").map(|(_, kinds)| format!(" ({kinds})")).unwrap_or_default();
    format!("{} of {} lost{kinds}", thousands(tally.failed()), thousands(tally.ended()))
}
