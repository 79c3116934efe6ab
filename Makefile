# The few commands of this project; each installs what it needs into .venv the first time.
#   make report   losscope on its built-in example; ends with where the report is
#   make test     lint, types, tests and the examples in the docstrings
#   make bench    side by side with the peers
#   make kernels  the GPU kernels compiled in every way, half an hour: which registers they take, and none spilled in a loop
#   make docs     the site, into build/site
#   make figures  the pictures of the README
#   make clean    removes what these made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
WORKERS ?= 2

.PHONY: report test bench kernels docs clean browser figures
.DELETE_ON_ERROR:

report: $(VENV)/.installed
	$(BIN)/losscope report

# Tests run side by side, so each worker computes on one thread.
test: $(VENV)/.installed-dev browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS)

bench: $(VENV)/.installed-bench
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script" || [ $$? = 2 ] || exit 1; done

kernels: $(VENV)/.installed-dev
	$(BIN)/python tools/compile_kernels.py --all

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "The site is $(CURDIR)/build/site/index.html"

# The README's pictures, drawn by the same code as the report.
figures: $(VENV)/.installed-dev browser
	$(BIN)/python tools/pictures.py

clean:
	rm -rf $(VENV) build dist report.html report.json .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"losscope needs Python 3.11 or later, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# A stamp is newer than what it was installed from, so a second run installs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev,learn]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[bench]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[docs]'
	@touch $@ $(VENV)/.installed

# The page tests drive Debian's Chromium. Without it they are skipped and say so; in CI they fail.
browser:
	@if command -v chromium >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "installing chromium for the browser tests"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "no chromium and no apt-get as root: the browser tests will be skipped"; fi
