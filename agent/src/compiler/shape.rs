//! What is refused before anything is compiled: bytes that are no module, and modules with more of
//! something than any compiler's output has. A component counts as all modules in it together.
//!
//! Only the headers of sections are read, and the entries of types. The compiler's own limits allow a
//! million of each; what is counted here stays in the agent's memory for as long as the module does,
//! types even in a table that all modules share.

use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef};
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

/// Most core imports of all modules in a component together: there, modules import from each other.
const MAX_COMPONENT_IMPORTS: u64 = 50_000;

/// Most functions; as many empty ones take 46 s and 2.8 GB to compile.
const MAX_FUNCTIONS: u64 = 500_000;

/// Most globals; dynamic linking makes one for each symbol.
const MAX_GLOBALS: u64 = 100_000;

/// Most exports; a command needs one, or two, but some linkers export every symbol.
const MAX_EXPORTS: u64 = 100_000;

/// Most element segments and most data segments.
const MAX_SEGMENTS: u64 = 100_000;

/// Most modules and components in a component; one that holds an interpreter with its libraries has
/// some fifty.
const MAX_MODULES: u64 = 1_000;

/// Most instances, aliases, types, imports, exports and functions that connect them, of all components
/// in one together. CPython with its libraries has some thousand.
const MAX_DEFINITIONS: u64 = 100_000;

/// Most exceptions' tags; languages have a few.
const MAX_TAGS: u64 = 1_000;

/// Most clauses of one `try_table`; compilers make one or two. Each is looked at when an exception goes
/// through, and the price of the whole instruction does not depend on them.
const MAX_CATCHES: u64 = 16;

/// What is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A core module.
    Module,
    /// A component, which has core modules in it.
    Component,
}

impl Kind {
    /// What the header says.
    ///
    /// # Errors
    /// The reason why nothing is compiled from it.
    pub(super) fn of(bytes: &[u8]) -> Result<Kind, String> {
        match bytes.get(..8) {
            Some(b"\0asm\x01\0\0\0") => Ok(Kind::Module),
            // Which version of the format, the compiler knows.
            Some([b'\0', b'a', b's', b'm', _, _, 1, 0]) => Ok(Kind::Component),
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
    let most_imports = match Kind::of(bytes)? {
        Kind::Module => MAX_IMPORTS,
        Kind::Component => MAX_COMPONENT_IMPORTS,
    };
    let mut seen = Seen { most_imports, ..Seen::default() };
    for payload in Parser::new(0).parse_all(bytes) {
        seen.add(payload.map_err(|error| error.to_string())?)?;
    }
    Ok(())
}

/// How many of everything there are so far, in a module or in all that a component holds.
#[derive(Default)]
struct Seen {
    most_imports: u64,
    sections: u64,
    modules: u64,
    types: u64,
    imports: u64,
    functions: u64,
    globals: u64,
    exports: u64,
    elements: u64,
    data: u64,
    tags: u64,
    definitions: u64,
    /// Whether there are tags, without which only `catch_all` has a meaning.
    catches: bool,
}

impl Seen {
    fn add(&mut self, payload: Payload<'_>) -> Result<(), String> {
        match payload {
            // Once for each function, not for a section.
            Payload::CodeSectionEntry(body) => return self.check_body(&body),
            Payload::TypeSection(types) => {
                for group in types {
                    let group = group.map_err(|error| error.to_string())?;
                    more("types", &mut self.types, group.types().len(), MAX_TYPES)?;
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(|error| error.to_string())?;
                    self.catches |= matches!(import.ty, TypeRef::Tag(_));
                    more("imports", &mut self.imports, 1, self.most_imports)?;
                }
            }
            Payload::FunctionSection(functions) => {
                more("functions", &mut self.functions, functions.count(), MAX_FUNCTIONS)?;
            }
            Payload::GlobalSection(globals) => {
                more("globals", &mut self.globals, globals.count(), MAX_GLOBALS)?;
            }
            Payload::ExportSection(exports) => {
                more("exports", &mut self.exports, exports.count(), MAX_EXPORTS)?;
            }
            Payload::ElementSection(segments) => {
                more("element segments", &mut self.elements, segments.count(), MAX_SEGMENTS)?;
            }
            Payload::DataSection(segments) => {
                more("data segments", &mut self.data, segments.count(), MAX_SEGMENTS)?;
            }
            Payload::TagSection(tags) => {
                self.catches |= tags.count() > 0;
                more("tags", &mut self.tags, tags.count(), MAX_TAGS)?;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                more("modules", &mut self.modules, 1, MAX_MODULES)?;
            }
            other => {
                let count = definitions(&other);
                more("definitions", &mut self.definitions, count, MAX_DEFINITIONS)?;
            }
        }
        more("sections", &mut self.sections, 1, MAX_SECTIONS)
    }

    /// Looks at a function of a module that knows of exceptions: few do, and to read all instructions
    /// takes a while.
    fn check_body(&self, body: &FunctionBody<'_>) -> Result<(), String> {
        if !self.catches {
            return Ok(());
        }
        let operators = body.get_operators_reader().map_err(|error| error.to_string())?;
        for operator in operators {
            // What is wrong with it otherwise, the compiler says.
            let Ok(operator) = operator else { return Ok(()) };
            if let Operator::TryTable { try_table } = operator {
                at_most("clauses of a try_table", try_table.catches.len() as u64, MAX_CATCHES)?;
            }
        }
        Ok(())
    }
}

/// How many things a section defines that only components have.
fn definitions(payload: &Payload<'_>) -> u32 {
    match payload {
        Payload::InstanceSection(section) => section.count(),
        Payload::CoreTypeSection(section) => section.count(),
        Payload::ComponentInstanceSection(section) => section.count(),
        Payload::ComponentAliasSection(section) => section.count(),
        Payload::ComponentTypeSection(section) => section.count(),
        Payload::ComponentCanonicalSection(section) => section.count(),
        Payload::ComponentImportSection(section) => section.count(),
        Payload::ComponentExportSection(section) => section.count(),
        _ => 0,
    }
}

/// Counts some more.
fn more(what: &str, count: &mut u64, more: impl TryInto<u64>, most: u64) -> Result<(), String> {
    *count = count.saturating_add(more.try_into().unwrap_or(u64::MAX));
    at_most(what, *count, most)
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
    fn a_component_counts_as_all_that_is_in_it() {
        for (one, count, what) in [
            ("(core module (tag) (tag))", 501, "1,002 tags; at most 1,000"),
            ("(component)", 1_001, "1,001 modules; at most 1,000"),
            ("(type string)", 100_001, "100,001 definitions; at most 100,000"),
        ] {
            let reason = refused(&format!("(component {})", one.repeat(count)));
            assert!(reason.contains(what), "{what}: {reason}");
        }
    }

    #[test]
    fn types_in_one_recursive_group_are_counted_one_by_one() {
        let reason = refused(&format!("(module (rec {}))", "(type (struct))".repeat(50_001)));
        assert!(reason.contains("types; at most 50,000"), "{reason}");
    }

    #[test]
    fn too_many_clauses_of_one_try_table_are_refused() {
        let module = |clauses: usize| {
            let clauses = "(catch $t 0)".repeat(clauses);
            format!("(module (tag $t) (func (try_table {clauses})))")
        };
        assert!(refused(&module(17)).contains("17 clauses of a try_table; at most 16"));
        assert_eq!(check(&wat::parse_str(module(16)).expect("text that parses")), Ok(()));
        let imported = module(17).replace("(tag $t)", "(import \"a\" \"b\" (tag $t))");
        assert!(refused(&imported).contains("at most 16"));
    }

    #[test]
    fn what_is_allowed_passes() {
        let text = format!("(module {} (func (export \"_start\")))", "(func)".repeat(100_000));
        assert_eq!(check(&wat::parse_str(text).expect("text that parses")), Ok(()));
    }
}
