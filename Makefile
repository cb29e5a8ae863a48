# Every target works as the first command typed in a fresh clone: what it needs is installed and generated on the way.
.DEFAULT_GOAL := help
.PHONY: help run test check build lint format sim bench fuzz proofs chaos transcripts clean deps

BIN       := node_modules/.bin
NODE      := $(BIN)/node
INSTALLED := node_modules/.package-lock.json
GENERATED := node/src/transport/gen/wire.js
JEST      := $(NODE) --experimental-vm-modules --no-warnings node_modules/jest/bin/jest.js
# Tools find the Node that was installed, npm the system's: it must not run on what it replaces.
SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)
WANTED    := $(shell sed -n 's/.*"node": "\([0-9.]*\)".*/v\1/p' package.json)

# Variables of the targets; `make sim SEED=42`.
NODES   ?= 5
ZONES   ?= 3
SEEDS   ?= 200
FIRST   ?= 1
COUNT   ?= 1000000
NAME    ?= engine
TESTS   ?=

help: ## Show this help
	@echo 'Coterie: a Dynamo-style key-value store. Targets:'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

run: deps ## Start a cluster on loopback and show how to try it (NODES=5 ZONES=3)
	@exec $(NODE) node/bin/coterie.js dev --nodes $(NODES) --zones $(ZONES)

test: deps ## Run every test (TESTS=path runs some)
	@$(JEST) --json --outputFile=node_modules/.test-results.json $(TESTS)

check: deps ## Types, lint, import rules, formatting, stale generated files
	@echo 'types';      $(BIN)/tsc -b
	@echo 'lint';       $(BIN)/eslint --cache --cache-location node_modules/.cache/eslint --max-warnings 0 .
	@echo 'imports';    $(BIN)/depcruise --config .dependency-cruiser.cjs node/src node/sim node/bench node/test
	@echo 'formatting'; $(BIN)/prettier --check --log-level warn .
	@echo 'generated';  $(NODE) .ci/stale.js

build: deps ## Compile to JavaScript in node/dist
	@$(BIN)/tsc -b node

lint: deps ## Lint, and mend what can be mended
	@$(BIN)/eslint --fix .

format: deps ## Format every file
	@$(NODE) .ci/stale.js --write
	@$(BIN)/prettier --write --log-level warn .

sim: deps ## Simulate: SEEDS=200 [FIRST=1] | SEED=42 (a readable trace) | MUTANTS=1 | SCALE=1 (failure detection at 1,000 nodes)
ifdef SCALE
	@$(NODE) node/sim/scale/main.ts
else ifdef MUTANTS
	@$(NODE) node/sim/main.ts --mutants
else ifdef SEED
	@$(NODE) node/sim/main.ts --seed $(SEED)
else
	@$(NODE) node/sim/main.ts --seeds $(SEEDS) --first $(FIRST)
endif

bench: deps ## Measure against peers: NAME=engine | resp | http | cluster | big | overload | repair
	@$(NODE) node/bench/main.ts $(NAME)

fuzz: deps ## Fuzz the three protocols with COUNT=1000000 mutated inputs each
	@$(NODE) node/test/fuzz/resp.ts --count $(COUNT)
	@$(NODE) node/test/fuzz/http.ts --count $(COUNT)
	@$(NODE) node/test/fuzz/peer.ts --count $(COUNT)

proofs: deps ## Run every proof of the storage engine in full (some ten minutes)
	@$(NODE) node/sim/storage/model.ts --seed 1 --count 500
	@$(NODE) node/sim/storage/crash.ts --seed 1 --count 12
	@$(NODE) node/sim/storage/tree-crash.ts --seed 1 --count 40
	@$(NODE) node/test/storage-proofs/machine/kill.ts --seed 1 --count 200
	@$(NODE) node/sim/storage/bit-rot.ts --seed 1 --count 10000
	@$(NODE) node/sim/storage/failing-disk.ts --seed 1 --count 4
	@$(NODE) node/test/storage-proofs/machine/slow-reads.ts --seed 1 --count 20000

chaos: deps ## Hurt real processes a zone at a time, then with 40 ms between zones
	@$(NODE) node/test/chaos/chaos.ts --seconds 10 --rate 300
	@$(NODE) node/test/chaos/chaos.ts --seconds 10 --rate 300 --delay-ms 20

transcripts: deps ## Record the golden RESP transcripts from redis-server
	@$(NODE) node/test/conformance/record.ts

clean: ## Remove what was built (not ./.coterie, your data)
	@rm -rf node/dist node/src/transport/gen node/bench/out node_modules/.cache

deps: $(INSTALLED) $(GENERATED)
	@test "$$($(NODE) -v 2>/dev/null)" = "$(WANTED)" || { \
	  echo "Coterie runs on Node $(WANTED), which npm installs as the package 'node'; found '$$($(NODE) -v 2>&1 | head -1)' at $(NODE)."; \
	  echo "If npm is set to ignore install scripts, allow this one: npm rebuild node --ignore-scripts=false"; exit 1; }

$(INSTALLED): package.json package-lock.json node/package.json
	@command -v npm >/dev/null || { echo 'Coterie needs Node >= 20 with npm: https://nodejs.org'; exit 1; }
	@PATH='$(SYSTEM_PATH)' npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(GENERATED): $(wildcard node/proto/*.proto) node/package.json | $(INSTALLED)
	@npm run --silent -w node proto
	@touch $@
