//! Columns of text, as wide as what stands in them.
//!
//! **Invariant:** colours do not count as width, the last column has no trailing blanks, and
//! what a unit's file says cannot move the cursor.

use super::fit::width;
use super::screen::{Look, Tint};
use crate::cli::diagnostics::one_line;

/// One cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    text: String,
    tint: Tint,
}

impl Cell {
    /// A cell in a colour.
    pub fn tinted(tint: Tint, text: &str) -> Cell {
        Cell { text: one_line(text), tint }
    }

    /// A cell without one.
    pub fn new(text: &str) -> Cell {
        Cell::tinted(Tint::None, text)
    }
}

/// The rows, each a line.
pub fn render(rows: &[Vec<Cell>], look: Look) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| width(&cell.text)).max())
        .map(|widest| widest.unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        let mut blanks = 0;
        for (cell, widest) in row.iter().zip(&widths) {
            line.extend(std::iter::repeat_n(' ', blanks));
            line += &look.paint(cell.tint, &cell.text);
            blanks = widest - width(&cell.text) + 1;
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_colour() {
        let rows = [
            vec![Cell::new("UNIT"), Cell::new("ACTIVE"), Cell::new("")],
            vec![Cell::new("日.service"), Cell::tinted(Tint::Bad, "failed"), Cell::new("a\x1bb")],
        ];
        let plain = "UNIT       ACTIVE\n日.service failed a\u{fffd}b\n";
        assert_eq!(render(&rows, Look::default()), plain);
        let coloured = render(&rows, Look { colour: true, ..Look::default() });
        assert!(coloured.ends_with("日.service \x1b[1;31mfailed\x1b[0m a\u{fffd}b\n"));
        assert_eq!(render(&[], Look::default()), "");
    }
}
