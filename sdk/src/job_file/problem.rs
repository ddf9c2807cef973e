//! What is wrong with a job file, and where: text for people, safe to print on a terminal.

use std::ops::Range;

use weir_proto::text::plain;

/// Longest text of the file that a message repeats, in characters.
const MAX_QUOTED_CHARS: usize = 60;

/// Longest message or hint, in characters: a path or a pattern in it may fill the file.
const MAX_TOLD_CHARS: usize = 2000;

/// Something about a job file that its author should know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Whether the file can be used in spite of it.
    pub severity: Severity,
    /// What is wrong, in one line without control characters.
    pub message: String,
    /// The bytes of the file that it is about; both ends lie between characters. Empty at the start
    /// of the file when it is about all of it.
    pub span: Range<usize>,
    /// What to do about it, in one line without control characters.
    pub hint: Option<String>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and may not mean what its author thinks.
    Warning,
}

impl Problem {
    /// An error at a place.
    pub fn error(span: Range<usize>, message: impl AsRef<str>) -> Problem {
        let message = told(message.as_ref());
        Problem { severity: Severity::Error, message, span, hint: None }
    }

    /// A warning at a place.
    pub fn warning(span: Range<usize>, message: impl AsRef<str>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(span, message) }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(self, hint: impl AsRef<str>) -> Problem {
        Problem { hint: Some(told(hint.as_ref())), ..self }
    }
}

fn told(text: &str) -> String {
    let cut = text.char_indices().nth(MAX_TOLD_CHARS).map_or(text.len(), |(at, _)| at);
    plain(&text[..cut]).into_owned()
}

/// Text of a stranger within a message: in backticks, printable, and cut where it is long.
pub fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(MAX_QUOTED_CHARS).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("`{}{more}`", plain(&start))
}

/// `a`, `b` and `c`.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// The one of these that a misspelt word most likely means.
///
/// One edit in three letters may be wrong; a swap of neighbours is one edit.
pub(super) fn nearest<'w>(word: &str, candidates: &[&'w str]) -> Option<&'w str> {
    let word = word.to_lowercase();
    // No candidate has a fraction of this; the distance would be quadratic in what a stranger wrote.
    if word.len() > MAX_QUOTED_CHARS {
        return None;
    }
    let distances = candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= candidate.len().max(3) / 3).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_repeats_is_short_and_cannot_steer_the_terminal() {
        let problem = Problem::error(0..0, "no \x1b[2J").hint("a\u{202e}b\n");
        assert_eq!(problem.message, "no \u{fffd}[2J");
        assert_eq!(problem.hint.as_deref(), Some("a\u{fffd}b\u{fffd}"));
        assert_eq!(quoted("\u{9b}x"), "`\u{fffd}x`");
        assert_eq!(quoted(&"ü".repeat(61)).chars().count(), 63);
    }

    #[test]
    fn a_misspelt_word_is_recognised_and_another_word_is_not() {
        let words = ["module", "count", "args"];
        assert_eq!(nearest("modul", &words), Some("module"));
        assert_eq!(nearest("cuont", &words), Some("count"));
        assert_eq!(nearest("Args", &words), Some("args"));
        assert_eq!(nearest("colour", &words), None);
        assert_eq!(nearest(&"m".repeat(100_000), &words), None);
    }

    #[test]
    fn words_are_listed_as_in_a_sentence() {
        assert_eq!(listed(&["a"]), "`a`");
        assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
