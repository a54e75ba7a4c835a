#!/bin/sh
# Makes kustomization.yaml name the image by version and digest, so that whoever applies a
# release runs what was released and nothing else. `make generate` then renders install.yaml.
#
#   deploy/pin.sh v0.2.0 sha256:...     # the digest that the push of the image printed
set -eu

version=$1 digest=$2
echo "$version" | grep -Eqx 'v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?' || {
	echo "pin.sh: $version is not a version such as v0.2.0" >&2
	exit 1
}
echo "$digest" | grep -Eqx 'sha256:[0-9a-f]{64}' || {
	echo "pin.sh: $digest is not a digest: sha256: and 64 hexadecimal digits" >&2
	exit 1
}
cd "$(dirname "$0")"
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
sed -e '/^    digest: /d' -e "s/^    newTag: .*/    newTag: $version\\
    digest: $digest/" kustomization.yaml >"$tmp"
cat "$tmp" >kustomization.yaml
