//! Text that strangers wrote, made harmless for people who read it on a terminal or a page.

use std::borrow::Cow;

/// Replaces control characters, which could move the cursor or hide text, by `�`.
///
/// Bidirectional overrides and line separators are among them: they reorder what a table shows.
pub fn plain(text: &str) -> Cow<'_, str> {
    let harmful =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.contains(harmful) {
        Cow::Owned(text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_who_shows_them() {
        assert_eq!(plain("a\x1b[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}");
        assert_eq!(plain("x\u{202e}y"), "x\u{fffd}y");
        assert_eq!(plain("grün"), "grün");
    }
}
