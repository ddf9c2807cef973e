//! Source lines of a module: where in its source an instruction is, if the module carries that.
//!
//! Wasmtime could tell as well, but it reads a module's debug information anew for every frame of
//! every trap, on the guest's own thread and at no cost to it. Here places are remembered for all
//! tasks of a lease, looked up off the workers, and no more of the module is read than a limit.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use addr2line::{
    Context,
    gimli::{Dwarf, EndianSlice, Error, LittleEndian},
};
use wasmparser::{Parser, Payload};

/// Most bytes of debug information that are read; those of a large Rust program are some 20 MB.
const MAX_DEBUG_BYTES: usize = 64 << 20;

/// Most bytes of line tables: each may stand for a row of 24 bytes.
const MAX_LINE_TABLE_BYTES: usize = 8 << 20;

/// Most places that are remembered; traps of one module come from few.
const MAX_PLACES: usize = 4096;

/// The debug information of a module.
pub(crate) struct SourceLines {
    sections: HashMap<String, Vec<u8>>,
    /// Where code begins in the module: addresses in debug information count from there.
    code_start: usize,
    /// What was looked up, by offset in the module.
    places: Mutex<BTreeMap<usize, Option<String>>>,
}

impl SourceLines {
    /// Finds a module's debug information; nothing where it has none, or too much.
    pub(crate) fn read(module: &[u8]) -> Option<SourceLines> {
        let mut sections = HashMap::new();
        let mut code_start = None;
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::CodeSectionStart { range, .. } => code_start = Some(range.start),
                Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                    sections.insert(section.name().to_owned(), section.data().to_vec());
                }
                _ => {}
            }
        }
        let total: usize = sections.values().map(Vec::len).sum();
        let lines = sections.get(".debug_line").map_or(0, Vec::len);
        if lines == 0 || lines > MAX_LINE_TABLE_BYTES || total > MAX_DEBUG_BYTES {
            return None;
        }
        Some(SourceLines { sections, code_start: code_start?, places: Mutex::default() })
    }

    /// The places in the source, such as `src/main.rs:12:5`, of instructions at offsets in the
    /// module, if all were looked up before.
    pub(crate) fn known(&self, offsets: &[usize]) -> Option<Vec<Option<String>>> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        offsets.iter().map(|offset| places.get(offset).cloned()).collect()
    }

    /// Looks places up. May take a second: not for a worker.
    pub(crate) fn find(&self, offsets: &[usize]) -> Vec<Option<String>> {
        let found = match self.context() {
            Some(context) => offsets.iter().map(|offset| self.place(&context, *offset)).collect(),
            None => vec![None; offsets.len()],
        };
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() + offsets.len() > MAX_PLACES {
            places.clear();
        }
        places.extend(offsets.iter().copied().zip(found.iter().cloned()));
        found
    }

    fn context(&self) -> Option<Context<EndianSlice<'_, LittleEndian>>> {
        let dwarf = Dwarf::load(|id| {
            let section = self.sections.get(id.name()).map_or(&[][..], Vec::as_slice);
            Ok::<_, Error>(EndianSlice::new(section, LittleEndian))
        });
        Context::from_dwarf(dwarf.ok()?).ok()
    }

    fn place(
        &self,
        context: &Context<EndianSlice<'_, LittleEndian>>,
        offset: usize,
    ) -> Option<String> {
        let address = offset.checked_sub(self.code_start)? as u64;
        let location = context.find_location(address).ok()??;
        let mut place = location.file?.to_owned();
        if let Some(line) = location.line {
            let _ = write!(place, ":{line}");
            if let Some(column) = location.column {
                let _ = write!(place, ":{column}");
            }
        }
        Some(place)
    }
}
