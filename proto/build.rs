//! Compiles the wire files with protox, so that nobody needs protoc.

use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 7] = [
    "weir/v1/types.proto",
    "weir/v1/replicated.proto",
    "weir/v1/agents.proto",
    "weir/v1/backup.proto",
    "weir/v1/jobs.proto",
    "weir/v1/store.proto",
    "weir/v1/peers.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=wire");
    let files = protox::compile(FILES, ["wire"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("weir.v1.bin"), files.encode_to_vec())?;
    if std::env::var_os("CARGO_FEATURE_RPC").is_some() {
        tonic_prost_build::configure().compile_fds(files)?;
    } else {
        prost_build::Config::new().compile_fds(files)?;
    }
    Ok(())
}
