//! Precedence of settings, and what is told about wrong ones.

use super::*;

/// Settings from a file with this text, these variables and these flags.
fn resolve(
    text: &str,
    variables: &[(&str, &str)],
    flags: &GlobalFlags,
) -> (Settings, Vec<Problem>) {
    let variable = |name: &str| {
        let found = variables.iter().find(|(set, _)| *set == name);
        found.map(|(_, value)| OsString::from(value)).filter(|value| !value.is_empty())
    };
    let found = |key: Key| variable(key.variable()).map(|value| (key, value));
    let file = ConfigFile::parse("c.toml".into(), text.to_owned());
    let variables = Key::ALL.into_iter().filter_map(found).collect();
    Sources { file: Some(file), variables }.resolve(flags)
}

fn problems(text: &str) -> Vec<String> {
    let (_, problems) = resolve(text, &[], &GlobalFlags::default());
    problems.iter().map(Problem::to_string).collect()
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let text = "# mine\nnamespace = 'file'\ncolor = \"never\"\nquiet = true\n\n  log = 'info'\n";
    let variables = [("WEIR_NAMESPACE", "variable"), ("WEIR_COLOR", "always"), ("WEIR_LOG", "")];
    let flags =
        GlobalFlags { namespace: Some("flag".parse().expect("a name")), ..GlobalFlags::default() };

    let (settings, problems) = resolve(text, &variables, &flags);

    let from = |line| Origin::File { path: "c.toml".into(), line };
    let told = Key::ALL.map(|key| settings.shown(key));
    let expected = [
        (DEFAULT_ADDRESS.to_owned(), &Origin::Default),
        ("flag".to_owned(), &Origin::Flag("--namespace")),
        ("always".to_owned(), &Origin::Environment("WEIR_COLOR")),
        ("true".to_owned(), &from(4)),
        ("info".to_owned(), &from(6)),
    ];
    assert_eq!(told, expected);
    assert_eq!(problems, []);
    assert_eq!(settings.named_master(), None);
}

#[test]
fn a_master_named_in_the_file_counts_as_named() {
    let (settings, _) = resolve("master = 'm:1'", &[], &GlobalFlags::default());
    assert_eq!(settings.named_master(), Some("m:1"));
}

#[test]
fn each_wrong_line_is_told_and_the_rest_holds() {
    let text = "mastr = 'a:1'\nquiet = 'yes'\nlog = 7\ncolor = 'blue'\nnamespace = 'mine'\n";
    let (settings, problems) = resolve(text, &[("WEIR_QUIET", "maybe")], &GlobalFlags::default());

    let told: Vec<_> = problems.iter().map(Problem::to_string).collect();
    let expected = [
        "c.toml:1:1: there is no key \"mastr\"; did you mean `master`?",
        "c.toml:2:9: `quiet` is true or false, without quotes, but this is a string",
        "c.toml:3:7: `log` is text in quotes, but this is an integer",
        "c.toml:4:9: \"blue\" is not one of auto, always and never",
        "WEIR_QUIET: \"maybe\" is neither true nor false",
    ];
    assert_eq!(told, expected);
    assert_eq!(settings.namespace.value.as_str(), "mine");
    assert!(check(&problems).expect_err("problems").to_string().contains("c.toml:3:7"));
}

#[test]
fn what_is_no_toml_is_told_with_its_place_and_the_other_lines_hold() {
    let (settings, problems) =
        resolve("quiet = true\nlog = \nmaster = 'm:1'\n", &[], &GlobalFlags::default());
    assert!(problems[0].place.starts_with("c.toml:2:"), "{problems:?}");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(settings.quiet.value);
    assert_eq!(settings.master.value, "m:1");
}

#[test]
fn a_key_given_twice_is_told() {
    assert_eq!(problems("log = 'a'\nlog = 'b'\n").len(), 1);
}

#[test]
fn a_key_like_no_other_gets_the_list() {
    let told = problems("timeout = 3\n");
    assert_eq!(
        told,
        ["c.toml:1:1: there is no key \"timeout\"; there are master, namespace, color, quiet, log"]
    );
}

#[test]
fn columns_count_characters() {
    let told = problems("\"größe\" = 1\n'ä' = 1\nlog = 'x' x\n");
    assert!(told[2].starts_with("c.toml:3:11"), "{told:?}");
}

#[test]
fn the_file_is_where_its_variable_says_or_where_such_files_are() {
    let path = |set: &[(&str, &str)]| {
        let set: Vec<(String, OsString)> =
            set.iter().map(|(name, value)| (String::from(*name), OsString::from(value))).collect();
        file::path(move |name| {
            set.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone())
        })
    };
    let home = ("HOME", "/home/u");
    assert_eq!(path(&[home, ("WEIR_CONFIG", "w.toml")]), Some("w.toml".into()));
    let xdg = path(&[home, ("XDG_CONFIG_HOME", "/x")]);
    assert_eq!(xdg, Some("/x/weir/config.toml".into()));
    let relative = path(&[home, ("XDG_CONFIG_HOME", "x")]);
    assert_eq!(relative, Some("/home/u/.config/weir/config.toml".into()));
    assert_eq!(path(&[]), None);
}

#[test]
fn a_file_that_is_not_there_is_as_good_as_an_empty_one() {
    let file = ConfigFile::read("/no/such/config.toml".into());
    assert!(file.text.is_none() && file.problems.is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let latin1 = dir.path().join("latin1.toml");
    std::fs::write(&latin1, b"# gr\xfcn\n").expect("a file");
    let large = dir.path().join("large.toml");
    std::fs::write(&large, "#".repeat(70_000)).expect("a file");
    for (path, words) in [
        (dir.path().to_owned(), "cannot read it"),
        (latin1, "not UTF-8, from byte 4"),
        (large, "larger than 65536 bytes"),
    ] {
        let file = ConfigFile::read(path.clone());
        let told = file.problems[0].to_string();
        assert!(told.contains(words) && told.contains(&*path.to_string_lossy()), "{told}");
    }
}

#[test]
fn colours_obey_what_was_asked_for() {
    let with = |value| Settings { color: Setting::usual(value), ..Settings::default() };
    let no_terminal = tempfile::tempfile().expect("a file");
    assert!(with(Color::Always).colours(&no_terminal));
    assert!(!with(Color::Never).colours(&no_terminal));
    assert!(!with(Color::Auto).colours(&no_terminal));
}
