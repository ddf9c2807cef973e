//! Wrong things typed at `weir`, and the exact text that comes back: the transcripts beside this file.
//! `UPDATE=1` writes what comes back into them; read it before you commit it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use weir_tests::{
    cluster::Server,
    guests::guest,
    other_master,
    session::{Answer, Session, steps},
};

/// A directory with everything that the transcripts name.
fn things() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let write = |name: &str, bytes: &[u8]| fs::write(path(name), bytes).expect("a file");
    for name in ["echo", "spin", "writer", "exit-code"] {
        fs::copy(guest(name), path(&format!("{name}.wasm"))).expect("the guest is copied");
    }
    write("empty.wasm", b"");
    write("text.wasm", b"(module)");
    write("script.wasm", b"#!/bin/sh\n");
    write("half.wasm", b"\0asm\x01\0\0\0\x01\xff");
    write("component.wasm", b"\0asm\x0d\0\x01\0");
    write("book.txt", b"it was a dark and stormy night\n");
    write("evil\x1b[2J.txt", b"x");
    write("binary.toml", b"name = \"\xff\xfe\"\n");
    write("control.toml", b"name = \"a\\u001b[2Jb\"\n[[stage]]\nmodule = \"echo.wasm\"\n");
    fs::File::create(path("huge.toml")).and_then(|f| f.set_len(50 << 20)).expect("a sparse file");
    fs::create_dir(path("folder")).expect("a directory");
    write("folder/a.txt", b"a");
    fs::create_dir(path("many")).expect("a directory");
    for number in 0..100_000 {
        fs::write(path("many").join(format!("{number:05}.txt")), b"").expect("a file");
    }
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_input/job-files");
    for entry in fs::read_dir(written).expect("the folder of job files") {
        let entry = entry.expect("an entry").path();
        let name = entry.file_name().expect("a name");
        fs::copy(&entry, directory.path().join(name)).expect("the job file is copied");
    }
    directory
}

/// What differs from run to run, and the words that stand for it.
struct Words(Vec<(String, &'static str)>);

impl Words {
    fn put(&self, line: &str) -> String {
        let line =
            self.0.iter().fold(line.to_owned(), |line, (real, word)| line.replace(real, word));
        line.trim_end().to_owned()
    }

    fn told(&self, answer: &Answer) -> Vec<String> {
        let mut lines: Vec<String> = answer.lines.iter().map(|line| self.put(line)).collect();
        if answer.code != 0 {
            lines.push(format!("[exit {}]", answer.code));
        }
        lines
    }
}

fn check(file: &str, session: &mut Session, words: &Words) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_input").join(file);
    let text = fs::read_to_string(&path).expect("the transcript");
    let steps = steps(&text);
    let head: String =
        text.lines().take_while(|line| !line.starts_with("$ ")).collect::<Vec<_>>().join("\n");
    let mut now = format!("{head}\n");
    let mut wrong = Vec::new();
    for step in &steps {
        let answer = session.run(&step.command);
        let told = words.told(&answer);
        now.push_str(&format!("$ {}\n", step.command.replace('\n', "\n> ")));
        told.iter().for_each(|line| now.push_str(&format!("{line}\n")));
        now.push('\n');
        let expected: Vec<&str> = step.expected.iter().map(|line| line.trim_end()).collect();
        let expected = expected.join("\n").trim_end().to_owned();
        if told.join("\n").trim_end() != expected {
            wrong.push(format!(
                "$ {}\n{}\n--- expected\n{expected}",
                step.command,
                told.join("\n")
            ));
        }
        assert!(!told.iter().any(|line| line.contains("\\x1b")), "a raw escape: {told:?}");
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{}\n", now.trim_end())).expect("the transcript is written");
    } else {
        assert!(wrong.is_empty(), "{} in {file}:\n{}", wrong.len(), wrong.join("\n\n"));
    }
    steps.len()
}

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_input");
    let entries = fs::read_dir(folder).expect("the folder of transcripts");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect()
}

#[test]
fn what_is_typed_wrong_is_told_rightly() {
    let directory = things();
    let server = Server::fresh();
    let nobody = "127.0.0.1:1";
    let other = other_master::start().to_string();
    let here = directory.path().canonicalize().expect("a path").display().to_string();
    let words = Words(vec![
        (server.address().to_owned(), "MASTER"),
        (other.clone(), "MASTER"),
        (here, "HERE"),
        (env!("CARGO_PKG_VERSION").to_owned(), "VERSION"),
    ]);
    let mut cases = 0;
    for path in transcripts() {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let master = match &*file {
            "alone.txt" => nobody,
            "other-version.txt" => &other,
            _ => server.address(),
        };
        let variables = [("WEIR_MASTER", master), ("COLUMNS", "100")];
        let mut session = Session::start(directory.path(), &variables);
        cases += check(&file, &mut session, &words);
    }
    assert!(cases >= 60, "{cases} cases");
}
