# make demo   a throw-away gateway with five officers and a web archive (ONCE=1: ends by itself)
# make test   everything: style, types, layers, tests
# make bench  the cost of a copy, beside one gpg call a subscriber; and of a page of the archive
# make drill  WHAT=faults|load|hosts|servers|restore|upgrade: a drill, and the table of what it showed
PYTHON ?= python3
export PYTHON
BIN = .venv/bin

WHAT ?= faults

.PHONY: demo test bench drill check run-setup test-setup

demo: run-setup
	@$(BIN)/python -m contrib.demo $(if $(ONCE),--once)

test: test-setup check
	$(BIN)/python -m pytest -n auto --dist worksteal tests/unit tests/property tests/scenarios tests/web
	# One after the other: mail programs at a terminal don't start in pytest-xdist's processes.
	$(BIN)/python -m pytest tests/interop

check: test-setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo

bench: test-setup
	$(BIN)/python -m tests.bench

drill: test-setup
	@$(BIN)/python -m tests.drills $(WHAT) $(WORDS)

run-setup:
	@contrib/setup.sh run

test-setup:
	@contrib/setup.sh test
