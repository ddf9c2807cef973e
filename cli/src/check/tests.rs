//! Each `cases/NAME.toml` is a job file, and `cases/NAME.txt` exactly what is told about it.
//! `UPDATE=1 cargo nextest run -p weir check` writes the latter anew.

use super::*;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/check/cases")
}

/// What is told about a file, with the paths of this machine taken out.
fn told(file: &Path) -> String {
    let checked = match check(file) {
        Ok(checked) => checked,
        Err(error) => return format!("error: {error:#}\n"),
    };
    let told = match &checked.plan {
        Some(plan) => render(file, &checked, &Renderer::plain()) + &summary(file, plan),
        None => render(file, &checked, &Renderer::plain()),
    };
    told.replace(&format!("{}/", cases().display()), "")
        .replace(&cases().display().to_string(), ".")
}

#[test]
fn every_case_is_told_as_it_is_written_down() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(cases())
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let (told, expected) = (told(file), file.with_extension("txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &told).expect("written");
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != told {
            wrong.push(format!("{}:\n{told}", file.display()));
        }
    }
    assert!(files.len() >= 20, "the cases are there");
    assert!(wrong.is_empty(), "told otherwise than written down:\n{}", wrong.join("\n"));
}

#[test]
fn a_file_that_is_too_large_is_refused_by_its_size() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("job.toml");
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(50 << 20).expect("a hole");
    let error = check(&path).err().expect("too large").to_string();
    assert!(error.ends_with("it has 50.0 MiB; a job file has at most 1 MiB"), "{error}");
}

#[test]
fn a_file_that_is_not_text_is_refused_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("job.toml");
    std::fs::write(&path, b"name = \"a\"\n# \xff\n").expect("a file");
    let error = check(&path).err().expect("not text").to_string();
    assert!(error.ends_with("it is not UTF-8 at byte 13, in line 2"), "{error}");
}

#[test]
fn control_characters_of_the_file_never_reach_the_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a\x1b[2Jb.toml");
    let text = "\"\\u001b[2J\" = 1 # \u{9b}31m \u{2028} \u{202e}\n\x1b]0;x\x07 = 2\n";
    std::fs::write(&path, text).expect("a file");
    let checked = check(&path).expect("text");
    let shown = render(&path, &checked, &Renderer::plain());
    let harmful = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{2028}' | '\u{202e}');
    assert!(!shown.contains(harmful), "{shown:?}");
    assert!(checked.problems.len() >= 2);
}

#[test]
fn a_file_full_of_problems_is_told_in_a_bounded_way() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("job.toml");
    for garbage in ["[", "=", "\"", "a.", "{", "a=[", "é", "x = 1\n", "[[stage]]\n", "\n[a]"] {
        std::fs::write(&path, garbage.repeat((1 << 20) / garbage.len())).expect("a file");
        let shown = render(&path, &check(&path).expect("text"), &Renderer::plain());
        assert!(shown.len() < 1 << 20, "{garbage:?} is told in {} bytes", shown.len());
    }
}

#[test]
fn a_file_full_of_small_things_is_read_in_a_bounded_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("job.toml");
    let stage = "[[stage]]\nmodule = \"a\"\n";
    let many = |start: &str, one: &dyn Fn(usize) -> String, end: &str| {
        let ones: String = (0..40_000).map(one).collect();
        format!("{stage}{start}{ones}{end}")
    };
    for text in [
        many("[stage.inputs]\n", &|n| format!("n{n} = \"a\"\n"), ""),
        many("[stage.env]\n", &|n| format!("n{n} = \"{{inptu}}\"\n"), ""),
        many("args = [\"", &|_| "{index}{inpt}".to_owned(), "\"]"),
        many("foreach = [", &|_| "\"[a-z]*{a,b}\",".to_owned(), "]"),
        many("foreach = \"", &|_| "[a-z]*".to_owned(), "\""),
        many("", &|n| format!("unknown{n} = 1\n"), ""),
    ] {
        std::fs::write(&path, &text).expect("a file");
        let shown = render(&path, &check(&path).expect("text"), &Renderer::plain());
        assert!(shown.len() < 1 << 20);
    }
}

#[test]
fn json_tells_the_same() {
    let file = cases().join("misspelt-keys.toml");
    let told = as_json(&file, &check(&file).expect("text"));
    let told = serde_json::to_value(told).expect("JSON");
    assert_eq!(told["job"], serde_json::Value::Null);
    let first = &told["problems"][0];
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(1), Some(1)));
    assert_eq!(first["severity"], "error");
    assert_eq!(first["hint"], "did you mean `name`?");
}
