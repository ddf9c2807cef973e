//! Calls at random, many of them nearly right. What once went wrong is kept in `found`, one file for
//! each, and run first.

use std::{fs, path::Path, time::Duration};

use rand_chacha::{ChaCha12Rng, rand_core::Rng};

use super::script;
use crate::sandbox::fuzz::{Found, for_a_while, pick};

/// Longest that a case may take, of some 0.1 s of fuel.
const MAX_TIME: Duration = Duration::from_secs(10);

/// What each function takes, a letter an argument, see `argument`.
const SHAPES: &[(&str, &str)] = &[
    ("args_get", "mm"),
    ("args_sizes_get", "rr"),
    ("environ_get", "mm"),
    ("environ_sizes_get", "rr"),
    ("clock_res_get", "sr"),
    ("clock_time_get", "snr"),
    ("fd_advise", "dnns"),
    ("fd_allocate", "dnn"),
    ("fd_close", "d"),
    ("fd_datasync", "d"),
    ("fd_fdstat_get", "dr"),
    ("fd_fdstat_set_flags", "df"),
    ("fd_fdstat_set_rights", "dnn"),
    ("fd_filestat_get", "dr"),
    ("fd_filestat_set_size", "dn"),
    ("fd_filestat_set_times", "dnns"),
    ("fd_pread", "dinr"),
    ("fd_prestat_get", "dr"),
    ("fd_prestat_dir_name", "drs"),
    ("fd_pwrite", "donr"),
    ("fd_read", "dir"),
    ("fd_readdir", "drsnr"),
    ("fd_readdir", "dLnr"),
    ("fd_renumber", "dd"),
    ("fd_seek", "dnsr"),
    ("fd_sync", "d"),
    ("fd_tell", "dr"),
    ("fd_write", "dor"),
    ("path_create_directory", "dp"),
    ("path_filestat_get", "dspr"),
    ("path_filestat_set_times", "dspnns"),
    ("path_link", "dspdp"),
    ("path_open", "dspOR0fr"),
    ("path_open", "dspOR0fr"),
    ("path_readlink", "dprsr"),
    ("path_remove_directory", "dp"),
    ("path_rename", "dpdp"),
    ("path_symlink", "pdp"),
    ("path_unlink_file", "dp"),
    ("poll_oneoff", "Smsr"),
    ("proc_raise", "s"),
    ("random_get", "rs"),
    ("sched_yield", ""),
    ("sock_accept", "dfr"),
    ("sock_recv", "disrr"),
    ("sock_send", "dosr"),
    ("sock_shutdown", "ds"),
];

const PATHS: &[&str] = &[
    "\"tmp/a\"",
    "\"tmp/a\"",
    "\"tmp/b\"",
    "\"tmp/b\"",
    "\"tmp/a/b\"",
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
    "\"\\xff\"",
    "\"n\"*256",
    "\"./\"*2049",
    "0x400000 9",
    "0x2000 0xffffffff",
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

fn argument(kind: char, random: &mut ChaCha12Rng) -> String {
    match kind {
        'd' => match random.next_u32() % 16 {
            0 => pick(NUMBERS, random).to_owned(),
            1..=6 => "3".to_owned(),
            n => (n % 8).to_string(),
        },
        'p' => pick(PATHS, random).to_owned(),
        'n' => pick(NUMBERS, random).to_owned(),
        's' => (random.next_u32() % 5).to_string(),
        'f' => pick(&["0", "0", "1", "4", "5", "2"], random).to_owned(),
        'O' => pick(&["0", "0", "1", "1", "1", "2", "5", "9", "8"], random).to_owned(),
        'R' => pick(&["66", "66", "66", "2", "64", "0"], random).to_owned(),
        'L' => format!("@300 {}", random.next_u32() % 300),
        'r' | 'm' => match random.next_u32() % 50 {
            0 => "0x3ffff8".to_owned(),
            1 => "0x1001".to_owned(),
            _ => "@256".to_owned(),
        },
        'i' => {
            pick(&["in:10", "in:3,0,70000", "in:0", "0x3ffff8 2", "0x1000 1025"], random).to_owned()
        }
        'o' => {
            let texts =
                ["out:\"hello\"", "out:\"a\",\"\",\"b\"", "out:\"x\"*70000", "0x3ffff8 2", "0 9"];
            pick(&texts, random).to_owned()
        }
        'S' => pick(
            &[
                "subs:clock/1/5/0;read/0;write/1;read/4",
                "subs:clock/0/0xffffffffffffffff/1;clock/1/9/0;read/9;write/3",
                "0x3fff00",
            ],
            random,
        )
        .to_owned(),
        digit => digit.to_string(),
    }
}

/// A case of some calls.
fn case(random: &mut ChaCha12Rng) -> String {
    let mut text = "# made at random\n".to_owned();
    for _ in 0..random.next_u32() % 60 {
        let (function, shape) = pick(SHAPES, random);
        let args: Vec<String> = shape.chars().map(|kind| argument(kind, random)).collect();
        text.push_str(&format!("{function} {} -> any\n", args.join(" ")));
    }
    text
}

async fn run(text: &str) {
    for case in script::cases("fuzz", text) {
        let ended = tokio::time::timeout(MAX_TIME, case.run()).await;
        ended.expect("it ends in time").expect("any end will do");
    }
}

fn found_dir() -> Found {
    Found { dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox/preview1/tests/found") }
}

#[tokio::test]
async fn cases_that_were_found_once_end_well() {
    let files = fs::read_dir(&found_dir().dir).expect("what was found");
    let texts: Vec<String> =
        files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("text")).collect();
    assert!(!texts.is_empty());
    for text in texts {
        run(&text).await;
    }
}

#[test]
fn no_calls_make_the_agent_panic_hang_or_leak() {
    for_a_while(1, |random| {
        let text = case(random);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        found_dir().keep_if_it_fails(text.as_bytes(), "txt", || runtime.block_on(run(&text)));
    });
}
