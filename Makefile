# Everything a fresh machine needs is Python, its venv module and make.
#
#   make demo     set up, train a GRU on the sunspot numbers, write pictures to examples/out/
#   make test     set up, lint, check types, run all tests
#   make lint     ruff and mypy alone
#   make bench    set up; time compilation and gradients of every example
#   make clean    remove what the other targets made

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# pip is quiet about everything but what goes wrong.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint types bench clean

demo: $(VENV)/demo.stamp
	$(BIN)/python examples/worked/sunspots.py

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/test.stamp types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy examples tests

bench: $(VENV)/test.stamp
	$(BIN)/python -m tests.benchmarks

# mypy does not follow the import hook of an editable install, so it is shown a folder of links
# with the layout of the installed package.
types:
	@rm -rf build/types && mkdir -p build/types/unfold
	@ln -s $(CURDIR)/unfold/* $(CURDIR)/backends $(CURDIR)/grammar build/types/unfold

# One stamp for each set of extras; a changed pyproject.toml installs again.
$(VENV)/%.stamp: pyproject.toml $(BIN)/python
	$(INSTALL) --editable '.[$*]'
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) build dist examples/out *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
