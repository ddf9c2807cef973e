//! Bash, which takes `:` and `=` for ends of words and cannot show what a candidate is. So it hands
//! over the line, the words are found here, and what they are is written behind the candidates.

use std::{borrow::Cow, ffi::OsString, io, path::Path};

use clap_complete::{engine, env::EnvCompleter};
use unicode_width::UnicodeWidthStr as _;

use crate::text::cut;

/// `$2` is the end of the line that bash replaces.
const SCRIPT: &str = r#"_weir_complete() {
    mapfile -t COMPREPLY < <(VARIABLE=bash _WEIR_PIECE="$2" _WEIR_TYPE="$COMP_TYPE" COLUMNS="${COLUMNS-}" \
        COMPLETER -- "${COMP_LINE:0:COMP_POINT}" 2> /dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _weir_complete BIN
"#;
/// `COMP_TYPE` of keys that put one candidate after the other into the line, or all of them.
const INSERTING: [&str; 2] = ["37", "42"];
/// Characters that mean something to bash.
const SPECIAL: &str = " \t'\"\\$&;|<>()*?[]{}#!`~";

/// The adapter of bash; it needs 4.4, of 2016.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == self.name()
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let script = SCRIPT.replace("VARIABLE", variable).replace("COMPLETER", completer);
        out.write_all(script.replace("BIN", bin).as_bytes())
    }

    /// As `words` made them of what the script hands over.
    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<OsString>,
        here: Option<&Path>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let last = words.last().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let at = words.len().saturating_sub(1);
        let found = engine::complete(command, words, at, here)?;
        let found = found.iter().map(|found| {
            let about = found.get_help().map(ToString::to_string).unwrap_or_default();
            let about = about.lines().next().unwrap_or_default().to_owned();
            (found.get_value().to_string_lossy().into_owned(), about)
        });
        let request = Request {
            replaced: last.strip_suffix(&variable("_WEIR_PIECE")).map_or(0, str::len),
            inserts: INSERTING.contains(&&*variable("_WEIR_TYPE")),
            columns: variable("COLUMNS").parse().unwrap_or(80),
        };
        for line in request.replies(&found.collect::<Vec<_>>()) {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// How bash wants its answer.
struct Request {
    /// So much of each candidate stands in the line and stays there.
    replaced: usize,
    /// Whether candidates go into the line and are not listed.
    inserts: bool,
    /// How wide the terminal is.
    columns: usize,
}

impl Request {
    /// A line for each candidate. Of several bash takes what they have in common and lists them, so
    /// there may stand behind them what they are.
    fn replies(&self, found: &[(String, String)]) -> Vec<String> {
        // A reply is a line; and nobody means a file of such a name.
        let found = found.iter().filter(|(value, _)| !value.contains(char::is_control));
        let found: Vec<_> = found
            .map(|(value, about)| (escaped(value.get(self.replaced..).unwrap_or_default()), about))
            .collect();
        if found.len() == 1 || self.inserts {
            return found.into_iter().map(|(value, _)| value.into_owned()).collect();
        }
        let width = found.iter().map(|(value, _)| value.width()).max().unwrap_or(0);
        let line = |(value, about): &(Cow<str>, &String)| {
            if about.is_empty() {
                return value.to_string();
            }
            let padding = " ".repeat(width - value.width());
            let room = self.columns.saturating_sub(width + 5);
            format!("{value}{padding}  ({})", cut(about, room))
        };
        found.iter().map(line).collect()
    }
}

fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(|c| SPECIAL.contains(c)) {
        return Cow::Borrowed(value);
    }
    let mut out = String::new();
    for c in value.chars() {
        if SPECIAL.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    Cow::Owned(out)
}

/// The words of the line up to the cursor that the script hands over; the last is the one to be
/// completed. A quote that is open closes at the end.
pub(super) fn words(asked: &[OsString]) -> Vec<OsString> {
    let line = asked.first().map(|line| line.to_string_lossy()).unwrap_or_default();
    let mut words = vec![String::new()];
    let (mut quote, mut escape, mut blank) = (None, false, true);
    for c in line.chars() {
        let last = words.last_mut().expect("there is one from the start");
        match (quote, c) {
            _ if escape => {
                last.push(c);
                escape = false;
            }
            (None | Some('"'), '\\') => escape = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ' | '\t' | '\n') => {
                if !blank {
                    words.push(String::new());
                }
                blank = true;
                continue;
            }
            (_, c) => last.push(c),
        }
        blank = false;
    }
    words.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<OsString> {
        words(&[line.into()])
    }

    #[test]
    fn a_line_has_words_and_the_last_may_be_empty() {
        assert_eq!(split("weir get name:wo"), ["weir", "get", "name:wo"]);
        assert_eq!(split("weir  job show "), ["weir", "job", "show", ""]);
        assert_eq!(split(r#"weir run a\ b 'c d' "e\"f"#), ["weir", "run", "a b", "c d", "e\"f"]);
        assert_eq!(split("weir run ''"), ["weir", "run", ""]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn what_stands_in_the_line_is_not_told_again() {
        let request = Request { replaced: "name:".len(), inserts: false, columns: 80 };
        let found = [("name:words".to_owned(), "blake3:00".to_owned())];
        assert_eq!(request.replies(&found), ["words"]);
    }

    #[test]
    fn several_candidates_are_told_with_what_they_are_and_fit_the_terminal() {
        let found = [("7", "words, active"), ("12", "a name that is long, succeeded")];
        let found = found.map(|(value, about)| (value.to_owned(), about.to_owned()));
        let listed = Request { replaced: 0, inserts: false, columns: 30 };
        let expected = ["7   (words, active)", "12  (a name that is long, s…)"];
        assert_eq!(listed.replies(&found), expected);
        let inserted = Request { replaced: 0, inserts: true, columns: 30 };
        assert_eq!(inserted.replies(&found), ["7", "12"]);
    }

    #[test]
    fn a_file_with_a_space_stays_one_word_and_one_with_a_line_feed_is_left_out() {
        let found = [("my file", ""), ("two\nlines", "")];
        let found = found.map(|(value, about)| (value.to_owned(), about.to_owned()));
        let request = Request { replaced: 0, inserts: false, columns: 80 };
        assert_eq!(request.replies(&found), ["my\\ file"]);
    }
}
