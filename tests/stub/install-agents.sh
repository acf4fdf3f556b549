#!/bin/sh
# Installs the agent CLIs that the tests drive, at fixed versions, into a directory of its own.
#
#   install-agents.sh DIR      then DIR/node_modules/.bin/claude and DIR/node_modules/.bin/codex exist
#
# Running it again does nothing when both are there at the right versions.
set -eu

claude=2.1.329
codex=0.169.0

dir=${1:?usage: install-agents.sh DIR}
bin=$dir/node_modules/.bin

installed() {
    [ "$("$bin/claude" --version 2>/dev/null)" = "$claude (Claude Code)" ] &&
        [ "$("$bin/codex" --version 2>/dev/null)" = "codex-cli $codex" ]
}

mkdir -p "$dir"
if ! installed; then
    # Exact versions: without them npm quietly picks an old release when the local Node.js is older than
    # what the package asks for, although the program is native and needs none.
    npm install --prefix "$dir" --no-audit --no-fund --loglevel=error \
        "@anthropic-ai/claude-code@$claude" "@openai/codex@$codex"
    # The package holds a placeholder until this script puts the platform's binary in its place; npm may
    # be configured not to run it.
    node "$dir/node_modules/@anthropic-ai/claude-code/install.cjs"
    installed || { echo "install-agents.sh: the installed programs do not answer with their versions" >&2; exit 1; }
fi
