//! What stands after the options in a help text: examples, exit codes, variables.

pub(super) const TOP: &str = "\
Examples:
  ftlctl                                   a shell: tasks, follow-ups, /diff, /merge
  ftlctl demo                              the whole loop on a throw-away project
  ftlctl code 'add a --verbose flag'       let the agent work, review, apply
  ftlctl run -- bash                       any command in a sandbox, interactively
  ftlctl auth claude-code                  keep the agent's key outside the sandbox
  ftlctl diff; ftlctl undo                 the newest session of this project
  ftlctl review                            choose hunks, then approve them

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
On a terminal you are asked about requests that no rule allows; without an
answer they are refused.

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
reviewed as with `code`. While it has the terminal you are not asked about its
requests: what no rule allows is refused, unless `ftlctl attach` in another
terminal answers, and told when the command has ended.

An agent's name as the first word runs the agent on its own terminal, which stays
when you leave it with Ctrl-\\: `ftlctl attach` comes back. What it shows is drawn
anew for your terminal, without titles, clipboard, links and notifications; what
scrolls off its screen is gone, as in a terminal multiplexer.

Examples:
  ftlctl run claude
  ftlctl run codex --model gpt-5.5
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
Into a file or a pipe it is a patch that `git apply` takes; what a patch cannot
hold stands in front of it, in lines that begin with #. A patch is exact: where it
would hold characters that a terminal acts on or hides, --patch must ask for it,
and --plain writes the page of a terminal, which spells them out.

A hunk is named by its file and its number from 1 or its id, its lines are
counted from 1 as they are shown. A removed line that is not chosen stays, an
added one that is not chosen does not come. A preview is joined with what you
have edited since the session began; where both changed the same lines it has
no digest until you decide.

Examples:
  ftlctl diff                              the newest session of this project
  ftlctl diff s-bcdfghjkmn --stat
  ftlctl diff s-bcdfghjkmn > work.patch
  ftlctl diff s-bcdfghjkmn --preview --hunk src/main.rs:2 --path README.md
  ftlctl diff s-bcdfghjkmn --preview --both src/main.rs:1
  ftlctl diff --json | jq -r '.entries[].path'";

pub(super) const BLAME: &str = "\
Turns are found by comparing the file as each turn left it, so they hold whatever
the agent says. Tool calls are what the agent told of itself: one that names the
file is listed, the others of the same turns are counted. Hosts are those that
the proxy had let through by then.

Examples:
  ftlctl blame s-bcdfghjkmn src/main.rs
  ftlctl blame s-bcdfghjkmn src/main.rs --json | jq '.origins[].turns'";

pub(super) const REVIEW: &str = "\
Keys (`?` lists all of them):
  j k g G n p ] [    move by line, hunk and file; Tab changes sides
  Space a A d D *    choose, accept and leave out hunks and files; u takes back
  s e v              split a hunk, edit it in $EDITOR, select lines of it
  = w W z /          side by side, white space, wrap, fold, search
  f c b L            findings, conflicts, where a hunk comes from, what left the
                     sandbox
  y                  the approval: type the first 6 characters of the digest
  R q                reject with a reason; leave, the work stays

Enter approves nothing. What runs on your machine later, such as hooks, editor
tasks and CI, is listed first and must be chosen by itself.

Examples:
  ftlctl review                            the newest session of this project
  ftlctl review s-bcdfghjkmn --plain

Exit codes:
  0  something was applied, or there was nothing to review
  3  the session was rejected
  4  you left, and the work waits

Environment:
  VISUAL, EDITOR   what edits a hunk [default: vi]";

pub(super) const TEST: &str = "\
The checks run on your project as it is now with exactly the selected changes:
the bytes that `approve` would write under the digest that is named at the end.
A check that fails runs once more without them, so that a regression is told
from what failed before. Each run has a fresh sandbox of the session's kind
without network, credentials, your environment or anything of the agent's;
what it writes is thrown away.

What runs is `\"checks\": {\"test\": \"cargo test\"}` of ~/.ftl/config, or of the
project's .ftlconfig once you trust it. Without either it is guessed from the
project's files, and called a guess. Files that your ignore rules leave out, such
as node_modules and target, are not there.

The same bytes and the same command are not run a second time without --again.
Ctrl-C ends the checks.

Examples:
  ftlctl test                              the newest session of this project
  ftlctl test s-bcdfghjkmn --hunk src/main.rs:2 --path README.md
  ftlctl test --json | tail -n 1 | jq .ready

Exit code:
  0  ready: something ran, and all of it passed
  1  not ready: a check failed, could not run, or nothing ran";

pub(super) const ASK: &str = "\
The model is the one that `ask` in ~/.ftl/config names, else `reviewer`:
  { \"ask\": \"PROVIDER/MODEL\" }
PROVIDER is anthropic, openai, openrouter, gemini, ollama, or one that `models`
there describes. Its key is what `ftlctl auth ANTHROPIC_API_KEY` and the like
keep. The changes are sent to that provider: lines with a credential and files
with secrets are not, and what is left out is said.

The answer is foreign text behind a bar. It approves and changes nothing.

Examples:
  ftlctl ask 'does anything still call the old name?'
  ftlctl ask s-bcdfghjkmn 'why is this needed?' --hunk src/main.rs:2
  ftlctl ask 'is this test any good?' --file tests --json";

pub(super) const OPINION: &str = "\
The model is the one that `reviewer` in ~/.ftl/config names. It must not be the
one that did the work, unless --same-model says so. It says what the changes do,
what it would look at, and whether the task was followed. An answer that cannot
be read is no opinion, never a good one.

Examples:
  ftlctl opinion
  ftlctl opinion s-bcdfghjkmn --file src
  ftlctl opinion --json | jq -c 'select(.type == \"opinion\") | .findings[]'

Exit codes:
  0  there is an opinion, whatever it says
  1  there is none";

pub(super) const APPROVE: &str = "\
The digest stands at the end of `ftlctl diff`: it names the exact bytes that
you saw. If they have changed since then, nothing is applied. What was edited,
merged or decided has the digest of its preview, `ftlctl diff --preview` with
the same options.

What would run on this computer later, dependencies, new programs, large
deletions and files that keep secrets are applied only when their path or one of
their hunks is named; a directory above does not name them.

Examples:
  ftlctl approve                           shows the diff and asks
  ftlctl approve s-bcdfghjkmn --digest 3f1a9c0d22b7...
  ftlctl approve s-bcdfghjkmn --digest 3f1a9c0d22b7... --path src --path README.md
  ftlctl approve s-bcdfghjkmn --digest 3f1a9c0d22b7... --hunk src/main.rs:2:3-7
  ftlctl approve s-bcdfghjkmn --digest 3f1a9c0d22b7... --test

Exit code:
  1  with --test: the checks did not pass, or nothing ran; nothing was applied
  4  the digest is another one, a path must be named, a conflict must be decided
     or a finding accepted";

pub(super) const UNDO: &str = "\
Files that you have edited since are not touched, and then nothing is. With
--merge the edits stay and the rest is taken back; it is shown first, under a
digest.

Examples:
  ftlctl undo                              what was applied last in this project
  ftlctl undo s-bcdfghjkmn --merge";

pub(super) const SNAPSHOTS: &str = "\
A STATE is a snapshot's id or a unique beginning of it, a session (its work as
it is now), or SESSION@N: the session after a turn, as `ftlctl sessions
--checkpoints SESSION` lists them. SESSION@0 is what it began with. What differs
between two states is judged like a review: what could never be applied is shown
as refused.

Old ones go by themselves: 20 of each project stay, and whatever is younger than
30 days or needed by a session. Sessions that have ended go 30 days after their
last change, those that wait for review never. `store` in ~/.ftl/config says
otherwise: keep_last, keep_days, keep_ended_days, max_mb.

Examples:
  ftlctl snapshots                         those of this project
  ftlctl snapshots create --explain        and say which rule left which path out
  ftlctl snapshots diff s-bcdfghjkmn@1 s-bcdfghjkmn
  ftlctl snapshots restore 3f1a9c --to /tmp/old
  ftlctl snapshots branch s-bcdfghjkmn     the same work twice, to try two ways
  ftlctl snapshots push                    to your bucket; pull fetches them
  ftlctl snapshots clean --last 10 --dry-run
  ftlctl snapshots verify

Exit codes of restore and verify:
  1  something is damaged or missing; the rest was restored, or is intact";

pub(super) const PUSH: &str = "\
The bucket is the one that `remote` in ~/.ftl/config names; the key pair is
FTL_S3_ACCESS_KEY_ID and FTL_S3_SECRET_ACCESS_KEY, or AWS's names, as kept by
`ftlctl secret set --global` or in the daemon's environment. Who can read the
bucket can read the projects.

Examples:
  ftlctl snapshots push                    all of this project
  ftlctl snapshots push 3f1a9c
  ftlctl snapshots push --all --verify     and look whether all is still there";

pub(super) const PULL: &str = "\
What comes in is compared with its hash. It is listed under the directory that
it was taken of, which need not be here: `snapshots list --all` shows it.

Examples:
  ftlctl snapshots list --remote --all     what there is
  ftlctl snapshots pull 3f1a9c --here
  ftlctl snapshots restore 3f1a9c --to /tmp/old";

pub(super) const RESTORE: &str = "\
With --into-project nothing is written at once: you review the way back like
any work of an agent, approve it, and can undo it. With --session it is what
`ftlctl rewind` does.

Examples:
  ftlctl snapshots restore 3f1a9c --to /tmp/old
  ftlctl snapshots restore 3f1a9c --into-project
  ftlctl snapshots restore s-bcdfghjkmn@2 --session s-bcdfghjkmn";

pub(super) const BRANCH: &str = "\
Both sessions go on independently, and either can be discarded. Nothing of the
work is copied. The agent's home is, so both go on with the same conversation,
as it is now: also with SESSION@N the agent remembers the turns after it.
Rules that you gave to the session alone are not taken over.

Examples:
  ftlctl snapshots branch s-bcdfghjkmn
  ftlctl snapshots branch s-bcdfghjkmn@2   as it was after its second turn";

pub(super) const EXPORT: &str = "\
The branch begins at the commit that is checked out. Only what the turns changed
is in its commits, refused changes to secrets and to .git never. Your working
tree, index and branches stay as they are, and no hook runs.

Examples:
  ftlctl export s-bcdfghjkmn --git-branch ftl/try
  git log main..ftl/try";

pub(super) const REWIND: &str = "\
Only the workspace goes back. What you approved stays in your project (`ftlctl
undo`). Nothing is lost: the work that was left stays a checkpoint until the
session is removed, and `ftlctl rewind SESSION@N` goes there again.

The agent's home and its .git stay as they are. So an agent with a conversation
(all but shell and command) goes on with all of it: it remembers the turns that were
left and takes their edits for done until it reads the files again. Say in the
next task what you went back from.

Examples:
  ftlctl rewind s-bcdfghjkmn               as it was before the last turn
  ftlctl rewind s-bcdfghjkmn 2             two turns back
  ftlctl rewind s-bcdfghjkmn@3             to checkpoint 3, earlier or later";

pub(super) const WIPE: &str = "\
The agent's home goes: its conversation, what it installed for itself, caches of
tools. So do temporary files and a container that stands ready. The work stays,
and so does what you applied. The next turn has a home as the first one had.

With --workspace the work goes too, with every checkpoint. What waits for your
review is not thrown away unless you add --discard.

Examples:
  ftlctl sessions --verbose                what each session keeps
  ftlctl wipe s-bcdfghjkmn
  ftlctl wipe s-bcdfghjkmn --workspace     begin again with its snapshot";

pub(super) const LOGS: &str = "\
Examples:
  ftlctl logs -n 20                        this project's last 20 records
  ftlctl logs --all --json
  ftlctl logs --egress --session s-bcdfghjkmn
  ftlctl logs --egress --since 1h
  ftlctl logs --verify                     is every record there and unchanged?";

pub(super) const SETUP: &str = "\
Needs a container engine; `ftlctl doctor` says which one is found. The usual
image comes from a registry, agents from npm by the hashes that FTL knows. Set
NPM_CONFIG_REGISTRY, SSL_CERT_FILE or HTTPS_PROXY before the daemon starts if
your machine needs them. What is there already is not made again.

Examples:
  ftlctl setup                             at first with claude-code
  ftlctl setup --agent claude-code --agent codex
  ftlctl setup --rootfs root.tar           without a registry, without agents
  ftlctl setup --rebuild                   newest packages of the system";

pub(super) const DOCTOR: &str = "\
Exit codes:
  0  nothing failed
  1  something that agents need does not work
  5  the daemon cannot be reached";

pub(super) const COMPLETIONS: &str = "\
Examples:
  ftlctl completions bash > ~/.local/share/bash-completion/completions/ftlctl
  ftlctl completions fish > ~/.config/fish/completions/ftlctl.fish";

pub(super) const AUTH: &str = "\
The value is kept by the daemon, never shown again, and never enters a
sandbox: an agent gets a stand-in, and the daemon puts the value in its place
on the way to the hosts that it belongs to. It is never an argument, which
other programs and the shell's history could read.

Examples:
  ftlctl auth ANTHROPIC_API_KEY            asks for it, without showing it
  ftlctl auth codex                        the same as OPENAI_API_KEY
  pass show openai | ftlctl auth OPENAI_API_KEY";

pub(super) const SECRET: &str = "\
Examples:
  ftlctl secret list
  ftlctl secret set STRIPE_SECRET_KEY
  ftlctl secret bind GH_TOKEN --from-command -- gh auth token
  ftlctl secret rm STRIPE_SECRET_KEY";

pub(super) const SECRET_SET: &str = "\
The value is one line of standard input; on a terminal it is asked for and not
shown. It is in force from the next request on.

Examples:
  ftlctl secret set STRIPE_SECRET_KEY
  ftlctl secret set NPM_TOKEN --global < token.txt";

pub(super) const SECRET_BIND: &str = "\
FTL knows where the common vendors' keys belong. Bind others, or bind a key to
less than its vendor accepts.

Examples:
  ftlctl secret bind SHOP_TOKEN --host api.shop.example \\
      --header 'Authorization: Bearer {}'
  ftlctl secret bind FEED_PASSWORD --host feed.example --basic password \\
      --method GET --path /v2/
  ftlctl secret bind GH_TOKEN --from-command -- gh auth token
  ftlctl secret bind NPM_TOKEN --from-keyring npm/me --global";

pub(super) const POLICY: &str = "\
Nothing is reachable that no rule allows. Of the rules that fit a request, a
session's outrank the project's, those the global ones, and the preset comes
last; of one rank the most exact counts, and of two equal ones the refusal.

Examples:
  ftlctl policy show
  ftlctl policy allow GET api.example.com/v1/
  ftlctl policy test https://api.example.com/v1/users
  ftlctl policy suggest --apply

Exit codes:
  0  done; with `test`, the request would be allowed
  3  with `test`, the request would be refused";

pub(super) const POLICY_ALLOW: &str = "\
Without a method every method is meant, without a path every path; a path
means itself and what is beneath it. *.example.com means every name below
example.com, and not example.com itself.

Examples:
  ftlctl policy allow api.example.com
  ftlctl policy allow GET,HEAD api.example.com/v1/
  ftlctl policy allow https://api.example.com/v1/users
  ftlctl policy allow '*.example.com' --session s-bcdfghjkmn";

pub(super) const POLICY_DENY: &str = "\
Examples:
  ftlctl policy deny '*.example.com'
  ftlctl policy deny DELETE api.example.com --global";

pub(super) const POLICY_RM: &str = "\
Examples:
  ftlctl policy rm 3                       the third one that `policy show` lists
  ftlctl policy rm api.example.com         the one about this host
  ftlctl policy rm allow GET api.example.com/v1/
  ftlctl policy rm 'deny *.example.com' --global";

pub(super) const POLICY_PRIVATE: &str = "\
Examples:
  ftlctl policy private registry.corp.example:443";

pub(super) const POLICY_PRESET: &str = "\
  locked    nothing but what rules allow
  balanced  reading from package registries and source hosts
  open      every public host

Examples:
  ftlctl policy preset locked
  ftlctl policy preset balanced --global";

pub(super) const POLICY_LIMIT: &str = "\
Examples:
  ftlctl policy limit api.example.com 60/min
  ftlctl policy limit api.example.com 60/min --burst 10 --global";

pub(super) const POLICY_ALIAS: &str = "\
For programs that cannot speak TLS or take another host's name: inside they use
http://openai.ftl.local, and FTL asks https://api.openai.com. The host needs a
rule that allows it, as without the alias.

Examples:
  ftlctl policy alias openai.ftl.local api.openai.com
  ftlctl policy alias models.ftl.local models.corp.example:8443 --global";

pub(super) const POLICY_TEST: &str = "\
Examples:
  ftlctl policy test https://api.example.com/v1/users
  ftlctl policy test https://api.example.com/v1/pay --method POST

Exit codes:
  0  it would be allowed
  3  it would be refused";

pub(super) const POLICY_SUGGEST: &str = "\
The agent chose what it asked for: look at the rules before you add them.

Examples:
  ftlctl policy suggest                    for the newest session
  ftlctl policy suggest s-bcdfghjkmn --apply

Exit code:
  4  with --apply: no terminal to ask on, and no --yes";

pub(super) const POLICY_ANSWER: &str = "\
Examples:
  ftlctl policy answer s-bcdfghjkmn 3 once

Exit codes:
  0  the request heard it
  1  nobody waits for it any more";
