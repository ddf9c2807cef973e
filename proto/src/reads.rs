//! How new what is read must be. A call says so in a header; without it, it sees everything that was
//! acknowledged before it.

/// The header of a call.
pub const HEADER: &str = "weir-reads";
/// Its value where the master that is asked may tell what it knows by itself, without asking others:
/// it may be behind.
pub const STALE: &str = "stale";
