//! The items of a `foreach` stage: task `i` works on item `i`.
//!
//! A manifest is a blob that lists the digests of chunks of [`CHUNK_ITEMS`] items each, so that a
//! stage of a million items is a few bytes in its spec, and an agent fetches only the chunks of the
//! tasks it runs.

use prost::Message;

use crate::{
    digest::Digest,
    job::{InputSource, MAX_TASKS},
    malformed::{Malformed, required},
    text::plain,
    wire,
};

/// Items of a chunk; only a manifest's last one may have fewer.
pub const CHUNK_ITEMS: u32 = 1_024;
/// Most bytes of an item's text.
pub const MAX_ITEM_BYTES: usize = 4_096;

/// What one task works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A file's path as it was written, or a line without its end. No control characters but tabs.
    pub text: String,
    /// The file or directory; absent: the item is a line.
    pub source: Option<InputSource>,
}

/// Which chunks a manifest has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// How many items, 1 to `MAX_TASKS`.
    pub count: u32,
    /// The chunks, in order: one for each `CHUNK_ITEMS` items begun.
    pub chunks: Vec<Digest>,
}

impl Item {
    /// The last part of its text as a path: `c.txt` of `a/b/c.txt`. The whole text where a path has
    /// no such part.
    pub fn name(&self) -> &str {
        let trimmed = self.text.trim_end_matches('/');
        match trimmed.rsplit('/').next() {
            Some(name) if !matches!(name, "" | "." | "..") => name,
            _ => &self.text,
        }
    }

    /// Its name without the last extension: `c` of `a/b/c.txt`.
    pub fn stem(&self) -> &str {
        let name = self.name();
        match name.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => name,
        }
    }

    /// What `{input}` stands for: where the guest finds the file, or the line itself.
    pub fn input(&self) -> String {
        match self.source {
            Some(_) => format!("{ITEM_DIR}/{}", self.name()),
            None => self.text.clone(),
        }
    }
}

/// The directory in which a guest finds the file or directory of its item.
pub const ITEM_DIR: &str = "/item";

impl Manifest {
    /// Cuts items into encoded chunks, and makes the manifest that lists them.
    pub fn of(items: &[Item]) -> (Manifest, Vec<Vec<u8>>) {
        let chunks: Vec<Vec<u8>> = items.chunks(CHUNK_ITEMS as usize).map(encode_chunk).collect();
        let digests = chunks.iter().map(|chunk| Digest::of(chunk)).collect();
        (Manifest { count: items.len() as u32, chunks: digests }, chunks)
    }

    /// The chunk of an item, and its place in it.
    pub fn place(index: u32) -> (usize, usize) {
        ((index / CHUNK_ITEMS) as usize, (index % CHUNK_ITEMS) as usize)
    }

    /// The manifest's bytes; their digest names it.
    pub fn encode(&self) -> Vec<u8> {
        let chunks = self.chunks.iter().map(|chunk| chunk.to_wire()).collect();
        wire::Manifest { count: self.count, chunks }.encode_to_vec()
    }

    /// Reads a manifest's bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Malformed> {
        let wire = wire::Manifest::decode(bytes)
            .map_err(|source| Malformed::Undecodable { what: "manifest", source })?;
        let wrong = |why: String| Err(Malformed::invalid("manifest", why));
        if !(1..=MAX_TASKS).contains(&wire.count) {
            return wrong(format!("it has {} items; 1 to {MAX_TASKS} are allowed", wire.count));
        }
        if wire.chunks.len() as u32 != wire.count.div_ceil(CHUNK_ITEMS) {
            return wrong(format!("{} chunks for {} items", wire.chunks.len(), wire.count));
        }
        let chunks = wire.chunks.iter().map(|digest| Digest::try_from(&digest[..]));
        Ok(Manifest { count: wire.count, chunks: chunks.collect::<Result<_, _>>()? })
    }
}

fn encode_chunk(items: &[Item]) -> Vec<u8> {
    let items = items.iter().map(|item| wire::Item {
        text: item.text.clone(),
        source: item.source.map(wire::Source::from),
    });
    wire::ManifestChunk { items: items.collect() }.encode_to_vec()
}

/// Reads a chunk's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode_chunk(bytes: &[u8]) -> Result<Vec<Item>, Malformed> {
    let wire = wire::ManifestChunk::decode(bytes)
        .map_err(|source| Malformed::Undecodable { what: "chunk of a manifest", source })?;
    if wire.items.len() > CHUNK_ITEMS as usize {
        let why = format!("it has {} items; at most {CHUNK_ITEMS} are allowed", wire.items.len());
        return Err(Malformed::invalid("chunk of a manifest", why));
    }
    let items = wire.items.into_iter().map(|item| {
        if let Some(why) = item_problem(&item.text) {
            return Err(Malformed::invalid("item of a manifest", why));
        }
        let source = item.source.map(InputSource::try_from).transpose()?;
        Ok(Item { text: item.text, source })
    });
    items.collect()
}

/// Why a text cannot be an item's.
pub fn item_problem(text: &str) -> Option<String> {
    if text.len() > MAX_ITEM_BYTES {
        return Some(format!("it has {} bytes; at most {MAX_ITEM_BYTES} are allowed", text.len()));
    }
    let control = text.chars().any(|c| c.is_control() && c != '\t');
    control.then(|| format!("\"{}\" contains a control character", plain(text)))
}

impl From<InputSource> for wire::Source {
    fn from(source: InputSource) -> wire::Source {
        let source = match source {
            InputSource::Blob(digest) => wire::source::Source::Blob(digest.to_wire()),
            InputSource::Tree(digest) => wire::source::Source::Tree(digest.to_wire()),
        };
        wire::Source { source: Some(source) }
    }
}

impl TryFrom<wire::Source> for InputSource {
    type Error = Malformed;

    fn try_from(wire: wire::Source) -> Result<InputSource, Malformed> {
        Ok(match required(wire.source, "a source")? {
            wire::source::Source::Blob(digest) => InputSource::Blob(Digest::try_from(&digest[..])?),
            wire::source::Source::Tree(digest) => InputSource::Tree(Digest::try_from(&digest[..])?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Item {
        Item { text: text.to_owned(), source: None }
    }

    #[test]
    fn items_are_cut_into_chunks_and_found_again() {
        let items: Vec<Item> = (0..2_500).map(|n| line(&format!("item {n}"))).collect();
        let (manifest, chunks) = Manifest::of(&items);
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        assert_eq!((manifest.count, manifest.chunks.len()), (2_500, 3));
        let (chunk, place) = Manifest::place(2_047);
        assert_eq!(Digest::of(&chunks[chunk]), manifest.chunks[chunk]);
        assert_eq!(decode_chunk(&chunks[chunk]).expect("a chunk")[place], items[2_047]);
    }

    #[test]
    fn a_manifest_that_cannot_be_is_refused() {
        let good = wire::Manifest { count: 1, chunks: vec![Digest::of(b"x").to_wire()] };
        assert!(Manifest::decode(&good.encode_to_vec()).is_ok());
        for (count, chunks) in [(0, 0), (1, 2), (1_025, 1), (MAX_TASKS + 1, 9_766)] {
            let chunks = vec![Digest::of(b"x").to_wire(); chunks];
            let bytes = wire::Manifest { count, chunks }.encode_to_vec();
            assert!(Manifest::decode(&bytes).is_err(), "{count}");
        }
        let hostile = wire::Item { text: "a\x1b[2J".to_owned(), source: None };
        let chunk = wire::ManifestChunk { items: vec![hostile] };
        assert!(decode_chunk(&chunk.encode_to_vec()).is_err());
    }

    #[test]
    fn an_item_has_a_name_and_a_stem() {
        let file = Item {
            text: "a/b/c.tar.gz".to_owned(),
            source: Some(InputSource::Blob(Digest::of(b"x"))),
        };
        assert_eq!((file.name(), file.stem()), ("c.tar.gz", "c.tar"));
        assert_eq!(file.input(), "/item/c.tar.gz");
        assert_eq!((line("a b").name(), line("a b").stem()), ("a b", "a b"));
        assert_eq!(line(".bashrc").stem(), ".bashrc");
        assert_eq!(line("https://x/y.png").stem(), "y");
        assert_eq!(line("a b").input(), "a b");
        assert_eq!(line("..").name(), "..");
    }
}
