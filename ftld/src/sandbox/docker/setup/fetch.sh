#!/bin/sh
# Fetches a package of the npm registry into a directory, while an image is built.
#
#   fetch.sh DIR URL SHA512 PROGRAM...
#
# What does not have the hash is not unpacked. The programs are made executable: packages do not always
# say so themselves.
set -eu
dir=$1 url=$2 hash=$3
shift 3

authorities=/tmp/ftl-reach/authorities.pem
if [ -s "$authorities" ]; then
    export CURL_CA_BUNDLE=$authorities
fi
mkdir -p "$dir"
cd "$dir"
curl -fsSL --retry 3 -o package.tgz "$url"
echo "$hash  package.tgz" | sha512sum -c --quiet -
tar -xzf package.tgz --strip-components=1 --no-same-owner
rm package.tgz
chmod -R u=rwX,go=rX .
chmod 755 "$@"
