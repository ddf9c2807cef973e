//! The client of a Weir cluster: put bytes, submit jobs, watch them, fetch what they left.
//!
//! Everything here speaks domain types of `weir-proto`; messages and gRPC stay inside. The command
//! line is built on this crate alone. The way of a task begins in [`client`] and ends in [`watch`].

pub mod client;

pub mod rpc;

pub mod data;

pub mod source;

pub mod module_file;

pub mod plan;

#[cfg(feature = "job-file")]
pub mod job_file;

pub mod put_job;

pub mod submit;

pub mod precompile;

pub mod view;

pub mod query;

pub mod members;

pub mod names;

pub mod namespaces;

pub mod event;

pub mod watch;

pub mod events;

pub mod backup;

pub use client::Client;
pub use weir_proto as proto;
