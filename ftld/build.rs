//! Builds the helper that runs inside sandboxes, so that the daemon carries it.
//!
//! The helper must need nothing of the root directory it runs in, so it is linked statically. That
//! setting must not reach the daemon or any procedural macro, which is why a second cargo builds it,
//! into this crate's own output directory.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Variables of the outer build that would change the inner one.
const LEAKS: &[&str] = &[
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let daemon = PathBuf::from(var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(var("OUT_DIR")?);
    let target = var("TARGET")?;
    let manifest = daemon.join("guest/Cargo.toml");
    let lock = daemon.join("../Cargo.lock");
    for input in [daemon.join("guest/src"), manifest.clone(), daemon.join("../Cargo.toml"), lock.clone()] {
        println!("cargo::rerun-if-changed={}", input.display());
    }

    let directory = out.join("guest");
    let mut cargo = Command::new(var("CARGO")?);
    cargo.args(["build", "--quiet", "--release", "--package", "ftl-guest", "--bin", "ftl-guest"]);
    cargo
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target")
        .arg(&target)
        .arg("--target-dir")
        .arg(&directory);
    if lock.exists() {
        cargo.arg("--locked");
    }
    forget_outer_build(&mut cargo);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static\u{1f}-Crelocation-model=static");
    // Small: its pages are every idle session's memory.
    cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s").env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "thin").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    let status = cargo.status().map_err(|error| format!("cargo for the helper: {error}"))?;
    if !status.success() {
        return Err(format!("the helper does not build ({status})"));
    }
    let built = directory.join(target).join("release/ftl-guest");
    copy(&built, &out.join("ftl-guest"))
}

fn forget_outer_build(cargo: &mut Command) {
    let inherited = env::vars_os().map(|(name, _)| name);
    let leaks = |name: &OsString| {
        let name = name.to_string_lossy();
        LEAKS.contains(&&*name)
            || name.starts_with("CARGO_CFG_")
            || name.starts_with("CARGO_FEATURE_")
            || name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_PROFILE_")
            || (name.starts_with("CARGO_TARGET_") && name.ends_with("_RUSTFLAGS"))
            || name.starts_with("DEP_")
    };
    for name in inherited.filter(leaks) {
        cargo.env_remove(name);
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    match std::fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {error}", from.display())),
    }
}

fn var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
