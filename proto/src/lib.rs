//! The vocabulary of Weir: wire messages and the domain types they parse into.
//!
//! Everything from outside becomes one of these types at the border, once; inside, what exists is
//! valid. There is no I/O here. The first stop on a task's way is the client in `weir-sdk`.

pub mod id;

pub mod digest;

pub mod units;

pub mod text;

pub mod range;

pub mod limits;

pub mod countable;

pub mod capability;

pub mod metering;

pub mod network;

pub mod imports;

pub mod job;

pub mod manifest;

pub mod template;

pub mod name;

pub mod weight;

pub mod outcome;

pub mod page;

pub mod lease;

pub mod agent;

pub mod command;

pub mod event;

pub mod feature;

pub mod malformed;

pub mod reads;

pub mod version;

#[allow(
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::semicolon_if_nothing_returned,
    reason = "generated; the .proto files carry the documentation"
)]
pub mod wire {
    //! Messages generated from `proto/wire`, and the services with feature `rpc`.

    include!(concat!(env!("OUT_DIR"), "/weir.v1.rs"));

    /// The wire files as an encoded `FileDescriptorSet`, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/weir.v1.bin"));
}
