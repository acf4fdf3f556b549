#!/bin/sh
# Installs the agent CLIs that the tests drive, at fixed versions, into a directory of its own.
#
#   install-agents.sh DIR      then DIR/node_modules/.bin/{claude,codex,opencode,gemini} and DIR/aider/bin/aider exist
#
# Running it again does nothing when all are there at the right versions.
set -eu

claude=2.1.329
codex=0.169.0
opencode=1.18.33
gemini=0.61.0
aider=0.86.2

dir=${1:?usage: install-agents.sh DIR}
bin=$dir/node_modules/.bin

# What each says of itself, where the version can be had without starting it: three of them take seconds.
version_of() { node -p "require('$dir/node_modules/$1/package.json').version" 2>/dev/null; }

installed() {
    [ "$("$bin/claude" --version 2>/dev/null)" = "$claude (Claude Code)" ] &&
        [ "$("$bin/codex" --version 2>/dev/null)" = "codex-cli $codex" ] &&
        [ "$(version_of opencode-ai)" = "$opencode" ] && [ -x "$bin/opencode" ] &&
        [ "$(version_of @google/gemini-cli)" = "$gemini" ] && [ -x "$bin/gemini" ]
}

aider_installed() {
    [ -x "$dir/aider/bin/aider" ] && [ -d "$dir/aider/lib/"python3*/"site-packages/aider_chat-$aider.dist-info" ]
}

mkdir -p "$dir"
if ! aider_installed; then
    rm -rf "$dir/aider"
    # The one that a sandbox sees, wherever another one comes first on the PATH.
    /usr/bin/python3 -m venv "$dir/aider"
    "$dir/aider/bin/pip" install --quiet --disable-pip-version-check "aider-chat==$aider"
    aider_installed || { echo "install-agents.sh: aider is not there after its installation" >&2; exit 1; }
fi
if ! installed; then
    # Exact versions: without them npm quietly picks an old release when the local Node.js is older than
    # what the package asks for, although the program is native and needs none.
    npm install --prefix "$dir" --no-audit --no-fund --loglevel=error \
        "@anthropic-ai/claude-code@$claude" "@openai/codex@$codex" "opencode-ai@$opencode" "@google/gemini-cli@$gemini"
    # The package holds a placeholder until this script puts the platform's binary in its place; npm may
    # be configured not to run it.
    node "$dir/node_modules/@anthropic-ai/claude-code/install.cjs"
    installed || { echo "install-agents.sh: the installed programs do not answer with their versions" >&2; exit 1; }
fi
