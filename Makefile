# sentune: `make tune` to see it work, `make test` to check it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Else each of the tests' many processes compiles the modules again.
export PYTHONDONTWRITEBYTECODE :=
# Else `python -m tests.fuzz` does not look into this folder.
export PYTHONSAFEPATH :=
# An environment that was moved or copied, or whose Python was replaced, is made again; make must know at its start that
# its packages go, too. The first line of pip names its Python; the second one, if the path is long or has a space.
$(shell test ! -e $(BIN)/pip || { \
	test "$$(sed -n '1,2s/^[^/]*\(\/.*\)\/python[0-9.]*.*/\1/p' $(BIN)/pip)" -ef $(BIN) && \
	$(BIN)/python -I -c 'import pip'; } 2> /dev/null || rm -f $(BIN)/python $(VENV)/.installed*)

.PHONY: tune test fast chaos simulate fuzz check docs bench clean

tune: $(VENV)/.installed
	@echo "Searching on 10,568 movie snippets; the data and word vectors are prepared first, once"
	$(BIN)/sentune run --trials 6

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

fast: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore=tests/system -m 'not chaos and not slow' -n 2

chaos: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m chaos -n 2

# `make simulate SEED=17` runs one seed alone, `make simulate SEEDS=100000` as many as you want.
simulate: $(VENV)/.installed-test
	$(BIN)/python -m tests.simulator $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS))

# `make fuzz COUNT=100000` gives more inputs; `python -m tests.fuzz --cases N` repeats one.
fuzz: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(if $(COUNT),--count $(COUNT),--count 10000)

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Without the cache of the last build, which would hide its warnings.
docs: $(VENV)/.installed-test
	$(BIN)/zensical build --strict --clean
	$(BIN)/python -m tests.support.built_site build/site

# The short forms: they show that each works, not what holds. The data are MR where SENTUNE_DATA has it, else the snippets.
BENCHMARKS := data_cache training.epoch_time training.precision training.accuracy \
	simulation.compare_policies simulation.order_price portfolio.search search.overhead search.scaling \
	search.forecast_accuracy quality.selection_bias quality.ensemble_selection search.growth search.large_cluster \
	search.network_traffic search.whole_search search.first_step

bench: $(VENV)/.installed-test
	set -e; for name in $(BENCHMARKS); do echo; date "+benchmarks.$$name, %T"; $(BIN)/python -m benchmarks.$$name --quick; done

clean:
	rm -rf $(VENV) build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 15) or sys.exit("sentune needs Python 3.11 to 3.14, this is %d.%d: make PYTHON=/path/to/python3.11" % v[:2])'
	$(PYTHON) -m venv --clear $(VENV) || { rm -f $(BIN)/python; exit 1; }

# pip compiles 25,000 modules on one core. Here all cores do it, without large parts of which almost nothing is used. A
# failure is ignored: a package may have modules for a newer Python, and the rest is compiled when it is imported.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --no-compile
UNUSED = /(tests?|testing/_internal|sympy|_inductor|_dynamo|rllib|databricks)/
COMPILE = $(BIN)/python -m compileall -q -j 0 -x '$(UNUSED)' $(VENV)/lib > /dev/null 2>&1 || true

# An environment that uv has made is without pip.
$(BIN)/pip: | $(BIN)/python
	@test -e $@ || $(BIN)/python -m ensurepip --default-pip

$(VENV)/.installed: pyproject.toml | $(BIN)/pip
	@echo "Installing sentune, Ray and torch into $(VENV): 0.5 GB with torch's CPU build, 3.3 GB with CUDA's (README.md says how to choose)"
	$(INSTALL) -e .
	$(COMPILE)
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/pip
	$(INSTALL) -e '.[test,docs,export,serve,tensorboard,dashboard,mlflow]'
	$(COMPILE)
	touch $@ $(VENV)/.installed
