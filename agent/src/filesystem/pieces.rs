//! The bytes that a guest writes, in pieces: in memory as long as they are few, in one file on this
//! machine's disk beyond that.
//!
//! The file has no name, so its room is free again as soon as the attempt is gone, however it ends.
//! Which piece belongs where in a file is `content`'s affair.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt as _, path::PathBuf};

/// Bytes of a whole piece: what is moved to disk in one go.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// Most bytes of one attempt that are held in memory.
const MAX_RESIDENT_BYTES: usize = 1 << 20;

/// A piece's number; free once `free` was called with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PieceId(u32);

/// All pieces of one attempt.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    free: Vec<PieceId>,
    resident_bytes: usize,
    /// Pieces in memory, the oldest first; those that were freed since are in it too.
    resident: VecDeque<PieceId>,
    spill: Spill,
}

#[derive(Debug)]
enum Piece {
    Free,
    Memory(Vec<u8>),
    /// `len` bytes are in the file at the slot; what was there before lies behind them.
    Disk {
        slot: u64,
        len: usize,
    },
}

/// The file on disk, made when it is first needed.
#[derive(Debug)]
struct Spill {
    dir: PathBuf,
    file: Option<File>,
    slots: u64,
    free: Vec<u64>,
}

impl Pieces {
    /// None; `dir` is where the file will be.
    pub(super) fn new(dir: PathBuf) -> Pieces {
        Pieces {
            pieces: Vec::new(),
            free: Vec::new(),
            resident_bytes: 0,
            resident: VecDeque::new(),
            spill: Spill { dir, file: None, slots: 0, free: Vec::new() },
        }
    }

    /// A new piece with these bytes, at most `PIECE_BYTES`.
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> io::Result<PieceId> {
        self.resident_bytes += bytes.len();
        let piece = Piece::Memory(bytes);
        let id = match self.free.pop() {
            Some(id) => {
                self.pieces[id.0 as usize] = piece;
                id
            }
            None => {
                self.pieces.push(piece);
                PieceId(self.pieces.len() as u32 - 1)
            }
        };
        self.resident.push_back(id);
        self.make_room()?;
        Ok(id)
    }

    /// Reads from `offset` within a piece; what lies behind its end is zeros.
    pub(super) fn read(&self, id: PieceId, offset: usize, buffer: &mut [u8]) -> io::Result<()> {
        let len = self.len(id).saturating_sub(offset).min(buffer.len());
        let (there, behind) = buffer.split_at_mut(len);
        behind.fill(0);
        match &self.pieces[id.0 as usize] {
            _ if there.is_empty() => Ok(()),
            Piece::Free => unreachable!("a free piece has no bytes"),
            Piece::Memory(bytes) => {
                there.copy_from_slice(&bytes[offset..offset + len]);
                Ok(())
            }
            Piece::Disk { slot, .. } => self.spill.file().read_exact_at(there, at(*slot, offset)),
        }
    }

    /// Writes at `offset` within a piece; what lies between its end and `offset` becomes zeros.
    pub(super) fn write(&mut self, id: PieceId, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len();
        match &mut self.pieces[id.0 as usize] {
            Piece::Free => unreachable!("a free piece is written by nobody"),
            Piece::Memory(held) => {
                if end > held.len() {
                    self.resident_bytes += end - held.len();
                    held.resize(end, 0);
                }
                held[offset..end].copy_from_slice(bytes);
                self.make_room()
            }
            Piece::Disk { slot, len } => {
                if offset > *len {
                    let zeros = vec![0; offset - *len];
                    self.spill.file().write_all_at(&zeros, at(*slot, *len))?;
                }
                self.spill.file().write_all_at(bytes, at(*slot, offset))?;
                *len = end.max(*len);
                Ok(())
            }
        }
    }

    /// Forgets what lies behind `len`.
    pub(super) fn truncate(&mut self, id: PieceId, to: usize) {
        match &mut self.pieces[id.0 as usize] {
            Piece::Free => {}
            Piece::Memory(bytes) => {
                self.resident_bytes -= bytes.len().saturating_sub(to);
                bytes.truncate(to);
            }
            Piece::Disk { len, .. } => *len = to.min(*len),
        }
    }

    /// Gives a piece back.
    pub(super) fn free(&mut self, id: PieceId) {
        match std::mem::replace(&mut self.pieces[id.0 as usize], Piece::Free) {
            // Its number stays in `resident`, so it is not used again before it has left there.
            Piece::Memory(bytes) => self.resident_bytes -= bytes.len(),
            Piece::Disk { slot, .. } => {
                self.spill.free.push(slot);
                self.free.push(id);
            }
            Piece::Free => {}
        }
    }

    /// How many bytes a piece has.
    pub(super) fn len(&self, id: PieceId) -> usize {
        match &self.pieces[id.0 as usize] {
            Piece::Free => 0,
            Piece::Memory(bytes) => bytes.len(),
            Piece::Disk { len, .. } => *len,
        }
    }

    /// Moves the oldest pieces to disk until the rest is few enough.
    fn make_room(&mut self) -> io::Result<()> {
        while self.resident_bytes > MAX_RESIDENT_BYTES {
            let Some(oldest) = self.resident.pop_front() else { return Ok(()) };
            let piece = &mut self.pieces[oldest.0 as usize];
            let Piece::Memory(bytes) = piece else {
                self.free.push(oldest);
                continue;
            };
            let slot = self.spill.slot()?;
            self.spill.file().write_all_at(bytes, at(slot, 0))?;
            self.resident_bytes -= bytes.len();
            *piece = Piece::Disk { slot, len: bytes.len() };
        }
        // Freed ones would pile up where a guest writes little and often.
        while let Some(oldest) = self.resident.front().copied()
            && matches!(self.pieces[oldest.0 as usize], Piece::Free)
        {
            self.resident.pop_front();
            self.free.push(oldest);
        }
        Ok(())
    }
}

impl Spill {
    /// A slot that nobody uses.
    fn slot(&mut self) -> io::Result<u64> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile_in(&self.dir)?);
        }
        Ok(self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        }))
    }

    fn file(&self) -> &File {
        self.file.as_ref().expect("a piece on disk has its slot from `slot`, which made the file")
    }
}

fn at(slot: u64, offset: usize) -> u64 {
    slot * PIECE_BYTES as u64 + offset as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &Pieces, id: PieceId, offset: usize, len: usize) -> Vec<u8> {
        let mut buffer = vec![1; len];
        pieces.read(id, offset, &mut buffer).expect("a disk");
        buffer
    }

    fn many(pieces: &mut Pieces) -> Vec<PieceId> {
        let count = MAX_RESIDENT_BYTES / PIECE_BYTES + 8;
        (0..count).map(|n| pieces.add(vec![n as u8; PIECE_BYTES]).expect("a disk")).collect()
    }

    #[test]
    fn what_does_not_fit_in_memory_is_on_disk_and_reads_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut pieces = Pieces::new(dir.path().to_owned());
        let ids = many(&mut pieces);
        assert!(pieces.resident_bytes <= MAX_RESIDENT_BYTES);
        assert_eq!(pieces.spill.slots, 8);
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(read(&pieces, *id, 9, 3), [n as u8; 3]);
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn what_is_cut_off_reads_as_zeros_when_it_grows_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut pieces = Pieces::new(dir.path().to_owned());
        let ids = many(&mut pieces);
        for id in [ids[0], ids[ids.len() - 1]] {
            pieces.truncate(id, 2);
            pieces.write(id, 5, b"x").expect("a disk");
            let read = read(&pieces, id, 1, 6);
            assert_eq!(read[1..], [0, 0, 0, b'x', 0]);
        }
    }

    #[test]
    fn slots_and_numbers_are_used_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut pieces = Pieces::new(dir.path().to_owned());
        for _ in 0..10 {
            for id in many(&mut pieces) {
                pieces.free(id);
            }
        }
        assert!(pieces.spill.slots < 2 * 24, "{}", pieces.spill.slots);
        assert!(pieces.pieces.len() < 4 * 24, "{}", pieces.pieces.len());
        assert_eq!(pieces.resident_bytes, 0);
        let mut small = Pieces::new(dir.path().to_owned());
        for _ in 0..1000 {
            let id = small.add(vec![0; 10]).expect("a disk");
            small.free(id);
        }
        assert!(small.pieces.len() < 3, "{}", small.pieces.len());
    }
}
