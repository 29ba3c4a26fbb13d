//! The table's columns: what stands in each cell, and which columns there is room for.
//!
//! Not where they are drawn (`view`). **Invariant:** what is not known is `-`; a unit's name and
//! state are never left away for room, and no cell is wider than its column.

use std::time::Duration;

use super::model::{Branch, Row};
use crate::cli::ctl::fit::{fitted, width};
use crate::cli::ctl::instances;
use crate::cli::ctl::properties::Properties;
use crate::cli::ctl::resources::{against_cap, cap, known};
use crate::cli::ctl::screen::{Look, Tint};
use crate::cli::ctl::status;
use crate::cli::ctl::time::{Timestamp, span};
use crate::cli::diagnostics::one_line;

/// From so many columns on there is room for whole words.
const WIDE: usize = 120;
/// The least that is left of a unit's name.
const NAME: usize = 12;
/// A description of fewer letters says nothing.
const DESCRIPTION: usize = 16;
/// The letters of a bar.
const BAR: u64 = 8;

/// One cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// One line.
    pub text: String,
    /// Its colour.
    pub tint: Tint,
}

/// One column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// A cell for each row.
    pub cells: Vec<Cell>,
    /// Its width.
    pub width: usize,
    /// Numbers stand on the right.
    pub right: bool,
    /// Which leaves first when there is no room: the highest.
    rank: u8,
}

/// A column before it has cells.
type Kind = (&'static str, u8, bool, fn(&Row<'_>, &Context) -> Cell);

struct Context {
    now: Duration,
    look: Look,
    wide: bool,
}

const COLUMNS: [Kind; 9] = [
    ("UNIT", 0, false, name),
    ("STATE", 0, false, state),
    ("PID", 5, true, pid),
    ("SINCE", 3, true, since),
    ("RESTARTS", 2, true, restarts),
    ("MEMORY", 1, true, memory),
    ("", 7, false, bar),
    ("ENFORCED", 8, false, enforced),
    ("HEALTH", 4, false, health),
];

/// Blanks between columns.
pub fn gap(width: usize) -> usize {
    if width >= WIDE { 2 } else { 1 }
}

/// The columns that fit into `width`.
pub fn columns(rows: &[Row<'_>], now: Duration, width: usize, look: Look) -> Vec<Column> {
    let context = Context { now, look, wide: width >= WIDE };
    let mut columns: Vec<Column> =
        COLUMNS.iter().map(|kind| column(kind, rows, &context)).collect();
    if !context.wide {
        columns.retain(|column| column.rank < 7);
    }
    shrink(&mut columns, width);
    let left = width.saturating_sub(total(&columns, width) + gap(width));
    if left >= DESCRIPTION {
        let mut last = column(&("DESCRIPTION", 9, false, description), rows, &context);
        last.width = left;
        columns.push(last);
    }
    for column in &mut columns {
        for cell in &mut column.cells {
            cell.text = fitted(&cell.text, column.width, look.unicode);
        }
    }
    columns
}

fn column((title, rank, right, cell): &Kind, rows: &[Row<'_>], context: &Context) -> Column {
    let cells: Vec<Cell> = rows.iter().map(|row| cell(row, context)).collect();
    let widest = cells.iter().map(|cell| width(&cell.text)).max().unwrap_or(0);
    Column { title, cells, width: widest.max(title.len()), right: *right, rank: *rank }
}

/// Leaves away what is missed least, until the names have room; they take what is left.
fn shrink(columns: &mut Vec<Column>, width: usize) {
    let wanted = columns.first().map_or(0, |names| names.width);
    while total(columns, width) > width {
        let excess = total(columns, width) - width;
        if wanted.saturating_sub(excess) >= NAME.min(wanted) {
            break;
        }
        let Some(rank) = columns.iter().map(|column| column.rank).max().filter(|rank| *rank > 0)
        else {
            break;
        };
        columns.retain(|column| column.rank != rank);
    }
    let excess = total(columns, width).saturating_sub(width);
    if let Some(names) = columns.first_mut() {
        names.width = names.width.saturating_sub(excess).max(1);
    }
}

fn total(columns: &[Column], width: usize) -> usize {
    let gap = gap(width);
    columns.iter().map(|column| column.width + gap).sum::<usize>().saturating_sub(gap)
}

fn cell(text: impl Into<String>) -> Cell {
    tinted(Tint::None, text)
}

fn tinted(tint: Tint, text: impl Into<String>) -> Cell {
    Cell { text: text.into(), tint }
}

fn nothing() -> Cell {
    tinted(Tint::Faint, "-")
}

/// `.service` is implied here as in every verb.
fn name(row: &Row<'_>, context: &Context) -> Cell {
    let branch = match (row.branch, context.look.unicode) {
        (Branch::None, _) => "",
        (Branch::More, true) => "├─ ",
        (Branch::Last, true) => "└─ ",
        (Branch::More, false) => "|- ",
        (Branch::Last, false) => "`- ",
    };
    let tint = if row.unit.text("ActiveState") == "failed" { Tint::Bad } else { Tint::None };
    let name = row.name();
    tinted(tint, format!("{branch}{}", name.strip_suffix(".service").unwrap_or(name)))
}

fn state(row: &Row<'_>, context: &Context) -> Cell {
    let (active, sub) = (row.unit.text("ActiveState"), row.unit.text("SubState"));
    let result = match row.unit.text("Result") {
        "success" | "" => "",
        result => result,
    };
    let text = match (context.wide, active) {
        (_, "failed") if !result.is_empty() => format!("failed ({result})"),
        (true, _) if active != sub && !sub.is_empty() => format!("{active} ({sub})"),
        (true, _) => active.to_owned(),
        (false, _) => sub.to_owned(),
    };
    tinted(Tint::of_active(active), text)
}

fn pid(row: &Row<'_>, _: &Context) -> Cell {
    match row.unit.number("MainPID") {
        0 => nothing(),
        pid => cell(pid.to_string()),
    }
}

/// How long it is as it is: up, if it is up; a reload does not count.
fn since(row: &Row<'_>, context: &Context) -> Cell {
    let up = match row.unit.text("ActiveState") {
        "active" | "reloading" => Timestamp::parse(row.unit.text("ActiveEnterTimestamp")),
        _ => None,
    };
    match up.or_else(|| Timestamp::parse(row.unit.text("StateChangeTimestamp"))) {
        Some(time) => cell(span(context.now.saturating_sub(time.since_epoch()))),
        None => nothing(),
    }
}

fn restarts(row: &Row<'_>, _: &Context) -> Cell {
    match row.unit.number("NRestarts") {
        0 => tinted(Tint::Faint, "0"),
        number => tinted(Tint::Busy, number.to_string()),
    }
}

/// `12.3M/64M`.
fn memory(row: &Row<'_>, _: &Context) -> Cell {
    let tint = match share(row.unit) {
        Some((tint, _)) if tint != Tint::Good => tint,
        Some(_) | None => Tint::None,
    };
    match against_cap(row.unit) {
        text if text.is_empty() => nothing(),
        text => tinted(tint, text),
    }
}

/// How near the cap it is, and so many of [`BAR`] letters.
fn share(unit: &Properties) -> Option<(Tint, u64)> {
    let (current, max) = (known(unit, "MemoryCurrent")?, cap(unit)?);
    let percent = current.saturating_mul(100).checked_div(max)?;
    let high = known(unit, "MemoryHigh").is_some_and(|high| current > high);
    let tint = match percent {
        90.. => Tint::Bad,
        75.. => Tint::Busy,
        _ if high => Tint::Busy,
        _ => Tint::Good,
    };
    Some((tint, ((percent * BAR + 50) / 100).min(BAR)))
}

fn bar(row: &Row<'_>, context: &Context) -> Cell {
    let Some((tint, full)) = share(row.unit) else { return cell("") };
    let (on, off) = if context.look.unicode { ("█", "░") } else { ("#", ".") };
    let times = |letter: &str, count: u64| letter.repeat(usize::try_from(count).unwrap_or(0));
    tinted(tint, times(on, full) + &times(off, BAR - full))
}

fn enforced(row: &Row<'_>, _: &Context) -> Cell {
    match row.unit.text("MemoryEnforced") {
        "" => nothing(),
        "none" => tinted(Tint::Busy, "not enforced"),
        rung => cell(rung),
    }
}

fn health(row: &Row<'_>, _: &Context) -> Cell {
    match row.unit.text("Health") {
        _ if row.unit.flag("Exhausted") => tinted(Tint::Bad, "exhausted"),
        "" => nothing(),
        "unhealthy" => tinted(Tint::Bad, "unhealthy"),
        word => cell(word),
    }
}

/// What is going on with it, if something is, and what it is.
fn description(row: &Row<'_>, _: &Context) -> Cell {
    let unit = row.unit;
    let counted = unit.number("InstancesWanted") > 0;
    let own = match unit.text("Description") {
        text if text == unit.text("Id") || row.branch != Branch::None => String::new(),
        text => one_line(text),
    };
    let words = [
        status::next(unit),
        status::job(unit),
        instances::roll(unit),
        if counted { instances::counts(unit, Look::default()) } else { String::new() },
        status::said(unit),
        own,
    ];
    let words: Vec<String> = words.into_iter().filter(|words| !words.is_empty()).collect();
    cell(words.join("; "))
}
