//! Text as wide as a terminal shows it: measured, and cut to fit.
//!
//! **Invariant:** colours (SGR) have no width, are never cut in two, and end where the line does.

use ratatui::text::Span;

use crate::journal::line::sgr;

/// So many columns it takes.
pub fn width(text: &str) -> usize {
    pieces(text).map(|piece| piece.width).sum()
}

/// Cut, with a mark, where it is wider than `most` columns; tabs must be blanks already.
pub fn fitted(text: &str, most: usize, unicode: bool) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mark = if unicode { "…" } else { "~" };
    let (mut cut, mut coloured) = (String::new(), false);
    let Some(mut left) = most.checked_sub(1) else { return cut };
    for piece in pieces(text) {
        let Some(rest) = left.checked_sub(piece.width) else { break };
        left = rest;
        coloured |= piece.is_colour;
        cut += piece.text;
    }
    cut += mark;
    if coloured { cut + "\x1b[0m" } else { cut }
}

/// A letter, or what sets a colour.
struct Piece<'a> {
    text: &'a str,
    width: usize,
    is_colour: bool,
}

fn pieces(mut text: &str) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let colour = sgr(text);
        let size = colour.or_else(|| text.chars().next().map(char::len_utf8))?;
        let (piece, rest) = text.split_at_checked(size)?;
        text = rest;
        let width = if colour.is_some() { 0 } else { Span::raw(piece).width() };
        Some(Piece { text: piece, width, is_colour: colour.is_some() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_to_fit() {
        for (text, most, cut) in [
            ("web", 3, "web"),
            ("web", 2, "w…"),
            ("web", 1, "…"),
            ("web", 0, ""),
            ("日本", 4, "日本"),
            ("日本", 3, "日…"),
            ("日本", 2, "…"),
            ("\x1b[1;31mbad\x1b[0m", 3, "\x1b[1;31mbad\x1b[0m"),
            ("\x1b[1;31mbad\x1b[0m", 2, "\x1b[1;31mb…\x1b[0m"),
        ] {
            assert_eq!(fitted(text, most, true), cut, "{text:?} {most}");
            assert!(width(&fitted(text, most, true)) <= most);
        }
        assert_eq!(fitted("web", 2, false), "w~");
    }
}
