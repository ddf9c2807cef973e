//! Confines a process for good, as far as the kernel can: which files and sockets it may open, and which
//! system calls it may make. It is a second wall around the sandbox, for the day when a guest finds a
//! way out of the first.
//!
//! Whoever is confined never loses what it needs: both refuse with an error and kill nobody, and where
//! the kernel has not got one of them, the other still holds and the result says so. The reasons are
//! in `docs/decisions/0018-landlock-and-seccomp.md`.

#[cfg(target_os = "linux")]
mod calls;

#[cfg(target_os = "linux")]
mod files;

use std::{fmt, io, path::PathBuf};

/// What a process may still do that lends cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Directories in which it makes, changes and removes what it likes. They are made if need be.
    pub data: Vec<PathBuf>,
    /// Directories beneath which it removes empty directories, and may do nothing else.
    pub removes_in: Vec<PathBuf>,
    /// Whether it waits for connections.
    pub listens: bool,
}

/// What holds around a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// Its files, and with a newer kernel its sockets and signals.
    pub landlock: Wall,
    /// Its system calls.
    pub seccomp: Wall,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wall {
    /// It holds; with the version, where what it covers depends on that.
    Holds {
        /// Of the kernel's interface.
        version: Option<u32>,
    },
    /// It is not there.
    Missing {
        /// Why not.
        why: String,
    },
    /// It was not asked for.
    Off,
}

/// Why a process is not confined although the kernel could.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A directory that it needs cannot be made or opened.
    #[error("cannot use {path}", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Confinement {
    /// That of a process that nobody confined.
    pub fn off() -> Confinement {
        Confinement { landlock: Wall::Off, seccomp: Wall::Off }
    }

    /// Whether something that was asked for is missing.
    pub fn is_lacking(&self) -> bool {
        [&self.landlock, &self.seccomp].into_iter().any(|wall| matches!(wall, Wall::Missing { .. }))
    }
}

impl Wall {
    fn holds(&self) -> bool {
        matches!(self, Wall::Holds { .. })
    }

    fn missing(why: impl fmt::Display) -> Wall {
        Wall::Missing { why: why.to_string() }
    }
}

/// Behind a name and a semicolon: `confined by Landlock 7 and seccomp`.
impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let walls = [("Landlock", &self.landlock), ("seccomp", &self.seccomp)];
        let holding = walls.iter().filter(|(_, wall)| wall.holds());
        let holding: Vec<String> = holding
            .map(|(name, wall)| match wall {
                Wall::Holds { version: Some(version) } => format!("{name} {version}"),
                Wall::Holds { version: None } | Wall::Missing { .. } | Wall::Off => {
                    (*name).to_owned()
                }
            })
            .collect();
        match &holding[..] {
            [] => f.write_str("not confined")?,
            holding => write!(f, "confined by {}", holding.join(" and "))?,
        }
        for (name, wall) in walls {
            if let Wall::Missing { why } = wall {
                write!(f, "; no {name}: {why}")?;
            }
        }
        Ok(())
    }
}

/// Confines this thread and all that it will start; so it is to be called while there is no other.
/// Nothing takes it back.
///
/// # Errors
/// `Directory` when a directory that it needs cannot be used: nothing is confined then.
#[cfg(target_os = "linux")]
pub fn confine(needs: &Needs) -> Result<Confinement, ConfineError> {
    Ok(Confinement { landlock: files::confine(needs)?, seccomp: calls::confine() })
}

/// Nothing is known of this system's ways to confine a process.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn confine(_: &Needs) -> Result<Confinement, ConfineError> {
    let missing = || Wall::missing("only Linux has it");
    Ok(Confinement { landlock: missing(), seccomp: missing() })
}

/// Confines this thread, and all that it will start, to computing: it opens no file and no socket, and
/// starts no program. What is open stays so.
#[cfg(target_os = "linux")]
pub fn confine_to_computing() -> Confinement {
    Confinement { landlock: files::confine_to_none(), seccomp: calls::confine_to_computing() }
}

/// As `confine` is here.
#[cfg(not(target_os = "linux"))]
pub fn confine_to_computing() -> Confinement {
    let missing = || Wall::missing("only Linux has it");
    Confinement { landlock: missing(), seccomp: missing() }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
