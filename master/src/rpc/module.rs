//! Whether bytes are a module that an agent can run, said before anything is submitted.
//!
//! Only sections are read; agents compile and check everything.

use wasmparser::{Encoding, ExternalKind, Parser, Payload};

/// WASI preview 1: every function a command may import.
const WASI_FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];
/// Most unknown imports that are named; the rest is counted.
const NAMED: usize = 10;

/// Everything that keeps a module from running, empty when nothing does.
pub(super) fn check(bytes: &[u8]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut start = None;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { encoding: Encoding::Component, .. }) => {
                return vec![
                    "the module is a component; so far only core modules (WASI preview 1 \
                     commands) run: compile for wasm32-wasip1"
                        .to_owned(),
                ];
            }
            Ok(Payload::ImportSection(imports)) => {
                for import in imports.into_imports() {
                    let Ok(import) = import else { continue };
                    if !is_known(import.module, import.name) {
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
        let count = unknown.len();
        let more = count.saturating_sub(NAMED);
        unknown.truncate(NAMED);
        let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
        problems.push(format!(
            "the module imports what Weir does not provide: {}{and_more}; tasks may import \
             wasi_snapshot_preview1 only",
            unknown.join(", ")
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

fn is_known(module: &str, name: &str) -> bool {
    module == "wasi_snapshot_preview1" && WASI_FUNCTIONS.contains(&name)
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
    fn other_bytes_and_components_are_refused() {
        assert!(check(b"#!/bin/sh").iter().any(|problem| problem.contains("not valid Wasm")));
        assert!(check_text("(component)")[0].contains("component"));
    }
}
