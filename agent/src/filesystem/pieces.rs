//! The bytes that a guest writes, in pieces: in memory as long as they are few, in one file on this
//! machine's disk beyond that.
//!
//! The file has no name, so its room is free again as soon as the attempt is gone, however it ends.
//! Which piece belongs where in a file is `content`'s affair.

use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt as _, path::PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// Bytes of a whole piece: what is moved to disk in one go.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// What disks give out at once.
const BLOCK_BYTES: usize = 4096;

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
    /// How many of `resident` were freed.
    stale: usize,
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
            stale: 0,
            spill: Spill { dir, file: None, slots: 0, free: Vec::new() },
        }
    }

    /// A new piece with these bytes, at most `PIECE_BYTES`.
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> io::Result<PieceId> {
        self.resident_bytes += bytes.len();
        let id = self.numbered(Piece::Memory(bytes));
        self.resident.push_back(id);
        self.make_room()?;
        Ok(id)
    }

    /// A new piece with these bytes, which are `PIECE_BYTES`. It goes straight to disk once memory is
    /// full: one that writes that much at once will hardly write there again.
    pub(super) fn add_whole(&mut self, bytes: &[u8]) -> io::Result<PieceId> {
        if self.resident_bytes + bytes.len() <= MAX_RESIDENT_BYTES {
            return self.add(bytes.to_vec());
        }
        let slot = self.spill.slot()?;
        self.spill.file().write_all_at(bytes, at(slot, 0))?;
        Ok(self.numbered(Piece::Disk { slot, len: bytes.len() }))
    }

    fn numbered(&mut self, piece: Piece) -> PieceId {
        match self.free.pop() {
            Some(id) => {
                self.pieces[id.0 as usize] = piece;
                id
            }
            None => {
                self.pieces.push(piece);
                PieceId(self.pieces.len() as u32 - 1)
            }
        }
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

    /// Forgets what lies behind `to`. What is left takes no more than twice its room: a file is
    /// charged for its length, and many that were cut off must not hold what they once were.
    pub(super) fn truncate(&mut self, id: PieceId, to: usize) {
        match &mut self.pieces[id.0 as usize] {
            Piece::Free => {}
            Piece::Memory(bytes) => {
                self.resident_bytes -= bytes.len().saturating_sub(to);
                bytes.truncate(to);
                bytes.shrink_to(to.saturating_mul(2));
            }
            Piece::Disk { slot, len } => {
                if to <= *len / 2 {
                    self.spill.give_back(*slot, to);
                }
                *len = to.min(*len);
            }
        }
    }

    /// Gives a piece back.
    pub(super) fn free(&mut self, id: PieceId) {
        match std::mem::replace(&mut self.pieces[id.0 as usize], Piece::Free) {
            // Its number stays in `resident`, so it is not used again before it has left there.
            Piece::Memory(bytes) => {
                self.resident_bytes -= bytes.len();
                self.stale += 1;
                self.drop_stale();
            }
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
                self.stale -= 1;
                continue;
            };
            let slot = self.spill.slot()?;
            self.spill.file().write_all_at(bytes, at(slot, 0))?;
            if bytes.len() <= PIECE_BYTES / 2 {
                self.spill.give_back(slot, bytes.len());
            }
            self.resident_bytes -= bytes.len();
            *piece = Piece::Disk { slot, len: bytes.len() };
        }
        Ok(())
    }

    /// Gives numbers of freed pieces back once they are half of `resident`: they would pile up where
    /// a guest writes little and often.
    fn drop_stale(&mut self) {
        if self.stale * 2 < self.resident.len() {
            return;
        }
        let (pieces, free) = (&self.pieces, &mut self.free);
        self.resident.retain(|id| {
            let stale = matches!(pieces[id.0 as usize], Piece::Free);
            if stale {
                free.push(*id);
            }
            !stale
        });
        self.stale = 0;
    }

    /// How many pieces there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.pieces.iter().filter(|piece| !matches!(piece, Piece::Free)).count()
    }

    /// Bytes that all of them take in memory and on disk, what is reserved included.
    #[cfg(test)]
    pub(super) fn room(&self) -> (usize, usize) {
        use std::os::unix::fs::MetadataExt as _;
        let memory = |piece: &Piece| match piece {
            Piece::Memory(bytes) => bytes.capacity(),
            Piece::Free | Piece::Disk { .. } => 0,
        };
        let file = self.spill.file.as_ref();
        let blocks = file.map_or(0, |file| file.metadata().expect("a disk").blocks());
        (self.pieces.iter().map(memory).sum(), blocks as usize * 512)
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

    /// Gives the disk back what a slot holds from a whole block behind `from` on: what was there
    /// before, in a slot that is used again. A file system that cannot keeps it until the end.
    fn give_back(&self, slot: u64, from: usize) {
        let (from, all) = (from.next_multiple_of(BLOCK_BYTES), PIECE_BYTES);
        if from < all {
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = fallocate(self.file(), how, at(slot, from), (all - from) as u64);
        }
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

    #[test]
    fn numbers_are_used_again_behind_a_piece_that_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut pieces = Pieces::new(dir.path().to_owned());
        pieces.add(vec![1]).expect("a disk");
        for _ in 0..1000 {
            let id = pieces.add(vec![0; 10]).expect("a disk");
            pieces.free(id);
        }
        assert!(pieces.pieces.len() < 9, "{}", pieces.pieces.len());
        assert!(pieces.resident.len() < 9, "{}", pieces.resident.len());
    }

    #[test]
    fn pieces_that_were_cut_off_take_no_room_for_what_they_were() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut pieces = Pieces::new(dir.path().to_owned());
        for _ in 0..20 {
            for id in many(&mut pieces) {
                pieces.truncate(id, 3);
                assert_eq!(pieces.len(id), 3);
            }
        }
        // 480 pieces, which once had 30 MB.
        let (memory, disk) = pieces.room();
        assert!(memory <= MAX_RESIDENT_BYTES && disk < 4 << 20, "{memory} and {disk}");
    }
}
