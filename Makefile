# Everything a developer or an operator types; see README.md for what each does.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STACK  ?= embedded

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit smoke-stripe check bench lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# A stamp for each lock file: installed again only when the lock or the project changed.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
$(VENV)/.local: requirements/local.txt pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements/local.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@
$(VENV)/.dev: requirements/dev.txt requirements/stripe-openapi.txt pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements/dev.txt
	$(INSTALL) --require-hashes --no-deps --ignore-requires-python -r requirements/stripe-openapi.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.local

demo: $(VENV)/.local  ## run the whole path on the embedded stack (ARGS="--scale 0.01" for a quick one)
	$(BIN)/tallybook demo $(ARGS)

test: $(VENV)/.dev  ## every test, on real servers (STACK=embedded|containers|urls)
	TALLYBOOK_TEST_STACK=$(STACK) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-unit: $(VENV)/.dev  ## the tests that need no server
	$(BIN)/python -m pytest --ignore tests/integration -n auto --dist worksteal $(ARGS)

smoke-stripe: $(VENV)/.dev  ## one invoice at Stripe itself, with the test key in TALLYBOOK_SMOKE_STRIPE_KEY
	$(BIN)/python -m tests.smoke_stripe

check: $(VENV)/.dev  ## ruff, mypy --strict, import-linter, dead links
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.links

bench: $(VENV)/.dev  ## figures beside their ceilings, from one run
	$(BIN)/python -m benchmarks $(ARGS)
	$(BIN)/python -m benchmarks.preview
	$(BIN)/python -m benchmarks.invoices

# Run after a change of dependencies, with pip-tools installed.
COMPILE = pip-compile --quiet --generate-hashes --no-header --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --build-deps-for editable
lock:  ## write requirements/*.txt anew
	$(COMPILE) --extra local --extra export --extra dev --output-file requirements/dev.txt pyproject.toml
	$(COMPILE) --extra local --constraint requirements/dev.txt --output-file requirements/local.txt pyproject.toml
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/base.txt pyproject.toml

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
