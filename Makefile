# Thin: what happens is in tools/bootstrap.py and the `inferstack` command.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links

.PHONY: help up down test test-all test-long test-standins lint lock sbom bench clean run-venv test-venv

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

up: run-venv ## From nothing to running InferenceJobs: tools, control plane, stack "local"
	@$(BIN)/inferstack up

down: run-venv ## Remove what `make up` made; leaves no process and no object
	@$(BIN)/inferstack down

# Tests without a rehearsal use all cores. A rehearsal fills the cores with processes of its own, and its tests have
# time-outs that a full machine would not keep.
test: lint ## Lint, then every unit, program and infra test and the quick ones of the rehearsal
	@$(BIN)/inferstack tools ensure
	@$(BIN)/python tools/run_tests.py "--numprocesses auto tests/program tests/unit" \
		"-m 'not long' tests/infra tests/rehearsal"

test-all: lint ## Lint, then every test: also the stand-ins', kills, charts, soaks and upgrades; two hours
	@$(BIN)/inferstack tools ensure
	@$(BIN)/python tools/run_tests.py "--numprocesses auto tests/program tests/unit tests/standins/unit" \
		"tests/infra tests/rehearsal" "--ignore=tests/standins/unit tests/standins"

test-long: test-venv ## Only the long tests: kills, real charts, soaks, upgrades
	@$(BIN)/inferstack tools ensure
	@$(BIN)/python tools/run_tests.py "-m long tests/infra tests/rehearsal"

test-standins: test-venv ## The tests of the stand-ins for the vendor's Kubernetes provider and language host
	@$(BIN)/inferstack tools ensure
	@$(BIN)/python tools/run_tests.py "--numprocesses auto tests/standins/unit" \
		"--ignore=tests/standins/unit tests/standins"

lint: test-venv ## Format, lint, types and layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/prose.py

lock: test-venv ## Pin what requirements/*.in asks for (LOCK_FLAGS=--upgrade: newer versions)
	@for name in run operator scaler test bench; do $(COMPILE) $(LOCK_FLAGS) -o requirements/$$name.lock requirements/$$name.in || exit 1; done

sbom: run-venv ## What the project is made of, as CycloneDX JSON, to build/sbom.json
	@mkdir -p build
	@$(BIN)/inferstack sbom --file build/sbom.json

bench: test-venv ## Benchmarks against named peers; prints ratios
	@$(BIN)/python -m benchmarks.apply
	@$(BIN)/python -m benchmarks.jobs
	@$(BIN)/python -m benchmarks.up
	@$(BIN)/python -m benchmarks.policies
	@$(BIN)/python -m benchmarks.planner
	@$(BIN)/python -m benchmarks.scaling
	@$(BIN)/python -m benchmarks.startup

clean: ## Remove the virtual environment and caches of checks; keeps the rehearsal's state and the tools
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info

run-venv:
	@$(PYTHON) tools/bootstrap.py run

test-venv:
	@$(PYTHON) tools/bootstrap.py test
