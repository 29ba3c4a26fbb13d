//! How it looks: title, table, tail, keys, drawn into a frame of any size.
//!
//! Not what stands in the table's cells (`columns`). **Invariant:** it draws every model at every
//! size; without colour nothing is lost that only a colour said, and without Unicode all is ASCII.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row as TableRow, Table, TableState};

use super::columns::{self, Column};
use super::keys::HELP;
use super::model::{Mode, Model, Row};
use super::tail::Entry;
use crate::cli::ctl::fit;
use crate::cli::ctl::screen::{Look, Tint};
use crate::cli::ctl::time;

/// The states of the title, as `status` has them.
const STATES: [&str; 6] =
    ["failed", "active", "activating", "reloading", "deactivating", "inactive"];

const ASCII: border::Set<'_> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// What lasts from one frame to the next.
#[derive(Debug)]
pub struct View {
    look: Look,
    /// Which rows of the table are on the screen.
    table: TableState,
}

impl View {
    /// Draws so.
    pub fn new(look: Look) -> View {
        View { look, table: TableState::default() }
    }

    /// One frame; `now`: since 1970.
    pub fn draw(&mut self, model: &Model, now: Duration, frame: &mut Frame<'_>) {
        let rows = model.rows();
        let [title, table, tail, keys] = areas(frame.area(), rows.len(), model.follow);
        frame.render_widget(self.title(model, now, title.width), title);
        self.table(model, &rows, now, table, frame);
        self.tail(model, tail, frame);
        frame.render_widget(self.keys(model, keys.width), keys);
        if model.mode == Mode::Help {
            self.help(frame);
        }
    }

    fn style(&self, tint: Tint) -> Style {
        let plain = Style::new();
        let colour = |colour| match self.look.colour {
            true => plain.fg(colour).add_modifier(Modifier::BOLD),
            false => plain,
        };
        match tint {
            Tint::None => plain,
            Tint::Good => colour(Color::Green),
            Tint::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
            Tint::Busy => colour(Color::Yellow),
            Tint::Faint => plain.add_modifier(Modifier::DIM),
            Tint::Strong => plain.add_modifier(Modifier::BOLD),
        }
    }

    fn span(&self, tint: Tint, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.style(tint))
    }

    /// `rinit is degraded: 1 failed, 9 active, 3 inactive      14:03:09 UTC`.
    fn title(&self, model: &Model, now: Duration, width: u16) -> Line<'static> {
        let tint = match model.state.as_str() {
            "running" => Tint::Good,
            "degraded" => Tint::Bad,
            _ => Tint::Busy,
        };
        let mut line = match model.state.as_str() {
            "" => Line::from("rinit: asking"),
            state => Line::from(vec![Span::raw("rinit is "), self.span(tint, state)]),
        };
        for (at, (state, count)) in counts(model).into_iter().enumerate() {
            line.push_span(if at == 0 { ": " } else { ", " });
            line.push_span(self.span(Tint::of_active(state), format!("{count} {state}")));
        }
        if !model.filter.is_empty() {
            line.push_span(self.span(Tint::Busy, format!("  /{}", model.filter)));
        }
        let right = match model.silent {
            Some(since) => self.span(Tint::Bad, format!("no answer for {}", time::span(since))),
            None => Span::raw(format!("{} UTC", time::clock(now))),
        };
        let blanks = usize::from(width).saturating_sub(line.width() + right.width());
        if blanks > 0 {
            line.push_span(" ".repeat(blanks));
            line.push_span(right);
        }
        line
    }

    fn table(
        &mut self,
        model: &Model,
        rows: &[Row<'_>],
        now: Duration,
        area: Rect,
        frame: &mut Frame<'_>,
    ) {
        let columns = columns::columns(rows, now, usize::from(area.width), self.look);
        let heading = columns.iter().map(|column| self.span(Tint::Strong, padded(column, None)));
        let heading = TableRow::new(heading.collect::<Vec<_>>());
        let body = (0..rows.len()).map(|at| {
            TableRow::new(columns.iter().map(|column| {
                let tint = column.cells.get(at).map_or(Tint::None, |cell| cell.tint);
                self.span(tint, padded(column, Some(at)))
            }))
        });
        let widths = columns.iter().map(|column| Constraint::Length(cells(column.width)));
        let table = Table::new(body, widths.collect::<Vec<_>>())
            .header(heading)
            .column_spacing(cells(columns::gap(usize::from(area.width))))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        self.table.select(rows.iter().position(|row| row.name() == model.selected));
        frame.render_stateful_widget(table, area, &mut self.table);
    }

    fn tail(&self, model: &Model, area: Rect, frame: &mut Frame<'_>) {
        let Some(count) = usize::from(area.height).checked_sub(1) else { return };
        let width = usize::from(area.width);
        let whose = match model.followed() {
            Some(unit) => format!("{unit}: events and lines"),
            None => "all units: events and lines".to_owned(),
        };
        let why = model.tail.no_lines.as_ref();
        let why = why.map_or_else(String::new, |why| format!("; no lines: {why}"));
        let dash = if self.look.unicode { "─" } else { "-" };
        let heading = fit::fitted(&format!("{dash}{dash} {whose}{why} "), width, self.look.unicode);
        let rest = width.saturating_sub(fit::width(&heading));
        let mut text = vec![Line::styled(heading + &dash.repeat(rest), self.style(Tint::Faint))];
        let entries = model.tail.last(count, model.followed());
        text.extend(entries.into_iter().map(|entry| self.entry(entry, width)));
        frame.render_widget(Paragraph::new(text), area);
    }

    /// `14:03:09 web: started, pid 42`, and `14:03:09 web | listening` of what a service wrote.
    fn entry(&self, entry: &Entry, width: usize) -> Line<'static> {
        let time = entry.time.get(11..19).unwrap_or_default();
        let unit = match entry.unit.as_str() {
            "" => "rinit",
            unit => unit.strip_suffix(".service").unwrap_or(unit),
        };
        let (mark, tint) = if entry.written { (" |", Tint::Faint) } else { (":", Tint::Strong) };
        let label = format!("{time} {unit}{mark} ");
        let left = width.saturating_sub(fit::width(&label));
        let message = fit::fitted(&self.look.symbols(&entry.message), left, self.look.unicode);
        Line::from(vec![self.span(tint, label), self.span(entry.tint, message)])
    }

    fn keys(&self, model: &Model, width: u16) -> Line<'static> {
        let text = match (&model.mode, &model.note) {
            (Mode::Confirm(job), _) => {
                let question = format!("{}? y/n", job.words());
                return Line::from(self.span(Tint::Busy, question));
            }
            (Mode::Filter, _) => {
                format!("filter: {}_  (Enter keeps it, Esc forgets it)", model.filter)
            }
            (Mode::Browse | Mode::Help, Some((tint, note))) => {
                return Line::from(
                    self.span(*tint, fit::fitted(note, usize::from(width), self.look.unicode)),
                );
            }
            (Mode::Browse | Mode::Help, None) => {
                let mut shown = vec!["r restart", "s stop", "S start", "l reload"];
                shown.insert(0, if self.look.unicode { "↑↓ select" } else { "j/k select" });
                shown.push(if model.follow { "f all" } else { "f follow" });
                shown.extend(["/ filter", "? help", "q quit"]);
                // What is no room for is in the help.
                for rare in ["l reload", "/ filter", "S start", "f follow", "f all"] {
                    if fit::width(&shown.join("  ")) > usize::from(width) {
                        shown.retain(|key| *key != rare);
                    }
                }
                shown.join("  ")
            }
        };
        Line::from(fit::fitted(&text, usize::from(width), self.look.unicode))
    }

    fn help(&self, frame: &mut Frame<'_>) {
        let lines: Vec<Line<'_>> = HELP
            .iter()
            .map(|(keys, what)| {
                let keys = if self.look.unicode { (*keys).to_owned() } else { ascii(keys) };
                Line::from(vec![self.span(Tint::Strong, format!(" {keys:9} ")), Span::raw(*what)])
            })
            .collect();
        let widest = lines.iter().map(Line::width).max().unwrap_or(0);
        let (width, height) = (cells(widest + 3), cells(lines.len() + 2));
        let set = if self.look.unicode { border::PLAIN } else { ASCII };
        let frame_area = frame.area();
        let area = Rect {
            x: frame_area.width.saturating_sub(width) / 2,
            y: frame_area.height.saturating_sub(height) / 2,
            width,
            height,
        };
        let area = area.intersection(frame_area);
        let block = Block::bordered().border_set(set).title(" rinitctl top ");
        frame.render_widget(Clear, area);
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

/// Where each part is: one line of title, the table with its heading, the tail, one line of keys.
fn areas(whole: Rect, rows: usize, follow: bool) -> [Rect; 4] {
    let middle = whole.height.saturating_sub(2);
    // A tail of fewer lines, its heading counted, is none.
    let share = if follow { middle * 2 / 3 } else { middle / 3 };
    let least = if middle < 6 { 0 } else { share.max(3) };
    let table = cells(rows + 1).min(middle - least);
    let part = |y: u16, height: u16| {
        Rect { x: whole.x, y: whole.y + y, width: whole.width, height }.intersection(whole)
    };
    let tail = if least == 0 { 0 } else { middle - table };
    [part(0, 1), part(1, table), part(1 + table, tail), part(whole.height.saturating_sub(1), 1)]
}

/// A number of cells of the terminal.
fn cells(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// Arrows in words.
fn ascii(text: &str) -> String {
    text.replace(" ↓ ↑", "")
}

fn padded(column: &Column, row: Option<usize>) -> String {
    let text = row.and_then(|at| column.cells.get(at)).map_or(column.title, |cell| &cell.text);
    let blanks = " ".repeat(column.width.saturating_sub(fit::width(text)));
    if column.right { blanks + text } else { text.to_owned() + &blanks }
}

/// How many units are in each state, of those that some are in.
fn counts(model: &Model) -> Vec<(&'static str, usize)> {
    let count =
        |state: &str| model.units.iter().filter(|unit| unit.text("ActiveState") == state).count();
    STATES.into_iter().map(|state| (state, count(state))).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
