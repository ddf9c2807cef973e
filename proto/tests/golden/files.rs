//! Golden files: bytes as an earlier binary wrote them, in hex, so that a difference can be read.
//! `UPDATE=1` writes them anew, which is right only together with a new format number.

use std::{fmt::Write as _, fs, path::Path};

/// Bytes in a row.
const ROW: usize = 32;
/// Begins a row that stands for rows of zeros.
const ZEROS: &str = "zeros ";

/// Whether the golden files are to be written anew.
pub(crate) fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Each record of a golden file: its name and its bytes.
///
/// # Panics
/// When there is no such file, or it is none.
pub(crate) fn read(path: &str) -> Vec<(String, Vec<u8>)> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        let Some(row) = line.strip_prefix("  ") else {
            records.push((line.to_owned(), Vec::new()));
            continue;
        };
        let (_, bytes) = records.last_mut().expect("a record begins with its name");
        match row.strip_prefix(ZEROS) {
            Some(rows) => {
                let rows: usize = rows.parse().expect("a number of rows");
                bytes.resize(bytes.len() + rows * ROW, 0);
            }
            None => bytes.extend(row.as_bytes().chunks(2).map(|digits| {
                let digits = std::str::from_utf8(digits).expect("hex digits");
                u8::from_str_radix(digits, 16).expect("hex digits")
            })),
        }
    }
    records
}

/// Writes a golden file.
///
/// # Panics
/// When it cannot be written.
pub(crate) fn write(path: &str, records: &[(&str, Vec<u8>)]) {
    let mut text = String::new();
    for (name, bytes) in records {
        text.push_str(name);
        text.push('\n');
        let mut zeros = 0;
        for row in bytes.chunks(ROW) {
            if row == [0; ROW] {
                zeros += 1;
                continue;
            }
            if zeros > 0 {
                writeln!(text, "  {ZEROS}{zeros}").expect("a string takes any text");
                zeros = 0;
            }
            let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "  {hex}").expect("a string takes any text");
        }
        if zeros > 0 {
            writeln!(text, "  {ZEROS}{zeros}").expect("a string takes any text");
        }
    }
    let parent = Path::new(path).parent().expect("a golden file is in a directory");
    fs::create_dir_all(parent).expect("a directory");
    // In one step: tests that read it run at the same time.
    let new = format!("{path}.{}", std::process::id());
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    written.unwrap_or_else(|error| panic!("{path}: {error}"));
}
