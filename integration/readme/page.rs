//! README.md taken apart: fenced blocks, tables, what stands between two markers.

use crate::tools;

/// A fenced block.
pub struct Block {
    /// What stands after the backticks, as in `toml wrong`.
    pub info: String,
    pub text: String,
    /// Where it begins, for messages.
    pub line: usize,
}

impl Block {
    /// The first word of `info`.
    pub fn language(&self) -> &str {
        self.info.split(' ').next().unwrap_or("")
    }

    /// `# web.toml` on a TOML block's first line.
    pub fn file_name(&self) -> &str {
        let first = self.text.lines().next().unwrap_or("");
        let name = first.strip_prefix("# ").filter(|name| name.ends_with(".toml"));
        name.unwrap_or_else(|| panic!("README.md:{}: its first line names no file", self.line))
    }

    /// The units directory that a TOML block belongs to.
    pub fn directory(&self) -> &str {
        self.info.split(' ').nth(1).unwrap_or("units")
    }
}

pub fn text() -> String {
    std::fs::read_to_string(tools::repository().join("README.md")).unwrap()
}

/// Every fenced block of the page, in order.
pub fn blocks() -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (index, line) in text().lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                open = true;
                found.push(Block { info: info.to_string(), text: String::new(), line: index + 1 });
            }
            None if open => {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => (),
        }
    }
    assert!(!open, "README.md: a block is never closed");
    found
}

/// The blocks of one language.
pub fn blocks_of(language: &str) -> Vec<Block> {
    blocks().into_iter().filter(|block| block.language() == language).collect()
}

/// The rows of the table under this heading of its columns, without it.
pub fn table(header: &str) -> Vec<Vec<String>> {
    let text = text();
    let lines = text.lines().skip_while(|line| *line != header).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|c| c.trim().into()).collect();
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "README.md has no table {header}");
    rows
}

/// What stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
pub fn between(name: &str) -> String {
    let text = text();
    let (begin, end) = markers(name);
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (inner, _) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    inner.to_string()
}

/// Puts this between the markers (`UPDATE_EXPECT=1`).
pub fn replace_between(name: &str, inner: &str) {
    let text = text();
    let (begin, end) = markers(name);
    let (head, rest) = text.split_once(&begin).unwrap();
    let (_, tail) = rest.split_once(&end).unwrap();
    let path = tools::repository().join("README.md");
    std::fs::write(path, format!("{head}{begin}{inner}{end}{tail}")).unwrap();
}

fn markers(name: &str) -> (String, String) {
    (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"))
}
