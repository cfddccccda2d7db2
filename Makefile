# Two commands do everything on a fresh machine: `make demo` and `make test`. Each makes .venv when there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench sample

demo: $(INSTALLED)  ## from data/sample's logs to a trained model and its report
	$(BIN)/python -m data.demo

test: lint  ## everything CI runs, a file of tests per core at a time
	$(BIN)/pytest -n auto --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## prints ratios against named baselines
	$(BIN)/python -m bench

sample: $(INSTALLED)  ## writes data/sample again, its model included
	$(BIN)/python -m data.generate

# torch first and by its exact version: a bare `torch` may bring gigabytes of CUDA to a machine without a GPU.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[app,dev]"
	touch $@
