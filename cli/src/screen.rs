//! A few lines on stderr that are drawn over again, while stderr is a terminal.

use std::io::Write as _;

use crate::text::cut;

/// Lines that were drawn, so that the next ones take their place.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    drawn: usize,
}

impl Screen {
    /// Draws lines in place of the last ones; each is cut, because one that wraps is two.
    pub(crate) fn draw(&mut self, lines: &[String], columns: usize) {
        let text = self.redraw(lines, columns);
        // Nobody looking is no reason to stop.
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Takes the lines away.
    pub(crate) fn clear(&mut self) {
        if self.drawn > 0 {
            self.draw(&[], 0);
        }
    }

    fn redraw(&mut self, lines: &[String], columns: usize) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            // Up so many lines, to their start, and away with all below.
            text.push_str(&format!("\x1b[{}A\r\x1b[J", self.drawn));
        }
        for line in lines {
            // The last column stays free: some terminals wrap when it is written.
            text.push_str(&cut(line, columns.saturating_sub(1)));
            text.push('\n');
        }
        self.drawn = lines.len();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_lines_take_the_place_of_the_last() {
        let mut screen = Screen::default();
        let lines = ["one".to_owned(), "a long line".to_owned()];
        assert_eq!(screen.redraw(&lines, 7), "one\na lon…\n");
        assert_eq!(screen.redraw(&lines[..1], 7), "\x1b[2A\r\x1b[Jone\n");
        assert_eq!(screen.redraw(&[], 0), "\x1b[1A\r\x1b[J");
        assert_eq!(screen.redraw(&lines[..1], 80), "one\n");
    }
}
