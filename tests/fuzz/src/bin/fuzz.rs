//! The fuzzer's program.
//!
//! Owns what the environment says: which target runs (`FTL_FUZZ_TARGET`), where its seeds are written before
//! it starts (`FTL_FUZZ_SEEDS`), or whose files are only printed as seeds (`FTL_FUZZ_PRINT`). Must not know
//! what a target checks. libFuzzer has the `main` function and reads the arguments.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use ftl_fuzz::{Target, seeds};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fn begin() {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(dir) = set("FTL_FUZZ_PRINT") {
        print!("{}", seeds::of_files(Path::new(&dir)).expect("readable files"));
        std::process::exit(0);
    }
    let name = set("FTL_FUZZ_TARGET").expect("FTL_FUZZ_TARGET names a target");
    let target = Target::named(&name).unwrap_or_else(|| panic!("there is no target {name}"));
    if let Some(dir) = set("FTL_FUZZ_SEEDS") {
        seeds::write(target, Path::new(&dir)).expect("a writable directory");
    }
    TARGET.get_or_init(|| target);
}

libfuzzer_sys::fuzz_target!(init: begin(), |bytes: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.check)(bytes);
    }
});
