#!/usr/bin/env bash
# Checks each file of dist/ with a program that reads it, and pushes to a registry on loopback as a release does:
#
#   deploy/release/check.sh v0.1.0
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/release/tools.sh

version=$1
number=${version#v}
export CGO_ENABLED=0
here=linux_$(go env GOHOSTARCH)
work=$(mktemp -d)
trap clean_up EXIT
export HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm

fail() {
	echo "check.sh: $*" >&2
	exit 1
}

# says_version runs promlet, which must say the version of the release.
says_version() { # BINARY
	local said
	said=$("$1" version)
	[[ $said == "promlet $version ("* ]] || fail "$1 version says $said"
	echo "ok: $2: $said"
}

check_files() {
	(cd dist && sha256sum --check --quiet --strict checksums.txt)
	local listed
	listed=$(wc -l <dist/checksums.txt)
	[[ $(find dist -maxdepth 1 -type f ! -name checksums.txt ! -name notes.md | wc -l) == "$listed" ]] || fail "files without a checksum in dist"
	echo "ok: sha256sum: $listed files"
}

check_archives() {
	local archive platform modules
	for archive in dist/promlet_*.tar.gz; do
		platform=${archive#dist/promlet_"${number}"_}
		platform=${platform%.tar.gz}
		mkdir "$work/$platform"
		tar -xzf "$archive" -C "$work/$platform"
		tar -xzf "dist/kubectl-promlet_${number}_$platform.tar.gz" -C "$work/$platform"
		cmp "$work/$platform/promlet" "$work/$platform/kubectl-promlet"
		go version -m "$work/$platform/promlet" >"$work/modules"
		grep -q $'^\tmod\tgithub.com/promlet/promlet\t'"$version"$'\t' "$work/modules" || fail "$archive is not of $version"
		modules=$(grep -c $'^\tdep\t' "$work/modules")
		[[ $(grep -c '"type": "library"' "${archive%.tar.gz}.cdx.json") -gt $modules ]] || fail "the SBOM of $archive lacks modules"
		echo "ok: $platform: promlet and kubectl-promlet of $modules modules, all of them in the SBOM"
	done
	says_version "$work/$here/promlet" "promlet_${number}_$here.tar.gz"
}

# check_pushed pushes what a release pushes. It sets $digest to that of promlet's image.
check_pushed() {
	local image reference platform
	start_registry "$work/registry"
	deploy/release/push.sh "$registry/promlet" "$version" 2>"$work/push.log" >"$work/pushed" || fail "$(cat "$work/push.log")"
	for image in promlet sample-metrics-app; do
		reference=$registry/promlet/$image:$version
		bin/crane validate --remote "$reference" >/dev/null
		for platform in linux/amd64 linux/arm64 linux/arm/v7; do
			bin/crane config --platform "$platform" "$reference" >"$work/config"
			grep -q '"User":"65532:65532"' "$work/config" || fail "$reference for $platform runs as root"
		done
		echo "ok: crane validate: $(grep "/promlet/$image@" "$work/pushed")"
	done
	digest=$(bin/crane digest "$registry/promlet/promlet:$version")
	mkdir "$work/image"
	bin/crane export --platform "linux/$(go env GOHOSTARCH)" "$registry/promlet/promlet:$version" "$work/image.tar"
	grep -q '^drwxr-xr-x 65532/65532 .* data/*$' <(tar --numeric-owner -tvf "$work/image.tar") || fail "the image has no /data of user 65532"
	tar -xf "$work/image.tar" -C "$work/image" --no-same-owner
	cmp "$work/image/promlet" "$work/$here/promlet"
	grep -q 'BEGIN CERTIFICATE' "$work/image/etc/ssl/certs/ca-certificates.crt" || fail "the image has no CA certificates"
}

check_manifests() {
	local objects
	grep -qx " *image: ghcr.io/promlet/promlet:$version@$digest" dist/install.yaml || fail "install.yaml does not name $digest"
	objects=$(kubectl label --local --filename "$PWD/dist/install.yaml" --output name checked=yes | wc -l)
	[[ $objects == "$(grep -c '^kind: ' dist/install.yaml)" ]] || fail "kubectl read $objects objects"
	kubectl label --local --filename "$PWD/dist/example.yaml" --output name checked=yes >/dev/null
	echo "ok: kubectl: install.yaml: $objects objects, $version@$digest"
}

check_chart() {
	bin/helm pull --plain-http "oci://$registry/promlet/charts/promlet" --version "$number" --destination "$work" >/dev/null 2>&1
	cmp "$work/promlet-$number.tgz" "dist/promlet-$number.tgz"
	bin/helm lint --strict --quiet "dist/promlet-$number.tgz"
	bin/helm template promlet "dist/promlet-$number.tgz" --namespace promlet >"$work/chart.yaml"
	grep -q "image: \"ghcr.io/promlet/promlet:$version@$digest\"" "$work/chart.yaml" || fail "the chart does not name $digest"
	echo "ok: helm: promlet-$number.tgz: pushed, pulled, linted, rendered"
}

check_plugin() {
	local manifest=$work/promlet.yaml archive
	cp dist/krew.yaml "$manifest" # validate-krew-manifest wants the name of the plugin
	bin/validate-krew-manifest -skip-install -manifest "$manifest" 2>"$work/krew.log" || fail "$(cat "$work/krew.log")"
	export KREW_ROOT=$work/krew
	bin/krew install --manifest "$manifest" --archive "dist/kubectl-promlet_${number}_$here.tar.gz" >"$work/krew.log" 2>&1 || fail "$(cat "$work/krew.log")"
	says_version "$KREW_ROOT/bin/kubectl-promlet" "krew install"
}

install_tool sigs.k8s.io/krew/cmd/validate-krew-manifest@v0.4.3
install_tool sigs.k8s.io/krew/cmd/krew@v0.4.3
check_files
check_archives
check_pushed
check_manifests
check_chart
check_plugin
echo "dist holds $version:"
du -sh dist/* | sort -k2
