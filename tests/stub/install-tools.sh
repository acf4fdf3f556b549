#!/bin/sh
# Installs the Python programs that the tests drive, at fixed versions, into a directory of its own.
#
#   install-tools.sh DIR      then DIR/bin/python3 knows requests, httpx, websockets and grpc, and DIR/bin
#                             has aws and moto_server
#   install-tools.sh DIR mitmproxy
#                             the benchmark's peer alone
#
# Running it again does nothing when the same was installed before.
set -eu

dir=${1:?usage: install-tools.sh DIR [mitmproxy]}
case ${2:-clients} in
    clients) wanted="requests==2.34.2 httpx[http2]==0.28.1 websockets==17.4 grpcio==1.85.1 awscli==1.46.3 moto[server]==5.2.5" ;;
    mitmproxy) wanted="mitmproxy==11.0.2" ;;
    *) echo "install-tools.sh: $2 is not known" >&2; exit 2 ;;
esac

[ "$(cat "$dir/.installed" 2>/dev/null)" = "$wanted" ] && exit 0
rm -rf "$dir"
# The Python that sandboxes see, wherever another one comes first on the PATH.
/usr/bin/python3 -m venv "$dir"
# shellcheck disable=SC2086 # One argument for each.
"$dir/bin/pip" install --quiet --disable-pip-version-check $wanted
printf '%s\n' "$wanted" > "$dir/.installed"
