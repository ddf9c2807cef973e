//! What compiling one module may take, and how a process confines itself to it.
//!
//! The process that compiles does it to itself, as its first act: a process that is about to become
//! another one may do next to nothing safely. The numbers are the operator's, so the module has no
//! say in them.

use std::{fs, io, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

/// Processor time that compiling takes at most by default. Yosys, with 69 MB the largest module we
/// know, takes 50 s on two cores.
pub const DEFAULT_CPU_SECONDS: u64 = 300;

/// Memory that compiling takes at most by default; Yosys takes 1.7 GB.
pub const DEFAULT_MEMORY_BYTES: u64 = 4 << 30;

/// Largest machine code by default: eight times the largest module.
pub const DEFAULT_CODE_BYTES: u64 = 1 << 30;

/// How much longer than its processor time a compiler may take. With `NICENESS` it still gets a
/// quarter of a core that is busy with tasks, so whoever takes longer does not compile.
const WALL_PER_CPU: u32 = 4;

/// By how much its priority is lower than tasks': they keep three quarters of every core meanwhile. At 10 they would
/// keep nine tenths, and the tasks of a new module would wait ten times as long on a busy machine.
const NICENESS: i32 = 5;

/// Open files of a compiler: stdin, stdout, stderr and some that the runtime opens for a moment.
const MAX_FILES: u64 = 32;

/// What compiling one module may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time in seconds, of all threads together; at least 1.
    pub cpu_seconds: u64,
    /// Memory in bytes that the process may have for itself.
    pub memory_bytes: u64,
    /// Size of the machine code in bytes.
    pub code_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> CompileLimits {
        CompileLimits {
            cpu_seconds: DEFAULT_CPU_SECONDS,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            code_bytes: DEFAULT_CODE_BYTES,
        }
    }
}

impl CompileLimits {
    /// The time after which a compiler is killed however little it has done.
    pub(super) fn wall(&self) -> Duration {
        Duration::from_secs(self.cpu_seconds.max(1)).saturating_mul(WALL_PER_CPU)
    }
}

/// Confines this process to the limits, for good. It must have one thread and no open file but its
/// three streams and what it was started with.
///
/// # Errors
/// Whatever the system says.
pub(super) fn confine(limits: &CompileLimits) -> io::Result<()> {
    close_inherited()?;
    let cpu_seconds = limits.cpu_seconds.max(1);
    // The soft limit's signal tells the agent which limit it was; the hard one cannot be survived.
    limit(Resource::Cpu, cpu_seconds, cpu_seconds.saturating_add(1))?;
    // Of private memory that can be written, which is what the compiler's heap and stacks are.
    // Address space would count what allocators reserve for each thread and never use.
    limit(Resource::Data, limits.memory_bytes, limits.memory_bytes)?;
    limit(Resource::Fsize, limits.code_bytes, limits.code_bytes)?;
    limit(Resource::Nofile, MAX_FILES, MAX_FILES)?;
    limit(Resource::Core, 0, 0)?;
    nice(NICENESS)?;
    // Where memory runs out after all, the kernel takes the compiler before the agent. Only Linux
    // has this file, and some containers hide it.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Sets a limit, or leaves a lower one that the whole agent has.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
    Ok(setrlimit(resource, limit)?)
}

/// Closes what the process was started with, save its three streams. The agent's own files are closed
/// by the kernel, but not those that it was itself started with.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/dev/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in open {
        // SAFETY: as the caller promises, nothing here owns a descriptor above 2. The one that the
        // directory was read with is closed already, and no thread has opened it anew.
        unsafe { rustix::io::close(descriptor) };
    }
    Ok(())
}
