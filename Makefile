# promlet's commands. They need Go, make and git, and nothing else; only `make image` needs docker.

# Tools run at pinned versions, outside of go.mod: programs that embed promlet inherit what is in it.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
APIDIFF       := golang.org/x/exp/cmd/apidiff@v0.0.0-20261113113407-e3970619a1a4
ACTIONLINT    := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# What `make run` uses. SECONDS is how long it runs; empty: until interrupted. If a port is taken, it uses another one.
SECONDS     :=
RATE        := 140
SECURE_PORT := 6443
WEB_PORT    := 9090

# What `make image` builds. PLATFORMS=linux/amd64,linux/arm64,linux/arm/v7 builds for all of these and pushes; empty: for
# this machine, loaded.
IMAGE         := ghcr.io/promlet/promlet
IMAGE_VERSION  = $(shell git describe --tags --always --dirty)
PLATFORMS     :=

# What `make release-dry-run` builds: the changelog's first version.
VERSION = $(shell sed -n '/^## /{s/^## \(v[^ ]*\).*/\1/p;q}' CHANGELOG.md)

# Test modules, each with a go.mod of its own.
MODULES := monitors browser metricsserver stranger

# Machines that promlet is built for besides amd64, as GOARCH; arm is v7.
CROSS := arm64 arm

# What `make e2e` runs on: K8S is a version that bench/controlplane knows; or, on the command line, KUBECONFIG is that of
# a cluster whose nodes can pull E2E_IMAGE and E2E_APP_IMAGE.
K8S           :=
E2E_IMAGE     :=
E2E_APP_IMAGE :=

# The race detector, for tests. It needs a C compiler. Without one the tests run without it, and `make test` says so.
RACE    = $(if $(shell CGO_ENABLED=1 go build -race runtime/cgo >/dev/null 2>&1 && echo yes),-race)
GO_RACE = CGO_ENABLED=$(if $(RACE),1,0) go

# Static binaries; and one build cache for building, vetting and linting.
export CGO_ENABLED := 0
GO_BUILD := go build -ldflags '-s -w'

.DEFAULT_GOAL := help
.PHONY: help build run test e2e e2e-engines soak verify lint cross apidiff fuzz bench image release-dry-run generate clean

help: ## Show these commands.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/promlet, also as the plugin bin/kubectl-promlet, the sample application and its demonstration.
	$(GO_BUILD) -o bin/promlet ./cmd/promlet
	ln -sf promlet bin/kubectl-promlet
	$(GO_BUILD) -o bin/sample-metrics-app ./deploy/example/app
	$(GO_BUILD) -o bin/demo ./deploy/example/demo

run: ## See it work, without a cluster: two applications, a load, and the values that an HPA would get. SECONDS=60 ends it.
	@echo "Building, which takes minutes the first time."; $(MAKE) -s build
	@./bin/demo --promlet bin/promlet --app bin/sample-metrics-app --manifests deploy/example \
		--rate $(RATE) --secure-port $(SECURE_PORT) --web-listen-address 127.0.0.1:$(WEB_PORT) $(if $(SECONDS),--seconds $(SECONDS))

# The comparison with the operator runs without the race detector: it runs no code of promlet
# concurrently, and its 2,000 clusters would take six times as long. cmd/promlet's tests take
# as long as all others together, so they start first.
test: export PROMLET_SKIPPED := $(or $(TMPDIR),/tmp)/promlet-skipped-$(shell echo $$$$)
test: ## Run all tests, with the race detector; promlet beside the Prometheus operator and metrics-server, its pages in a browser, and programs that embed it.
	go -C bench/monitors test -timeout 30m ./...
	go -C bench/browser test -timeout 10m ./...
	go -C bench/metricsserver test -timeout 10m ./...
	$(GO_RACE) -C bench/stranger test $(RACE) -timeout 10m ./...
	$(GO_RACE) test $(RACE) -timeout 60m ./cmd/promlet ./...
	@$(if $(RACE),,echo "The race detector: install a C compiler, such as Debian's gcc and libc6-dev" >>$$PROMLET_SKIPPED)
	@[ ! -s $$PROMLET_SKIPPED ] || { echo; echo "All that ran has passed. Not tested, for want of something on this machine:"; \
		sort -u $$PROMLET_SKIPPED | sed 's/^/  /'; rm $$PROMLET_SKIPPED; }

e2e: ## Run the end-to-end tests alone, on Kubernetes K8S=1.35.4, or on the cluster of KUBECONFIG=FILE.
	PROMLET_E2E_K8S=$(K8S) PROMLET_E2E_KUBECONFIG=$(if $(filter command%,$(origin KUBECONFIG)),$(abspath $(KUBECONFIG))) \
		PROMLET_E2E_IMAGE=$(E2E_IMAGE) PROMLET_E2E_APP_IMAGE=$(E2E_APP_IMAGE) \
		$(GO_RACE) test $(RACE) -count=1 -v -timeout 60m -run '^TestEndToEnd$$' ./cmd/promlet

e2e-engines: build ## Run four shards with Thanos as the engine, kill a shard and a receiver, and print what HPAs read. 8 minutes, once Thanos is built.
	go run ./bench engines

soak: build ## Run promlet for SOAK=30m while pods, HPAs, its configuration and kube-apiserver come and go. Memory must stay flat, and no value may be wrong.
	go run ./bench soak -for $(or $(SOAK),30m)

verify: lint cross apidiff ## Check format, vet, lint, go.mod and the API, and that it builds for every kind of machine.
	@test -z "$$(gofmt -l .)" || { echo "gofmt these:"; gofmt -l .; exit 1; }
	go vet ./...
	go mod tidy -diff
	@set -ex; for module in $(MODULES); do go -C bench/$$module vet ./...; go -C bench/$$module mod tidy -diff; done
	go -C bench/controlplane/kube mod tidy -diff

lint:
	go run $(GOLANGCI_LINT) run ./...
	@set -ex; for module in $(MODULES); do (cd bench/$$module; go run $(GOLANGCI_LINT) run ./...); done
	go run $(ACTIONLINT)

# Without optimisation, which saves a third of the time: this only checks that it builds.
cross:
	@set -e; for arch in $(CROSS); do \
		echo "build for linux/$$arch"; GOOS=linux GOARCH=$$arch GOARM=7 go build -gcflags 'all=-N -l' -o /dev/null ./cmd/promlet; \
		done

# deploy/STABILITY.md says what may change with which version.
apidiff: ## Show how the exported API has changed since the last tag. From v1.0.0 on an incompatible change is an error.
	@set -e; tag=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || { echo "apidiff: no tag yet, so there is no API to keep"; exit 0; }; \
		old=$$(mktemp -d); trap 'git worktree remove --force "$$old/tree"; rm -rf "$$old"' EXIT; \
		git worktree add --quiet --detach "$$old/tree" "$$tag"; module=$$(go list -m); \
		(cd "$$old/tree" && go run $(APIDIFF) -m -w "$$old/api" "$$module"); \
		go run $(APIDIFF) -m "$$old/api" "$$module" >"$$old/changes"; echo "apidiff: since $$tag"; cat "$$old/changes"; \
		case "$$tag" in v0.*) ;; *) ! grep -q '^Incompatible changes' "$$old/changes" ;; esac

# With Go 1.27: before it, a run may fail when its time is up, although no input failed (golang/go#75804).
fuzz: export GOTOOLCHAIN := go1.27.2
fuzz: ## Run every fuzz target for FUZZTIME (default 1m) each.
	@set -e; for module in . bench/monitors; do cd $(CURDIR)/$$module; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(or $(FUZZTIME),1m) -fuzzminimizetime 1s $$pkg; \
		done; done; done

# Prometheus is built without the assets of its web pages, which are not in its module.
bench: build ## Measure the process, shipping, discovery and scraping beside Prometheus, answers beside prometheus-adapter, and metrics.k8s.io beside metrics-server. 35 minutes, once all is built.
	go -C bench/prometheus build -ldflags '-s -w' -o $(CURDIR)/bin/prometheus github.com/prometheus/prometheus/cmd/prometheus
	go -C bench/prometheusadapter build -ldflags '-s -w' -o $(CURDIR)/bin/prometheus-adapter sigs.k8s.io/prometheus-adapter/cmd/adapter
	go run ./bench process
	go run ./bench shipping
	go run ./bench discovery
	go run ./bench scraping
	go run ./bench answers
	go run ./bench byurl
	go run ./bench resources

image: ## Build the container images, with docker. PLATFORMS=linux/amd64,linux/arm64,linux/arm/v7 pushes promlet for these.
	docker buildx build -f deploy/Dockerfile -t $(IMAGE):$(IMAGE_VERSION) \
		--label org.opencontainers.image.version=$(IMAGE_VERSION) --label org.opencontainers.image.revision=$$(git rev-parse HEAD) \
		$(if $(PLATFORMS),--platform $(PLATFORMS) --push,--load) .
	$(if $(PLATFORMS),,docker buildx build -f deploy/Dockerfile --target sample-metrics-app -t sample-metrics-app:dev --load .)

release-dry-run: ## Build what a release publishes into dist/, out of the last commit, and check each file with a program that reads it. Needs Linux.
	deploy/release/build.sh $(VERSION)
	deploy/release/check.sh $(VERSION)

generate: ## Write the CRDs, deploy/install.yaml, deploy/REFERENCE.md and the chart's copies again.
	KUBECTL="go -C $(CURDIR)/bench/controlplane/kube run . kubectl" deploy/generate.sh
	go test ./cmd/promlet -run '^TestReference$$' -count=1 -update

clean: ## Remove what was built.
	rm -rf bin dist
