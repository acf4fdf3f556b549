//! The verb and the options of tests that a model writes.

use clap::Args;

const TESTS: &str = "\
Where a session has a tester (`tester` in ~/.ftl/config, or --tests), a model
writes tests for the task while the agent works. They run in clean sandboxes over
the work when it is done; one that passes counts only when the same file with a
test that must fail does fail. They are in no diff until you keep them.

Examples:
  ftlctl tests                             the newest session of this project
  ftlctl tests s-bcdfghjkmn --keep         put all of them into the work
  ftlctl tests s-bcdfghjkmn --keep tests/test_limits.py
  ftlctl tests --json | jq -r '.tests[] | \"\\(.verdict) \\(.path)\"'

Exit codes:
  1  there is no such test
  3  something stands at its place already, or an agent works";

/// Show the tests that a model wrote for a session's task, and what came of them; or keep them
#[derive(Debug, Args)]
#[command(after_help = TESTS)]
pub(crate) struct Tests {
    /// Session, or a unique beginning of its id [default: the newest of the project]
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    /// Put these, or all of them, into the session's work, to be reviewed like any change
    #[arg(long, value_name = "PATH", num_args = 0.., require_equals = false)]
    pub(crate) keep: Option<Vec<String>>,
}

/// Which tests are written beside the agent.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Tester {
    /// Have this model, PROVIDER/MODEL, write tests while the agent works [default: the configured one]
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["session", "no_tests"])]
    pub(crate) tests: Option<String>,
    /// Have no tests written
    #[arg(long, conflicts_with = "session")]
    pub(crate) no_tests: bool,
    /// Tell the agent at most N times what fails, and let it mend its work
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, conflicts_with = "session",
          value_parser = clap::value_parser!(u32).range(0..=20))]
    pub(crate) fix: u32,
    /// The tests may be written by the model that does the work
    #[arg(long, conflicts_with = "session")]
    pub(crate) same_model: bool,
}
