//! What a guest may import, and what it must export, by name.
//!
//! A master looks at names before a job is submitted, an agent before it runs a module: both go by
//! this list. What each import does is in the agent's `sandbox`.

/// The module that functions of WASI preview 1 are imported from.
pub const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// WASI preview 1: every function that a core module may import.
pub const FUNCTIONS: [&str; 46] = [
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

/// WASI preview 2: every interface that a component may import.
const INTERFACES: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// What a component must export to be a command.
const RUN: &str = "wasi:cli/run";

/// Whether a core module may import this function.
pub fn is_function(module: &str, name: &str) -> bool {
    module == PREVIEW_1 && FUNCTIONS.contains(&name)
}

/// Whether a component may import this: an interface of any release `0.2`.
pub fn is_interface(import: &str) -> bool {
    is_of_preview_2(import, |name| INTERFACES.contains(&name))
}

/// Whether this export is what a command is called by, of any release `0.2`.
pub fn is_run(export: &str) -> bool {
    is_of_preview_2(export, |name| name == RUN)
}

fn is_of_preview_2(name: &str, is: impl Fn(&str) -> bool) -> bool {
    name.split_once('@').is_some_and(|(name, version)| {
        let patch = version.strip_prefix("0.2.");
        is(name) && patch.is_some_and(|patch| patch.parse::<u32>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_with_the_module_or_the_release_that_they_are_of() {
        assert!(is_function(PREVIEW_1, "fd_read"));
        assert!(!is_function("wasi_unstable", "fd_read"));
        assert!(!is_function(PREVIEW_1, "fd_reads"));
        assert!(is_interface("wasi:io/poll@0.2.0"));
        for other in ["wasi:io/poll", "wasi:io/poll@0.3.0", "wasi:io/poll@0.2.x", "wasi:io@0.2.0"] {
            assert!(!is_interface(other), "{other}");
        }
        assert!(is_run("wasi:cli/run@0.2.7"));
        assert!(!is_run("wasi:cli/exit@0.2.7"));
    }
}
