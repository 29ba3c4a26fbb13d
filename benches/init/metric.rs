//! What one figure is called and how it is printed. Not how it is taken: that is `measure`.

/// One section of the report.
#[derive(Debug)]
pub struct Metric {
    /// Its name for `--only`.
    pub key: &'static str,
    /// What is measured, in words.
    pub title: &'static str,
    /// How far rinit is meant to come.
    pub reach: &'static str,
    /// Its unit.
    pub scale: Scale,
    /// Whether a ratio to the ideal says anything.
    pub has_ratio: bool,
}

const MIB: f64 = 1024.0 * 1024.0;

/// The unit of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// Nanoseconds.
    Time,
    /// Bytes.
    Memory,
    /// Just a number.
    Count,
}

impl Scale {
    /// With a unit that a person reads easily.
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::Time if figure < 1e6 => format!("{} µs", digits(figure / 1e3)),
            Self::Time if figure < 1e9 => format!("{} ms", digits(figure / 1e6)),
            Self::Time => format!("{} s", digits(figure / 1e9)),
            Self::Memory if figure < 1024.0 => format!("{figure:.0} B"),
            Self::Memory if figure < MIB => format!("{} KiB", digits(figure / 1024.0)),
            Self::Memory => format!("{} MiB", digits(figure / MIB)),
            Self::Count => format!("{figure}"),
        }
    }
}

/// Three significant digits.
fn digits(figure: f64) -> String {
    let decimals = match figure {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{figure:.decimals$}")
}
