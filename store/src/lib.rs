//! Content-addressed blobs and trees: on this machine's disk, at a remote store, and cached.
//!
//! A blob is named by its digest, belongs to namespaces, and is verified whenever it is read. What
//! is left out so far: eviction and buckets. The next stop
//! on a task's way is the master, in `weir-master`.

pub mod blobs;

pub mod view;

pub mod tree;

pub mod access;

pub mod directory;

pub mod bounds;

pub mod service;

pub mod group;

pub mod copy;

pub mod masters;

pub mod remote;

pub mod image;

pub mod cache;

pub mod doctor;

mod blocking;

#[cfg(test)]
mod testing;
