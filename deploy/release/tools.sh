# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by the scripts beside it, in the root of the repository: the tools of a release, at pinned versions, in bin/;
# and a registry on loopback.

install_tool() { # PACKAGE@VERSION
	GOBIN=$PWD/bin GOFLAGS='' go install "$1"
}

install_crane() {
	install_tool github.com/google/go-containerregistry/cmd/crane@v0.22.1
}

install_helm() {
	GOFLAGS='' go -C bench/helm build -ldflags '-s -w' -o "$PWD/bin/helm" helm.sh/helm/v4/cmd/helm
}

# kubectl runs that of Kubernetes' newest version, or KUBECTL. Paths must be absolute.
kubectl() {
	${KUBECTL:-go -C "$PWD/bench/controlplane/kube" run . kubectl} "$@"
}

# start_registry serves a registry out of a directory until the script ends. It sets $registry to HOST:PORT.
start_registry() { # DIRECTORY
	mkdir "$1"
	bin/crane registry serve --address 127.0.0.1:0 --disk "$1" 2>"$1.log" &
	registry_process=$!
	local port=''
	until [[ $port ]]; do
		sleep 0.1
		kill -0 "$registry_process" # it has ended: so does the script
		port=$(sed -n 's/.* serving on port //p' "$1.log")
	done
	registry=127.0.0.1:$port
}

# clean_up is for EXIT. $work is the script's temporary directory.
clean_up() {
	[[ -z ${registry_process:-} ]] || kill "$registry_process" || true
	rm -rf "$work"
}
