//! Whether bytes are a module or component that an agent can run, said before anything is submitted.
//!
//! Only sections are read; agents compile and check everything.

use wasmparser::{Encoding, ExternalKind, Parser, Payload};
use weir_proto::imports;

/// Most unknown imports that are named; the rest is counted.
const NAMED: usize = 10;

/// Everything that keeps a module from running, empty when nothing does.
pub(super) fn check(bytes: &[u8]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut start = None;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { encoding: Encoding::Component, .. }) => {
                return check_component(bytes);
            }
            Ok(Payload::ImportSection(imports)) => {
                for import in imports.into_imports() {
                    let Ok(import) = import else { continue };
                    if !imports::is_function(import.module, import.name) {
                        unknown.push(format!("{}.{}", import.module, import.name));
                    }
                }
            }
            Ok(Payload::ExportSection(exports)) => {
                let mut exports = exports.into_iter().flatten();
                start = exports.find(|export| export.name == "_start").map(|export| export.kind);
            }
            Ok(_) => {}
            Err(error) => return vec![format!("the module is not valid Wasm: {error}")],
        }
    }
    let mut problems = Vec::new();
    if !unknown.is_empty() {
        problems.push(format!(
            "the module imports what Weir does not provide: {}; tasks may import \
             wasi_snapshot_preview1 only",
            named(unknown)
        ));
    }
    if start != Some(ExternalKind::Func) {
        problems.push(
            "the module exports no function `_start`: it is a library or a reactor, not a \
             command; build it with a `main`"
                .to_owned(),
        );
    }
    problems
}

fn check_component(bytes: &[u8]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut runs = false;
    // How many modules and components deep what is read lies: only the outermost one counts.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(imports)) if depth == 0 => {
                let names = imports.into_iter().flatten().map(|import| import.name.name);
                let others = names.filter(|name| !imports::is_interface(name));
                unknown.extend(others.map(str::to_owned));
            }
            Ok(Payload::ComponentExportSection(exports)) if depth == 0 => {
                let mut names = exports.into_iter().flatten().map(|export| export.name.name);
                runs |= names.any(imports::is_run);
            }
            Ok(_) => {}
            Err(error) => return vec![format!("the component is not valid Wasm: {error}")],
        }
    }
    let mut problems = Vec::new();
    if !unknown.is_empty() {
        problems.push(format!(
            "the component imports what Weir does not provide: {}; tasks may import what is of \
             the world wasi:cli/command, and wasi:http/outgoing-handler, release 0.2",
            named(unknown)
        ));
    }
    if !runs {
        problems.push(
            "the component does not export wasi:cli/run of a release 0.2: it is not a command; \
             build it with a `main`"
                .to_owned(),
        );
    }
    problems
}

/// The first of some names, and how many more there are.
fn named(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{and_more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> Vec<String> {
        check(&wat::parse_str(text).expect("a valid test module"))
    }

    #[test]
    fn a_command_passes() {
        let problems = check_text(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
                (func (export "_start")))"#,
        );
        assert_eq!(problems, [] as [String; 0]);
    }

    #[test]
    fn all_unknown_imports_are_named() {
        let problems = check_text(
            r#"(module (import "env" "a" (func)) (import "js" "b" (func))
                (func (export "_start")))"#,
        );
        assert!(problems[0].contains("env.a, js.b"), "{problems:?}");
    }

    #[test]
    fn a_module_without_start_is_told_what_it_is() {
        let problems = check_text("(module)");
        assert!(problems[0].contains("_start"), "{problems:?}");
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(check(b"#!/bin/sh").iter().any(|problem| problem.contains("not valid Wasm")));
    }

    #[test]
    fn a_component_passes_if_it_is_a_command_that_imports_what_there_is() {
        let command = r#"(instance $run) (export "wasi:cli/run@0.2.7" (instance $run))"#;
        // What is inside is nobody's concern.
        let inner = r#"(component (import "inner" (func)) (export "x" (func 0)))
            (core module (import "env" "inner" (func)))"#;
        let known = r#"(import "wasi:io/poll@0.2.0" (instance))"#;
        let problems = check_text(&format!("(component {known} {inner} {command})"));
        assert_eq!(problems, [] as [String; 0]);
        let unknown = r#"(import "wasi:keyvalue/store@0.2.0" (instance))
            (import "wasi:io/poll@0.3.0" (instance)) (import "f" (func))"#;
        let problems = check_text(&format!("(component {known} {inner} {unknown} {command})"));
        assert!(
            problems[0].contains("provide: wasi:keyvalue/store@0.2.0, wasi:io/poll@0.3.0, f;"),
            "{problems:?}"
        );
        let problems = check_text(&format!("(component {inner})"));
        assert!(problems[0].contains("does not export wasi:cli/run"), "{problems:?}");
    }
}
