//! What a module must be to run as a task: a command that imports nothing but what the host has.
//!
//! Next: `preview1`, which is what the host has.

use std::collections::BTreeSet;

use wasmtime::{Engine, ExternType, Linker, Module};

use super::{Guest, preview1};

/// The linker that every module of a sandbox is connected with.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    preview1::link(&mut linker)?;
    Ok(linker)
}

/// The names that a module may import.
pub(super) struct Imports {
    known: BTreeSet<&'static str>,
}

impl Imports {
    /// What `linker` links.
    pub(super) fn all() -> Imports {
        Imports { known: preview1::NAMES.iter().copied().collect() }
    }

    /// # Errors
    /// A reason that names every unknown import, or what is wrong with `_start`.
    pub(super) fn check(&self, module: &Module) -> Result<(), String> {
        let unknown: Vec<String> = module
            .imports()
            .filter(|import| {
                import.module() != preview1::MODULE || !self.known.contains(import.name())
            })
            .take(MAX_NAMED_IMPORTS)
            .map(|import| format!("`{}` from `{}`", import.name(), import.module()))
            .collect();
        if !unknown.is_empty() {
            return Err(format!("it imports what Weir does not have: {}", unknown.join(", ")));
        }
        match module.get_export("_start") {
            Some(ExternType::Func(start))
                if start.params().len() == 0 && start.results().len() == 0 =>
            {
                Ok(())
            }
            Some(_) => Err("its export `_start` is not a function of no arguments".to_owned()),
            None => Err("it does not export `_start`; build it as a command".to_owned()),
        }
    }
}

/// Most unknown imports that a reason names.
const MAX_NAMED_IMPORTS: usize = 50;
