# Needs Python 3.11 or later with its venv module, and make. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: quickstart test check lint types contracts format clean

quickstart: $(STAMP)  ## draw the shapes data set, train, evaluate, profile, write runs/quickstart/report.md
	$(BIN)/mbseg quickstart

test: $(STAMP)  ## every test
	$(BIN)/python -m pytest

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

# The stamp is written last: an installation that was interrupted is simply done again, on what is there already.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; run make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,track]'
	touch $(STAMP)

clean:  ## remove the installation, not the runs and data
	rm -rf .venv
