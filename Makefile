# accountdb: two commands bring a fresh clone to life.
#
#   make demo [MODE=native|pglogical]   two regions, written in both, cut and healed, found equal
#   make test                           the tests, on real servers
#   make test-all                       with those that only repeat on one engine what another has shown
#   make check                          format, lint, types, layers
#   make proof [SEEDS=50] [MODE=...]    random histories with faults, each proved equal; SEED=n replays one;
#                                       REGIONS=3: in three regions; MODE=pgsync: merge jobs instead of streams
#   make faults [STEPS=all] [MODE=...]  pgsync, merge, undo and diff die at every step and are run again (hours)
#   make follow [PASSES=1000]            pgsync under writers, pass after pass, proved equal
#   make bench                          what a guard, a comparison, a merge, pgsync, check and a snapshot cost
#
# Both make .venv first; nothing else needs to be installed by hand.

MODE ?= native
SEEDS ?= 50
SEED ?=
ROUNDS ?= 10
REGIONS ?= 2
STEPS ?= all
PASSES ?= 1000
TESTS ?=
# Most tests wait for servers, so three workers fill two cores. The 200 s of load take one for themselves.
WORKERS ?= 3
BIN := .venv/bin
READY := .venv/.accountdb-ready

.PHONY: help env pglogical tools demo test test-all test-fast proof faults follow bench check format clean

help:
	@sed -n 's/^#  *make/  make/p' Makefile

env: $(READY)

$(READY): pyproject.toml scripts/bootstrap.sh
	@sh scripts/bootstrap.sh
	@touch $@

# Debian's PostgreSQL 15 with pglogical: installed where we may, told where we may not.
pglogical:
	@sh scripts/pglogical.sh

# What some tests need besides: Chromium, promtool, and a clock that can be off. Told where one cannot be had.
tools: env
	@sh scripts/chromium.sh
	@sh scripts/promtool.sh
	@sh scripts/faketime.sh

demo: env
	@if [ "$(MODE)" = pglogical ]; then sh scripts/pglogical.sh --need; fi
	@$(BIN)/migratectl demo --mode $(MODE)

test: env pglogical tools
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

test-all: env pglogical tools
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --all $(TESTS)

test-fast: env
	@$(BIN)/python -m pytest tests/unit

proof: env
	@if [ "$(MODE)" = pglogical ]; then sh scripts/pglogical.sh --need; fi
	@$(BIN)/python -m proof --mode $(MODE) --regions $(REGIONS) --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

faults: env
	@if [ "$(MODE)" = pglogical ]; then sh scripts/pglogical.sh --need; fi
	@$(BIN)/python -m proof.death --mode pgsync --steps $(STEPS)
	@if [ "$(MODE)" != pgsync ]; then $(BIN)/python -m proof.death --mode $(MODE) --steps $(STEPS); fi

follow: env
	@$(BIN)/python -m proof.following --passes $(PASSES)

bench: env
	@sh scripts/pglogical.sh --need
	@sh scripts/chromium.sh
	@status=0; for part in apply diff pgsync check snapshot dashboard; do $(BIN)/python -m benchmarks.$$part || status=1; done; exit $$status

check: env
	@$(BIN)/ruff format --check src tests proof benchmarks
	@$(BIN)/ruff check src tests proof benchmarks
	@$(BIN)/mypy
	@found=$$($(BIN)/lint-imports --no-cache 2>&1) || { echo "$$found"; exit 1; }

format: env
	@$(BIN)/ruff format src tests proof benchmarks
	@$(BIN)/ruff check --fix src tests proof benchmarks

clean:
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
