//! Text for terminals: tables, and strings of strangers that must not steer the terminal.

use std::{borrow::Cow, io::Write as _};

/// Replaces control characters, which could move the cursor or hide text, by `�`.
///
/// Bidirectional overrides and line separators are among them: they reorder what a table shows.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let harmful =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.contains(harmful) {
        Cow::Owned(text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; those that begin with `>` are of columns aligned to the right.
    pub(crate) fn new(headings: &[&str]) -> Table {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let cells = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned());
        Table { rows: vec![cells.collect()], right }
    }

    /// Adds a row with a cell for each heading.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().map(|cell| plain(&cell).into_owned()).collect();
        assert_eq!(row.len(), self.right.len(), "a row has a cell for each heading");
        self.rows.push(row);
    }

    /// The lines of the table.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let gap = " ".repeat(width - cell.chars().count());
                let (before, after) = if *right { (&gap[..], "") } else { ("", &gap[..]) };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Writes text to stdout.
///
/// # Errors
/// When stdout is closed or full; `main` knows a broken pipe and stays quiet.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a line of our own to stderr; nobody listening is no reason to stop.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "weir: {}", plain(text));
}

/// Writes text to stderr; nobody listening is no reason to stop.
pub(crate) fn print_error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Whether an error is that whoever read our stdout went away. Errors of the network are no
/// `io::Error` when they come here.
pub(crate) fn output_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Writes a value as indented JSON to stdout.
///
/// # Errors
/// As `print`.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(print(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["JOB", ">TASKS", "NAME"]);
        table.row(["job-7".to_owned(), "1,000".to_owned(), "a".to_owned()]);
        table.row(["job-12".to_owned(), "3".to_owned(), "bcd".to_owned()]);
        let expected = "JOB     TASKS  NAME\njob-7   1,000  a\njob-12      3  bcd\n";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
        assert_eq!(plain("x\u{202e}y"), "x\u{fffd}y");
        assert_eq!(plain("grün"), "grün");
        let mut table = Table::new(&["NAME"]);
        table.row(["\x1b]0;owned\x07".to_owned()]);
        assert!(!table.render().contains('\x1b'));
    }
}
