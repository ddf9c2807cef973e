//! The file system as a component sees it, against the model that the file system itself is held to:
//! operations at random, made into calls whose answers the model foretells.

use std::fmt::Write as _;

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use rand_chacha::{ChaCha12Rng, rand_core::Rng};

use super::{answer::quoted, fuzz::run_kept, guest::CODES};
use crate::{
    filesystem::{
        FileType, FsError, OpenOptions, Refusal,
        tests::model::{Model, Op, Value, op},
    },
    sandbox::{fuzz::for_a_while, preview2::errors},
};

/// Most bytes that the operations of a case write, together: they lie in the guest's memory.
const MAX_WRITTEN: usize = 1 << 20;

/// A case in the making.
struct Writer {
    model: Model,
    /// Of each handle, whether it was opened to write.
    writes: Vec<bool>,
    text: String,
}

fn word(refusal: Refusal) -> &'static str {
    let code = errors::code(&FsError::Refused(refusal)).expect("a guest is told of it");
    CODES.split_whitespace().nth(code as usize).expect("a word for each code")
}

fn open_call(path: &str, options: &OpenOptions) -> String {
    let follow = if options.follow { "follow" } else { "none" };
    let flags = [
        (options.create, "create"),
        (options.directory, "directory"),
        (options.exclusive, "exclusive"),
        (options.truncate, "truncate"),
    ];
    let set: Vec<&str> = flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).collect();
    let set = if set.is_empty() { "none".to_owned() } else { set.join("|") };
    let flags = if options.write { "read|write" } else { "read" };
    format!("open-at root {follow} \"{path}\" {set} {flags}")
}

impl Writer {
    fn line(&mut self, call: &str, answer: &str) {
        let _ = writeln!(self.text, "{call} -> {answer}");
    }

    /// An operation and what the model says that it answers, if its handle is open.
    fn add(&mut self, op: &Op) {
        if let Some(refused) = self.refused_by_flags(op) {
            self.line(&call(op), refused);
            return;
        }
        let Some(answer) = op.on_model(&mut self.model) else { return };
        let named = match (&answer, op) {
            (Ok(_), Op::Open(_, options)) => {
                self.writes.push(options.write);
                format!("handle{} = ", self.writes.len() - 1)
            }
            (Ok(_), Op::List(_)) => "listing = ".to_owned(),
            _ => String::new(),
        };
        let told = match &answer {
            Err(refusal) => word(*refusal).to_owned(),
            Ok(Value::Bytes(bytes)) => format!("ok {} ...", quoted(bytes)),
            Ok(Value::Text(text)) => format!("ok \"{text}\""),
            Ok(Value::Stat(file_type, size, links)) => {
                let kind = match file_type {
                    FileType::File => "regular-file",
                    FileType::Directory => "directory",
                    FileType::Link => "symbolic-link",
                };
                format!("ok {kind} links:{links} size:{size} ...")
            }
            Ok(Value::Nothing | Value::Names(_)) => match op {
                Op::Write(_, _, bytes) => format!("ok {}", bytes.len()),
                _ => "ok".to_owned(),
            },
        };
        self.line(&format!("{named}{}", call(op)), &told);
        if let Ok(Value::Names(names)) = answer {
            for name in names {
                self.line("read-directory-entry listing", &format!("ok * \"{name}\""));
            }
            self.line("read-directory-entry listing", "ok none");
        }
    }

    /// What a descriptor's flags forbid, of which the model knows nothing.
    fn refused_by_flags(&self, op: &Op) -> Option<&'static str> {
        let (Op::Write(handle, ..) | Op::SetSize(handle, _)) = op else { return None };
        let is_directory = self.model.is_directory(*handle)?;
        match (op, is_directory) {
            (Op::SetSize(..), true) => Some("bad-descriptor"),
            (Op::SetSize(..), false) if !self.writes[*handle] => Some("invalid"),
            (Op::Write(..), false) if !self.writes[*handle] => Some("bad-descriptor"),
            _ => None,
        }
    }
}

fn call(op: &Op) -> String {
    let follows = |follow: &bool| if *follow { "follow" } else { "none" };
    match op {
        Op::Open(path, options) => open_call(path, options),
        Op::Read(handle, offset, len) => format!("read handle{handle} {len} {offset}"),
        Op::Write(handle, offset, bytes) => {
            format!("write handle{handle} {} {offset}", quoted(bytes))
        }
        Op::SetSize(handle, size) => format!("set-size handle{handle} {size}"),
        Op::Close(handle) => format!("drop-descriptor handle{handle}"),
        Op::CreateDirectory(path) => format!("create-directory-at root \"{path}\""),
        Op::CreateDirectoryIn(handle, name) => {
            format!("create-directory-at handle{handle} \"{name}\"")
        }
        Op::RemoveDirectory(path) => format!("remove-directory-at root \"{path}\""),
        Op::Unlink(path) => format!("unlink-file-at root \"{path}\""),
        Op::Symlink(target, path) => format!("symlink-at root \"{target}\" \"{path}\""),
        Op::ReadLink(path) => format!("readlink-at root \"{path}\""),
        Op::Link(old, follow, new) => {
            format!("link-at root {} \"{old}\" root \"{new}\"", follows(follow))
        }
        Op::Rename(old, new) => format!("rename-at root \"{old}\" root \"{new}\""),
        Op::List(handle) => format!("read-directory handle{handle}"),
        Op::Stat(path, follow) => format!("stat-at root {} \"{path}\"", follows(follow)),
    }
}

fn case(random: &mut ChaCha12Rng) -> String {
    let mut seed = [0; 32];
    random.fill_bytes(&mut seed);
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let ops = proptest::collection::vec(op(), 1..120).new_tree(&mut runner);
    let model = Model::new(b"an input", &[("/in/g", b"")]);
    let mut writer = Writer { model, writes: Vec::new(), text: "# made at random\n".to_owned() };
    let mut written = 0;
    for op in ops.expect("no filters").current() {
        if let Op::Write(_, _, bytes) = &op {
            written += bytes.len();
        }
        if written <= MAX_WRITTEN {
            writer.add(&op);
        }
    }
    writer.text
}

#[test]
fn no_operations_make_the_agent_panic_or_leave_the_model() {
    for_a_while(1, |random| run_kept(&case(random)));
}
