//! Placeholders in arguments and environment: what stands for what differs between tasks.
//!
//! Only the words below are placeholders; any other brace is itself, so JSON and patterns pass
//! unchanged. Doubled braces around such a word give it in single ones.

use std::borrow::Cow;

use crate::manifest::Item;

/// What the placeholders of one task stand for.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Of an array's task.
    Array {
        /// The task's index.
        index: u32,
        /// How many tasks there are.
        count: u32,
    },
    /// Of a foreach stage's task. Its index is there for those who ask; it changes with its siblings.
    Item {
        /// The task's index.
        index: u32,
        /// The task's item.
        item: &'a Item,
    },
}

/// A placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `{index}`: of the task, from 0.
    Index,
    /// `{count}`: of the array's tasks.
    Count,
    /// `{input}`: where the item's file is, or the item's line.
    Input,
    /// `{input.name}`: the item's last part as a path.
    InputName,
    /// `{input.stem}`: its name without its extension.
    InputStem,
}

impl Placeholder {
    /// All of them, with how they are written.
    pub const ALL: [(&'static str, Placeholder); 5] = [
        ("{index}", Placeholder::Index),
        ("{count}", Placeholder::Count),
        ("{input}", Placeholder::Input),
        ("{input.name}", Placeholder::InputName),
        ("{input.stem}", Placeholder::InputStem),
    ];

    fn value(self, values: Values<'_>) -> Option<Cow<'_, str>> {
        Some(match (self, values) {
            (Placeholder::Index, Values::Array { index, .. } | Values::Item { index, .. }) => {
                Cow::Owned(index.to_string())
            }
            (Placeholder::Count, Values::Array { count, .. }) => Cow::Owned(count.to_string()),
            (Placeholder::Input, Values::Item { item, .. }) => Cow::Owned(item.input()),
            (Placeholder::InputName, Values::Item { item, .. }) => Cow::Borrowed(item.name()),
            (Placeholder::InputStem, Values::Item { item, .. }) => Cow::Borrowed(item.stem()),
            (
                Placeholder::Input | Placeholder::InputName | Placeholder::InputStem,
                Values::Array { .. },
            )
            | (Placeholder::Count, Values::Item { .. }) => return None,
        })
    }
}

/// A text with its placeholders replaced; those that mean nothing for this task stay as they are.
pub fn expand(text: &str, values: Values<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let escaped = rest.strip_prefix('{').and_then(|inner| {
            let (word, _) = at_start(inner)?;
            inner[word.len()..].starts_with('}').then_some(word)
        });
        if let Some(word) = escaped {
            out.push_str(word);
            rest = &rest[word.len() + 2..];
            continue;
        }
        let value = at_start(rest).and_then(|(word, which)| Some((word, which.value(values)?)));
        match value {
            Some((word, value)) => {
                out.push_str(&value);
                rest = &rest[word.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The placeholders in a text, in order; escaped ones are none.
pub fn placeholders(text: &str) -> Vec<Placeholder> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        if let Some((word, _)) = rest.strip_prefix('{').and_then(at_start)
            && rest[1 + word.len()..].starts_with('}')
        {
            rest = &rest[word.len() + 2..];
        } else if let Some((word, which)) = at_start(rest) {
            found.push(which);
            rest = &rest[word.len()..];
        } else {
            rest = &rest[1..];
        }
    }
    found
}

/// The placeholder that a text begins with.
fn at_start(text: &str) -> Option<(&'static str, Placeholder)> {
    Placeholder::ALL.into_iter().find(|(word, _)| text.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRAY: Values<'_> = Values::Array { index: 7, count: 10 };

    #[test]
    fn placeholders_of_an_array_are_its_index_and_count() {
        assert_eq!(expand("part-{index} of {count}", ARRAY), "part-7 of 10");
        assert_eq!(expand("{input}", ARRAY), "{input}");
    }

    #[test]
    fn placeholders_of_an_item_are_its_text_and_parts() {
        let item = Item { text: "texts/a.b.txt".to_owned(), source: None };
        let values = Values::Item { index: 3, item: &item };
        let expanded = expand("{input} {input.name} {input.stem} {index} {count}", values);
        assert_eq!(expanded, "texts/a.b.txt a.b.txt a.b 3 {count}");
    }

    #[test]
    fn other_braces_are_themselves() {
        for text in ["{}", "{\"index\": 1}", "{ index }", "{indices}", "}{", "{", "{{", "{{}}"] {
            assert_eq!(expand(text, ARRAY), text);
            assert_eq!(placeholders(text), []);
        }
        assert_eq!(expand("{{index}}", ARRAY), "{index}");
        assert_eq!(expand("{{index}", ARRAY), "{7");
        assert_eq!(expand("ü{index}ü", ARRAY), "ü7ü");
    }

    #[test]
    fn placeholders_are_found_in_order_without_the_escaped() {
        let found = placeholders("{{index}} {input.stem}-{index}");
        assert_eq!(found, [Placeholder::InputStem, Placeholder::Index]);
    }
}
