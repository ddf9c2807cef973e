//! What this machine has: the defaults of an agent's flags, and where data belongs.

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};
use weir_agent::{
    compiler::limits::DEFAULT_MEMORY_BYTES,
    machine::{self, Machine},
};

/// What an agent offers where nothing says how much memory there is.
const FALLBACK_MEMORY_BYTES: u64 = 1 << 30;

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    machine::cores()
}

/// Memory an agent offers to tasks: three quarters of what there is.
pub(crate) fn task_memory_bytes() -> u64 {
    Machine::this().memory_bytes.map_or(FALLBACK_MEMORY_BYTES, |total| total / 4 * 3)
}

/// Memory for compiling one module: the quarter that tasks leave, if that is less than usual.
pub(crate) fn compile_memory_bytes() -> u64 {
    Machine::this()
        .memory_bytes
        .map_or(DEFAULT_MEMORY_BYTES, |total| DEFAULT_MEMORY_BYTES.min(total / 4))
}

/// What people call this machine.
pub(crate) fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "agent".to_owned(),
        name => name.to_owned(),
    }
}

/// Where `weir dev` keeps its data: `$XDG_DATA_HOME/weir`, or `~/.local/share/weir`.
///
/// # Errors
/// When neither variable says where that is.
pub(crate) fn data_dir() -> Result<PathBuf> {
    let directory = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(data) = directory("XDG_DATA_HOME") {
        return Ok(data.join("weir"));
    }
    match directory("HOME") {
        Some(home) => Ok(home.join(".local/share/weir")),
        None => bail!(
            "cannot tell where to keep data: neither XDG_DATA_HOME nor HOME is set; name a \
             directory with --data-dir, or use --ephemeral"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something() {
        assert!(cores() > 0 && task_memory_bytes() > 0 && !name().is_empty());
        assert!((1..=DEFAULT_MEMORY_BYTES).contains(&compile_memory_bytes()));
    }
}
