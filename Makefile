# Balcão: what a person or a machine runs. Every target sets up what it needs; `make demo` and `make test` are the two to know.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help setup build demo test format lint oracle bench bench-full bench-setup hot instructions faults fuzz hostile reload cost clean

# One profile for tests, demo and measures: they share what is compiled.
CARGO := cargo
FLAGS := --release --locked
BIN := target/release

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install what is missing: a C compiler and linker for the bundled SQLite and Python for one test (Debian's packages), rustfmt and clippy
	@command -v $(CARGO) >/dev/null || { echo 'error: no Rust toolchain; install Rust 1.95 or newer, for example with rustup' >&2; exit 1; }
	@if ! command -v cc >/dev/null || ! echo '#include <stdio.h>' | cc -E -x c - >/dev/null 2>&1; then \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$root apt-get update -q && $$root apt-get install -y -q --no-install-recommends gcc libc6-dev; \
	fi
	@if [ ! -x /usr/bin/python3 ] && [ ! -x /usr/local/bin/python3 ]; then \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$root apt-get update -q && $$root apt-get install -y -q --no-install-recommends python3; \
	fi

build: setup ## build every program
	$(CARGO) build $(FLAGS) --workspace --bins

demo: build ## one million synthetic rows: index them, serve them, ask, clean up
	$(BIN)/demo

test: setup format lint build ## every test, formatting and lint; some tests run the programs that `build` makes
	RUST_BACKTRACE=0 $(CARGO) test $(FLAGS) --workspace

format: setup
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	$(CARGO) fmt --all --check

lint: setup
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	$(CARGO) clippy $(FLAGS) --workspace --all-targets -- -D warnings

# Searches are drawn by default: 3,000 by words, 3,000 fuzzy ones, 1,000 with a filter, 500 claims.
oracle: build ## 300,000 rows and, clustered, 200,000; 10 % dirty: every answer over the wire, of searches, filters and claims too, against a plain scan
	$(BIN)/oracle --make --rows 300000 --dirty 0.1 --seed 7 --prefixes 20000
	$(BIN)/oracle --make --rows 200000 --dirty 0.1 --seed 8 --prefixes 20000 --cluster --shards 5

faults: build ## every byte of a small index, a thousand of a large one, builds that are killed: what is damaged is noticed
	$(BIN)/faults --rows 1000000 --dirty 0.01 --seed 1 --flips 1000 --cuts 100 --out docs/results.md \
	  --also 'RUST_BACKTRACE=0 $(CARGO) test $(FLAGS) -p balcao-engine --lib -- damage --nocapture' \
	  --also 'BALCAO_KILLS=250 $(CARGO) test $(FLAGS) -p balcao-indexer --test indexer -- faults kills full_disk registry --nocapture'

# What else `compare` takes, for instance `make bench BENCH='--only words,batch'` or `make bench BENCH='--keep FOLDER'`.
BENCH ?=

bench: build bench-setup ## 10,000,000 rows: ours beside SQLite, Redis, PostgreSQL and Python, into docs/results.md; some 60 minutes, 9 GB of disk
	$(CARGO) build $(FLAGS) -p balcao-benches --example engine
	$(BIN)/compare --rows 10000000 --dirty 0.01 --seed 1 --out docs/results.md $(BENCH)

bench-full: build ## ours alone at 1, 10 and 220 million rows, into docs/results.md; some 15 minutes, 23 GB of disk
	$(CARGO) build $(FLAGS) -p balcao-benches --example engine
	$(BIN)/compare --full --sizes 1000000,10000000,220000000 --dirty 0.01 --seed 1 --out docs/results.md $(BENCH)

bench-setup: setup ## install the peers that are missing, from Debian's packages; none of them is left running
	benches/compare/setup.sh

hot: setup ## criterion times every piece of a question's way on 1,000,000 rows (BALCAO_BENCH_ROWS); some two minutes
	$(CARGO) bench --locked -p balcao-benches --bench hot

instructions: setup ## the same pieces in instructions, for machines that others use too; needs Debian's valgrind; some minutes
	@command -v valgrind >/dev/null || { \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$root apt-get update -q && $$root apt-get install -y -q --no-install-recommends valgrind; \
	}
	$(CARGO) bench --locked -p balcao-benches --bench hot -- --instructions

# The programs of another commit: `git worktree add ../before COMMIT && make -C ../before build`, then `make cost BEFORE=../before/target/release NAME=COMMIT`.
BEFORE ?=
NAME ?= before

cost: build ## what a change cost: the programs in BEFORE against these, in turns, into docs/results.md; some five minutes
	@[ -n "$(BEFORE)" ] || { echo 'error: name the folder with the programs from before: make cost BEFORE=FOLDER NAME=COMMIT' >&2; exit 2; }
	$(BIN)/cost --before $(BEFORE) --name $(NAME) --out docs/results.md

hostile: build ## hostile clients beside well-behaved ones, kind by kind, into docs/results.md; some eight minutes
	$(BIN)/hostile --rows 1000000 --dirty 0.01 --seed 1 --out docs/results.md

reload: build ## ten reloads under the load of 1000 connections, into docs/results.md; two minutes
	$(BIN)/reload --rows 1000000 --dirty 0.01 --seed 1 --out docs/results.md

# cargo-fuzz as it was tried; libFuzzer is C++, and the compiler may be the stable one: see formats/fuzz/run.sh.
CARGO_FUZZ_VERSION := 0.13.2
export FUZZ_SECONDS ?= 60

fuzz: setup ## every fuzz target for FUZZ_SECONDS (60), a table at the end; fails on a crash
	@command -v c++ >/dev/null || { \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$root apt-get update -q && $$root apt-get install -y -q --no-install-recommends g++; \
	}
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install cargo-fuzz --locked --version $(CARGO_FUZZ_VERSION)
	formats/fuzz/run.sh

clean: ## remove what was built
	$(CARGO) clean
