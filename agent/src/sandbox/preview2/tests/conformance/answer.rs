//! What a function answered, as words: `ok` and what came with it, or the word of an error.

use super::{
    functions::{Gives, Value},
    guest::{CODES, DESCRIPTOR_FLAGS, KINDS, LISTS_AT, ROOM_BYTES},
};

/// An answer as the guest wrote it: its place, and the lists that were allocated for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    room: &'a [u8],
    lists: &'a [u8],
}

fn word(words: &str, number: u8) -> String {
    words.split_whitespace().nth(number.into()).expect("no more cases than words").to_owned()
}

impl<'a> Answer<'a> {
    /// The first of what the guest wrote, and what is behind it; nothing where it was cut off.
    pub(crate) fn read(written: &'a [u8]) -> Option<(Answer<'a>, &'a [u8])> {
        let (len, rest) = written.split_first_chunk()?;
        let (room, rest) = rest.split_at_checked(ROOM_BYTES as usize)?;
        let (lists, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some((Answer { room, lists }, rest))
    }
}

impl Answer<'_> {
    fn u8(self, at: usize) -> u8 {
        self.room[at]
    }

    fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.room[at..at + 4].try_into().expect("4 bytes"))
    }

    fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.room[at..at + 8].try_into().expect("8 bytes"))
    }

    /// A list of bytes, quoted.
    fn quoted(self, at: usize) -> String {
        let (start, len) = (u64::from(self.u32(at)), self.u32(at + 4) as usize);
        let start = (start - LISTS_AT) as usize;
        quoted(&self.lists[start..start + len])
    }

    fn time(self, at: usize) -> String {
        match self.u8(at) {
            0 => "none".to_owned(),
            _ => format!("{}.{}", self.u64(at + 8), self.u32(at + 16)),
        }
    }

    /// All its words.
    pub(crate) fn words(self, gives: Gives) -> Vec<String> {
        match gives {
            Gives::Nothing | Gives::Handle(_) => vec!["ok".to_owned()],
            Gives::Bool => vec![(self.u8(0) == 1).to_string()],
            Gives::Text => vec![self.quoted(0)],
            Gives::MaybeCode if self.u8(0) == 0 => vec!["none".to_owned()],
            Gives::MaybeCode => vec!["some".to_owned(), word(CODES, self.u8(1))],
            Gives::Directories => self.directories(),
            Gives::OrCode(value) | Gives::OrStreamError(value) if self.u8(0) == 0 => {
                let mut words = vec!["ok".to_owned()];
                words.extend(self.value(value));
                words
            }
            Gives::OrCode(value) => vec![word(CODES, self.u8(value.offset(1)))],
            Gives::OrStreamError(value) => {
                vec![word("last-operation-failed closed", self.u8(value.offset(4)))]
            }
        }
    }

    fn directories(self) -> Vec<String> {
        let start = (u64::from(self.u32(0)) - LISTS_AT) as usize;
        let elements = self.lists[start..].chunks(12).take(self.u32(4) as usize);
        let names = elements.map(|room| Answer { room, lists: self.lists }.quoted(4));
        ["ok".to_owned()].into_iter().chain(names).collect()
    }

    fn value(self, value: Value) -> Vec<String> {
        let at = value.offset(1);
        match value {
            Value::Nothing | Value::Handle(_) => Vec::new(),
            Value::Number => vec![self.u64(at).to_string()],
            Value::Bytes | Value::Text => vec![self.quoted(at)],
            Value::BytesAndEnd => {
                let end = if self.u8(at + 8) == 1 { "end" } else { "more" };
                vec![self.quoted(at), end.to_owned()]
            }
            Value::Flags => vec![flags(self.u8(at))],
            Value::Type => vec![word(KINDS, self.u8(at))],
            Value::Stat => vec![
                word(KINDS, self.u8(at)),
                format!("links:{}", self.u64(at + 8)),
                format!("size:{}", self.u64(at + 16)),
                self.time(at + 24),
                self.time(at + 48),
                self.time(at + 72),
            ],
            Value::Hash => vec![self.u64(at).to_string(), self.u64(at + 8).to_string()],
            Value::Entry if self.u8(at) == 0 => vec!["none".to_owned()],
            Value::Entry => vec![word(KINDS, self.u8(at + 4)), self.quoted(at + 8)],
        }
    }
}

impl Value {
    /// Where it begins in an answer, besides an error that is aligned to so many bytes.
    pub(crate) fn offset(self, error: usize) -> usize {
        let own = match self {
            Value::Nothing | Value::Flags | Value::Type => 1,
            Value::Bytes | Value::BytesAndEnd | Value::Text | Value::Entry | Value::Handle(_) => 4,
            Value::Number | Value::Stat | Value::Hash => 8,
        };
        own.max(error)
    }
}

impl Gives {
    /// Where in an answer the handle is that came with it.
    pub(crate) fn handle_at(self, failed: bool) -> Option<u64> {
        match self {
            Gives::Handle(_) => Some(0),
            Gives::OrCode(Value::Handle(_)) if !failed => Some(4),
            Gives::OrStreamError(value) if failed => Some(value.offset(4) as u64 + 4),
            _ => None,
        }
    }
}

fn flags(bits: u8) -> String {
    let names = DESCRIPTOR_FLAGS.split_whitespace().enumerate();
    let set: Vec<&str> =
        names.filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join("|") }
}

/// Bytes as tables write them: many that are all the same as one of them, and how often.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    match bytes {
        [first, rest @ ..] if rest.len() > 30 && rest.iter().all(|byte| byte == first) => {
            format!("\"{}\"*{}", escaped(&[*first]), bytes.len())
        }
        bytes => format!("\"{}\"", escaped(bytes)),
    }
}

/// Text as it is, and everything else as `\xNN`.
fn escaped(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b' '..=b'~' if !b"\"\\".contains(byte) => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(one).collect()
}
