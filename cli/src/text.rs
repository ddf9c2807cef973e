//! Text for terminals: tables, and strings of strangers that must not steer the terminal.

use std::{
    borrow::Cow,
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub(crate) use weir_sdk::proto::text::plain;
use weir_sdk::proto::{
    limits::Limits,
    units::{short_bytes, short_count, short_duration},
};

use crate::config;

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

    /// The lines of the table, none wider than `columns` if that is given: text is cut before
    /// numbers, the widest first, and what still does not fit ends at the edge. The first column is
    /// what people write in their next command, so it stays whole.
    pub(crate) fn render(&self, columns: Option<usize>) -> String {
        let widths = self.widths(columns);
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let cell = cut(cell, *width);
                let gap = " ".repeat(width - cell.width());
                let (before, after) = if *right { (&gap[..], "") } else { ("", &gap[..]) };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            let line = line.trim_end();
            out.push_str(&columns.map_or(Cow::Borrowed(line), |columns| cut(line, columns)));
            out.push('\n');
        }
        out
    }

    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let between = GAP * widths.len().saturating_sub(1);
        let room = columns.unwrap_or(usize::MAX).saturating_sub(between);
        while widths.iter().sum::<usize>() > room {
            let text = widths.iter_mut().zip(&self.right).skip(1).filter(|(_, right)| !**right);
            let widest = text.map(|(width, _)| width).max();
            let Some(widest) = widest.filter(|width| **width > LEAST_CELL) else { break };
            *widest -= 1;
        }
        widths
    }
}

/// Columns between two cells.
const GAP: usize = 2;
/// A cell is not cut below so many columns.
const LEAST_CELL: usize = 6;
/// What is narrower is taken as being this wide.
const LEAST_COLUMNS: usize = 20;

/// A text without control characters that takes at most so many columns; `…` stands for the rest.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let (mut taken, mut end) = (0, 0);
    for (place, c) in text.char_indices() {
        taken += c.width().unwrap_or(0);
        if taken >= columns {
            break;
        }
        end = place + c.len_utf8();
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

/// How many columns stdout has, where it is a terminal; what else reads it gets everything.
pub(crate) fn stdout_columns() -> Option<usize> {
    let stdout = std::io::stdout();
    stdout.is_terminal().then(|| columns_of(terminal_size::terminal_size_of(stdout)))
}

/// How many columns stderr has, where it is a terminal that can be drawn on.
pub(crate) fn stderr_columns() -> Option<usize> {
    let stderr = std::io::stderr();
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let draws = stderr.is_terminal() && !dumb;
    draws.then(|| columns_of(terminal_size::terminal_size_of(stderr)))
}

/// A terminal that does not tell its size may have left it in the environment.
fn columns_of(size: Option<(terminal_size::Width, terminal_size::Height)>) -> usize {
    let told = size.map(|(width, _)| usize::from(width.0)).filter(|columns| *columns > 0);
    let noted = || std::env::var("COLUMNS").ok()?.parse().ok();
    told.or_else(noted).unwrap_or(80).max(LEAST_COLUMNS)
}

/// The limits of a task in a line.
pub(crate) fn limits(limits: &Limits) -> String {
    format!(
        "fuel {}, memory {}, time {}, output {}",
        short_count(limits.fuel),
        short_bytes(limits.memory_bytes),
        short_duration(Duration::from_millis(limits.timeout_ms)),
        short_bytes(limits.output_bytes)
    )
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

/// As `remark`, unless the user wants none.
pub(crate) fn note(text: &str) {
    if !config::current().quiet.value {
        remark(text);
    }
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

/// Writes a table to stdout, cut to the terminal if it is one.
///
/// # Errors
/// As `print`.
pub(crate) fn print_table(table: &Table) -> std::io::Result<()> {
    print(&table.render(stdout_columns()))
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

/// Writes a value as a line of JSON to stdout.
///
/// # Errors
/// As `print`.
pub(crate) fn print_json_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(print(&json_line(value)?)?)
}

/// A value as a line of JSON, with its end.
///
/// # Errors
/// When a key is no text, which no type of ours has.
pub(crate) fn json_line(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(line)
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
        assert_eq!(table.render(None), expected);
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row(["\x1b]0;owned\x07".to_owned()]);
        assert!(!table.render(None).contains('\x1b'));
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let mut table = Table::new(&["NAME", "STATUS"]);
        table.row(["水流".to_owned(), "active".to_owned()]);
        table.row(["e\u{301}".to_owned(), "failed".to_owned()]);
        let expected = "NAME  STATUS\n水流  active\ne\u{301}     failed\n";
        assert_eq!(table.render(None), expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_text_and_no_number() {
        let mut table = Table::new(&["JOB", "NAME", ">TASKS"]);
        table.row(["job-7".to_owned(), "a name of some length".to_owned(), "1,000".to_owned()]);
        let expected = "JOB    NAME        TASKS\njob-7  a name of…  1,000\n";
        assert_eq!(table.render(Some(24)), expected);
        assert!(table.render(None).contains("of some length"));
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        let headings = ["JOB", "NAME", "STATUS", ">TASKS", ">DONE", ">FAILED", ">RUNNING", ">AGE"];
        let mut table = Table::new(&headings);
        table.row(headings.map(|heading| format!("{heading} 水水水水水水水水 1,000,000")));
        for columns in 20..150 {
            for line in table.render(Some(columns)).lines() {
                assert!(line.width() <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("水水水", 4), "水…");
        assert_eq!(cut("abc", 1), "…");
    }
}
