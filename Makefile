# Needs Python 3.11 or later with its venv module, and make. Everything is installed into .venv.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
STAMP := .venv/installed
TASK ?= segmentation
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,track]'

.PHONY: quickstart test stress check lint types contracts format clean

quickstart: $(STAMP)  ## draw the shapes data set, train, evaluate, profile, report (TASK=detection: with boxes; TASK=joint: both)
	$(BIN)/mbseg quickstart --task $(TASK) $(ARGS)

test: $(STAMP)  ## every test, on up to four processes of one thread each
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

stress: $(STAMP)  ## a quarter of an hour of kills, damaged inputs and timings on two cores (ARGS="-k kills --kills 20": a part)
	$(BIN)/python -m pytest -o python_files='stress_*.py' tests/stress $(ARGS)

check: lint types contracts test  ## what CI runs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The stamp is written last: an installation that was interrupted is done again on what is there already, and from
# nothing if that cannot be mended.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later found; run make PYTHON=/path/to/python3"; exit 2; }
	@echo "installing into .venv: about 2 minutes, 6 GB"
	$(PYTHON) -m venv .venv
	$(INSTALL) || { $(PYTHON) -m venv --clear .venv && $(INSTALL); }
	touch $(STAMP)

clean:  ## remove the installation, not the runs and data
	rm -rf .venv
