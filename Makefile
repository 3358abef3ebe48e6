# Needs Python >= 3.11 with venv, and nothing else of the system. VENV and PYTHON may be overridden.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test check docs bench clean

$(BIN)/audit: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -e '.[weights,dev]'
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib  # by every processor, where pip takes one; templates of other packages fail
	touch $(BIN)/audit

demo: $(BIN)/audit  ## synthetic radiographs, a small network C, its audit and report
	$(BIN)/audit demo

test: $(BIN)/audit  ## every test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(BIN)/audit docs  ## lint; types and import rules of what is installed; the site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/installed build/lib
	$(BIN)/python -m pip install --quiet --no-deps --target build/installed .
	cd build/installed && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache
	cd build/installed && $(CURDIR)/$(BIN)/lint-imports $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.import_linter_cache

docs: $(BIN)/audit  ## the site, in build/site; a warning is an error
	$(BIN)/python -m docs.site

bench: $(BIN)/audit  ## the long measurements, each printing its ratio
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; done

clean:
	rm -rf $(VENV) demo build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
