//! Reads the tables in `cases`. A case is a line `# what it shows` and calls, one a line:
//!
//! `name = function argument... -> answer`, where the name is for the handle that comes with the
//! answer, and may be left out. `root` is a handle from the start; a text may be repeated, `"x"*9`; a
//! time is `keep`, `now` or `seconds.nanoseconds`; `a|b` are flags. An answer is as `answer` has it,
//! `*` for a word that does not matter and `...` for more of them; or, at the end, how the attempt ends: `trap KIND` or the
//! outcome's text.

use std::collections::HashMap;

use bytes::Bytes;
use weir_proto::{
    job::{Keep, StageSpec},
    outcome::Outcome,
};
use weir_store::view::BlobView;

use super::{
    GUEST,
    answer::Answer,
    functions::{Function, Takes},
    guest::{ADVICE, ARENA, DESCRIPTOR_FLAGS, MAX_ARGS, POKE, ROOM_BYTES, ROOT_AT},
};
use crate::sandbox::{
    AttemptSpec, OutputBuffer,
    tests::running::{SANDBOX, attempt, stage},
};

#[derive(Debug)]
pub(crate) struct Case {
    name: String,
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug)]
pub(crate) struct Line {
    text: String,
    /// What the handle is called that comes with the answer.
    handle: Option<String>,
    pub(crate) function: String,
    args: Vec<String>,
    /// What is expected; nothing where anything will do.
    pub(crate) answer: Vec<String>,
}

/// Records, in the making.
#[derive(Debug)]
struct Script {
    bytes: Vec<u8>,
    /// Where the next thing goes.
    next: u64,
    /// Where handles lie, by name.
    handles: HashMap<String, u64>,
}

/// How an attempt ended, and what was answered before.
struct Ran {
    outcome: Outcome,
    answers: Vec<u8>,
}

/// The cases of a table.
pub(crate) fn cases(file: &str, text: &str) -> Vec<Case> {
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
    let mut bytes = Vec::new();
    let mut parts = text.split("\\x");
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two hex digits behind \\x"));
        bytes.extend(part[2..].bytes());
    }
    bytes.repeat(times)
}

fn number(word: &str) -> u64 {
    let parsed = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{word} is no number"))
}

/// The sum of flags by name, of which the first is 1; `none` is 0.
fn flags(word: &str, names: &str) -> u64 {
    let bit = |flag: &str| match names.split_whitespace().position(|name| name == flag) {
        Some(bit) => 1 << bit,
        None => number(flag),
    };
    if word == "none" { 0 } else { word.split('|').map(bit).sum() }
}

impl Line {
    fn read(text: &str) -> Line {
        let (call, answer) = text.split_once(" -> ").unwrap_or_else(|| panic!("{text}: no ->"));
        let mut call = words(call);
        let handle = match call.get(1).map(String::as_str) {
            Some("=") => Some(call.drain(..2).next().expect("two words")),
            _ => None,
        };
        let function = call.remove(0);
        let answer = if answer == "any" { Vec::new() } else { words(answer) };
        Line { text: text.to_owned(), handle, function, args: call, answer }
    }

    fn function(&self) -> (usize, &'static Function) {
        Function::of(&self.function).unwrap_or_else(|| panic!("{}: no such function", self.text))
    }

    /// Adds the call to a script.
    fn write(&self, script: &mut Script) {
        let (number, function) = self.function();
        assert_eq!(self.args.len(), function.takes.len(), "{}: arguments", self.text);
        let (mut args, mut indirect) = (Vec::new(), 0);
        for (takes, word) in function.takes.iter().zip(&self.args) {
            match script.handles.get(word) {
                Some(at) => {
                    indirect |= 1 << args.len();
                    args.push(*at);
                }
                None => script.argument(*takes, word, &mut args),
            }
        }
        let room = script.room(ROOM_BYTES);
        if function.core_params().len() > args.len() {
            args.push(room);
        }
        script.record(number as u64, indirect, room, &args);
        if let Some(name) = &self.handle {
            let failed = self.answer.first().is_some_and(|word| word == "last-operation-failed");
            let at = function.gives.handle_at(failed).expect("an answer with a handle");
            script.handles.insert(name.clone(), room + at);
        }
    }

    /// Whether an answer is as expected.
    fn expects(&self, words: &[String]) -> bool {
        let are = |wanted: &[String], words: &[String]| {
            wanted.iter().zip(words).all(|(wanted, word)| wanted == word || wanted == "*")
        };
        match self.answer.split_last() {
            None => true,
            Some((last, first)) if last == "..." => words.len() >= first.len() && are(first, words),
            Some(_) => words.len() == self.answer.len() && are(&self.answer, words),
        }
    }
}

impl Script {
    fn new() -> Script {
        let handles = HashMap::from([("root".to_owned(), ROOT_AT)]);
        Script { bytes: Vec::new(), next: ARENA.start, handles }
    }

    fn room(&mut self, len: u64) -> u64 {
        let at = self.next;
        self.next = (at + len).next_multiple_of(16);
        assert!(self.next < ARENA.end, "too long a case");
        at
    }

    fn record(&mut self, number: u64, indirect: u64, room: u64, args: &[u64]) {
        let args = (0..MAX_ARGS).map(|n| args.get(n).copied().unwrap_or(0));
        self.bytes
            .extend([number, indirect, room].into_iter().chain(args).flat_map(u64::to_le_bytes));
    }

    /// Adds what one argument is to a core module.
    fn argument(&mut self, takes: Takes, word: &str, args: &mut Vec<u64>) {
        match takes {
            Takes::Text | Takes::Bytes if word.starts_with('"') => {
                let bytes = bytes(word);
                let at = self.room(bytes.len() as u64);
                self.record(POKE, 0, 0, &[at, bytes.len() as u64]);
                self.bytes.extend(&bytes);
                args.extend([at, bytes.len() as u64]);
            }
            // An address and a length, of what may be nowhere.
            Takes::Text | Takes::Bytes => {
                let (at, len) = word.split_once('+').expect("a text, or address+length");
                args.extend([number(at), number(len)]);
            }
            Takes::Time => {
                let (seconds, nanoseconds) = word.split_once('.').unwrap_or(("0", "0"));
                let case = ["keep", "now"].iter().position(|case| *case == word);
                args.extend([case.unwrap_or(2) as u64, number(seconds), number(nanoseconds)]);
            }
            Takes::PathFlags => args.push(flags(word, "follow")),
            Takes::OpenFlags => args.push(flags(word, "create directory exclusive truncate")),
            Takes::DescriptorFlags => args.push(flags(word, DESCRIPTOR_FLAGS)),
            Takes::Advice => {
                let advice = ADVICE.split_whitespace().position(|advice| advice == word);
                args.push(advice.map_or_else(|| number(word), |number| number as u64));
            }
            Takes::Number
            | Takes::Descriptor
            | Takes::Listing
            | Takes::Input
            | Takes::Output
            | Takes::Error => args.push(number(word)),
        }
    }

    /// Runs it as a stage with inputs at `/in/f` and `/in/g`, and `/out`.
    async fn run(&self) -> Ran {
        let length = (self.bytes.len() as u32).to_le_bytes();
        let stdin = Bytes::from([&length[..], &self.bytes[..], b"on stdin"].concat());
        let stage = StageSpec { keep: Keep::Out, ..stage() };
        let output = || OutputBuffer::new(stage.limits.output_bytes);
        let (stdout, stderr) = (output(), output());
        let inputs: &[(&str, &[u8])] = &[("/in/f", b"an input"), ("/in/g", b"")];
        let spec = attempt(&stage, inputs, &stdout, &stderr);
        let attempt = AttemptSpec { stdin: BlobView::from(stdin), ..spec };
        let ended = SANDBOX.run(&GUEST, attempt).await.expect("it runs");
        Ran { outcome: ended.outcome, answers: stderr.take() }
    }
}

impl Case {
    /// # Errors
    /// What was otherwise than the table says.
    pub(crate) async fn run(&self) -> Result<(), String> {
        let mut script = Script::new();
        for line in &self.lines {
            line.write(&mut script);
        }
        let ran = script.run().await;
        let mut answers = &ran.answers[..];
        for line in &self.lines {
            let fault = |what: String| format!("{}\n  {}\n    {what}", self.name, line.text);
            let Some((answer, rest)) = Answer::read(answers) else {
                return match ended(&ran.outcome) == line.answer.join(" ") || line.answer.is_empty()
                {
                    true => Ok(()),
                    false => Err(fault(format!("ends as {}", ended(&ran.outcome)))),
                };
            };
            answers = rest;
            let words = answer.words(line.function().1.gives);
            if !line.expects(&words) {
                return Err(fault(format!("is {}", words.join(" "))));
            }
        }
        match ran.outcome {
            Outcome::Failed { exit_code: 1 } => Ok(()),
            outcome => Err(format!("{}\n  ends as {outcome}", self.name)),
        }
    }
}

/// How an attempt ended, as tables have it.
fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Trapped(trap) => format!("trap {}", trap.kind),
        outcome => outcome.to_string(),
    }
}
