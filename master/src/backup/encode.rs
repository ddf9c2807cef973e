//! Writes a backup's bytes, piece by piece; where they go is the caller's.

use blake3::Hasher;
use prost::Message as _;
use weir_proto::{digest::Digest, id::Namespace, wire};

use super::{FORMAT, HEADER_BYTES, MAGIC, SECTION_HEAD_BYTES, Tag};

/// The sums over what was written.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Where the next byte goes.
    offset: u64,
    section: Hasher,
    /// Of the checksums of all sections.
    all: Hasher,
    end: wire::BackupEnd,
}

impl Encoder {
    /// A new backup, and its header.
    pub(crate) fn new() -> (Encoder, Vec<u8>) {
        let mut header = MAGIC.to_vec();
        header.extend(FORMAT.to_le_bytes());
        header.extend(blake3::hash(&header).as_bytes());
        let offset = HEADER_BYTES as u64;
        let (section, all) = (Hasher::new(), Hasher::new());
        (Encoder { offset, section, all, end: wire::BackupEnd::default() }, header)
    }

    /// Begins a section of so many bytes; returns how it begins.
    pub(crate) fn begin(&mut self, tag: Tag, length: u64) -> [u8; SECTION_HEAD_BYTES] {
        let mut head = [tag as u8; SECTION_HEAD_BYTES];
        head[1..].copy_from_slice(&length.to_le_bytes());
        self.section = begin_section(self.offset, &head);
        self.offset += (head.len() + blake3::OUT_LEN) as u64 + length;
        match tag {
            Tag::Page => self.end.pages += 1,
            Tag::Blob => self.end.blobs += 1,
            Tag::About | Tag::State | Tag::End => {}
        }
        head
    }

    /// Bytes of the section that was begun.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.section.update(bytes);
    }

    /// Ends the section; returns its checksum, which comes behind it.
    pub(crate) fn end_section(&mut self) -> [u8; blake3::OUT_LEN] {
        let checksum = *self.section.finalize().as_bytes();
        self.all.update(&checksum);
        checksum
    }

    /// A section whose bytes are all there.
    pub(crate) fn section(&mut self, tag: Tag, bytes: &[u8]) -> Vec<u8> {
        let head = self.begin(tag, bytes.len() as u64);
        self.add(bytes);
        [&head[..], bytes, &self.end_section()].concat()
    }

    /// The end of the backup.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.end.checksum = self.all.finalize().as_bytes().to_vec();
        let end = self.end.encode_to_vec();
        self.section(Tag::End, &end)
    }
}

/// What the checksum of a section begins with: a section that stands elsewhere is another.
pub(super) fn begin_section(offset: u64, head: &[u8]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(&offset.to_le_bytes()).update(head);
    hasher
}

/// How the section of a page or a blob begins, before its bytes.
pub(crate) fn entry_head(namespace: &Namespace, digest: Digest) -> Vec<u8> {
    let name = namespace.as_str().as_bytes();
    // A namespace has at most 64 bytes.
    let mut head = vec![name.len() as u8];
    head.extend(name);
    head.extend(digest.0);
    head
}
