# promlet's commands. Everything here needs Go, make and git, and nothing else.

# Tools run at pinned versions, outside go.mod: who embeds promlet inherits that.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# What `make run` uses. SECONDS is how long it runs; empty: until interrupted.
SECONDS     :=
RATE        := 140
SECURE_PORT := 6443
WEB_PORT    := 9090

# Static binaries; and one build cache for building, vetting and linting.
export CGO_ENABLED := 0
GO_BUILD := go build -ldflags '-s -w'

.DEFAULT_GOAL := help
.PHONY: help build run test verify lint fuzz clean

help: ## Show these commands.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/promlet, the sample application and its demonstration.
	$(GO_BUILD) -o bin/promlet ./cmd/promlet
	$(GO_BUILD) -o bin/sample-metrics-app ./deploy/example/app
	$(GO_BUILD) -o bin/demo ./deploy/example/demo

run: build ## See it work, without a cluster: two applications, a load, and what the HPA would be told. SECONDS=60 ends it.
	./bin/demo --promlet bin/promlet --app bin/sample-metrics-app --manifests deploy/example \
		--rate $(RATE) --secure-port $(SECURE_PORT) --web-listen-address 127.0.0.1:$(WEB_PORT) $(if $(SECONDS),--seconds $(SECONDS))

test: ## Run all tests, with the race detector.
	CGO_ENABLED=1 go test -race ./...

verify: lint ## Check format, vet, lint and go.mod.
	@test -z "$$(gofmt -l .)" || { echo "gofmt these:"; gofmt -l .; exit 1; }
	go vet ./...
	go mod tidy -diff

lint:
	go run $(GOLANGCI_LINT) run ./...

fuzz: ## Run every fuzz target for FUZZTIME (default 1m) each.
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(or $(FUZZTIME),1m) $$pkg; \
		done; done

clean: ## Remove what was built.
	rm -rf bin
