//! What stands after the options of `start` and `restart`.

pub(super) const START: &str = "\
The next turn begins at once when its container stands ready. FTL makes one by
itself when it can; this does it now, and answers only after the sandbox has: it
was found to be as closed as it must be. Where none can wait (the native sandbox
is made with each turn, in milliseconds) one is made and ended, and that is said.

Nothing runs in it before the turn, and what it is made of is looked at again
then. A turn that runs is not touched: see `ftlctl restart`.

Examples:
  ftlctl start                             the newest session of this project
  ftlctl start s-bcdfghjkmn --json         `ready` says whether it waits

Exit codes:
  0  it was made
  3  it cannot be had, a turn runs, or the session was decided on";

pub(super) const RESTART: &str = "\
A turn that runs is stopped and its work kept for review, as with `ftlctl stop`;
its processes are ended. A container that stands ready is removed and another one
made, with the same workspace and home. Answers as `ftlctl start` does.

Examples:
  ftlctl restart s-bcdfghjkmn              after an agent that hangs
  ftlctl restart s-bcdfghjkmn --json       `stopped` says whether a turn ran

Exit codes:
  0  it was made
  3  it cannot be had, or the session was decided on";
