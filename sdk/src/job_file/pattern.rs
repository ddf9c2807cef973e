//! Patterns of files, `data/**/*.csv`, and the files that match.
//!
//! A pattern is taken apart at each `/` and its parts are met one directory at a time, so only what
//! can match is looked at. A name that begins with `.` is met only by a part that does. Links to
//! files are followed; `**` does not follow links to directories, so it ends.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet};

use crate::plan::FileItem;

/// Most files that patterns may match.
pub const MAX_MATCHES: usize = 1_000_000;

/// Longest pattern, in bytes: that of a path.
const MAX_PATTERN_BYTES: usize = 4096;

/// A pattern that can be matched.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    /// A name without special characters; `.` and `..` too.
    Literal(String),
    /// Names.
    Names { matcher: GlobSet, hidden: bool },
    /// Any number of directories.
    Directories,
}

/// Why the files of patterns cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// No file.
    #[error("the pattern `{pattern}` matches no file in {}", directory.display())]
    Nothing {
        /// The pattern.
        pattern: String,
        /// Where it was looked.
        directory: PathBuf,
    },
    /// More than `MAX_MATCHES`.
    #[error("the pattern `{pattern}` matches more than {MAX_MATCHES} files")]
    TooMany {
        /// The pattern.
        pattern: String,
    },
    /// A name that cannot be text.
    #[error("the pattern `{pattern}` matches {}, which is not UTF-8", path.display())]
    NotText {
        /// The pattern.
        pattern: String,
        /// The file.
        path: PathBuf,
    },
    /// A directory cannot be listed.
    #[error("cannot list {}: {source}", directory.display())]
    List {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow the pattern and a colon.
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(format!("it is longer than {MAX_PATTERN_BYTES} bytes"));
        }
        if text.ends_with('/') {
            return Err("it ends with `/`, and directories are no items".to_owned());
        }
        let (root, relative) = match text.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut parts: Vec<Part> = if root { vec![Part::Literal("/".to_owned())] } else { vec![] };
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            // Two in a row match what one does, many times over.
            if part != "**" || !matches!(parts.last(), Some(Part::Directories)) {
                parts.push(Part::new(part)?);
            }
        }
        if let Some(Part::Directories) = parts.last() {
            parts.push(Part::new("*")?);
        }
        Ok(Pattern { text: text.to_owned(), parts })
    }

    /// The files that match, in the order of their paths, relative to a directory.
    ///
    /// # Errors
    /// Each variant as it says.
    pub fn matches(&self, base: &Path) -> Result<Vec<FileItem>, MatchError> {
        let mut found = Vec::new();
        self.meet(base, "", &self.parts, &mut found)?;
        if found.is_empty() {
            // What was named in full is where to look for the mistake.
            let literal = self.parts.iter().map_while(|part| match part {
                Part::Literal(name) => Some(name),
                Part::Names { .. } | Part::Directories => None,
            });
            let mut directory: PathBuf =
                literal.fold(base.to_owned(), |path, name| path.join(name));
            while !directory.is_dir() && directory.pop() {}
            if directory.as_os_str().is_empty() {
                directory.push(".");
            }
            return Err(MatchError::Nothing { pattern: self.text.clone(), directory });
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Meets the rest of the parts in the directory `base/told`.
    fn meet(
        &self,
        base: &Path,
        told: &str,
        parts: &[Part],
        found: &mut Vec<FileItem>,
    ) -> Result<(), MatchError> {
        let Some((part, rest)) = parts.split_first() else { return Ok(()) };
        let below = |name: &str| match told {
            "" | "/" => format!("{told}{name}"),
            _ => format!("{told}/{name}"),
        };
        match part {
            Part::Literal(name) => self.step(base, below(name), rest, found),
            Part::Names { matcher, hidden } => {
                for name in self.list(&base.join(told))? {
                    if matcher.is_match(&name) && (*hidden || !name.starts_with('.')) {
                        self.step(base, below(&name), rest, found)?;
                    }
                }
                Ok(())
            }
            Part::Directories => {
                self.meet(base, told, rest, found)?;
                for name in self.list(&base.join(told))? {
                    let path = base.join(below(&name));
                    let metadata = fs::symlink_metadata(&path);
                    if !name.starts_with('.') && metadata.is_ok_and(|data| data.is_dir()) {
                        self.meet(base, &below(&name), parts, found)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Takes a path that the parts so far allow: a file at their end, a directory before.
    fn step(
        &self,
        base: &Path,
        told: String,
        rest: &[Part],
        found: &mut Vec<FileItem>,
    ) -> Result<(), MatchError> {
        let path = base.join(&told);
        let metadata = fs::metadata(&path);
        if rest.is_empty() {
            if metadata.is_ok_and(|data| data.is_file()) {
                found.push(FileItem { text: told, path });
            }
            if found.len() > MAX_MATCHES {
                return Err(MatchError::TooMany { pattern: self.text.clone() });
            }
            return Ok(());
        }
        match metadata {
            Ok(data) if data.is_dir() => self.meet(base, &told, rest, found),
            _ => Ok(()),
        }
    }

    fn list(&self, directory: &Path) -> Result<Vec<String>, MatchError> {
        // The base of a bare name is the empty path.
        let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let failed = |source| MatchError::List { directory: here.to_owned(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(here).map_err(failed)? {
            match entry.map_err(failed)?.file_name().into_string() {
                Ok(name) => names.push(name),
                Err(name) => {
                    return Err(MatchError::NotText {
                        pattern: self.text.clone(),
                        path: here.join(name),
                    });
                }
            }
        }
        Ok(names)
    }
}

impl Part {
    fn new(text: &str) -> Result<Part, String> {
        if text == "**" {
            return Ok(Part::Directories);
        }
        if text.contains("**") {
            return Err(format!("`**` stands alone between `/`, not as in `{text}`"));
        }
        if !text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Ok(Part::Literal(text.to_owned()));
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        // A set of one: compiling a lone glob panics where it is too large.
        let set = glob.and_then(|glob| GlobSet::builder().add(glob).build());
        let matcher = set.map_err(|error| error.kind().to_string())?;
        Ok(Part::Names { matcher, hidden: text.starts_with('.') })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, file).expect("a file");
        }
        dir
    }

    fn texts(dir: &tempfile::TempDir, pattern: &str) -> Vec<String> {
        let pattern = Pattern::new(pattern).expect("a pattern");
        let matches = pattern.matches(dir.path()).expect("matches");
        matches.into_iter().map(|found| found.text).collect()
    }

    #[test]
    fn files_are_matched_in_the_order_of_their_paths() {
        let dir = tree(&["b.csv", "a.csv", "a.txt", "sub/c.csv", "sub/deep/d.csv"]);
        assert_eq!(texts(&dir, "*.csv"), ["a.csv", "b.csv"]);
        assert_eq!(texts(&dir, "**/*.csv"), ["a.csv", "b.csv", "sub/c.csv", "sub/deep/d.csv"]);
        assert_eq!(texts(&dir, "**/**/d.csv"), ["sub/deep/d.csv"]);
        assert_eq!(texts(&dir, "sub/**"), ["sub/c.csv", "sub/deep/d.csv"]);
        assert_eq!(texts(&dir, "{a,b}.csv"), ["a.csv", "b.csv"]);
        assert_eq!(texts(&dir, "[ab].?sv"), ["a.csv", "b.csv"]);
        assert_eq!(texts(&dir, "./a.csv"), ["./a.csv"]);
        assert_eq!(texts(&dir, "sub/../a.*"), ["sub/../a.csv", "sub/../a.txt"]);
    }

    #[test]
    fn hidden_files_are_matched_only_where_the_pattern_says_so() {
        let dir = tree(&[".secret", "seen", ".git/config", "sub/.hidden"]);
        assert_eq!(texts(&dir, "*"), ["seen"]);
        assert_eq!(texts(&dir, "**/*"), ["seen"]);
        assert_eq!(texts(&dir, ".*"), [".secret"]);
        assert_eq!(texts(&dir, ".git/*"), [".git/config"]);
        assert_eq!(texts(&dir, "**/.*"), [".secret", "sub/.hidden"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_to_files_are_followed_and_loops_end() {
        let dir = tree(&["a.csv"]);
        std::os::unix::fs::symlink("a.csv", dir.path().join("link.csv")).expect("a link");
        std::os::unix::fs::symlink(".", dir.path().join("loop")).expect("a link");
        std::os::unix::fs::symlink("nowhere", dir.path().join("dead.csv")).expect("a link");
        assert_eq!(texts(&dir, "**/*.csv"), ["a.csv", "link.csv"]);
        assert_eq!(texts(&dir, "loop/*.csv"), ["loop/a.csv", "loop/link.csv"]);
    }

    #[test]
    fn an_absolute_pattern_is_met_from_the_root() {
        let dir = tree(&["a.csv"]);
        let pattern = format!("{}/*.csv", dir.path().display());
        let expected = format!("{}/a.csv", dir.path().display());
        assert_eq!(texts(&dir, &pattern), [expected]);
    }

    #[test]
    fn a_pattern_without_a_match_says_where_it_was_looked() {
        let dir = tree(&["data/a.csv"]);
        let error = |pattern: &str| {
            let pattern = Pattern::new(pattern).expect("a pattern");
            pattern.matches(dir.path()).expect_err("nothing").to_string()
        };
        let data = dir.path().join("data");
        let base = dir.path();
        assert_eq!(
            error("data/*.txt"),
            format!("the pattern `data/*.txt` matches no file in {}", data.display())
        );
        assert_eq!(
            error("dat/*.csv"),
            format!("the pattern `dat/*.csv` matches no file in {}", base.display())
        );
    }

    #[test]
    fn what_cannot_be_matched_is_told() {
        for (pattern, reason) in [
            ("", "empty"),
            ("data/", "directories are no items"),
            ("a**", "stands alone"),
            ("[a", "unclosed"),
            ("{a", "unclosed"),
            (&"?".repeat(5000), "longer than 4096 bytes"),
        ] {
            let why = Pattern::new(pattern).expect_err(pattern);
            assert!(why.contains(reason), "{pattern}: {why}");
        }
    }
}
