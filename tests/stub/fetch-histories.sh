#!/bin/bash
# Fetches and unpacks the releases that histories.txt lists, each by its registry's own client.
#
#   fetch-histories.sh DIR PIP    then DIR/<project>/<release> has the release's files, and, where Debian changed
#                                 them, DIR/<project>/<release>+patched has them with its patches
#
# Running it again does nothing when the same was fetched before. An archive of Debian's keeps a package's file until
# another one takes its place: what is there no more is named in DIR/.gone, and its release is missing. Whoever uses
# the releases says how many there have to be.
set -euo pipefail

dir=$(realpath -m "${1:?usage: fetch-histories.sh DIR PIP}")
pip=$(realpath -s "${2:?usage: fetch-histories.sh DIR PIP}")
list=$(realpath "$(dirname "$0")/histories.txt")

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9
cmp -s "$list" "$dir/.fetched" && exit 0
rm -rf "$dir" "$dir.new"
mkdir -p "$dir.new/.archives"
cd "$dir.new/.archives"

listed() { grep -E "^($1) " "$list"; }

# The archive that this machine installs its packages from.
archive=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' |
    awk '$2 == "main" && $1 ~ /\/debian\/?$/ { sub("/?$", "/", $1); print $1; exit }')
wanted=()
while read -r _ _ project release part sha where; do
    wanted+=("${archive}pool/main/$where" "$PWD/$project-$release-$part" "SHA256:$sha")
done < <(listed debian)
/usr/lib/apt/apt-helper download-file "${wanted[@]}" >apt.log 2>&1 || cat apt.log >&2

# shellcheck disable=SC2046 # One argument for each.
npm pack --silent $(listed npm | awk '{ print $7 }') >npm.log
# One call for each: none takes two releases of a project.
listed pypi | awk '{ print $7 " --hash=sha256:" $6 > ($3 "-" $4 ".txt"); print $3 "-" $4 ".txt" }' |
    xargs -P 4 -n 1 "$pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r

# What is in an archive, without the one directory that all of it is in.
unpack() {
    mkdir -p "$2"
    case $1 in
        *.whl) /usr/bin/python3 -m zipfile -e "$1" "$2" ;;
        *) tar -x --no-same-owner --warning=no-unknown-keyword -C "$2" --strip-components=1 -f "$1" ;;
    esac
}

while read -r from _ project release part sha _; do
    to=$dir.new/$project/$release
    case $from in
        debian) file=$project-$release-$part ;;
        npm) file=${project#@} file=${file//\//-}-$release.tgz ;;
        pypi) file=$(echo "$project-$release"-*.whl) ;;
    esac
    # Of a release that is gone there is nothing to change, either.
    if [ ! -e "$file" ] || { [ "$part" = patches ] && [ ! -e "$to" ]; }; then
        echo "$project $release $part" >>"$dir.new/.gone"
        continue
    fi
    echo "$sha  $file" | sha256sum --check --quiet --strict
    if [ "$part" = whole ]; then
        unpack "$file" "$to"
        continue
    fi
    cp -r "$to" "$to+patched"
    mkdir "$file.d"
    tar -x -C "$file.d" -f "$file"
    sed -e 's/[[:space:]]*#.*//' -e '/^$/d' "$file.d/debian/patches/series" | while read -r patch _; do
        patch --directory "$to+patched" --strip 1 --fuzz 0 --batch --forward --silent --no-backup-if-mismatch \
            <"$file.d/debian/patches/$patch" >/dev/null
    done
done < <(listed 'debian|npm|pypi')

cd "$dir.new"
rm -rf .archives
cp "$list" .fetched
mv "$dir.new" "$dir"
