//! One integration binary: links cost more than type checks.
//!
//! `tidy` keeps the rules of the codebase, `promises` those of the README; every other module is a part
//! of what users do, on the real programs.

/// Tests of what a session does, whatever its sandbox: each is a function of a `Setup` in the module that
/// names it, and is tried in a native sandbox and in a container.
macro_rules! in_each_sandbox {
    ($($name:ident),* $(,)?) => {
        mod native {
            $(#[test]
            fn $name() {
                super::$name(ftl_tests::online::Setup::new());
            })*
        }

        mod docker {
            $(#[test]
            fn $name() {
                super::$name(ftl_tests::online::Setup::new().docker());
            })*
        }
    };
}

mod agent_faults;
mod agent_terminal;
mod agents;
mod api;
mod apply;
mod ask;
mod audit;
mod blame;
mod branch;
mod builtin;
mod check_packages;
mod checks;
mod conformance;
mod crash;
mod demo;
mod docker_agents;
mod docker_elsewhere;
mod docker_engine;
mod docker_faults;
mod docker_outlived;
mod docker_sessions;
mod docker_setup;
mod docker_warm;
mod doctor;
mod dotenv;
mod egress_attacks;
mod egress_clients;
mod egress_installs;
mod egress_policy;
mod egress_words;
mod full_disk;
mod fuzz;
mod history;
mod hostile;
mod isolation;
mod layers;
mod many;
mod merge_git;
mod planted;
mod planted_gate;
mod planted_words;
mod private;
mod promises;
mod ready;
mod real_project;
mod remote;
mod review_keys;
mod review_parts;
mod review_plain;
mod review_risks;
mod review_shown;
mod review_tui;
mod scale;
mod secrets;
mod select_git;
mod sessions;
mod shell;
mod soak;
mod socket;
mod states;
mod store;
mod systemd;
mod tester;
mod tester_frameworks;
mod tidy;
mod upstream;
