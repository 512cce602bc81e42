# What can be done here. Each target with a line "## …" is listed by make alone.

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null)
PLATFORMS := linux/amd64 linux/arm64 windows/amd64 windows/arm64
FUZZTIME  ?= 10s

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.7.0
VULNDB      := https://vuln.go.dev

# The same for all that is built, so that it is built once. Without VCS stamping, as who builds need not own the checkout.
export CGO_ENABLED := 0
export GOFLAGS     := $(GOFLAGS) -trimpath -buildvcs=false

GO_BUILD := go build -ldflags '-s -w -X main.version=$(VERSION)'

.DEFAULT_GOAL := help
.PHONY: help build cross packages deps test test-windows test-packages check format vet tidy staticcheck govulncheck fuzz race soak lab sim demo bench bench-more bench-handout figures

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## make the program ./handout for this machine
	$(GO_BUILD) -o ./ ./cmd/handout

cross: ## make the program for every platform, in dist/
	@for p in $(PLATFORMS); do \
		os=$${p%/*} arch=$${p#*/} ext=; \
		if [ $$os = windows ]; then ext=.exe; fi; \
		echo "dist/handout-$$os-$$arch$$ext"; \
		GOOS=$$os GOARCH=$$arch $(GO_BUILD) -o dist/handout-$$os-$$arch$$ext ./cmd/handout || exit 1; \
	done

packages: ## make .deb, .rpm and .msi in dist/; SIGN_KEY and SIGN_CERTS (PEM files) sign what is for Windows
	@testlab/deps/install packages-release || echo "deps: going on without"
	go run ./cmd/packages

deps: ## install the Debian packages that tests use (root; otherwise it says what to run)
	@testlab/deps/install

test: ## install what tests need where it may, run them all, name those left out
	@testlab/deps/install || echo "deps: going on without; the tests concerned are left out"
	go vet ./...
	go run ./testlab/verdict -timeout 15m ./...

test-windows: ## what Windows does otherwise, a room with a Windows in it and the MSI, under Wine (some minutes)
	@testlab/deps/install packages-windows
	HANDOUT_WINE=1 go run ./testlab/verdict -v -count=1 -timeout 15m ./testlab/wine
	go run ./testlab/wine/gotest -timeout 15m ./sources ./sources/fileorigin ./sources/origin ./agent/api ./discovery
	go run ./testlab/wine/gotest -timeout 15m -run 'TestScannerHolds|TestReadOnlyDest|TestLongPath|TestSparseFile|TestOtherCase' ./agent/store

test-packages: ## make packages twice, install, upgrade and remove the .deb in a Debian of its own (root; some minutes)
	@testlab/deps/install packages-release
	HANDOUT_PACKAGES=1 go run ./testlab/verdict -v -count=1 -timeout 20m ./testlab/packages

check: format vet tidy staticcheck govulncheck ## what must hold before a commit: gofmt, vet, tidy, staticcheck, govulncheck

format:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:" $$unformatted; exit 1; fi

vet:
	@for p in $(PLATFORMS); do \
		echo "go vet for $$p"; \
		GOOS=$${p%/*} GOARCH=$${p#*/} go vet ./... || exit 1; \
	done

tidy:
	go mod tidy -diff

# What these two need from the network is fetched first, so that its absence is not taken for a finding.
staticcheck:
	@if go run $(STATICCHECK) -version; then \
		go run $(STATICCHECK) ./... && go run -exec 'env GOOS=windows' $(STATICCHECK) ./...; \
	else \
		echo "left out: staticcheck, which cannot be downloaded"; \
	fi

govulncheck:
	@if ! curl -fsS -m 20 -o /dev/null $(VULNDB)/index/db.json; then \
		echo "left out: govulncheck, as its database $(VULNDB) cannot be reached"; \
	elif ! go run $(GOVULNCHECK) -version; then \
		echo "left out: govulncheck, which cannot be downloaded"; \
	else \
		go run $(GOVULNCHECK) -db $(VULNDB) ./...; \
	fi

# At the end of its time a target may be called failed for no reason but that (go.dev/issue/75804, mended in Go 1.27): without
# a failing input it is fuzzed once more.
fuzz: ## fuzz each target for FUZZTIME (10s)
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	fuzz() { \
		echo "$$dir $$name for $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null >"$$log" 2>&1; \
		code=$$?; cat "$$log"; return $$code; \
	}; \
	grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+\(' . | sed -E 's,^(.*)/[^/]+:func (Fuzz[A-Za-z0-9_]+).*,\1 \2,' | \
	while read -r dir name; do \
		fuzz || { grep -q '^ *context deadline exceeded$$' "$$log" && ! grep -q 'Failing input' "$$log" && fuzz; } || exit 1; \
	done

race: ## run all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 go run ./testlab/verdict -race -timeout 30m ./...

soak: ## what takes long: large files, 500 kills, thousands of power cuts, every property many times, a minute of fuzzing each
	HANDOUT_SOAK=1 go run ./testlab/verdict -count=1 -timeout 60m ./agent/store
	HANDOUT_SOAK=1 go run ./testlab/verdict -v -count=1 -timeout 60m ./testlab/crash
	HANDOUT_SOAK=1 go run ./testlab/verdict -count=1 -timeout 10m -run Outlives ./cmd/handout
	HANDOUT_SOAK=1 go run ./testlab/verdict -v -count=1 -timeout 90m -run 'LabStopped|LabClocks' ./testlab/scenario
	go run ./testlab/verdict -count=5 -timeout 60m ./agent/... ./manifest/... ./sources/... ./discovery
	$(MAKE) fuzz FUZZTIME=60s

lab: ## play the stories of a room at 25 Mbit/s in network namespaces, print the figures (minutes)
	HANDOUT_LAB=1 go run ./testlab/verdict -v -count=1 -timeout 60m -run Lab ./testlab/scenario

sim: ## play rooms of up to 1,000 machines under virtual time, print a table (up to half an hour)
	go run ./testlab/sim -n 8,30,100,300,1000 -scenario all -seed 1

demo: ## publish a real tree, fetch it on four machines at once, print a table
	go run ./testlab/demo

bench: ## print what one machine and rooms take, beside aria2, libtorrent, UFTP, curl, rclone and cp (under half an hour)
	@testlab/deps/install packages packages-bench || echo "deps: going on without; the tools concerned are left out"
	go run ./testlab/bench lone tree seed room publish

bench-more: ## print the other figures: shares, versions, many files, agents (half an hour)
	@testlab/deps/install packages packages-bench || echo "deps: going on without; the tools concerned are left out"
	go run ./testlab/bench smb smbroom slowdest delta files push idle hostile restart

bench-handout: ## all these figures without the other tools
	go run ./testlab/bench -own

figures: ## play every scenario a site is judged by at 25 Mbit/s, print what came out beside what is wanted (half an hour)
	go run ./testlab/figures
