# Needs Python 3.11 or newer (make PYTHON=python3.12 to choose one) and a package index.
PYTHON ?= python3
VENV ?= .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: tutorial test test-long mutants oldest newest site preview reproduce audit

# Train on one visible quadrant, print the table, draw the figure, render the website.
tutorial: $(VENV)/ready
	cvae-tutorial run --quadrants 1 --seed 0 --compiled --out runs/q1
	python tools/build_site.py

# Notebooks and library in step first, since the rest builds on it; then every notebook; then everything else.
# Two notebooks, then two test files, at a time with a thread each take less than one after the other with two.
# -rs names the tests that were left out, on a machine without chromium.
test: export CVAE_TUTORIAL_DATA = sample
test: $(VENV)/ready
	pytest -q tests/test_notebooks.py
	OMP_NUM_THREADS=1 nbdev_test --n_workers 2 --do_print
	OMP_NUM_THREADS=1 pytest -q -rs -n 2 --dist loadfile --no-loadscope-reorder tests --ignore tests/test_notebooks.py

# The same tests and the long versions of some, such as 200 kills of a run; of the notebooks also the cells marked slow.
test-long: export CVAE_TUTORIAL_DATA = sample
test-long: $(VENV)/ready
	OMP_NUM_THREADS=1 nbdev_test --n_workers 2 --do_print --flags slow
	pytest -q tests --long

# Would the tests notice a mistake? Story and kit with one mistake at a time: hours. Fewer: MUTANTS="data cvae --most 40"
mutants: $(VENV)/ready
	python -m pip install -q cosmic-ray==8.7.0
	python tools/mutate.py $(MUTANTS)

# The tests with the oldest versions that settings.ini allows, or with the newest, in an environment beside .venv.
oldest: RESOLUTION = lowest-direct
newest: RESOLUTION = highest
oldest newest:
	$(PYTHON) -m venv --clear .venv-$@
	.venv-$@/bin/pip install -q uv
	.venv-$@/bin/uv pip install --python .venv-$@ --resolution $(RESOLUTION) -e '.[dev]'
	touch .venv-$@/ready
	$(MAKE) test VENV=.venv-$@

# Only the website, from the outputs saved in the notebooks.
site: $(VENV)/ready
	python tools/build_site.py

# The website on this machine, built again after every change.
preview: $(VENV)/ready
	python tools/preview.py

# The trainings behind all tables, and every page again, on all of MNIST: hours on two cores. Bars would be saved in the notebooks.
reproduce: .venv/locked
	cvae-tutorial reproduce --compiled --assets cvae_tutorial/assets
	cvae-tutorial reproduce --compiled --data fashion --seeds 0 --tables sharpness --out cvae_tutorial/results/fashion
	cvae-tutorial demo
	cp runs/reproduce/MNIST-q1-seed0-epochs60/sharper.png nbs/images/samples.png
	cp runs/reproduce/variants.png runs/reproduce/families.png runs/reproduce/edges.png nbs/images/
	cp runs/reproduce/FashionMNIST-q1-seed0-epochs60/samples.png nbs/images/fashion.png
	TQDM_DISABLE=1 jupyter nbconvert --to notebook --execute --inplace nbs/*.ipynb
	nbdev_clean
	python tools/readme.py

# Known vulnerabilities of the versions in requirements.lock. Without --strict, what could not be looked up would count as harmless.
audit:
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install -q pip-audit==2.10.1
	.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock

# The hooks that keep notebooks clean and mergeable go to this checkout and this environment, not to your home.
$(VENV)/ready: settings.ini setup.py
	$(PYTHON) -m venv $(VENV)
	python -m pip install -q -e '.[dev]'
	[ ! -d .git ] || HOME=$(CURDIR)/$(VENV) nbdev_install_hooks
	[ ! -d .git ] || mv $(VENV)/.jupyter/*.py $(VENV)/etc/jupyter/
	touch $@

# What made the results, version for version: each file is checked by its hash, and nothing else is in the environment.
.venv/locked: requirements.lock settings.ini setup.py
	$(PYTHON) -m venv --clear .venv
	python -m pip install -q --require-hashes -r requirements.lock
	python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@
