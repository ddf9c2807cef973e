# Every target does its own set-up. One optimised profile (--release) and one set of crates serve all of them, so that
# Wasmtime is compiled once; --locked, so that what is built is what Cargo.lock says.

WEIR := $(or $(CARGO_TARGET_DIR),target)/release/weir
SEEDS ?= 500
FAULTS ?= 100
CARGO_FLAGS := --release --locked
DEBUG_BUILD := $(or $(CARGO_TARGET_DIR),target)/debug-build

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: guests binary ## draw a picture with 256 tasks, count words, print a summary
	@WEIR="$(WEIR)" scripts/demo.sh

.PHONY: test
test: guests binary ## run every test, those of the documentation included
	@if cargo nextest --version > /dev/null 2>&1; then \
	  echo 'cargo nextest run $(CARGO_FLAGS) --workspace'; \
	  cargo nextest run $(CARGO_FLAGS) --workspace; \
	else \
	  echo 'cargo test $(CARGO_FLAGS) --workspace --lib --bins --tests'; \
	  cargo test $(CARGO_FLAGS) --workspace --lib --bins --tests; \
	fi
	cargo test $(CARGO_FLAGS) --workspace --doc

.PHONY: check
check: ## formatting, clippy, documentation, dependencies; any warning fails
	cargo fmt --all --check
	cd examples-wasm && cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --no-deps --workspace
	@if cargo deny --version > /dev/null 2>&1; then \
	  echo 'cargo deny --locked check'; \
	  cargo deny --locked check; \
	else \
	  echo 'check: cargo-deny is not installed, so licences, bans and advisories are not checked'; \
	  echo 'check: `cargo install cargo-deny --locked` installs it'; \
	fi

.PHONY: guests
guests: ## build the example guests, with a compiler for them if there is none
	scripts/guests.sh

.PHONY: sim
sim: ## simulate a cluster under faults: make sim SEEDS=100000
	WEIR_SEEDS=$(SEEDS) cargo test $(CARGO_FLAGS) -p weir-tests --test simulation every_invariant -- --nocapture

.PHONY: nemesis
nemesis: guests binary ## kill, freeze, part and fill the disks of real processes: make nemesis FAULTS=100
	WEIR_FAULTS=$(FAULTS) cargo test $(CARGO_FLAGS) -p weir-tests --test nemesis acknowledged -- --nocapture

.PHONY: fuzz
fuzz: ## modules and calls at random, each kind for WEIR_FUZZ_SECONDS (10 minutes)
	WEIR_FUZZ_SECONDS=$(or $(WEIR_FUZZ_SECONDS),600) cargo test $(CARGO_FLAGS) -p weir-agent --lib \
	  agent_panic -- --nocapture

.PHONY: density
density: ## 10,000 live sandboxes on one agent: what each takes
	WEIR_SANDBOXES=10000 cargo test $(CARGO_FLAGS) -p weir-agent --test density -- --nocapture

# Wasmtime is compiled once more for the debug build, to a directory that is not kept.
.PHONY: determinism
determinism: guests ## the same results in every engine, of real compilers' programs too, and in a debug build
	scripts/corpus.sh
	WEIR_CORPUS="$(abspath $(or $(CARGO_TARGET_DIR),target))/corpus" \
	  cargo test $(CARGO_FLAGS) -p weir-agent --test determinism -- --nocapture
	CARGO_TARGET_DIR="$(DEBUG_BUILD)" CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 \
	  cargo test --locked -p weir-agent --test determinism written -- --nocapture
	rm -rf "$(DEBUG_BUILD)"

.PHONY: bench
bench: binary ## tasks a second, as an array and one by one; three masters beside one, and without their leader
	"$(WEIR)" bench tasks --count 100000 --array
	"$(WEIR)" bench tasks --count 2000 --single
	"$(WEIR)" bench --masters 3

.PHONY: speed
speed: guests ## the sandbox and the executor beside bare Wasmtime, as ratios; wants a quiet machine
	cargo test $(CARGO_FLAGS) -p weir-agent --lib --no-run
	cargo test $(CARGO_FLAGS) -p weir-agent --lib speed -- --ignored --nocapture --test-threads 1

.PHONY: clean
clean: ## remove everything that was built
	cargo clean
	cd examples-wasm && cargo clean

.PHONY: binary
binary:
	cargo build $(CARGO_FLAGS) --workspace
