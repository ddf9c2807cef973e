//! Changes one setting in the text of the file and leaves every other byte as it is: comments,
//! order, and keys of a newer version.

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use toml::de::DeTable;

use super::Key;

/// The text with this value for the key; or why the text cannot be changed.
pub(super) fn with(text: &str, key: Key, value: &str) -> Result<String, String> {
    let literal = match key {
        Key::Quiet => value.to_owned(),
        // Strings of JSON are strings of TOML.
        Key::Master | Key::Namespace | Key::Color | Key::Log => {
            serde_json::Value::from(value).to_string()
        }
    };
    let table = DeTable::parse(text).map_err(|_| not_toml())?;
    if let Some(old) = table.get_ref().get(key.name()) {
        let span = old.span();
        if text[span.clone()].starts_with('[') || old.get_ref().is_table() {
            return Err(format!("`{}` is a table there; remove it first", key.name()));
        }
        return Ok(format!("{}{literal}{}", &text[..span.start], &text[span.end..]));
    }
    let line = format!("{} = {literal}\n", key.name());
    // What comes after the heading of a table belongs to that table.
    let at = first_heading(text, table.get_ref());
    let (before, after) = text.split_at(at);
    let newline = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{before}{newline}{line}{after}"))
}

/// The text without the line of a key; none when the key is not there.
pub(super) fn without(text: &str, key: Key) -> Result<Option<String>, String> {
    let table = DeTable::parse(text).map_err(|_| not_toml())?;
    let Some((name, value)) = table.get_ref().get_key_value(key.name()) else { return Ok(None) };
    if value.get_ref().is_table() {
        return Err(format!("`{}` is a table there; remove it by hand", key.name()));
    }
    let start = line_start(text, name.span().start);
    let end =
        text[value.span().end..].find('\n').map_or(text.len(), |at| value.span().end + at + 1);
    Ok(Some(format!("{}{}", &text[..start], &text[end..])))
}

fn not_toml() -> String {
    "it is not TOML; `weir config show` tells where, and nothing was changed".to_owned()
}

/// Where the line of the first `[table]` begins, or the end of the text.
fn first_heading(text: &str, table: &DeTable<'_>) -> usize {
    let starts = table.keys().map(|name| line_start(text, name.span().start));
    starts.filter(|at| text[*at..].trim_start().starts_with('[')).min().unwrap_or(text.len())
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Writes a file whole or not at all, as far as the file system can. A link stays a link.
///
/// The new file takes the old one's place, so that must be a file: root may replace `/dev/null`.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let about = || format!("cannot write {}", path.display());
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = std::fs::metadata(&target).ok();
    ensure!(
        old.as_ref().is_none_or(std::fs::Metadata::is_file),
        "cannot write {}: it is no regular file; name another with WEIR_CONFIG",
        path.display()
    );
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).with_context(about)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(about)?;
    if let Some(old) = old {
        file.as_file().set_permissions(old.permissions()).with_context(about)?;
    }
    file.write_all(text.as_bytes()).with_context(about)?;
    file.as_file().sync_all().with_context(about)?;
    file.persist(&target).with_context(about)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: Key, value: &str) -> String {
        with(text, key, value).expect("it can be changed")
    }

    #[test]
    fn a_value_is_replaced_where_it_stands() {
        let text = "# mine\nmaster = 'a:1' # the big one\nquiet = false\n";
        let expected = "# mine\nmaster = \"b:2\" # the big one\nquiet = false\n";
        assert_eq!(set(text, Key::Master, "b:2"), expected);
        assert_eq!(set("quiet=false", Key::Quiet, "true"), "quiet=true");
    }

    #[test]
    fn a_new_key_comes_before_tables_and_after_all_else() {
        assert_eq!(set("", Key::Log, "info"), "log = \"info\"\n");
        assert_eq!(set("# mine", Key::Log, "info"), "# mine\nlog = \"info\"\n");
        let text = "quiet = true\n\n [future]\nlog = 1\n";
        let expected = "quiet = true\n\nlog = \"info\"\n [future]\nlog = 1\n";
        assert_eq!(set(text, Key::Log, "info"), expected);
    }

    #[test]
    fn any_text_survives_its_quotes() {
        for value in ["a\"b\\c", "ü=1,[x]{y}", "#"] {
            let text = set("", Key::Log, value);
            let table = DeTable::parse(&text).expect("TOML");
            assert_eq!(table.get_ref().get("log").and_then(|v| v.get_ref().as_str()), Some(value));
        }
    }

    #[test]
    fn a_removed_key_takes_its_line_along_and_nothing_else() {
        let text = "# mine\n  master = 'a:1' # x\nother = \"\"\"\nlog\n\"\"\"\nlog = 'info'";
        let removed = |key| without(text, key).expect("it can be changed");
        let expected = "# mine\nother = \"\"\"\nlog\n\"\"\"\nlog = 'info'";
        assert_eq!(removed(Key::Master).as_deref(), Some(expected));
        let expected = "# mine\n  master = 'a:1' # x\nother = \"\"\"\nlog\n\"\"\"\n";
        assert_eq!(removed(Key::Log).as_deref(), Some(expected));
        assert_eq!(removed(Key::Color), None);
    }

    #[test]
    fn what_is_not_understood_is_not_touched() {
        assert!(with("a = ", Key::Log, "info").is_err());
        assert!(with("[log]\n", Key::Log, "info").is_err());
        assert!(with("log.level = 1\n", Key::Log, "info").is_err());
        assert!(without("a = ", Key::Log).is_err());
        assert!(without("[log]\n", Key::Log).is_err());
    }

    #[test]
    fn a_file_is_written_through_a_link_and_keeps_its_permissions() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().expect("a directory");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&real, "old").expect("a file");
        std::fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).expect("permissions");
        symlink(&real, &link).expect("a link");

        write(&link, "new").expect("it can be written");

        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&real).expect("the file"), "new");
        let mode = std::fs::metadata(&real).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        write(&dir.path().join("a/b/c"), "deep").expect("directories are made");
    }

    #[test]
    fn what_is_no_regular_file_is_never_replaced() {
        use std::os::unix::{fs::FileTypeExt as _, fs::symlink, net::UnixListener};
        let dir = tempfile::tempdir().expect("a directory");
        let (socket, link) = (dir.path().join("socket"), dir.path().join("link"));
        let _listener = UnixListener::bind(&socket).expect("a socket");
        symlink(&socket, &link).expect("a link");

        for path in [&socket, &link, &dir.path().to_owned()] {
            let error = write(path, "text").expect_err("no file").to_string();
            assert!(error.contains("no regular file"), "{error}");
        }

        let kind = std::fs::metadata(&socket).expect("the socket").file_type();
        assert!(kind.is_socket());
    }
}
