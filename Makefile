# `make env` makes .venv with the versions of requirements/env.txt; `make demo` and `make test`
# make it first. PYTHON chooses the interpreter: make env PYTHON=/usr/bin/python3.12

VENV := .venv
BIN := $(VENV)/bin
# There once the environment is complete; remade when it is older than what it is made from.
STAMP := $(VENV)/.complete
SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Of the interpreter behind a virtual environment.
WHICH := import sys; print(sys.base_prefix, sys.version)
# Another interpreter than that of .venv is asked for.
OTHER = $(if $(filter command%,$(origin PYTHON)),$(shell test "$$('$(PYTHON)' -c '$(WHICH)' 2>&1)" \
	= "$$($(BIN)/python -c '$(WHICH)' 2>&1)" || echo other))
# The checkout has been moved or copied: its .venv imports the package of the old place.
MOVED = $(shell test "$$(cat $(STAMP) 2>/dev/null)" = '$(CURDIR)' || echo moved)
ARGS ?=

.DELETE_ON_ERROR:
.PHONY: help env demo test lint docs clean distclean FORCE

help:
	@echo 'make env        create .venv with the tested versions (minutes; quick the second time)'
	@echo 'make demo       refine the sample photographs, write pictures, print IoU and mBA'
	@echo 'make test       lint and run the whole test suite (ARGS="-m \"not slow\"" for a part)'
	@echo 'make lint       lint and types of the public interface'
	@echo 'make docs       build the site in docs/_build/html; every warning is an error'
	@echo 'make clean      remove caches and build folders; make distclean removes .venv too'

env: $(STAMP)

# An environment whose making was interrupted (.making is left) is made anew; any other is brought up
# to date.
$(STAMP): requirements/env.txt setup.py $(if $(OTHER)$(MOVED),FORCE)
	@'$(PYTHON)' -c '$(SUPPORTED)' 2>/dev/null || { echo "Python 3.10 to 3.13 with the venv module" \
		"is needed (on Debian: apt install python3-venv), but PYTHON='$(PYTHON)' is not that:" \
		"say make env PYTHON=/path/to/python3" >&2; exit 1; }
	@if test -e $(VENV)/.making || test -n '$(OTHER)' \
		|| ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		'$(PYTHON)' -m venv --clear $(VENV) && touch $(VENV)/.making; fi
	$(PIP) install --quiet "$$(grep '^setuptools==' requirements/env.txt)"
	$(PIP) install --quiet --no-build-isolation -r requirements/env.txt
	PYTHONWARNINGS=ignore $(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@rm -f $(VENV)/.making
	@echo '$(CURDIR)' > $@
	@echo 'ready; for the commands of README.md in this shell: source $(BIN)/activate'

FORCE:

demo: env
	$(BIN)/python tools/demo.py $(ARGS)

test: lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

# Sums are rounded in another order without AVX, and with two threads.
NUMERIC := tests/test_apis tests/test_cascade tests/test_models
numeric: env
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=2 $(BIN)/python -m pytest \
		--numprocesses auto --maxprocesses 4 --dist loadfile -m 'not slow' $(NUMERIC) $(ARGS)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: env
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html'

clean:
	rm -rf build dist docs/_build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
