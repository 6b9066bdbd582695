# FetchML: everything a developer runs. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
TESTS := # All; or pytest's arguments.
TEST_PROCESSES ?= 4# More than the cores, because tests mostly wait (decision 61).
PYTEST := $(BIN)/pytest -n $(TEST_PROCESSES) --no-loadscope-reorder
# Where it is set, every Python process compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo web web-watch screenshot test test-all test-binary test-release test-python fuzz simulate lint lint-python audit format docs proto client shim build packages release bench gpu-check lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## create .venv with everything that is needed (quick if it exists)
	@build/setup.sh

demo: setup ## start FetchML, train on real data, watch it live
	@$(BIN)/python examples/demo.py

web: setup ## build the page of web/ into fetchml/api/ui/files, and check it
	build/web.sh check
	build/web.sh test

web-watch: setup ## build the page at each change; a running server serves it at once
	build/web.sh watch

screenshot: setup ## make docs/page.png, the picture of the page in README
	$(BIN)/python -m build.screenshot

test: setup ## some tests of every subject (5 min); starts a Docker engine where none answers
	$(PYTEST) -m "not slow" $(TESTS)
	@echo "make test-all adds the slow tests: every fault of Slurm and Docker, containers on nodes," \
	    "real Jupyters and browsers, GPUs, the clients in other languages, the executable."

test-all: build ## every test (20 min); make lint is apart
	$(PYTEST) $(TESTS)

test-python: lint-python ## what another version of Python could break: lint, and these tests
	FRONTS=direct $(PYTEST) -m "not slow" tests/core tests/api tests/adapters/duckdb tests/cli \
	    tests/config tests/adapters/docker/test_http.py tests/jupyter/test_relay.py

fuzz: setup ## fuzz every parser of foreign bytes for half an hour (FUZZ_SECONDS=1800)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-1800} $(PYTEST) tests/fuzz

simulate: setup ## 10,000 simulated lives of a server, its crashes and faults (SEEDS=10000)
	$(BIN)/python -m tests.simulation 0 $$(($${SEEDS:-10000} - 1))

lint: setup ## style, types, layers, protos, drift of generated code, the documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	proto/check.sh
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	$(BIN)/python build/unasync.py --check
	build/web.sh check
	build/web.sh test

lint-python: setup ## style, types and layers, by the Python of .venv
	$(BIN)/ruff check
	$(BIN)/mypy --python-version $$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	$(BIN)/lint-imports
	$(BIN)/python build/unasync.py --check

audit: setup ## look up known vulnerabilities of the locked libraries
	$(BIN)/python build/audit.py

format: setup ## sort imports, lay out the code, apply ruff's fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: setup ## serve the docs site on 127.0.0.1:8000 while you edit
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --quiet

proto: setup ## generate fetchml/v1, descriptor sets and docs/api.md from proto/
	proto/generate.sh

client: setup ## generate fetchml/client/sync from fetchml/client/aio
	$(BIN)/python build/unasync.py

shim: setup ## build the task's first process for x86-64 and aarch64
	PYTHON=$(BIN)/python shim/build.sh

build: setup ## build build/dist/fetchml, the program in one file, for machines like this one
	build/build.sh

packages: setup ## build the Python packages in build/dist/packages/: the client, and the server
	build/packages.sh build/dist/packages

test-binary: release test-release ## make the portable executable, then the tests with it

test-release: ## the release: executable, Debian package and image, on bare Debian 11 and 12
	export FETCHML_PROGRAM=$$(echo $(CURDIR)/build/dist/release/fetchml-*-linux-$$(uname -m)) && \
	    $(PYTEST) tests/executable/old_debians.py tests/executable/debian_package.py \
	    tests/executable/container_image.py tests/executable tests/server/test_crash.py

release: setup ## build build/dist/release/: executable, packages, image, checksums (RELEASE_KEY=FILE signs)
	build/release.sh

bench: build ## measure against bare aiohttp, grpc.aio and Docker, as ratios
	$(BIN)/python -m benchmarks

gpu-check: setup ## check GPUs and CUDA programs on this machine
	@$(BIN)/python build/gpu_check.py

lock: setup ## resolve the dependencies again into the locks of Python, proto/, web/ and tests/mlflow
	$(BIN)/uv pip compile pyproject.toml --extra server --group dev --group demo \
	    --no-emit-package fetchml --no-emit-package fetchml-server --output-file requirements.lock \
	    --universal --python-version 3.11 --generate-hashes --upgrade \
	    --no-annotate --no-header --no-emit-index-url --quiet
	for each in proto/protoc.in tests/mlflow/clients/*.in; do \
	    $(BIN)/uv pip compile $$each --output-file $${each%.in}.lock --universal \
	        --python-version 3.11 --generate-hashes --upgrade \
	        --no-annotate --no-header --no-emit-index-url --quiet; done
	build/web.sh lock
	$(BIN)/python build/sbom.py page >build/server/page.cdx.json

clean: ## remove .venv, the demo's data and every cache
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis \
	    .import_linter_cache .grimp_cache web/node_modules fetchml/api/ui/files
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
