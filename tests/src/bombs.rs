//! Modules that are small and take long to compile, which is all that is wrong with them: they run
//! and end well.

use std::fmt::Write as _;

/// A module whose compiler gets slower with the square of `depth`: loops in loops, through all of
/// which as many variables live. 400 takes a second, 1,000 six, 3,000 more than a minute and 4 GiB.
///
/// # Panics
/// Never: its text is known to parse.
pub fn bomb(depth: usize) -> Vec<u8> {
    let variables = "i64 ".repeat(depth);
    let mut text = format!("(module (func (export \"_start\")) (func (local {variables})");
    for number in 0..depth {
        let other = number * 17 % depth;
        let _ = write!(
            text,
            " loop local.get {number} i64.const 1 i64.add local.tee {other} i32.wrap_i64 br_if 0"
        );
    }
    for number in 0..depth {
        let _ = write!(text, " local.get {number} i32.wrap_i64 br_if 0 end");
    }
    text.push_str("))");
    wat::parse_str(&text).expect("it parses")
}

/// A module of many functions, none of which does anything.
///
/// # Panics
/// Never: its text is known to parse.
pub fn functions(count: usize) -> Vec<u8> {
    let text = format!("(module (func (export \"_start\")) {})", "(func)".repeat(count - 1));
    wat::parse_str(&text).expect("it parses")
}
