//! What a module must be to run as a task: a command that imports nothing but what the host has.
//!
//! Next: `preview1` and `preview2`, which are what the host has.

use std::collections::BTreeSet;

use wasmtime::{Engine, ExternType, Linker, Module, component::Component};
use weir_proto::imports;

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

/// # Errors
/// A reason that names every unknown import, or says that it is no command.
pub(super) fn check_component(engine: &Engine, component: &Component) -> Result<(), String> {
    let ty = component.component_type();
    let unknown: Vec<String> = ty
        .imports(engine)
        .filter(|(name, _)| !imports::is_interface(name))
        .take(MAX_NAMED_IMPORTS)
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("it imports what Weir does not have: {}", unknown.join(", ")));
    }
    if !ty.exports(engine).any(|(name, _)| imports::is_run(name)) {
        return Err(
            "it does not export `wasi:cli/run` of a release 0.2; build it as a command".to_owned()
        );
    }
    Ok(())
}

/// Most unknown imports that a reason names.
const MAX_NAMED_IMPORTS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_masters_let_a_module_import_is_what_is_linked() {
        let linked: BTreeSet<&str> = preview1::NAMES.iter().copied().collect();
        assert_eq!(linked, imports::FUNCTIONS.into());
    }
}
