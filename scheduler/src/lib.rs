//! The pure core: what masters agree on, and what the leader decides from it.
//!
//! Values in, values out: no tokio, tonic, raft, clock, random number, hash-ordered map or I/O.
//! [`apply`] is stop 5 of a task's way and [`place`] stop 6; `weir-master` calls both.

pub mod state;

pub mod stage;

pub mod times;

pub mod members;

pub mod apply;

pub mod snapshot;

pub mod lease;

pub mod place;

pub mod explain;

#[cfg(test)]
mod samples;
