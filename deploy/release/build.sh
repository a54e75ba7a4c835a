#!/usr/bin/env bash
# Builds what a release consists of into dist/, from the last commit:
#
#   deploy/release/build.sh v0.1.0
#
# The same commit gives the same bytes again, with the same version of Go and the same CA certificates.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/release/tools.sh

version=$1
number=${version#v}
platforms=(linux/amd64 linux/arm64 linux/arm/v7)
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CGO_ENABLED=0
dist=$PWD/dist
work=$(mktemp -d)
source=$work/source
trap clean_up EXIT

# pack is tar, with the same bytes whoever runs it and when.
pack() {
	tar --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' "$@"
}

# suffix is how file names say a platform, such as linux_armv7.
suffix() { # PLATFORM
	local name=${1//\//_}
	echo "${name/_v/v}"
}

write_notes() {
	awk -v heading="## $version " '/^## / { found = index($0 " ", heading) == 1; next } found' "$source/CHANGELOG.md" >"$dist/notes.md"
	[[ -s $dist/notes.md ]] || { echo "build.sh: CHANGELOG.md has no section $version" >&2; exit 1; }
}

# The go command stamps the version from the tag of a clone. pin.sh then writes into this clone, too.
clone() {
	git clone --quiet --depth 1 "file://$PWD" "$source"
	git -C "$source" tag --force "$version" >/dev/null
}

compile() { # PLATFORM
	local os arch variant
	IFS=/ read -r os arch variant <<<"$1"
	echo "build for $1"
	GOFLAGS='' GOOS=$os GOARCH=$arch GOARM=${variant#v} go -C "$source" build -trimpath -buildvcs=true -ldflags '-s -w' \
		-o "$work/$(suffix "$1")/" ./cmd/promlet ./deploy/example/app
}

# write_archives packs promlet, promlet as a plugin of kubectl, and the list of its modules.
write_archives() { # PLATFORM
	local to dir
	to=$(suffix "$1") dir=$work/$(suffix "$1")
	cp "$source/LICENSE" "$source/CHANGELOG.md" "$dir/"
	ln "$dir/promlet" "$dir/kubectl-promlet"
	pack -C "$dir" -c promlet LICENSE CHANGELOG.md | gzip -n >"$dist/promlet_${number}_$to.tar.gz"
	pack -C "$dir" -c kubectl-promlet LICENSE | gzip -n >"$dist/kubectl-promlet_${number}_$to.tar.gz"
	GOFLAGS='' bin/cyclonedx-gomod bin -json -std -noserial -notimestamp -version "$version" -output "$dist/promlet_${number}_$to.cdx.json" "$dir/promlet"
}

# stage prints the lines of a stage in the Dockerfile that say how the image is run.
stage() { # NAME
	sed -n "/^FROM scratch AS $1\$/,/^ENTRYPOINT/p" "$source/deploy/Dockerfile"
}

# write_image makes the image that deploy/Dockerfile describes, for all platforms, without docker. The registry is where
# crane puts it together.
write_image() { # NAME BINARY LAYER...
	local name=$1 binary=$2 repository=$registry/promlet/$1 layers=() settings=() images=() layer label platform image
	shift 2
	for layer in "$@"; do layers+=(--new_layer "$layer"); done
	while read -r label; do settings+=(--label "$label"); done < <(
		stage "$name" | sed -n 's/.*\(org\.opencontainers\.[a-z.]*\)="\(.*\)".*/\1=\2/p'
		echo "org.opencontainers.image.version=$version"
		echo "org.opencontainers.image.revision=$commit"
	)
	settings+=(
		--user "$(stage "$name" | sed -n 's/^USER //p')"
		--exposed-ports "$(stage "$name" | sed -n 's|^EXPOSE \(.*\)|\1/tcp|p')"
		--entrypoint "$(stage "$name" | sed -n 's/^ENTRYPOINT \["\(.*\)"\]/\1/p')"
	)
	for platform in "${platforms[@]}"; do
		mkdir "$work/root"
		cp "$work/$(suffix "$platform")/$binary" "$work/root/$name"
		pack -C "$work/root" -cf "$work/binary.tar" "$name"
		rm -r "$work/root"
		image=$(bin/crane append --oci-empty-base "${layers[@]}" --new_layer "$work/binary.tar" --new_tag "$repository:part")
		images+=(--manifest "$(bin/crane mutate "$image" --set-platform "$platform" "${settings[@]}")")
	done
	bin/crane index append "${images[@]}" --tag "$repository:$version" >/dev/null
	bin/crane pull --format=oci --annotate-ref "$repository:$version" "$dist/images/$name"
	sed -i "s|$registry/|ghcr.io/|" "$dist/images/$name/index.json"
}

write_images() {
	mkdir -p "$work/base/etc/ssl/certs" "$work/base/data"
	cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
	pack -C "$work/base" -cf "$work/base.tar" etc
	pack -C "$work/base" --owner=65532 --group=65532 -rf "$work/base.tar" data
	start_registry "$work/registry"
	write_image promlet promlet "$work/base.tar"
	write_image sample-metrics-app app
	digest=$(bin/crane digest "$registry/promlet/promlet:$version")
	app_digest=$(bin/crane digest "$registry/promlet/sample-metrics-app:$version")
}

# write_manifests writes what is installed, with the images by digest.
write_manifests() {
	"$source/deploy/pin.sh" "$version" "$digest"
	{ sed -n '/^#/p;/^[^#]/q' "$source/deploy/install.yaml"; kubectl kustomize "$source/deploy"; } >"$dist/install.yaml"
	mkdir "$source/deploy/pinned"
	cat >"$source/deploy/pinned/kustomization.yaml" <<-EOF
		resources: [../example]
		images: [{name: sample-metrics-app, newName: ghcr.io/promlet/sample-metrics-app, newTag: $version, digest: "$app_digest"}]
	EOF
	kubectl kustomize "$source/deploy/pinned" >"$dist/example.yaml"
	bin/helm package "$source/deploy/helm/promlet" --destination "$dist" >/dev/null
	printf 'ghcr.io/promlet/%s\n' "promlet:$version" "sample-metrics-app:$version" >"$dist/images.txt"
}

# write_krew writes the manifest for krew's index of plugins of kubectl.
write_krew() {
	local platform os arch variant archive
	cat <<-EOF
		apiVersion: krew.googlecontainertools.github.com/v1alpha2
		kind: Plugin
		metadata:
		  name: promlet
		spec:
		  version: $version
		  homepage: https://github.com/promlet/promlet
		  shortDescription: Explain metrics that HPAs scale on
		  description: |
		    Lists the metrics that promlet serves to HorizontalPodAutoscalers, with their
		    values, and explains why one has no value. Checks configurations of
		    prometheus-adapter and monitors before they are applied.
		  platforms:
	EOF
	for platform in "${platforms[@]}"; do
		IFS=/ read -r os arch variant <<<"$platform"
		archive=kubectl-promlet_${number}_$(suffix "$platform").tar.gz
		cat <<-EOF
			  - selector: {matchLabels: {os: $os, arch: $arch}}
			    uri: https://github.com/promlet/promlet/releases/download/$version/$archive
			    sha256: $(sha256sum "$dist/$archive" | cut -d' ' -f1)
			    bin: kubectl-promlet
		EOF
	done
}

install_crane
install_tool github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
install_helm
rm -rf "$dist"
mkdir -p "$dist/images"
echo "build $version from commit $commit"
clone
write_notes
for platform in "${platforms[@]}"; do
	compile "$platform"
	write_archives "$platform"
done
write_images
write_manifests
write_krew >"$dist/krew.yaml"
mv "$dist/notes.md" "$work/" # not a file to download
(cd "$dist" && sha256sum -- *.* >"$work/checksums.txt")
mv "$work/checksums.txt" "$work/notes.md" "$dist/"
