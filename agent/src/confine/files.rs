//! Landlock: which files, sockets and processes a process can reach.
//!
//! What it may read is what libraries read behind its back: for names of the network, time zones,
//! certificates, and what the machine has. All rules but that of its own data are for reading.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::{ConfineError, Needs, Wall};

/// The newest version of the interface that the rules below were made for.
const KNOWN: ABI = ABI::V6;

/// What may be read, where it is there. Whole directories, because files in them are replaced by others of
/// the same name, and a rule for a file holds for that file alone.
const READ: [&str; 12] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/dev/urandom",
];

/// The files of devices that may be written to.
const NULL: &str = "/dev/null";

/// Where a process finds itself and others.
const PROC: &str = "/proc";

/// Who may change settings of the kernel beneath `/proc`.
const ROOT: u32 = 0;

/// Confines this thread and what it starts to what it needs.
///
/// # Errors
/// `Directory` for the data.
pub(super) fn confine(needs: &Needs) -> Result<Wall, ConfineError> {
    let mut data = Vec::new();
    for path in &needs.data {
        data.push(opened(path)?);
    }
    let mut removes_in = Vec::new();
    for path in &needs.removes_in {
        removes_in.push(open(path)?);
    }
    Ok(wall(|| {
        let mut rules = handled(!needs.listens, false)?;
        for directory in data {
            rules = rules.add_rule(PathBeneath::new(directory, changing()))?;
        }
        for directory in removes_in {
            rules = rules.add_rule(PathBeneath::new(directory, AccessFs::RemoveDir))?;
        }
        let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        for path in READ {
            rules = allow(rules, Path::new(path), reading)?;
        }
        rules = allow(rules, Path::new(NULL), make_bitflags!(AccessFs::{ReadFile | WriteFile}))?;
        // For a compiler that offers itself to a kernel without memory. Root would get with it all
        // settings of the kernel: there the kernel chooses by size alone.
        if rustix::process::geteuid().as_raw() != ROOT {
            rules = allow(rules, Path::new(PROC), AccessFs::WriteFile.into())?;
        }
        for path in own_code() {
            let running = make_bitflags!(AccessFs::{ReadFile | Execute});
            rules = allow(rules, &path, running)?;
        }
        rules.restrict_self()
    }))
}

/// Confines this thread and what it starts to what is open already.
pub(super) fn confine_to_none() -> Wall {
    wall(|| handled(true, true)?.restrict_self())
}

/// What is forbidden unless a rule allows it, as far as this kernel can.
fn handled(binding: bool, connecting: bool) -> Result<RulesetCreated, RulesetError> {
    // Without this one a file could not be moved from one directory to another at all, and the store
    // does that.
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?;
    let rules = if binding { rules.handle_access(AccessNet::BindTcp)? } else { rules };
    let rules = if connecting { rules.handle_access(AccessNet::ConnectTcp)? } else { rules };
    rules.create()
}

/// What is done to data: everything but to run it, and to make devices of it.
fn changing() -> BitFlags<AccessFs> {
    let never = make_bitflags!(AccessFs::{
        Execute | MakeChar | MakeBlock | MakeSock | MakeFifo | IoctlDev
    });
    AccessFs::from_all(KNOWN) & !never
}

/// Adds a rule for a file or a directory, if it is there and can be opened.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    rules.add_rule(PathBeneath::new(opened, access))
}

/// This program, even if another has been installed in its place since, and what was loaded for it: an
/// agent starts itself again to compile.
fn own_code() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = maps.lines().filter_map(|line| {
        let (before, path) = line.split_once('/')?;
        let permissions = before.split_whitespace().nth(1)?;
        permissions.contains('x').then(|| PathBuf::from(format!("/{path}")))
    });
    mapped.chain([PathBuf::from("/proc/self/exe")]).collect()
}

fn opened(path: &Path) -> Result<PathFd, ConfineError> {
    fs::create_dir_all(path).map_err(|error| {
        // What exists there already is something else.
        let is_other = error.kind() == ErrorKind::AlreadyExists;
        let source = if is_other { ErrorKind::NotADirectory.into() } else { error };
        ConfineError::Directory { path: path.to_owned(), source }
    })?;
    open(path)
}

fn open(path: &Path) -> Result<PathFd, ConfineError> {
    PathFd::new(path).map_err(|error| {
        let source = io::Error::other(error);
        ConfineError::Directory { path: path.to_owned(), source }
    })
}

/// What came of it, in words.
fn wall(restrict: impl FnOnce() -> Result<RestrictionStatus, RulesetError>) -> Wall {
    match restrict() {
        Err(RulesetError::HandleAccesses(_)) => {
            Wall::missing("this kernel has none, or too old a one")
        }
        Err(error) => Wall::missing(error),
        Ok(RestrictionStatus { ruleset: RulesetStatus::NotEnforced, .. }) => {
            Wall::missing("this kernel does not enforce it")
        }
        Ok(RestrictionStatus { landlock, .. }) => Wall::Holds { version: version(&landlock) },
    }
}

fn version(status: &LandlockStatus) -> Option<u32> {
    match status {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Some(kernel_abi.map_or(*effective_abi as u32, |newer| newer as u32))
        }
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    }
}
