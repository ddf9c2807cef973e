//! Placeholders in arguments and in the environment: which mean something in a stage, and which are
//! probably misspelt.

use std::ops::Range;

use weir_proto::template::{Placeholder, placeholders};

use super::{
    problem::{Problem, nearest, quoted},
    reader::Problems,
};

/// What makes the tasks of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tasks {
    /// There is one.
    One,
    /// `count`.
    Count,
    /// `foreach`.
    Foreach,
}

impl Tasks {
    fn have(self, placeholder: Placeholder) -> bool {
        match placeholder {
            Placeholder::Index => self != Tasks::One,
            Placeholder::Count => self == Tasks::Count,
            Placeholder::Input | Placeholder::InputName | Placeholder::InputStem => {
                self == Tasks::Foreach
            }
        }
    }
}

/// Tells about placeholders in a text that mean nothing in such a stage, and about near misses.
pub(super) fn check(text: &str, span: &Range<usize>, tasks: Tasks, problems: &mut Problems<'_>) {
    let found = placeholders(text);
    for (written, placeholder) in Placeholder::ALL {
        if found.contains(&placeholder) && !tasks.have(placeholder) {
            let (message, hint) = meaningless(written, placeholder, tasks);
            problems.error(&problems.part(span, written), message, hint);
        }
    }
    let known = Placeholder::ALL.map(|(written, _)| written.trim_matches(['{', '}']));
    for word in words(text).filter(|word| !known.contains(word)) {
        if problems.full() {
            return;
        }
        if let Some(meant) = nearest(word.trim(), &known) {
            let written = format!("{{{word}}}");
            let message = format!("{} is no placeholder, and stays as it is", quoted(&written));
            let warning = Problem::warning(problems.part(span, &written), message);
            problems.push(warning.hint(format!("did you mean `{{{meant}}}`?")));
        }
    }
}

/// Whether a text holds a placeholder of any kind.
pub(super) fn has_any(text: &str) -> bool {
    !placeholders(text).is_empty()
}

fn meaningless(written: &str, placeholder: Placeholder, tasks: Tasks) -> (String, String) {
    let needed = match placeholder {
        Placeholder::Index => "`count` or `foreach`",
        Placeholder::Count => "`count`",
        Placeholder::Input | Placeholder::InputName | Placeholder::InputStem => "`foreach`",
    };
    match tasks {
        Tasks::One => (
            format!("`{written}` means nothing in a stage of one task"),
            format!("add {needed}, or write `{{{written}}}` for the text itself"),
        ),
        Tasks::Count => (
            format!("`{written}` means nothing in a stage with `count`"),
            "`{index}` and `{count}` do; `{input}` belongs to `foreach`".to_owned(),
        ),
        Tasks::Foreach => (
            format!("`{written}` means nothing in a stage with `foreach`"),
            "a task does not know how many there are, so that a new item leaves the others as they \
             were"
                .to_owned(),
        ),
    }
}

/// What stands between single braces.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find('{')?..];
            if rest.starts_with("{{") {
                rest = rest[2..].split_once("}}").map_or("", |(_, after)| after);
                continue;
            }
            let inner = &rest[1..];
            let end = inner.find(['{', '}'])?;
            rest = &inner[end..];
            if rest.starts_with('}') {
                return Some(&inner[..end]);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, tasks: Tasks) -> Vec<String> {
        let file = format!("args = [{text:?}]");
        let mut problems = Problems::of(&file);
        check(text, &(8..file.len() - 1), tasks, &mut problems);
        let told = problems.sorted().into_iter();
        told.map(|problem| format!("{} {}", &file[problem.span], problem.message)).collect()
    }

    #[test]
    fn a_placeholder_means_something_where_its_tasks_have_it() {
        assert!(told("{index} of {count}", Tasks::Count).is_empty());
        assert!(told("{input} {input.name} {input.stem} {index}", Tasks::Foreach).is_empty());
        let message = "{index} `{index}` means nothing in a stage of one task";
        assert_eq!(told("a {index}", Tasks::One), [message]);
        let message = "{input} `{input}` means nothing in a stage with `count`";
        assert_eq!(told("{input}", Tasks::Count), [message]);
        let message = "{count} `{count}` means nothing in a stage with `foreach`";
        assert_eq!(told("{count}", Tasks::Foreach), [message]);
    }

    #[test]
    fn a_near_miss_is_told_and_other_braces_are_text() {
        let message = "{inptu} `{inptu}` is no placeholder, and stays as it is";
        assert_eq!(told("{inptu}", Tasks::Foreach), [message]);
        let message = "{index } `{index }` is no placeholder, and stays as it is";
        assert_eq!(told("{index }", Tasks::Count), [message]);
        assert!(told("{\"a\": {\"b\": 1}} {} {{index}} {", Tasks::One).is_empty());
    }
}
