//! What is refused before anything is compiled: bytes that are no module, and modules with more of
//! something than any compiler's output has.
//!
//! Only the headers of sections are read, and the entries of types. The compiler's own limits allow a
//! million of each; what is counted here stays in the agent's memory for as long as the module does,
//! types even in a table that all modules share.

use wasmparser::{Parser, Payload};
use weir_proto::units::grouped;

/// Largest module in bytes; Yosys has 69 MB.
pub const MAX_MODULE_BYTES: u64 = 128 << 20;

/// Most sections, custom ones included. A toolchain's output has some 30.
const MAX_SECTIONS: u64 = 10_000;

/// Most types, those in groups of mutually recursive ones included. Compilers of languages with
/// garbage collection make one for each class.
const MAX_TYPES: u64 = 50_000;

/// Most imports. WASI preview 1 has 46 functions, of which linkers import some more than once.
const MAX_IMPORTS: u64 = 1_000;

/// Most functions; as many empty ones take 46 s and 2.8 GB to compile.
const MAX_FUNCTIONS: u64 = 500_000;

/// Most globals; dynamic linking makes one for each symbol.
const MAX_GLOBALS: u64 = 100_000;

/// Most exports; a command needs one, or two, but some linkers export every symbol.
const MAX_EXPORTS: u64 = 100_000;

/// Most element segments and most data segments.
const MAX_SEGMENTS: u64 = 100_000;

/// Most exceptions' tags; languages have a few.
const MAX_TAGS: u64 = 1_000;

/// What is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A core module.
    Module,
}

impl Kind {
    /// What the header says.
    ///
    /// # Errors
    /// The reason why nothing is compiled from it.
    pub(super) fn of(bytes: &[u8]) -> Result<Kind, String> {
        match bytes.get(..8) {
            Some(b"\0asm\x01\0\0\0") => Ok(Kind::Module),
            Some([b'\0', b'a', b's', b'm', _, _, 1, 0]) => {
                Err("it is a component; only core modules run here so far".to_owned())
            }
            Some([b'\0', b'a', b's', b'm', version @ ..]) => {
                Err(format!("it is WebAssembly of a version that is not known here: {version:?}"))
            }
            _ => Err("it is not WebAssembly: it does not begin with `\\0asm`".to_owned()),
        }
    }
}

/// Looks at the bytes as far as it is cheap.
///
/// # Errors
/// The reason why they are not worth compiling.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    at_most("bytes", bytes.len() as u64, MAX_MODULE_BYTES)?;
    match Kind::of(bytes)? {
        Kind::Module => check_module(bytes),
    }
}

fn check_module(bytes: &[u8]) -> Result<(), String> {
    let mut sections = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| error.to_string())? {
            // Once for each function, not for a section.
            Payload::CodeSectionEntry(_) => continue,
            Payload::TypeSection(types) => {
                let mut count = 0;
                for group in types {
                    let group = group.map_err(|error| error.to_string())?;
                    count += group.types().len() as u64;
                    at_most("types", count, MAX_TYPES)?;
                }
            }
            Payload::ImportSection(imports) => {
                let mut count = 0;
                for import in imports.into_imports() {
                    import.map_err(|error| error.to_string())?;
                    count += 1;
                    at_most("imports", count, MAX_IMPORTS)?;
                }
            }
            Payload::FunctionSection(functions) => {
                at_most("functions", functions.count().into(), MAX_FUNCTIONS)?;
            }
            Payload::GlobalSection(globals) => {
                at_most("globals", globals.count().into(), MAX_GLOBALS)?;
            }
            Payload::ExportSection(exports) => {
                at_most("exports", exports.count().into(), MAX_EXPORTS)?;
            }
            Payload::ElementSection(segments) => {
                at_most("element segments", segments.count().into(), MAX_SEGMENTS)?;
            }
            Payload::DataSection(segments) => {
                at_most("data segments", segments.count().into(), MAX_SEGMENTS)?;
            }
            Payload::TagSection(tags) => at_most("tags", tags.count().into(), MAX_TAGS)?,
            _ => {}
        }
        sections += 1;
        at_most("sections", sections, MAX_SECTIONS)?;
    }
    Ok(())
}

fn at_most(what: &str, count: u64, most: u64) -> Result<(), String> {
    if count <= most {
        return Ok(());
    }
    Err(format!("it has {} {what}; at most {} are allowed", grouped(count), grouped(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        check(&wat::parse_str(text).expect("text that parses")).expect_err("too many")
    }

    #[test]
    fn too_many_of_anything_is_refused_with_the_numbers() {
        for (one, count, what) in [
            ("(import \"a\" \"b\" (func))", 1_001, "1,001 imports; at most 1,000"),
            ("(type (struct))", 50_001, "50,001 types; at most 50,000"),
            ("(tag)", 1_001, "1,001 tags; at most 1,000"),
            ("(func)", 500_001, "500,001 functions; at most 500,000"),
            ("(global i32 (i32.const 0))", 100_001, "100,001 globals; at most 100,000"),
            ("(data \"\")", 100_001, "100,001 data segments; at most 100,000"),
            ("(elem func)", 100_001, "100,001 element segments; at most 100,000"),
            ("(@custom \"c\" \"\")", 10_001, "10,001 sections; at most 10,000"),
        ] {
            let reason = refused(&format!("(module {})", one.repeat(count)));
            assert!(reason.contains(what), "{what}: {reason}");
        }
    }

    #[test]
    fn types_in_one_recursive_group_are_counted_one_by_one() {
        let reason = refused(&format!("(module (rec {}))", "(type (struct))".repeat(50_001)));
        assert!(reason.contains("types; at most 50,000"), "{reason}");
    }

    #[test]
    fn what_is_allowed_passes() {
        let text = format!("(module {} (func (export \"_start\")))", "(func)".repeat(100_000));
        assert_eq!(check(&wat::parse_str(text).expect("text that parses")), Ok(()));
    }
}
