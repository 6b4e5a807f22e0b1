# Two commands do all the set-up: `make test-scenarios` (the main job) and `make test` (what .ci/run runs). What takes longer has targets of its own.
# What they need and this machine lacks, ci/deps installs, or says how to.

GO      ?= go
# One set of flags for all that compiles, so that linters find in the cache what the build has put there.
export GOFLAGS     := $(strip $(GOFLAGS) -trimpath)
export CGO_ENABLED := 0

BIN     := bin
OUT     := out
STATIC  := $(GO) build -ldflags '-s -w' -o $(BIN)/
RUN     := $(BIN)/proxyproof run --die-with-parent --junit $(OUT)/junit.xml --events $(OUT)/events.jsonl

# Packages whose tests need a kernel with IPVS; they run as compiled binaries in the VM. The longest comes first.
KERNEL  := reference/apply sim/netns sim/netstate sim/probe

.PHONY: test-scenarios test build lint unit kernel killed bisected subjects zoo mutants bench merge workflows dist reproducible clean deps-run deps-test

test-scenarios: deps-run build ## run every scenario in every IP family against the reference
	@mkdir -p $(OUT)
	$(RUN) $(ARGS)

test: deps-test ## what CI runs: linters, unit tests, kernel tests, kills, bisections, fixture subjects, all scenarios
	@ci/phases build lint unit kernel killed bisected subjects
	@ci/totals $(OUT) -- $(MAKE) --no-print-directory test-scenarios

build: ## the harness, the reference proxy, and the reference with the bug zoo
	@mkdir -p $(BIN)
	$(STATIC)proxyproof ./harness/proxyproof
	$(STATIC)reference ./reference
	$(STATIC)reference-defective ./reference/defective

lint: build ## vet, staticcheck, formatting, and the scenario files
	@ci/format
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(BIN)/proxyproof lint

unit: ## unit tests under the race detector
	@mkdir -p $(OUT)
	CGO_ENABLED=1 $(GO) test -race -vet=off -v -timeout 4m ./... >$(OUT)/unit.log 2>&1 || { grep -E -A 15 '^ *--- FAIL|^panic|^FAIL|DATA RACE|\[build failed\]' $(OUT)/unit.log; exit 1; }
	@echo "unit tests: $$(grep -c '^ *--- PASS' $(OUT)/unit.log) passed"

kernel: build ## tests of the packages that need IPVS, on a kernel that has it
	ci/kernel-tests $(BIN)/proxyproof $(KERNEL)

killed: build ## what a run leaves on this machine when it is killed: nothing
	ci/killed 3 $(BIN)/proxyproof run --focus keeps-apiserver

bisected: build ## searches for the culprit in generated repositories, one of them killed, and the same with git bisect
	ci/bisected $(BIN)/proxyproof

# Findings that are expected are listed in the fixtures' own files; others fail the run.
subjects: build ## what the harness says of proxies that it does not know, and of those that misbehave
	@mkdir -p $(OUT)
	$(STATIC)relay ./harness/fixture/relay
	$(BIN)/proxyproof run --die-with-parent scenarios harness/fixture/told-to-stop.yaml --families ipv4,ipv6 --focus 'told-to-stop/ipv4|(clusterip|nodeport).*@relay' \
		$(foreach s,relay exits hangs wants deaf floods writes,--subject exec=harness/fixture/$(s).yaml) >$(OUT)/subjects.log || { cat $(OUT)/subjects.log; exit 1; }
	@tail -n 1 $(OUT)/subjects.log

mutants: build ## the kill matrix: each defect of the bug zoo gives exactly its findings; FULL=1 for all scenarios, ARGS='--families ipv6'
	$(BIN)/proxyproof mutants --die-with-parent $(if $(FULL),--full) $(ARGS)

# With IPv6 first and IPv4 besides, each defect gives all of its findings somewhere.
zoo: build ## the kill matrix in one family set, in four minutes
	@mkdir -p $(OUT)
	$(BIN)/proxyproof mutants --die-with-parent --families dual-v6 >$(OUT)/zoo.log || { cat $(OUT)/zoo.log; exit 1; }
	@tail -n 1 $(OUT)/zoo.log

# KUBE_ROUTER=path measures a real kube-router beside the reference.
bench: deps-run build ## what the reference costs at 100, 1,000 and 3,000 Services, beside a floor; see docs/bench.md
	@mkdir -p $(OUT)
	$(STATIC)bench ./harness/bench
	$(BIN)/proxyproof exec --limit 2h --file $(BIN)/reference $(foreach f,$(KUBE_ROUTER),--file $(f)) $(BIN)/bench -- \
		$(ARGS) reference $(foreach f,$(KUBE_ROUTER),kube-router=./$(notdir $(f))) | tee $(OUT)/bench.md

deps-run:
	@ci/deps run

deps-test:
	@ci/deps run test

# EVENTS=files that run --events has written.
merge: build ## joins the reports of shards, and of runs with other subjects, kernels and back ends
	$(BIN)/proxyproof merge $(ARGS) $(EVENTS)

workflows: ## checks the workflows of CI
	@ci/lint-workflows

dist: ## what can be taken away: static binaries with the scenarios inside, checksums, a bill of materials; see docs/ci.md
	$(GO) run ./ci/dist dist

reproducible: dist ## a clone elsewhere, built with empty caches, gives the same bytes as make dist here
	ci/reproducible dist

clean: ## everything that make built here; the image cache is the user's
	rm -rf $(BIN) $(OUT) dist

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 18
