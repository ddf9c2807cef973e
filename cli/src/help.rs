//! The frame of `weir --help`: commands in groups, where clap knows one list only.

use clap::Command;

/// Commands by what they are for. One that is in no group stands in the last.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Tasks", &["run", "submit", "job", "new", "schema"]),
    ("Data", &["put", "get", "store", "name"]),
    (
        "Clusters",
        &["dev", "master", "agent", "status", "cluster", "namespace", "events", "doctor", "bench"],
    ),
    ("Other", &["config", "completions", "man"]),
];

/// The command with its subcommands in groups.
pub(crate) fn grouped(command: Command) -> Command {
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\n{}\n{{options}}{{after-help}}\n",
        groups(&command),
        heading(&command, "Options"),
    );
    command.help_template(template)
}

fn groups(command: &Command) -> String {
    let visible: Vec<&Command> =
        command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    let width = visible.iter().map(|sub| sub.get_name().len()).max().unwrap_or(0);
    let literal = command.get_styles().get_literal();
    let mut out = String::new();
    for (group, (title, _)) in GROUPS.iter().enumerate() {
        let mut members: Vec<&&Command> =
            visible.iter().filter(|sub| group_of(sub.get_name()).0 == group).collect();
        members.sort_by_key(|sub| group_of(sub.get_name()).1);
        if members.is_empty() {
            continue;
        }
        out.push_str(&format!("\n{}\n", heading(command, title)));
        for sub in members {
            let (name, about) = (sub.get_name(), sub.get_about().map(ToString::to_string));
            let about = about.unwrap_or_default();
            out.push_str(&format!("  {literal}{name:width$}{literal:#}  {about}\n"));
        }
    }
    out
}

fn heading(command: &Command, title: &str) -> String {
    let header = command.get_styles().get_header();
    format!("{header}{title}:{header:#}")
}

/// The group of a command, and its place in it.
fn group_of(name: &str) -> (usize, usize) {
    for (group, (_, members)) in GROUPS.iter().enumerate() {
        if let Some(place) = members.iter().position(|member| *member == name) {
            return (group, place);
        }
    }
    (GROUPS.len() - 1, usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::Weir;

    /// Longest line about a command: with its name it fits a terminal of 100 columns.
    const MAX_ABOUT_CHARS: usize = 76;

    fn every_command(command: &Command, visit: &mut impl FnMut(&Command)) {
        visit(command);
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            every_command(sub, visit);
        }
    }

    #[test]
    fn the_help_shows_every_command_once_under_its_group() {
        let mut command = grouped(Weir::command());
        let help = command.render_help().to_string();
        for sub in Weir::command().get_subcommands() {
            let start = format!("\n  {} ", sub.get_name());
            assert_eq!(help.matches(&start).count(), 1, "{}: {help}", sub.get_name());
        }
        for words in ["\nTasks:\n", "\nOptions:\n", "--quiet", "\nExamples:\n"] {
            assert!(help.contains(words), "no {words:?} in {help}");
        }
    }

    #[test]
    fn every_command_says_in_a_line_what_it_does() {
        every_command(&Weir::command(), &mut |command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let name = command.get_name();
            assert!(!about.is_empty(), "{name} does not say what it does");
            assert!(about.chars().count() <= MAX_ABOUT_CHARS, "{name}: {about}");
            assert!(!about.contains(['\n', '{', '}']), "{name}: {about}");
            assert!(!about.ends_with('.'), "{name}: {about}");
        });
    }

    #[test]
    fn every_command_has_examples_in_its_help() {
        let mut without = Vec::new();
        every_command(&Weir::command(), &mut |command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !help.starts_with("Examples") {
                without.push(command.get_name().to_owned());
            }
        });
        assert!(without.is_empty(), "after_help begins with examples, but not of {without:?}");
    }
}
