//! Faults on real processes: masters and agents, each on a machine of its own as far as it can tell,
//! that are killed, stopped, parted and left without disk while a client works them.
//!
//! [`plan`] draws the faults from a seed, [`machines`] are what they are done to, [`work`] is what goes
//! on meanwhile and what must have become of it.

pub mod plan;

pub mod machines;

pub mod work;

mod loopback;

mod namespaces;
