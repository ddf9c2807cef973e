//! Reads the tables in `cases`. A case is a line `# what it shows` and calls, one a line:
//!
//! `function argument... -> errno expectation...`, or `-> trap|exit N|text of the outcome` at the end.
//! A `"text"` is a pointer and a length; `out:"a","b"` and `in:3,4` are buffers and their count; `@`
//! and `@9` are room for results. `u32:5` or `u64+24:5` is what the last room or buffer holds then,
//! at an offset, and `"text"` what the first one begins with.

use weir_proto::outcome::Outcome;

use super::interpreter::{ARENA_END, Ran, Script, scripted};

/// In the order of the WASI documents.
const ERRNOS: &str = "success 2big acces addrinuse addrnotavail afnosupport again already badf \
    badmsg busy canceled child connaborted connrefused connreset deadlk destaddrreq dom dquot exist \
    fault fbig hostunreach idrm ilseq inprogress intr inval io isconn isdir loop mfile mlink msgsize \
    multihop nametoolong netdown netreset netunreach nfile nobufs nodev noent noexec nolck nolink \
    nomem nomsg noprotoopt nospc nosys notconn notdir notempty notrecoverable notsock notsup notty \
    nxio overflow ownerdead perm pipe proto protonosupport prototype range rofs spipe srch stale \
    timedout txtbsy xdev notcapable";

/// Numbers by name; `creat|trunc` is the sum of two.
const WORDS: [(&str, u64); 23] = [
    ("nofollow", 0),
    ("follow", 1),
    ("open", 0),
    ("creat", 1),
    ("directory", 2),
    ("excl", 4),
    ("trunc", 8),
    ("none", 0),
    ("read", 2),
    ("write", 64),
    ("rw", 66),
    ("append", 1),
    ("dsync", 2),
    ("nonblock", 4),
    ("sync", 16),
    ("set", 0),
    ("cur", 1),
    ("end", 2),
    ("realtime", 0),
    ("monotonic", 1),
    ("atim", 1),
    ("atim_now", 2),
    ("mtim", 4),
];

#[derive(Debug)]
pub(super) struct Case {
    name: String,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug)]
pub(super) struct Line {
    text: String,
    pub(super) function: String,
    args: Vec<String>,
    pub(super) ending: Ending,
    expects: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Ending {
    Errno(u32),
    /// Of the whole attempt.
    Outcome(String),
    /// Whatever it is: of cases that were made at random.
    Any,
}

/// An expectation with its place in memory.
struct Expected {
    at: u64,
    bytes: Vec<u8>,
}

/// The cases of a table.
pub(super) fn cases(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(name) => cases.push(Case { name: format!("{file}: {name}"), lines: Vec::new() }),
            None => cases.last_mut().expect("a case begins with #").lines.push(Line::read(line)),
        }
    }
    cases
}

/// Splits at spaces outside of quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        quoted ^= character == '"';
        match character {
            ' ' if !quoted => words.push(String::new()),
            character => words.last_mut().expect("never empty").push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The bytes of a quoted text: `\xNN` is one byte, `*N` behind it repeats it.
fn bytes(quoted: &str) -> Vec<u8> {
    let (text, times) = match quoted.rsplit_once("\"*") {
        Some((text, times)) => (&text[1..], times.parse().expect("a number behind *")),
        None => (&quoted[1..quoted.len() - 1], 1),
    };
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or("").as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two hex digits"));
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes.repeat(times)
}

fn number(word: &str) -> u64 {
    let one = |word: &str| {
        if let Some((_, value)) = WORDS.iter().find(|(name, _)| *name == word) {
            return *value;
        }
        let parsed = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse().ok().or_else(|| word.parse().ok().map(i64::cast_unsigned)),
        };
        parsed.unwrap_or_else(|| panic!("{word} is no number"))
    };
    word.split('|').map(one).sum()
}

impl Line {
    fn read(text: &str) -> Line {
        let (call, end) = text.split_once(" -> ").unwrap_or_else(|| panic!("{text}: no ->"));
        let mut call = words(call);
        let function = call.remove(0);
        let mut expects = words(end);
        let errno = ERRNOS.split_whitespace().position(|errno| errno == expects[0]);
        let ending = match errno {
            Some(errno) => Ending::Errno(errno as u32),
            None if end == "any" => Ending::Any,
            None => Ending::Outcome(end.to_owned()),
        };
        expects.remove(0);
        if !matches!(ending, Ending::Errno(_)) {
            expects.clear();
        }
        Line { text: text.to_owned(), function, args: call, ending, expects }
    }

    /// Adds the call to a script, and what is to be looked at behind it.
    fn write(&self, script: &mut Script, next: &mut u64) -> Vec<Expected> {
        let mut room = |len: u64| {
            let at = *next;
            *next = (at + len).next_multiple_of(16);
            assert!(*next < ARENA_END, "too long a case");
            at
        };
        let (mut args, mut rooms) = (Vec::new(), Vec::new());
        for arg in &self.args {
            if arg.starts_with('"') {
                let bytes = bytes(arg);
                let at = room(bytes.len() as u64);
                script.poke(at, &bytes);
                args.extend([at, bytes.len() as u64]);
            } else if let Some(len) = arg.strip_prefix('@') {
                rooms.push(room(if len.is_empty() { 64 } else { number(len) }));
                args.extend(rooms.last());
            } else if let Some(texts) = arg.strip_prefix("out:") {
                let texts: Vec<Vec<u8>> = texts.split(',').map(bytes).collect();
                let iovecs = iovecs(texts.iter().map(|text| {
                    let at = room(text.len() as u64);
                    script.poke(at, text);
                    (at, text.len() as u64)
                }));
                let at = room(iovecs.len() as u64);
                script.poke(at, &iovecs);
                args.extend([at, texts.len() as u64]);
            } else if let Some(lens) = arg.strip_prefix("in:") {
                let lens: Vec<u64> = lens.split(',').map(number).collect();
                let first = room(lens.iter().sum());
                rooms.push(first);
                let mut at = first;
                let iovecs = iovecs(lens.iter().map(|len| {
                    at += len;
                    (at - len, *len)
                }));
                let at = room(iovecs.len() as u64);
                script.poke(at, &iovecs);
                args.extend([at, lens.len() as u64]);
            } else if let Some(list) = arg.strip_prefix("subs:") {
                let subscriptions: Vec<u8> = list.split(';').flat_map(subscription).collect();
                let at = room(subscriptions.len() as u64);
                script.poke(at, &subscriptions);
                args.push(at);
            } else {
                args.push(number(arg));
            }
        }
        script.call(&self.function, &args);
        self.expects.iter().map(|expect| expected(expect, &rooms)).collect()
    }
}

fn iovecs(buffers: impl Iterator<Item = (u64, u64)>) -> Vec<u8> {
    buffers.flat_map(|(at, len)| [at as u32, len as u32]).flat_map(u32::to_le_bytes).collect()
}

/// `clock/ID/TIMEOUT/FLAGS`, `read/FD` or `write/FD`, with 7 as its user data.
fn subscription(text: &str) -> [u8; 48] {
    let parts: Vec<&str> = text.split('/').collect();
    let mut bytes = [0; 48];
    bytes[0] = 7;
    bytes[8] =
        ["clock", "read", "write"].iter().position(|kind| *kind == parts[0]).unwrap_or(9) as u8;
    bytes[16..20].copy_from_slice(&(number(parts[1]) as u32).to_le_bytes());
    if parts.len() > 2 {
        bytes[24..32].copy_from_slice(&number(parts[2]).to_le_bytes());
        bytes[40..42].copy_from_slice(&(number(parts[3]) as u16).to_le_bytes());
    }
    bytes
}

fn expected(expect: &str, rooms: &[u64]) -> Expected {
    let nowhere = "an expectation needs room for a result";
    if expect.starts_with('"') {
        return Expected { at: *rooms.first().expect(nowhere), bytes: bytes(expect) };
    }
    let (place, value) = expect.split_once(':').expect("type:value");
    let (ty, offset) = place.split_once('+').unwrap_or((place, "0"));
    let len = number(&ty[1..]) as usize / 8;
    let bytes = number(value).to_le_bytes()[..len].to_vec();
    Expected { at: rooms.last().expect(nowhere) + number(offset), bytes }
}

impl Case {
    /// # Errors
    /// What was otherwise than the table says.
    pub(super) async fn run(&self) -> Result<(), String> {
        let (mut script, mut next) = (Script::default(), 0x1000);
        let mut looks = Vec::new();
        for line in &self.lines {
            let expected = line.write(&mut script, &mut next);
            for one in &expected {
                script.peek(one.at, one.bytes.len() as u64);
            }
            looks.push(expected);
        }
        let ran = script.run(&scripted(), b"on stdin").await;
        let mut answers = &ran.answers[..];
        for (line, looks) in self.lines.iter().zip(looks) {
            let fault = |what: String| format!("{}\n  {}\n    {what}", self.name, line.text);
            let wanted = match &line.ending {
                Ending::Errno(errno) => *errno,
                Ending::Any => return Ok(()),
                Ending::Outcome(outcome) => {
                    return check_outcome(outcome, &ran).map_err(fault);
                }
            };
            let Some((errno, rest)) = answers.split_first_chunk() else {
                return Err(fault(ran.outcome.to_string()));
            };
            let errno = u32::from_le_bytes(*errno);
            if errno != wanted {
                let name = ERRNOS.split_whitespace().nth(errno as usize).unwrap_or("no errno");
                return Err(fault(format!("is {name}")));
            }
            answers = rest;
            for expected in looks {
                let (there, rest) = answers.split_at(expected.bytes.len().min(answers.len()));
                if there != expected.bytes {
                    let wanted = expected.bytes.escape_ascii();
                    return Err(fault(format!("has {}, not {wanted}", there.escape_ascii())));
                }
                answers = rest;
            }
        }
        match ran.outcome {
            Outcome::Succeeded { .. } => Ok(()),
            outcome => Err(format!("{}\n  ends as {outcome}", self.name)),
        }
    }
}

fn check_outcome(wanted: &str, ran: &Ran) -> Result<(), String> {
    let right = match (wanted, &ran.outcome) {
        ("trap", Outcome::Trapped(trap)) => trap.kind == "host_call",
        ("exit 0", Outcome::Succeeded { exit_code: 0 }) => true,
        (wanted, Outcome::Failed { exit_code }) => wanted == format!("exit {exit_code}"),
        (wanted, outcome) => outcome.to_string() == wanted,
    };
    if right { Ok(()) } else { Err(format!("ends as {}", ran.outcome)) }
}
