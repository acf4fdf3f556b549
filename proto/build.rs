//! Compiles `ftl/v1/*.proto` without a system `protoc` and keeps the descriptor set for reflection.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 10] = [
    "ftl/v1/ask.proto",
    "ftl/v1/daemon.proto",
    "ftl/v1/egress.proto",
    "ftl/v1/event.proto",
    "ftl/v1/review.proto",
    "ftl/v1/secret.proto",
    "ftl/v1/session.proto",
    "ftl/v1/setup.proto",
    "ftl/v1/snapshot.proto",
    "ftl/v1/verify.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("ftl_descriptors.bin");
    std::fs::write(&out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=ftl");
    Ok(())
}
