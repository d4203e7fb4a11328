# make demo   a throw-away gateway with five officers and a web archive (ONCE=1: ends by itself)
# make test   everything: style, types, layers, tests (DATABASE=postgresql: each test on PostgreSQL)
# make bench  the cost of a copy, beside one gpg call a subscriber; and of a page of the archive
# make drill  WHAT=faults|load|hosts|servers|restore|upgrade: a drill, and the table of what it showed
# make fuzz   every reader of foreign bytes, SECONDS=60 each (WORDS="mail commands": these alone)
PYTHON ?= python3
export PYTHON
BIN = .venv/bin

WHAT ?= faults

DATABASE ?= sqlite
ON_DATABASE = ENVIRONET_TEST_DATABASE=$(DATABASE)
SIDE_BY_SIDE = $(ON_DATABASE) $(BIN)/python -m pytest -n auto --dist worksteal

SECONDS ?= 60

.PHONY: demo test part bench drill fuzz check run-setup test-setup

demo: run-setup
	@$(BIN)/python -m contrib.demo $(if $(ONCE),--once)

test: test-setup check
	$(SIDE_BY_SIDE) tests/unit tests/property tests/scenarios tests/web tests/faults
	# One after the other: mail programs at a terminal don't start in pytest-xdist's processes.
	$(ON_DATABASE) $(BIN)/python -m pytest tests/interop tests/hosts
ifneq ($(DATABASE),postgresql)
	# What leans on the database most runs on PostgreSQL too.
	$(MAKE) --no-print-directory part DATABASE=postgresql
endif

part:
	$(SIDE_BY_SIDE) tests/scenarios/test_worker.py tests/scenarios/test_crash.py \
		tests/unit/test_store.py tests/unit/test_bounces.py

check: test-setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo

bench:
	@contrib/setup.sh bench
	$(BIN)/python -m tests.bench

drill: test-setup
	@$(BIN)/python -m tests.drills $(WHAT) $(WORDS)

fuzz:
	@contrib/setup.sh fuzz
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(WORDS)

run-setup:
	@contrib/setup.sh run

test-setup:
	@contrib/setup.sh test
