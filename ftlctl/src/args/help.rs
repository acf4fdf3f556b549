//! What stands after the options in a help text: examples, exit codes, variables.

pub(super) const TOP: &str = "\
Examples:
  ftlctl demo                              the whole loop on a throw-away project
  ftlctl code 'add a --verbose flag'       let the agent work, review, apply
  ftlctl run -- bash                       any command in a sandbox, interactively
  ftlctl diff; ftlctl undo                 the newest session of this project

Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  refused by policy, or by where the session stands
  4  a human has to approve first
  5  the daemon cannot be reached
  `run` and `exec` pass the status of their command through.

Environment:
  FTL_HOME          where state lives [default: ~/.ftl]
  FTL_SOCKET        the daemon's socket [default: $XDG_RUNTIME_DIR/ftl/ftld.sock,
                    or run/ftld.sock in FTL_HOME]
  FTL_NO_AUTOSTART  set to 1: never start the daemon
  NO_COLOR          set: no colour";

pub(super) const DEMO: &str = "\
Makes a small project in a temporary directory, lets a scripted agent change
it, shows the diff, applies it, undoes it, and removes everything again. Needs
no key, no network and no Docker.

Examples:
  ftlctl demo            asks before it applies
  ftlctl demo --yes      does not ask";

pub(super) const CODE: &str = "\
The agent works on a copy: your project changes only when you approve. Ctrl-C
once stops the agent and keeps its work for review, twice does not wait for it.

Examples:
  ftlctl code 'fix the failing test'
  ftlctl code 'now add a test for it' --session s-bcdfghjkmn
  ftlctl code --agent shell 'sed -i s/teh/the/ README.md' --no-review
  ftlctl code 'update the changelog' --yes --json

Exit codes:
  0  applied, nothing to change, or left for later with --no-review
  1  failed
  3  rejected, or everything in it is refused by policy
  4  waits for approval";

pub(super) const RUN: &str = "\
The command works on a copy of the project; when it ends, what it changed is
reviewed as with `code`.

Examples:
  ftlctl run -- cargo fmt
  ftlctl run -- sh -c 'rm -rf build && make'

Exit code:
  that of the command if it is not 0, else as with `code`";

pub(super) const EXEC: &str = "\
Examples:
  ftlctl exec s-bcdfghjkmn -- cargo test
  ftlctl exec -- sh                        in the newest session of this project

Exit code:
  that of the command";

pub(super) const DIFF: &str = "\
Examples:
  ftlctl diff                              the newest session of this project
  ftlctl diff s-bcdfghjkmn --stat
  ftlctl diff --json | jq -r '.entries[].path'";

pub(super) const APPROVE: &str = "\
The digest stands at the end of `ftlctl diff`: it names the exact bytes that
you saw. If they, or your project, have changed since then, nothing is applied.

Examples:
  ftlctl approve                           shows the diff and asks
  ftlctl approve s-bcdfghjkmn --digest 3f1a9c0d22b7...
  ftlctl approve s-bcdfghjkmn --digest 3f1a9c0d22b7... --path src --path README.md";

pub(super) const SNAPSHOTS: &str = "\
Examples:
  ftlctl snapshots                         those of this project
  ftlctl snapshots create --explain        and say which rule left which path out
  ftlctl snapshots restore 3f1a9c --to /tmp/old";

pub(super) const LOGS: &str = "\
Examples:
  ftlctl logs -n 20                        this project's last 20 records
  ftlctl logs --all --json
  ftlctl logs --verify                     is every record there and unchanged?";

pub(super) const DOCTOR: &str = "\
Exit codes:
  0  nothing failed
  1  something that agents need does not work
  5  the daemon cannot be reached";

pub(super) const COMPLETIONS: &str = "\
Examples:
  ftlctl completions bash > ~/.local/share/bash-completion/completions/ftlctl
  ftlctl completions fish > ~/.config/fish/completions/ftlctl.fish";
