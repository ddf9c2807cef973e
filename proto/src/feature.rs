//! The feature level: what the masters of a cluster may rely on that all of them can do.
//!
//! Masters of two versions agree as long as both do what the cluster's level says, and nothing more.
//! The level is in the replicated state; it is raised by `weir cluster upgrade` once every master's
//! binary knows the higher one, and never lowered.
//!
//! | level | from it on |
//! | --- | --- |
//! | 0 | what there was before levels |
//! | 1 | snapshots tell the level, and say version 2, so that a binary without levels refuses them |

/// The highest level that this binary knows.
pub const FEATURE_LEVEL: u32 = 1;
