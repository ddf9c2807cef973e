//! Modules that nobody here wrote: C against wasi-libc, and whatever a directory holds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use weir_tests::{cluster::Server, guests::guest};

use crate::skipped;

const C_PROGRAM: &str = r#"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    const char *index = getenv("WEIR_TASK_INDEX");
    printf("%s of %s:", index ? index : "-", argc > 1 ? argv[1] : "-");
    for (int c; (c = getchar()) != EOF;) putchar(toupper(c));
    FILE *in = fopen("/in/word", "r"), *out = fopen("/out/word", "w");
    if (!in || !out) { perror("fopen"); return 3; }
    for (int c; (c = getc(in)) != EOF;) putc(c, out);
    fclose(out);
    return atoi(index ? index : "0") == 2 ? 9 : 0;
}
"#;

#[test]
fn a_c_program_runs_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(module) = compile(C_PROGRAM, dir.path()) else {
        return skipped(
            "a C program",
            "no clang here compiles for wasm32-wasi; on Debian: apt-get install clang lld wasi-libc \
             libclang-rt-dev-wasm32",
        );
    };
    let server = Server::fresh();
    let (word, out) = (dir.path().join("word"), dir.path().join("out"));
    fs::write(&word, "copied").expect("a file");

    let run = server.weir(["run", "--array", "3", "--stdin", "-", "--out"]).arg(&out);
    let run = run.arg("--in").arg(format!("word={}", word.display())).arg(&module);
    let ran = run.args(["--", "three"]).stdin("shout").run().exited_with(9);

    let text = ran.stdout_text();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0| 0 of three:SHOUT", "1| 1 of three:SHOUT", "2| 2 of three:SHOUT"]);
    assert_eq!(fs::read_to_string(out.join("0/word")).expect("a file"), "copied");
    ran.says(&["task 2: failed with exit code 9"]);
}

#[test]
fn modules_of_strangers_run_as_they_are() {
    let test = "modules of strangers";
    let Some(directory) = std::env::var_os("WEIR_FOREIGN_MODULES").map(PathBuf::from) else {
        return skipped(test, "WEIR_FOREIGN_MODULES names no directory with .wasm files");
    };
    let server = Server::fresh();
    for entry in fs::read_dir(&directory).expect("the directory of foreign modules") {
        let module = entry.expect("an entry").path();
        if module.extension().is_some_and(|extension| extension == "wasm") {
            let run = server.weir(["run", "--json", "--memory", "1GiB"]).arg(&module);
            let ran = run.args(["--", "--version"]).run();
            let lines = ran.json_lines();
            eprintln!("{}: {}", module.display(), lines[0]["message"]);
            // Some do not know `--version`, and say so with an exit code of theirs.
            let outcome = lines[0]["outcome"].as_str();
            assert!(matches!(outcome, Some("succeeded" | "failed")), "{ran}");
        }
    }
    let resvg = directory.join("resvg.wasm");
    if resvg.exists() {
        draw(&server, &resvg);
    }
}

/// An SVG becomes a PNG.
fn draw(server: &Server, resvg: &Path) {
    let dir = tempfile::tempdir().expect("a directory");
    let (svg, out) = (dir.path().join("circle.svg"), dir.path().join("out"));
    let circle = r#"<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100">
        <circle cx="100" cy="50" r="40" fill="gold"/></svg>"#;
    fs::write(&svg, circle).expect("a file");

    let run = server.weir(["run", "--in", &format!("circle.svg={}", svg.display()), "--out"]);
    let run = run.arg(&out).arg(resvg).args(["--", "/in/circle.svg", "/out/circle.png"]);
    run.run().exited_with(0);

    let png = fs::read(out.join("circle.png")).expect("the picture");
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\xc8\0\0\0\x64"));
}

/// The first compiler here that can build it, with whichever name its target has there.
fn compile(source: &str, directory: &Path) -> Option<PathBuf> {
    let (file, module) = (directory.join("program.c"), directory.join("program.wasm"));
    fs::write(&file, source).expect("a file");
    let compilers = (14..=30).rev().map(|version| format!("clang-{version}"));
    for compiler in std::iter::once("clang".to_owned()).chain(compilers) {
        for target in ["wasm32-wasip1", "wasm32-wasi"] {
            let compiled = Command::new(&compiler)
                .args([&format!("--target={target}"), "-O2", "-o"])
                .args([&module, &file])
                .output();
            if compiled.is_ok_and(|compiled| compiled.status.success()) {
                return Some(module);
            }
        }
    }
    None
}

#[test]
fn a_module_needs_no_more_than_wasi_and_a_start() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("nothing.wasm");
    let text = r#"(module (func (export "_start")))"#;
    fs::write(&file, wat::parse_str(text).expect("a module")).expect("a file");

    server.weir(["run"]).arg(&file).run().exited_with(0);
    server.weir(["run"]).arg(guest("echo")).run().exited_with(0);
}
