#!/bin/sh
# Installs a container engine and makes a small root filesystem, for the tests of the docker sandbox.
#
#   install-docker.sh DIR      then dockerd, podman, what both need without root, crun, runsc and
#                              fincore are installed and DIR/root.tar is a root filesystem with what the suites run: a shell, git, curl, wget, Python with clients
#
# Needs root on Debian. Running it again does nothing when the same is there. No engine is left running:
# the tests start one of their own, with everything that belongs to it in a directory of its own.
set -eu

dir=${1:?usage: install-docker.sh DIR}
# The suite's release follows the machine's, so that one mirror serves both.
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
packages=bash,ca-certificates,coreutils,curl,git,python3,python3-h2,python3-httpx,python3-requests,wget
wanted="2 $suite $packages"

missing=
for program in dockerd:docker.io mmdebstrap:mmdebstrap crun:crun runsc:runsc fincore:util-linux-extra \
    podman:podman rootlesskit:rootlesskit newuidmap:uidmap; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${program%%:*}" >/dev/null || missing="$missing ${program#*:}"
done
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086 # One argument for each.
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

mkdir -p "$dir"
[ "$(cat "$dir/.installed" 2>/dev/null)" = "$wanted" ] && exit 0
rm -f "$dir/.installed" "$dir/root.tar"
# Without apt, documentation and translations it is half as large, and made in half the time.
TMPDIR=/var/tmp mmdebstrap --quiet --mode=root --variant=essential --include="$packages" \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='force-unsafe-io' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/usr/share/doc' \
    "$suite" "$dir/root.tar"
printf '%s\n' "$wanted" > "$dir/.installed"
