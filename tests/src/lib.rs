//! The whole system under test: what tests of several crates together share. [`cluster`] starts real
//! processes.

pub mod cluster;

pub mod guests;

pub mod bombs;

pub mod processes;

pub mod other_master;

pub mod scripted;

pub mod session;

#[cfg(target_os = "linux")]
pub mod nemesis;

pub mod simulation;
