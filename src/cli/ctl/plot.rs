//! The boot as bars: an SVG of nothing but shapes and text, for a browser or a report.
//!
//! Not the times (`analyze`). **Invariant:** what a unit is called cannot break the file.

use std::fmt::Write as _;

use super::analyze::{Boot, BootUnit, span};

/// The height of a row, its bar, and where the drawing begins.
const ROW: usize = 24;
const BAR: usize = 16;
const TOP: usize = 56;
/// How wide the time is drawn, and the room for names beside it.
const WIDE: u64 = 900;
const MARGIN: u64 = 20;
const NAMES: u64 = 330;

/// The drawing; `rows` in any order.
pub(super) fn svg(boot: &Boot, rows: &[&BootUnit]) -> String {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| a.begun.cmp(&b.begun).then(a.name.cmp(&b.name)));
    let whole = boot.done.max(1);
    let height = TOP + rows.len() * ROW + 40;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>boot of rinit</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"16\">Boot done in {}</text>\n",
        span(boot.done),
        width = MARGIN + WIDE + NAMES,
    );
    let bottom = TOP + rows.len() * ROW;
    for tick in ticks(whole) {
        let x = place(tick, whole);
        let _ = writeln!(
            text,
            "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#d0d0d0\"/>\
             <text x=\"{x}\" y=\"{}\" fill=\"#606060\">{}</text>",
            TOP - 8,
            span(tick)
        );
    }
    for (number, unit) in rows.iter().enumerate() {
        row(&mut text, TOP + number * ROW, unit, whole);
    }
    let legend =
        "steps are blue, services green; what was not ready when the boot was done is grey";
    let _ = writeln!(text, "<text x=\"{MARGIN}\" y=\"{}\">{legend}</text>", bottom + 24);
    text.push_str("</svg>\n");
    text
}

fn row(text: &mut String, y: usize, unit: &BootUnit, whole: u64) {
    let end = unit.ready.unwrap_or(whole).clamp(unit.begun, whole.max(unit.begun));
    let (x, right) = (place(unit.begun, whole), place(end, whole));
    let colour = match (unit.ready, unit.step) {
        (None, _) => "#b0b0b0",
        (Some(_), true) => "#4878cf",
        (Some(_), false) => "#3a9a5b",
    };
    let took = match unit.ready {
        Some(ready) => span(ready.saturating_sub(unit.begun)),
        None => "not ready".to_owned(),
    };
    let width = right.saturating_sub(x).max(1);
    let _ = writeln!(
        text,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <text x=\"{}\" y=\"{}\">{} ({took})</text>",
        right + 6,
        y + 13,
        escaped(&unit.name)
    );
}

/// Where a moment is drawn.
fn place(at: u64, whole: u64) -> u64 {
    MARGIN + at.min(whole).saturating_mul(WIDE) / whole
}

/// Round moments, at most ten of them.
fn ticks(whole: u64) -> Vec<u64> {
    let steps = [1, 2, 5].into_iter();
    let mut power = 1_u64;
    loop {
        let step = steps.clone().map(|digit| digit * power).find(|step| whole / step <= 10);
        if let Some(step) = step {
            return (0..=whole / step).map(|count| count * step).collect();
        }
        power = power.saturating_mul(10);
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_lie_where_the_times_are() {
        let unit = |name: &str, begun, ready| BootUnit {
            name: name.to_owned(),
            begun,
            ready,
            step: begun == 0,
            instance_of: None,
            after: Vec::new(),
        };
        let boot = Boot { done: 1000, ..Boot::default() };
        let (a, b) = (unit("a.service", 0, Some(500)), unit("b<c>.service", 500, None));
        let svg = svg(&boot, &[&b, &a]);
        assert!(svg.contains("<rect x=\"20\" y=\"56\" width=\"450\""), "{svg}");
        assert!(svg.contains("<rect x=\"470\" y=\"80\" width=\"450\""), "{svg}");
        assert!(svg.contains("a.service (500us)"), "{svg}");
        assert!(svg.contains("b&lt;c&gt;.service (not ready)"), "{svg}");
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(1000), [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
        assert_eq!(ticks(2_300_000), [0, 500_000, 1_000_000, 1_500_000, 2_000_000]);
        assert_eq!(ticks(0), [0]);
        assert!(ticks(u64::MAX).len() <= 11);
    }
}
