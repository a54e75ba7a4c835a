#!/bin/sh
# Makes kustomization.yaml and the Helm chart name the image by version and digest, so that
# whoever installs a release runs what was released and nothing else. deploy/release/build.sh
# does so in its clone. Without a digest, main names the coming version: then `make generate`.
#
#   deploy/pin.sh v0.2.0 [sha256:...]
set -eu

version=$1 digest=${2-}
echo "$version" | grep -Eqx 'v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?' || {
	echo "pin.sh: $version is not a version such as v0.2.0" >&2
	exit 1
}
[ $# = 1 ] || echo "$digest" | grep -Eqx 'sha256:[0-9a-f]{64}' || {
	echo "pin.sh: $digest is not a digest: sha256: and 64 hexadecimal digits" >&2
	exit 1
}
cd "$(dirname "$0")"
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
edit() { # FILE EXPRESSION...
	file=$1
	shift
	sed "$@" "$file" >"$tmp"
	cat "$tmp" >"$file"
}
edit kustomization.yaml -e '/^    digest: /d' -e "s/^    newTag: .*/    newTag: $version${digest:+\\
    digest: $digest}/"
edit helm/promlet/Chart.yaml -e "s/^version: .*/version: ${version#v}/" -e "s/^appVersion: .*/appVersion: ${version#v}/" \
	-e "s|image: ghcr.io/promlet/promlet:.*|image: ghcr.io/promlet/promlet:$version|"
edit helm/promlet/values.yaml -e "s/^  digest: .*/  digest: ${digest:-\"\"}/"
