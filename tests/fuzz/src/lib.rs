//! What must hold for hostile bytes, one function per parser.
//!
//! Owns the targets of the fuzzer, their seeds, and what each checks. Must not know the fuzzer: a target is a
//! function that panics when something does not hold, so that the ordinary tests run every seed as well.

pub mod seeds;

mod merging;
mod models;
mod names;
mod pieces;
mod programs;
mod requests;
mod scrubbing;
mod secrets;
mod wire;

/// A parser under test.
pub struct Target {
    /// Its name: that of its files of seeds and words.
    pub name: &'static str,
    /// Panics when something does not hold for these bytes.
    pub check: fn(&[u8]),
    /// Inputs to begin with; see [`seeds`].
    pub seeds: &'static str,
}

macro_rules! targets {
    ($($module:ident :: $name:ident),* $(,)?) => {
        /// Every target.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            check: $module::$name,
            seeds: include_str!(concat!("../seeds/", stringify!($name))),
        }),*];
    };
}

targets! {
    wire::sniff,
    names::host,
    names::path,
    names::policy,
    requests::framing,
    requests::slots,
    requests::sigv4,
    scrubbing::scrub,
    secrets::dotenv,
    secrets::shadow,
    wire::dns,
    wire::relay,
    wire::tree,
    wire::protocol,
    programs::agents,
    programs::config,
    merging::select,
    merging::three,
    models::replies,
    models::opinions,
    models::tester,
}

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn everything_holds_for_every_seed() {
        for target in TARGETS {
            let seeds = seeds::read(target.seeds);
            assert!(seeds.len() > 3, "{} has no seeds", target.name);
            for seed in seeds {
                eprintln!("{}: {}", target.name, seeds::escape(&seed));
                (target.check)(&seed);
            }
        }
    }

    #[test]
    fn every_file_of_seeds_and_words_belongs_to_a_target() {
        let targets: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        for folder in ["seeds", "dict"] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let files = std::fs::read_dir(dir).unwrap().flatten();
            let found: BTreeSet<_> =
                files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
            assert_eq!(found, targets, "{folder}");
        }
    }
}
