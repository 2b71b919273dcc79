# Everything that can be done in this repository: `make help`. Each target does its own set-up.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# What is installed; `all-gpu` takes TensorFlow with CUDA (NVIDIA driver needed).
EXTRA ?= all
STAMP := $(VENV)/.nasflow-$(EXTRA)

# Container images; see containers/build.sh.
IMAGES ?= beam beam-sdk trainer ops server server-tf
export BASE_IMAGE ?= python:3.11-slim-bookworm
export PREFIX ?= nasflow

SBOM_IMAGES := beam beam-sdk trainer trainer-gpu ops server server-tf

# Where `make local-cluster` builds and runs it, and how far it goes (tests/cluster/local/__main__.py): `api` needs no root.
CLUSTER ?= build/cluster
STAGES ?= api addons node

PYTEST := $(BIN)/pytest
# Processes of the fast and of the slow tests, each with a TensorFlow of its own (about 1.5 GB); a file's tests stay together.
WORKERS ?= 2
# Their longest, at the end.
SLOWEST := --durations=15 --durations-min=5

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## Makes .venv with everything that nasflow and its tests need (Python 3.11 or 3.12, pip, no root)

# A Python that answers is not always the right one (pyenv's shims answer for versions that are not active): ask each.
# `--without-pip` and `pip --target` are for Debian's Python, which has pip but not ensurepip unless python3-venv is there.
$(STAMP): pyproject.toml uv.lock
	@python=""; \
	for candidate in $${PYTHON:-} python3.11 python3.12 python3 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then \
	    python="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make setup: no Python 3.11 or 3.12 found (tried PYTHON, python3.11, python3.12, python3, python);" \
	    "install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if ! $(UV) --version 2>/dev/null | grep -qF "uv $(UV_VERSION)"; then \
	  echo "setup: uv $(UV_VERSION) with $$($$python --version) ($$python)"; \
	  if [ ! -x $(BIN)/python ]; then \
	    "$$python" -m venv $(VENV) >/dev/null 2>&1 || "$$python" -m venv --clear --without-pip $(VENV); \
	  fi; \
	  if $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	  else \
	    "$$python" -m pip install --quiet --disable-pip-version-check --target $(VENV)/bootstrap uv==$(UV_VERSION); \
	    ln -sf ../bootstrap/bin/uv $(UV); \
	  fi; \
	fi
	@echo "setup: installing from uv.lock"
	UV_HTTP_TIMEOUT=180 UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV= \
	  $(UV) sync --quiet --frozen --compile-bytecode --extra $(EXTRA) --python $(BIN)/python </dev/null
	@rm -f $(VENV)/.nasflow-* && touch $@

.PHONY: demo
demo: setup ## The main job on scikit-learn's digits, from raw data to a served model; writes runs/demo
	$(BIN)/nasflow run pipelines/examples/digits.yaml --output runs/demo

.PHONY: test
test: setup ## Unit, contract and fast end-to-end tests
	$(PYTEST) -n $(WORKERS) --dist loadfile $(SLOWEST) -m "not docker and not slow and not flink and not spark and not cluster"

.PHONY: test-slow
test-slow: setup ## Whole runs, kill and resume
	$(PYTEST) -n $(WORKERS) --dist loadfile $(SLOWEST) -m "slow and not docker and not flink and not spark and not cluster"

.PHONY: test-docker
test-docker: setup ## Runs in containers; needs a Docker daemon and `make images`
	$(PYTEST) -m docker

.PHONY: test-flink
test-flink: setup ## preprocess on Apache Flink; needs Java and Maven, which fetches 152 MB of jars once
	$(PYTEST) -m flink

.PHONY: test-spark
test-spark: setup ## preprocess on Apache Spark; needs Java and Maven, which fetches 299 MB of jars once
	$(PYTEST) -m spark

.PHONY: test-cluster
test-cluster: setup ## Deploys to the cluster that kubectl is configured for; tests/cluster/conftest.py says what it takes
	$(PYTEST) -m cluster tests/cluster

.PHONY: local-cluster
local-cluster: setup ## Builds Kubernetes, KServe and Argo from their Go modules and starts them here: for `make test-cluster`
	tests/cluster/local/build.sh $(CLUSTER) $(STAGES)
	$(BIN)/python -m tests.cluster.local up --folder $(CLUSTER) --stages $(STAGES)

.PHONY: stop-local-cluster
stop-local-cluster: setup ## Ends it and removes its data; the programs stay
	$(BIN)/python -m tests.cluster.local down --folder $(CLUSTER)

.PHONY: sbom
sbom: setup ## Lists what each image installs, with hashes, as CycloneDX in build/sbom
	@mkdir -p build/sbom
	@export="$(UV) export --quiet --frozen --no-dev --no-emit-project --format cyclonedx1.5 --extra kfp"; \
	for image in $(SBOM_IMAGES); do \
	  extra=$$image; case $$image in ops) extra="register --extra registries";; trainer-gpu) extra=gpu;; beam-sdk) extra=dataflow;; esac; \
	  $$export $${extra:+--extra $$extra} -o build/sbom/$$image.cdx.json >/dev/null; \
	  echo "build/sbom/$$image.cdx.json: $$(grep -c '"purl"' build/sbom/$$image.cdx.json) packages"; \
	done

.PHONY: check
check: setup ## Lock file, format, lint, types, import contracts
	$(UV) lock --check --quiet
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: setup ## Formats the code and fixes what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: images
images: ## Builds the container images IMAGES on BASE_IMAGE, as PREFIX/NAME:VERSION
	containers/build.sh $(IMAGES)

.PHONY: push
push: ## Pushes IMAGES to the registry that PREFIX names, and prints their digests, for --set
	@containers/push.sh $(IMAGES)

.PHONY: base-image
base-image: ## Makes nasflow-base:bookworm with debootstrap, for machines that reach no registry (root)
	containers/base-image.sh nasflow-base:bookworm

.PHONY: docker
docker: ## Starts a Docker daemon where none answers (root, Debian)
	containers/start-docker.sh

.PHONY: bench-preprocess
bench-preprocess: setup ## preprocess beside a plain pyarrow program, tensorflow-transform and bare loops; 10 minutes
	$(BIN)/python tests/benchmarks/preprocess.py

.PHONY: goldens
goldens: setup ## Rewrites the committed component.yaml files and golden pipelines after a change that was meant
	$(BIN)/python -m nasflow_pipelines.goldens

.PHONY: lock
lock: setup ## Resolves pyproject.toml again into uv.lock
	$(UV) lock

.PHONY: clean
clean: ## Removes caches and builds; keeps .venv and runs/
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find components pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +
