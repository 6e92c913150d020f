# Everything works on a fresh machine with Python 3.11+ and make. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
DEV := $(VENV)/.stamp-dev

.DEFAULT_GOAL := help
.PHONY: help demo test check format notebooks real anchors studies truth options pai trials validation types placebo planted corridors large bench bench-large clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rtmkc needs Python 3.11 or newer; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV) || { echo "no venv module: on Debian, apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	touch $@

demo: $(STAMP) ## run the embedded sample; writes rtmkc-demo/
	$(BIN)/rtmkc demo --overwrite

test: $(STAMP) ## run all tests (under ten minutes on two cores)
	$(BIN)/python -m pytest

check: $(DEV) ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(STAMP) ## run the notebooks and store their output
	$(BIN)/python notebooks/run.py

real: $(STAMP) ## run the studies of real cities; needs RTMKC_DATA, the folder of the data
	$(BIN)/python benchmarks/real_runs.py

anchors: $(STAMP) ## compare the forecast with published figures on real data; needs RTMKC_DATA
	$(BIN)/python benchmarks/history_anchors.py

studies: $(STAMP) ## classic in simulated cities, against published figures; about ten minutes
	$(BIN)/python benchmarks/known_truth.py

truth: $(STAMP) ## the proof of the weights: 4,900 fits of simulated cities; an hour on two cores, and can be resumed
	$(BIN)/python benchmarks/guarded_truth.py

options: $(STAMP) ## coverage of the other kinds of inference in simulated cities
	$(BIN)/python benchmarks/inference_options.py

pai: $(STAMP) ## coverage of intervals for hit rates in simulated cities
	$(BIN)/python benchmarks/pai_intervals.py

trials: $(STAMP) ## what was tried of the forecast on real data; needs RTMKC_DATA
	$(BIN)/python benchmarks/forecast_trials.py

validation: $(STAMP) ## forecasts of real cities against all baselines; needs RTMKC_DATA
	$(BIN)/python benchmarks/validation_real.py

types: $(STAMP) ## what the map of Kansas City request types leaves out; needs RTMKC_DATA
	$(BIN)/python benchmarks/kc_types.py

placebo: $(STAMP) ## corridors in cities where nothing is done; twenty minutes, and can be resumed
	$(BIN)/python benchmarks/placebo_corridors.py
	$(BIN)/python benchmarks/corridor_studies_page.py

planted: $(STAMP) ## planted corridors, and those of the sample; ten minutes, and can be resumed
	$(BIN)/python benchmarks/planted_corridors.py
	$(BIN)/python benchmarks/corridor_studies_page.py

corridors: $(STAMP) ## speed on a real network, and the corridors of Kansas City; needs RTMKC_DATA; ten minutes
	$(BIN)/python benchmarks/corridor_speed.py
	$(BIN)/python benchmarks/corridors_kansas_city.py

large: $(STAMP) ## read five million made-up rows: seconds and memory
	$(BIN)/python benchmarks/large_csv.py

bench: $(STAMP) ## the engine against its peers at 180,000 cells; ten minutes and glum's own, can be resumed; R glmnet wanted
	$(BIN)/python benchmarks/engine/bench.py $(BENCH)

bench-large: $(STAMP) ## the same at 1.8 million cells, from disk at 18 million, on workers of Dask; 12 GB of memory
	$(BIN)/python benchmarks/engine/from_disk.py
	$(BIN)/python benchmarks/engine/cluster.py 1.8M
	$(BIN)/python benchmarks/engine/bench.py --large $(BENCH)

clean: ## remove the environment and what runs wrote
	rm -rf $(VENV) rtmkc-demo real-results study-results .pytest_cache .mypy_cache .ruff_cache
