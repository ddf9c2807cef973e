//! Placeholders in arguments and in the environment: which mean something in a stage, and which are
//! probably misspelt.

use std::ops::Range;

use super::{
    problem::{Problem, nearest, quoted},
    reader::Problems,
};

/// Every placeholder, with the kinds of stage in which it means something.
const KNOWN: [(&str, &[Tasks]); 5] = [
    ("index", &[Tasks::Count, Tasks::Foreach]),
    ("count", &[Tasks::Count]),
    ("input", &[Tasks::Foreach]),
    ("input.name", &[Tasks::Foreach]),
    ("input.stem", &[Tasks::Foreach]),
];

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

/// Tells about placeholders in a text that mean nothing in such a stage, and about near misses.
pub(super) fn check(text: &str, span: &Range<usize>, tasks: Tasks, problems: &mut Problems<'_>) {
    for word in words(text) {
        let written = format!("{{{word}}}");
        let place = problems.part(span, &written);
        match KNOWN.iter().find(|(known, _)| *known == word) {
            Some((_, kinds)) if kinds.contains(&tasks) => {}
            Some((known, _)) => {
                let (message, hint) = meaningless(known, tasks);
                problems.error(&place, message, hint);
            }
            None => {
                let known = KNOWN.map(|(known, _)| known);
                if let Some(meant) = nearest(word.trim(), &known) {
                    let message =
                        format!("{} is no placeholder, and stays as it is", quoted(&written));
                    let hint = format!("did you mean `{{{meant}}}`?");
                    problems.push(Problem::warning(place, message).hint(hint));
                }
            }
        }
    }
}

/// Whether a text holds a placeholder of any kind.
pub(super) fn has_any(text: &str) -> bool {
    words(text).any(|word| KNOWN.iter().any(|(known, _)| *known == word))
}

fn meaningless(known: &str, tasks: Tasks) -> (String, String) {
    let needed = match known {
        "index" => "`count` or `foreach`",
        "count" => "`count`",
        _ => "`foreach`",
    };
    match (known, tasks) {
        ("index", _) | (_, Tasks::One) => (
            format!("`{{{known}}}` means nothing in a stage of one task"),
            format!("add {needed}, or write `{{{{{known}}}}}` for the text itself"),
        ),
        (_, Tasks::Count) => (
            format!("`{{{known}}}` means nothing in a stage with `count`"),
            "`{index}` and `{count}` do; `{input}` belongs to `foreach`".to_owned(),
        ),
        (_, Tasks::Foreach) => (
            format!("`{{{known}}}` means nothing in a stage with `foreach`"),
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
