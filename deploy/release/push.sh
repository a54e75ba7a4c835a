#!/usr/bin/env bash
# Pushes the images and the chart of dist/ to a registry, where docker is logged in, and prints what to sign:
#
#   deploy/release/push.sh ghcr.io/promlet v0.1.0
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/release/tools.sh

repository=$1 version=$2
http=()
[[ $repository != 127.0.0.1:* ]] || http=(--plain-http)

install_crane
install_helm
for image in promlet sample-metrics-app; do
	bin/crane push "dist/images/$image" "$repository/$image:$version"
done
bin/helm push "${http[@]}" "dist/promlet-${version#v}.tgz" "oci://$repository/charts" >&2
echo "$repository/charts/promlet@$(bin/crane digest "$repository/charts/promlet:${version#v}")"
