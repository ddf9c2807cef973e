//! What this process may have of its machine: read once, before an agent offers anything.
//!
//! A container's share counts where it is less than the machine. How much of it sandboxes take is
//! decided in `pool`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Where Linux shows control groups: version 2, and the memory controller of version 1.
const CGROUPS: &str = "/sys/fs/cgroup";
const CGROUPS_V1_MEMORY: &str = "/sys/fs/cgroup/memory";

/// What this process may have; `None` where nothing bounds it, or nothing says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// Memory in bytes: the machine's, or the container's if that is less.
    pub memory_bytes: Option<u64>,
    /// Most mappings of a process: `vm.max_map_count`.
    pub mappings: Option<u64>,
    /// Address space of a process in bytes, whether or not there is memory behind it.
    pub address_space_bytes: Option<u64>,
    /// Bytes that all processes together may reserve, where the kernel keeps count of that:
    /// with `vm.overcommit_memory` 2.
    pub commit_bytes: Option<u64>,
    /// Most files that this process may have open.
    pub files: Option<u64>,
}

impl Machine {
    /// This one, for this process.
    pub fn this() -> Machine {
        let read = |path: &Path| fs::read_to_string(path).ok();
        let maps = read(Path::new("/proc/self/maps")).and_then(|maps| span_of(&maps));
        let limits = [maps, getrlimit(Resource::As).current];
        Machine {
            memory_bytes: memory_bytes(read),
            mappings: number(read, "/proc/sys/vm/max_map_count"),
            address_space_bytes: limits.into_iter().flatten().min(),
            commit_bytes: commit_bytes(read),
            files: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Lets this process open as many files as it may: most systems start programs with few, for those
/// that cannot cope with more.
pub fn raise_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Whatever is left is what `Machine` then tells.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Cores that this process may use: those it is bound to, or its container's quota.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

fn number(read: impl Fn(&Path) -> Option<String>, path: impl AsRef<Path>) -> Option<u64> {
    read(path.as_ref())?.trim().parse().ok()
}

/// What the machine or one of the control groups around this process has.
fn memory_bytes(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| kib_of(&text, "MemTotal:"));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files).filter_map(|file| number(&read, file));
    machine.into_iter().chain(limits).min()
}

/// The files in which a line of `/proc/self/cgroup` may have a limit of memory: that of the group
/// and those of all around it. In a container the group is often the root of what can be seen.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => (CGROUPS, "memory.max"),
        list if list.split(',').any(|one| one == "memory") => {
            (CGROUPS_V1_MEMORY, "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| Path::new(root).join(group).join(file)).collect()
}

/// What all processes may reserve, if there is such a bound.
fn commit_bytes(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    if number(&read, "/proc/sys/vm/overcommit_memory") != Some(2) {
        return None;
    }
    kib_of(&read(Path::new("/proc/meminfo"))?, "CommitLimit:")
}

/// A figure of `/proc/meminfo` in bytes; the file counts in KiB.
fn kib_of(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// How much a process can address, by its stack: the kernel puts that at the end. Some small
/// machines' kernels have 512 GiB where others have 128 TiB, and no file says so.
fn span_of(maps: &str) -> Option<u64> {
    let stack = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (_, end) = stack.split_whitespace().next()?.split_once('-')?;
    u64::from_str_radix(end, 16).ok()?.checked_next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        8000000 kB\nMemFree:  1 kB\nCommitLimit: 4000000 kB\n";

    /// A machine whose files are these.
    fn files<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&Path) -> Option<String> + Copy + 'a {
        |path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        }
    }

    #[test]
    fn memory_is_the_machines_where_no_group_bounds_it() {
        let bare = files(&[("/proc/meminfo", MEMINFO)]);
        assert_eq!(memory_bytes(bare), Some(8_192_000_000));
        let unbounded = files(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/user.slice\n"),
            ("/sys/fs/cgroup/user.slice/memory.max", "max\n"),
        ]);
        assert_eq!(memory_bytes(unbounded), Some(8_192_000_000));
        assert_eq!(memory_bytes(files(&[])), None);
    }

    #[test]
    fn the_least_of_all_groups_around_bounds_memory() {
        let nested = files(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "3000\n"),
            ("/sys/fs/cgroup/a/memory.max", "2000\n"),
        ]);
        assert_eq!(memory_bytes(nested), Some(2_000));
        let container = files(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "5000\n"),
        ]);
        assert_eq!(memory_bytes(container), Some(5_000));
    }

    #[test]
    fn groups_of_version_1_bound_memory_too() {
        let old = files(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/1\n"),
            ("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "7000\n"),
            ("/sys/fs/cgroup/a/memory.max", "1\n"),
        ]);
        assert_eq!(memory_bytes(old), Some(7_000));
    }

    #[test]
    fn what_may_be_reserved_is_bounded_only_where_the_kernel_counts() {
        let mode = |mode| {
            commit_bytes(files(&[
                ("/proc/meminfo", MEMINFO),
                ("/proc/sys/vm/overcommit_memory", mode),
            ]))
        };
        assert_eq!((mode("0\n"), mode("1\n")), (None, None));
        assert_eq!(mode("2\n"), Some(4_096_000_000));
    }

    #[test]
    fn the_stack_tells_how_much_can_be_addressed() {
        let maps = "7fff1000-7fff2000 r-xp 00000000 00:00 0 [vdso]\n\
            7ffd5c3f6000-7ffd5c417000 rw-p 00000000 00:00 0    [stack]\n\
            ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
        assert_eq!(span_of(maps), Some(1 << 47));
        assert_eq!(span_of("7fc0000000-7fc0021000 rw-p 0 00:00 0 [stack]"), Some(1 << 39));
        assert_eq!(span_of(""), None);
    }

    #[test]
    fn this_machine_has_something() {
        let machine = Machine::this();
        assert!(machine.memory_bytes > Some(0) && machine.files > Some(0) && cores() > 0);
        assert!(machine.address_space_bytes > Some(1 << 30), "{machine:?}");
    }
}
