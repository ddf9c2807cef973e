//! Reads a backup from its beginning to its end, and believes nothing before its checksum.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use blake3::Hasher;
use bytes::Bytes;
use prost::Message as _;
use weir_proto::{digest::Digest, id::Namespace, page::MAX_PAGE_BYTES, wire};
use weir_scheduler::{snapshot, state::ClusterState};
use weir_store::blobs::MAX_BLOB_BYTES;

use super::{
    BackupError, Entry, FORMAT, HEADER_BYTES, MAGIC, SECTION_HEAD_BYTES, Tag, encode::begin_section,
};

/// Most bytes of the first section and of the last.
const MAX_SMALL_BYTES: u64 = 64 << 10;
/// Most bytes of a state, as between masters.
const MAX_STATE_BYTES: u64 = 1 << 30;
/// Most bytes of what stands before a page's or a blob's own: the namespace and the digest.
const MAX_ENTRY_HEAD_BYTES: u64 = 1 + 255 + 32;
/// Most bytes that are read at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// A backup that is being read.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    /// Of the file, in bytes.
    size_bytes: u64,
    offset: u64,
    section: Section,
    /// Of the checksums of all sections so far.
    all: Hasher,
    pages: u64,
    blobs: u64,
}

/// The section that is being read.
struct Section {
    tag: Tag,
    /// Where it begins, and where its checksum ends.
    from: u64,
    to: u64,
    /// Bytes of it that were not read.
    rest: u64,
    sum: Hasher,
    /// For people.
    what: String,
}

impl Reader {
    /// Opens a backup; reads what it is of, and the state.
    pub(super) fn open(
        path: &Path,
    ) -> Result<(Reader, wire::BackupAbout, ClusterState), BackupError> {
        let failed = |source| BackupError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        let section = Section {
            tag: Tag::End,
            from: 0,
            to: 0,
            rest: 0,
            sum: Hasher::new(),
            what: "the header".to_owned(),
        };
        let mut reader = Reader {
            path: path.to_owned(),
            file: BufReader::with_capacity(CHUNK_BYTES as usize, file),
            size_bytes,
            offset: 0,
            section,
            all: Hasher::new(),
            pages: 0,
            blobs: 0,
        };
        reader.header()?;
        reader.expect(Tag::About)?;
        let about = reader.whole()?;
        let about = wire::BackupAbout::decode(&about[..]).map_err(|e| reader.wrong(e))?;
        reader.expect(Tag::State)?;
        let state = reader.whole()?;
        let source = |source| BackupError::State { path: path.to_owned(), source };
        let state = snapshot::decode(&state).map_err(source)?;
        Ok((reader, about, state))
    }

    fn header(&mut self) -> Result<(), BackupError> {
        let mut header = [0; HEADER_BYTES];
        let read = self.size_bytes.min(HEADER_BYTES as u64) as usize;
        self.fill(&mut header[..read])?;
        let (begins, sum) = header.split_at(MAGIC.len() + 4);
        let Some(format) = begins.strip_prefix(MAGIC) else {
            return Err(BackupError::NotABackup { path: self.path.clone() });
        };
        if read < HEADER_BYTES {
            return Err(self.cut("the header", 0, (HEADER_BYTES - read) as u64));
        }
        self.section.to = HEADER_BYTES as u64;
        if blake3::hash(begins).as_bytes() != sum {
            return Err(self.wrong("its header does not match its checksum"));
        }
        let found = u32::from_le_bytes(format.try_into().expect("four bytes"));
        if found != FORMAT {
            return Err(BackupError::Format { path: self.path.clone(), found });
        }
        Ok(())
    }

    /// The next page or blob, before its bytes; nothing at the end of a backup that is whole.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, BackupError> {
        self.begin()?;
        let is_page = match self.section.tag {
            Tag::Page => true,
            Tag::Blob => false,
            Tag::End => return self.end().map(|()| None),
            Tag::About | Tag::State => return Err(self.wrong("it stands where it does not belong")),
        };
        let mut length = [0];
        self.take(&mut length)?;
        let mut name = vec![0; length[0].into()];
        self.take(&mut name)?;
        let mut digest = [0; 32];
        self.take(&mut digest)?;
        let digest = Digest(digest);
        let name = String::from_utf8_lossy(&name);
        let Ok(namespace) = name.parse::<Namespace>() else {
            return Err(self.wrong("it names no namespace"));
        };
        let kind = if is_page { "page" } else { "blob" };
        self.section.what = format!("{kind} {digest} of namespace {namespace}");
        *if is_page { &mut self.pages } else { &mut self.blobs } += 1;
        Ok(Some(Entry { is_page, namespace, digest, size_bytes: self.section.rest }))
    }

    /// The next bytes of the page or blob; none after the last, once its checksum held.
    pub(super) fn chunk(&mut self) -> Result<Option<Bytes>, BackupError> {
        if self.section.rest == 0 {
            self.seal()?;
            return Ok(None);
        }
        let mut chunk = vec![0; self.section.rest.min(CHUNK_BYTES) as usize];
        self.take(&mut chunk)?;
        Ok(Some(chunk.into()))
    }

    /// Pages, blobs and bytes of the file, once all of it was read.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        (self.pages, self.blobs, self.size_bytes)
    }

    /// Something in the section that is being read is wrong.
    pub(super) fn wrong(&self, why: impl std::fmt::Display) -> BackupError {
        let Section { from, to, what, .. } = &self.section;
        let what = format!("{what}: {why}");
        BackupError::Damaged { path: self.path.clone(), what, from: *from, to: *to }
    }

    /// Checks the last section, and that nothing follows.
    fn end(&mut self) -> Result<(), BackupError> {
        let all = self.all.finalize();
        let end = self.whole()?;
        let end = wire::BackupEnd::decode(&end[..]).map_err(|error| self.wrong(error))?;
        let wire::BackupEnd { pages, blobs, checksum } = end;
        if (pages, blobs) != (self.pages, self.blobs) || checksum != all.as_bytes() {
            return Err(self.wrong("what comes before it is not what was written"));
        }
        if self.offset < self.size_bytes {
            (self.section.from, self.section.to) = (self.offset, self.size_bytes);
            return Err(self.wrong("something follows the end"));
        }
        Ok(())
    }

    fn expect(&mut self, tag: Tag) -> Result<(), BackupError> {
        self.begin()?;
        match self.section.tag == tag {
            true => Ok(()),
            false => Err(self.wrong("it stands where it does not belong")),
        }
    }

    /// Reads how a section begins.
    fn begin(&mut self) -> Result<(), BackupError> {
        let from = self.offset;
        if self.size_bytes - from < SECTION_HEAD_BYTES as u64 {
            let missing = SECTION_HEAD_BYTES as u64 - (self.size_bytes - from);
            return Err(self.cut("a section", from, missing));
        }
        let mut head = [0; SECTION_HEAD_BYTES];
        self.fill(&mut head)?;
        let length = u64::from_le_bytes(head[1..].try_into().expect("eight bytes"));
        let (section, to) = (&mut self.section, from + SECTION_HEAD_BYTES as u64);
        (section.from, section.to, section.what) = (from, to, "a section".to_owned());
        let entry = MAX_ENTRY_HEAD_BYTES;
        let (tag, what, most) = match head[0] {
            b'A' => (Tag::About, "what it is of", MAX_SMALL_BYTES),
            b'S' => (Tag::State, "the state", MAX_STATE_BYTES),
            b'P' => (Tag::Page, "a page", MAX_PAGE_BYTES as u64 + entry),
            b'B' => (Tag::Blob, "a blob", MAX_BLOB_BYTES + entry),
            b'E' => (Tag::End, "the end", MAX_SMALL_BYTES),
            _ => return Err(self.wrong("nothing begins like this")),
        };
        section_of(&mut self.section, tag, what, begin_section(from, &head));
        if length > most {
            return Err(self.wrong(format!("it would have {length} bytes, and has at most {most}")));
        }
        let to = to + length + blake3::OUT_LEN as u64;
        if to > self.size_bytes {
            return Err(self.cut(what, from, to - self.size_bytes));
        }
        (self.section.to, self.section.rest) = (to, length);
        Ok(())
    }

    /// All bytes of a section that is kept in memory.
    fn whole(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut bytes = vec![0; self.section.rest as usize];
        self.take(&mut bytes)?;
        self.seal()?;
        Ok(bytes)
    }

    /// Reads bytes of the section.
    fn take(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let Some(rest) = self.section.rest.checked_sub(bytes.len() as u64) else {
            return Err(self.wrong("it is too short for what it is"));
        };
        self.section.rest = rest;
        self.fill(bytes)?;
        self.section.sum.update(bytes);
        Ok(())
    }

    /// Reads the section's checksum, and compares.
    fn seal(&mut self) -> Result<(), BackupError> {
        let mut checksum = [0; blake3::OUT_LEN];
        self.fill(&mut checksum)?;
        if self.section.sum.finalize().as_bytes() != &checksum {
            return Err(self.wrong("it does not match its checksum"));
        }
        self.all.update(&checksum);
        Ok(())
    }

    /// Reads bytes that the file has, by its size.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let failed = |source: io::Error| BackupError::Read { path: self.path.clone(), source };
        self.file.read_exact(bytes).map_err(failed)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn cut(&self, what: &str, from: u64, needs: u64) -> BackupError {
        BackupError::Cut { path: self.path.clone(), what: what.to_owned(), from, needs }
    }
}

fn section_of(section: &mut Section, tag: Tag, what: &str, sum: Hasher) {
    (section.tag, section.what, section.sum) = (tag, what.to_owned(), sum);
}
