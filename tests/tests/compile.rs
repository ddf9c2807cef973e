//! Modules compiled in processes of their own: the limits hold, whoever dies takes nobody along, and
//! nothing is left behind. Children are found in `/proc`, so on Linux only.

#![cfg(target_os = "linux")]

#[path = "compile/limits.rs"]
mod limits;

#[path = "compile/children.rs"]
mod children;
