//! README as a stranger follows it: every `console` block of its tour, typed word for word into one
//! shell, and what comes back is what README says, but for numbers, times and digests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weir_tests::{
    guests::rust_compiler,
    session::{Session, Step, steps},
};

/// Where README's cluster listens.
const ADDRESS: &str = "127.0.0.1:7400";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// The blocks of a language beneath a heading, up to the next heading of its level.
fn blocks(text: &str, heading: &str, language: &str) -> Vec<String> {
    let section = text.split_once(heading).expect("the heading").1;
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut blocks = Vec::new();
    for block in section.split(&format!("```{language}\n")).skip(1) {
        blocks.push(block.split("```").next().unwrap_or(block).to_owned());
    }
    blocks
}

/// A line with every number, time, digest and path of its own taken out, and runs of spaces made one.
fn shape(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_whitespace() {
        let word = word.trim_matches(|c: char| matches!(c, ',' | ';' | ':' | '.' | '(' | ')'));
        let number = word.chars().next().is_some_and(|c| c.is_ascii_digit());
        let unit = matches!(
            word,
            "k" | "M" | "G" | "T" | "us" | "ms" | "s" | "B" | "KiB" | "MiB" | "GiB" | "TiB"
        );
        let word = match word {
            _ if number => "#",
            _ if unit && out.ends_with("# ") => continue,
            word if word.contains("blake3:") => "DIGEST",
            word if word.contains("/weir-") => "TEMPORARY",
            word => word,
        };
        // Numbers within words, such as a job's, stay: README's are those of a new cluster.
        out.push_str(word);
        out.push(' ');
    }
    out
}

fn shapes(lines: &[String]) -> Vec<String> {
    let mut shapes: Vec<String> = lines.iter().map(|line| shape(line)).collect();
    // A shell tells of a job that was killed when it pleases.
    shapes.retain(|shape| !shape.is_empty() && !shape.contains(" Killed "));
    // Tasks of an array tell in no order.
    shapes.sort();
    shapes
}

#[test]
fn the_tour_of_the_readme_goes_as_it_says() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let all: Vec<Step> = blocks(&readme, "## Five minutes", "console")
        .iter()
        .flat_map(|block| steps(block))
        .collect();
    assert!(all.len() >= 20, "{} commands", all.len());
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files(&readme) {
        fs::write(directory.path().join(name), text).expect("a file");
    }
    if std::net::TcpListener::bind(ADDRESS).is_err() {
        return eprintln!("skipped: the tour of README: something listens on {ADDRESS}");
    }
    let compiler =
        rust_compiler().expect("a compiler for guests: `make guests` finds or makes one");
    let compiler = compiler.display().to_string();
    let home = std::env::var("HOME").unwrap_or_default();
    let [cargo, rustup] = ["cargo", "rustup"].map(|tool| format!("{home}/.{tool}"));
    let variables = [
        ("RUSTC", &compiler[..]),
        ("CARGO_NET_OFFLINE", "true"),
        ("CARGO_HOME", &std::env::var("CARGO_HOME").unwrap_or(cargo)),
        ("RUSTUP_HOME", &std::env::var("RUSTUP_HOME").unwrap_or(rustup)),
    ];
    let mut session = Session::start(directory.path(), &variables);
    let mut wrong = Vec::new();
    let mut now = readme.clone();
    for step in all {
        let command = step.command.replace("/path/to/weir", &root().display().to_string());
        let answer = match command.ends_with('&') && !step.expected.is_empty() {
            true => session.run_in_background(&command, step.expected.len()),
            false => session.run(&command),
        };
        let lines = as_readme(&answer.lines, directory.path());
        now = now.replacen(&typed(&step, &step.expected), &typed(&step, &lines), 1);
        let (told, expected) = (shapes(&answer.lines), shapes(&step.expected));
        if told != expected {
            wrong.push(format!(
                "$ {command}\n{}\n--- README says\n{}",
                answer.lines.join("\n"),
                step.expected.join("\n")
            ));
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join("README.md"), now).expect("README.md is written");
    } else {
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
}

/// A step as README has it.
fn typed(step: &Step, lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("$ {}\n{lines}", step.command)
}

/// What came back, with paths as a reader has them.
fn as_readme(lines: &[String], directory: &Path) -> Vec<String> {
    let (here, root) = (directory.display().to_string(), root().display().to_string());
    let lines = lines.iter().filter(|line| !line.contains(" Killed "));
    lines.map(|line| line.replace(&here, "/tmp").replace(&root, "/path/to/weir")).collect()
}

/// Files whose text README gives: a block of their language that begins with their name in a comment.
fn files(readme: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (language, comment) in [("rust", "// "), ("toml", "# ")] {
        for block in blocks(readme, "## Five minutes", language) {
            let first = block.lines().next().unwrap_or_default();
            if let Some(name) = first.strip_prefix(comment) {
                files.push((name.to_owned(), block.clone()));
            }
        }
    }
    files
}

#[test]
fn a_shape_has_no_numbers_and_no_digests() {
    let one = "job-3 succeeded: 64 tasks; fuel 8.44 G, peak memory 1.06 MiB, 2.79 s";
    let other = "job-3 succeeded: 64 tasks; fuel 845 M,   peak memory 64.0 KiB, 279 ms";
    assert_eq!(shape(one), shape(other));
    assert_ne!(shape(one), shape(&one.replace("succeeded", "failed")));
    assert_eq!(shape("tree:blake3:00ff 5"), "DIGEST # ");
}
