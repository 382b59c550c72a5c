# Every target works on a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date
SCENARIOS := $(wildcard scenarios/*.yaml)

.DEFAULT_GOAL := help
.PHONY: help setup report test test-fast lint format typecheck check golden docs bench accuracy fit-speed lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## make .venv with the planner command in it (does nothing when up to date)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "planner needs Python 3.11 or newer; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

report: setup  ## write reports/<name>/ for every file in scenarios/
	$(BIN)/planner report $(SCENARIOS) --output reports

test: setup  ## run the whole test suite
	$(BIN)/python -m pytest -n auto --dist worksteal

test-fast: setup  ## the tests without the slow ones
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not browser"

lint: setup  ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup  ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: setup  ## strict type check
	$(BIN)/mypy

check: lint typecheck test report  ## what CI runs

golden: setup  ## rewrite the golden files from what the program prints now
	$(BIN)/python -m pytest tests/golden --refresh-golden -n 0

docs: setup  ## rewrite the generated pages of docs/
	$(BIN)/python docs/generate_formulas.py

bench: setup  ## cells per second, peak memory, and seconds of choosing and reading
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/choice.py

accuracy: setup  ## estimates against measured runs (needs the reference folder)
	$(BIN)/python benchmarks/accuracy.py

fit-speed: setup  ## fit the speed constants to measured runs (needs the reference folder)
	$(BIN)/python -m benchmarks.fit_speed

lock: setup  ## write constraints.txt from what is installed now
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:  ## remove what make made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find reports -mindepth 2 -type f ! -name plan.lock.json -delete
