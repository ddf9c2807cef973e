//! The bytes of a file that a guest may change: its own pieces, over those of the input it began as.

use std::{collections::BTreeMap, io};

use weir_store::view::BlobView;

use super::pieces::{PIECE_BYTES, PieceId, Pieces};

/// Largest size of a file, in bytes: what 64-bit offsets of all systems hold.
pub(super) const MAX_FILE_BYTES: u64 = i64::MAX as u64;

/// A file's bytes. Where there is neither a piece nor a base, they are zeros.
#[derive(Debug, Default)]
pub(super) struct Content {
    len: u64,
    base: Option<Base>,
    pieces: BTreeMap<u64, PieceId>,
    /// How many of the pieces lie over what the base still shows.
    over_base: u64,
}

/// The input that the file began as.
#[derive(Debug)]
struct Base {
    view: BlobView,
    /// How much of it still shows: what was cut off once never comes back.
    len: u64,
}

impl Content {
    /// The bytes of an input, until they are changed.
    pub(super) fn over(view: BlobView) -> Content {
        let len = view.len();
        Content { len, base: Some(Base { view, len }), ..Content::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many bytes count against the limit: all that are not the input's own, holes included,
    /// for whoever reads the file gets those too.
    pub(super) fn charged_bytes(&self) -> u64 {
        let Some(base) = &self.base else { return self.len };
        self.len - base.len + (self.over_base * PIECE_BYTES as u64).min(base.len)
    }

    /// The number of pieces that the base still shows something of.
    fn base_pieces(&self) -> u64 {
        self.base.as_ref().map_or(0, |base| base.len.div_ceil(PIECE_BYTES as u64))
    }

    /// Reads at `offset`; fewer bytes only at the end.
    pub(super) fn read(
        &self,
        pieces: &Pieces,
        offset: u64,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let there = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let total = there.min(buffer.len());
        for part in parts(offset, total) {
            let into = &mut buffer[part.at..part.at + part.len];
            match self.pieces.get(&part.piece) {
                Some(id) => pieces.read(*id, part.within, into)?,
                None => self.read_base(part.start(), into)?,
            }
        }
        Ok(total)
    }

    /// What the base shows at `offset`, and zeros behind it.
    fn read_base(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut read = 0;
        if let Some(base) = &self.base {
            let there = usize::try_from(base.len.saturating_sub(offset)).unwrap_or(usize::MAX);
            let wanted = there.min(buffer.len());
            read = base.view.read_at(offset, &mut buffer[..wanted])?;
            if read < wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        buffer[read..].fill(0);
        Ok(())
    }

    /// Writes at `offset`, which may lie behind the end; `offset` and length together are at most
    /// `MAX_FILE_BYTES`.
    pub(super) fn write(
        &mut self,
        pieces: &mut Pieces,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        for part in parts(offset, bytes.len()) {
            let from = &bytes[part.at..part.at + part.len];
            match self.pieces.get(&part.piece) {
                Some(id) => pieces.write(*id, part.within, from)?,
                None => {
                    let id = self.add_piece(pieces, &part, from)?;
                    self.pieces.insert(part.piece, id);
                    self.over_base += u64::from(part.piece < self.base_pieces());
                }
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.len = self.len.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// A piece where there was none: what the base shows there, with `bytes` over it.
    fn add_piece(&self, pieces: &mut Pieces, part: &Part, bytes: &[u8]) -> io::Result<PieceId> {
        let start = part.piece * PIECE_BYTES as u64;
        let shown = self.base.as_ref().map_or(0, |base| base.len.saturating_sub(start));
        let shown = usize::try_from(shown).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let end = part.within + bytes.len();
        if bytes.len() == PIECE_BYTES {
            return pieces.add_whole(bytes);
        }
        let mut whole = Vec::with_capacity(end.max(shown));
        if shown > 0 && !(part.within == 0 && end >= shown) {
            whole.resize(shown, 0);
            self.read_base(start, &mut whole)?;
        }
        whole.resize(end.max(whole.len()), 0);
        whole[part.within..end].copy_from_slice(bytes);
        pieces.add(whole)
    }

    /// Cuts the file off, or makes it longer by zeros.
    pub(super) fn set_len(&mut self, pieces: &mut Pieces, len: u64) {
        if len < self.len {
            let kept = len.div_ceil(PIECE_BYTES as u64);
            for id in self.pieces.split_off(&kept).into_values() {
                pieces.free(id);
            }
            let last = kept.checked_sub(1).and_then(|last| self.pieces.get(&last));
            if let Some(last) = last {
                pieces.truncate(*last, (len - (kept - 1) * PIECE_BYTES as u64) as usize);
            }
            if let Some(base) = &mut self.base {
                base.len = base.len.min(len);
            }
            self.over_base = self.pieces.range(..self.base_pieces()).count() as u64;
        }
        self.len = len;
    }

    /// Gives all pieces back.
    pub(super) fn free(&mut self, pieces: &mut Pieces) {
        for id in std::mem::take(&mut self.pieces).into_values() {
            pieces.free(id);
        }
        *self = Content::default();
    }
}

/// The part of a range of bytes that is in one piece.
struct Part {
    piece: u64,
    /// Where it begins within the piece.
    within: usize,
    /// Where it begins within the range.
    at: usize,
    len: usize,
}

impl Part {
    /// Where it begins within the file.
    fn start(&self) -> u64 {
        self.piece * PIECE_BYTES as u64 + self.within as u64
    }
}

/// Splits `len` bytes at `offset` at the borders of pieces.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = Part> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == len {
            return None;
        }
        let start = offset + at as u64;
        let within = (start % PIECE_BYTES as u64) as usize;
        let part_len = (PIECE_BYTES - within).min(len - at);
        let part = Part { piece: start / PIECE_BYTES as u64, within, at, len: part_len };
        at += part_len;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let most = 3 * PIECE_BYTES as u64;
        let bytes = (any::<u8>(), 0..2 * PIECE_BYTES).prop_map(|(byte, len)| vec![byte; len]);
        prop_oneof![
            3 => (0..most, bytes).prop_map(|(offset, bytes)| Step::Write(offset, bytes)),
            1 => (0..most).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn a_file_is_what_a_vector_of_its_bytes_is(
            base in proptest::option::of(0..3 * PIECE_BYTES),
            steps in proptest::collection::vec(step(), 1..20),
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            let mut pieces = Pieces::new(dir.path().to_owned());
            let mut model: Vec<u8> = (0..base.unwrap_or(0)).map(|n| (n % 251) as u8 | 1).collect();
            let mut content = match base {
                Some(_) => Content::over(BlobView::from(bytes::Bytes::from(model.clone()))),
                None => Content::default(),
            };
            for step in steps {
                match step {
                    Step::Write(offset, bytes) => {
                        content.write(&mut pieces, offset, &bytes).expect("a disk");
                        let (offset, end) = (offset as usize, offset as usize + bytes.len());
                        if !bytes.is_empty() {
                            model.resize(model.len().max(end), 0);
                        }
                        let (offset, end) = (offset.min(model.len()), end.min(model.len()));
                        model[offset..end].copy_from_slice(&bytes);
                    }
                    Step::SetLen(len) => {
                        content.set_len(&mut pieces, len);
                        model.resize(len as usize, 0);
                    }
                }
                let mut read = vec![7; model.len() + 5];
                let got = content.read(&pieces, 0, &mut read).expect("a disk");
                prop_assert_eq!(got, model.len());
                prop_assert!(read[..got] == model[..]);
                prop_assert!(content.charged_bytes() <= content.len() + 2 * PIECE_BYTES as u64);
            }
        }
    }
}
