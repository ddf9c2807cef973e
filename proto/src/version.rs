//! Which version of Weir speaks. A master says so with every answer; what it is asked for decides
//! whether another version will do, so nothing is refused for the version alone.

/// This version.
pub const OURS: &str = env!("CARGO_PKG_VERSION");
/// The header of every answer of a master that holds its version.
pub const HEADER: &str = "weir-version";
