//! Calls at random, many of them nearly right. What once went wrong is kept in `found`, one file for
//! each, and run first.

use std::{fs, path::Path, time::Duration};

use rand_chacha::{ChaCha12Rng, rand_core::Rng};

use super::{
    DIR,
    functions::{FUNCTIONS, Gives, Takes, Value},
    script,
};
use crate::sandbox::fuzz::{Found, for_a_while, pick};

/// Longest that a case may take, of some 0.1 s of fuel.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Handles to begin with, of each type.
const SETUP: &str = r#"# made at random
descriptor0 = open-at root follow "tmp/a" create read|write -> ok
descriptor1 = open-at root follow "in/f" none read -> ok
descriptor2 = open-at root follow "tmp" directory read -> ok
descriptor3 = open-at root follow "out/a" create read|write -> ok
listing0 = read-directory root -> ok
listing1 = read-directory descriptor2 -> ok
input0 = read-via-stream descriptor0 0 -> ok
input1 = read-via-stream descriptor1 2 -> ok
input2 = get-stdin -> ok
output0 = write-via-stream descriptor0 3 -> ok
output1 = append-via-stream descriptor3 -> ok
output2 = get-stdout -> ok
failing = write-via-stream descriptor0 0x7fffffffffffffff -> ok
error0 = output.write failing "x" -> last-operation-failed
"#;

const PATHS: &[&str] = &[
    "\"tmp/a\"",
    "\"tmp/a\"",
    "\"tmp/b\"",
    "\"tmp/b\"",
    "\"tmp/a/b\"",
    "\"tmp/b/\"",
    "\"out/a\"",
    "\"out/b\"",
    "\"in/f\"",
    "\"tmp\"",
    "\"a\"",
    "\"b\"",
    "\".\"",
    "\"..\"",
    "\"../tmp/b\"",
    "\"a/../b/\"",
    "\"\"",
    "\"/tmp\"",
    "\"n\"*256",
    "\"./\"*2049",
];

const NUMBERS: &[&str] = &[
    "0",
    "0",
    "1",
    "2",
    "3",
    "7",
    "100",
    "65535",
    "65536",
    "200000",
    "0x7fffffff",
    "0xffffffff",
    "0x7fffffffffffffff",
    "0x8000000000000000",
    "0xffffffffffffffff",
];

/// What is most likely nothing of its type.
const WRONG: &[&str] = &["0", "1", "99", "0xffffffff", "root", "input2"];

fn handle(name: &str, count: u32, random: &mut ChaCha12Rng) -> String {
    match random.next_u32() % 100 {
        0 => pick(WRONG, random).to_owned(),
        n => format!("{name}{}", n % count),
    }
}

fn argument(takes: Takes, random: &mut ChaCha12Rng) -> String {
    let text = match takes {
        Takes::Descriptor if random.next_u32().is_multiple_of(2) => "root",
        Takes::Descriptor => return handle("descriptor", 4, random),
        Takes::Listing => return handle("listing", 2, random),
        Takes::Input => return handle("input", 3, random),
        Takes::Output => return handle("output", 3, random),
        Takes::Error => return handle("error", 1, random),
        Takes::Text if random.next_u32().is_multiple_of(300) => {
            pick(&["\"\\xff\"", "0x9ffff8+9", "0x1000+0xffffffff"], random)
        }
        Takes::Text => pick(PATHS, random),
        Takes::Bytes if random.next_u32().is_multiple_of(100) => "0x9ffff8+9",
        Takes::Bytes => pick(&["\"\"", "\"hello\"", "\"x\"*4096", "\"x\"*70000"], random),
        Takes::Number => pick(NUMBERS, random),
        Takes::PathFlags => pick(&["none", "follow", "0xff"], random),
        Takes::OpenFlags => pick(
            &["none", "create", "create", "create|exclusive", "directory", "truncate", "0xff"],
            random,
        ),
        Takes::DescriptorFlags => {
            pick(&["read|write", "read|write", "read", "write", "none", "0xff"], random)
        }
        Takes::Advice => pick(&["normal", "no-reuse", "will-need"], random),
        Takes::Time => pick(&["keep", "now", "5.6", "0xffffffffffffffff.0"], random),
    };
    text.to_owned()
}

/// A case of some calls.
fn case(random: &mut ChaCha12Rng) -> String {
    let mut text = SETUP.to_owned();
    for _ in 0..random.next_u32() % 60 {
        let function = &FUNCTIONS[random.next_u32() as usize % FUNCTIONS.len()];
        if function.word.starts_with("drop") && !random.next_u32().is_multiple_of(8) {
            continue;
        }
        // Answers go to stderr: nothing else may.
        if function.word == "get-stderr" {
            continue;
        }
        // Now and then the new handle takes the place of one of those to begin with.
        let name = match function.gives {
            Gives::Handle(resource) | Gives::OrCode(Value::Handle(resource))
                if random.next_u32().is_multiple_of(4) =>
            {
                format!("{resource}{} = ", random.next_u32() % 2)
            }
            _ => String::new(),
        };
        let args = function.takes.iter().map(|takes| argument(*takes, random));
        let args: Vec<String> = args.collect();
        text.push_str(&format!("{name}{} {} -> any\n", function.word, args.join(" ")));
    }
    text
}

/// # Panics
/// When a case takes too long, or answers otherwise than it says.
pub(super) async fn run(text: &str) {
    for case in script::cases("fuzz", text) {
        let ended = tokio::time::timeout(MAX_TIME, case.run()).await;
        ended.expect("it ends in time").unwrap_or_else(|fault| panic!("{fault}"));
    }
}

/// Runs a case, and keeps it if it fails.
pub(super) fn run_kept(text: &str) {
    let found = Found { dir: Path::new(env!("CARGO_MANIFEST_DIR")).join(DIR).join("found") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    found.keep_if_it_fails(text.as_bytes(), "txt", || runtime.block_on(run(text)));
}

#[tokio::test]
async fn cases_that_were_found_once_end_well() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(DIR).join("found");
    let files = fs::read_dir(dir).expect("what was found");
    let texts: Vec<String> =
        files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("text")).collect();
    assert!(!texts.is_empty());
    for text in texts {
        run(&text).await;
    }
}

#[test]
fn no_calls_of_preview_2_make_the_agent_panic_hang_or_leak() {
    for_a_while(1, |random| run_kept(&case(random)));
}
