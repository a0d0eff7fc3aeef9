# Two commands do everything, set-up included:  make demo  and  make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NODE_READY := tests/node/node_modules/.package-lock.json
# Hundreds of tests start an interpreter: none of them is to compile the library again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vecstore needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "no virtual environment could be made (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[embedded,progress,gateway]' --group dev
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib  # by all processors, where pip would use one
	@touch $@

$(NODE_READY): tests/node/package-lock.json
	@command -v npm >/dev/null || { echo "no npm: the tests of Milvus's Node SDK will be skipped"; exit 0; }; \
		cd tests/node && npm ci --ignore-scripts --no-audit --no-fund --silent && touch node_modules/.package-lock.json

.PHONY: demo
demo: $(READY) ## the main job on real data: load, search, delete, drop, roll back
	@$(BIN)/python examples/demo.py

# By files, in the order they are collected in, not by how many tests they have: the short ones come last, and no
# worker waits long for the other.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Of the client, the command line, a process or the disk: they say nothing new on another server.
ON_ONE_SERVER := gateway* command_line* benchmarks wheel alembic* bad_input hostile_names crash random_kills \
	embedded pgbouncer search_stress round_trip threads connect broken_connections interrupts memory \
	read_your_writes

.PHONY: test
test: $(READY) $(NODE_READY) ## every test on PostgreSQL 18, those of the database again on 16, with the coverage gate
	@rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run $(PYTEST)
	$(BIN)/python $(PYTEST) tests/integration --server 16 \
		--ignore tests/integration/one_gateway \
		$(foreach name,$(ON_ONE_SERVER),--ignore-glob 'tests/integration/test_$(name).py')
	@$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

.PHONY: unit
unit: $(READY) ## the tests that need no server
	$(BIN)/python -m pytest tests/unit

.PHONY: lint
lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: $(READY) ## let ruff write the code's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(READY) ## vecstore beside hand-written psycopg; DATA=folder, ONLY=search,ingest, OUT=folder for JSON and charts
	@$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA)) $(if $(ONLY),--only $(ONLY)) $(if $(OUT),--out $(OUT))

PEERS := vecs langchain-postgres chromadb lancedb milvus-lite qdrant-client
PEER_milvus-lite := pymilvus

.venv-peers/%/.ready:
	$(PYTHON) -m venv .venv-peers/$*
	.venv-peers/$*/bin/python -m pip install --quiet --upgrade $* $(PEER_$*) numpy
	@touch $@

.PHONY: bench-peers
bench-peers: $(READY) $(PEERS:%=.venv-peers/%/.ready) ## vecstore beside other libraries; DATA=folder, OUT=folder
	@$(BIN)/python -m benchmarks.peers $(if $(DATA),--data $(DATA)) $(if $(OUT),--out $(OUT))

.PHONY: bench-restoring
bench-restoring: $(READY) ## a drop that is kept, and taking it back, beside loading anew
	@$(BIN)/python -m benchmarks.restoring

.PHONY: bench-filtered
bench-filtered: $(READY) ## filtered search beside raw pgvector; DATA=folder for other data than the bundled
	@$(BIN)/python -m benchmarks.filtered $(DATA)

.PHONY: clean
clean: ## remove the environment and everything made by the tools
	rm -rf $(VENV) .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis dist tests/node/node_modules
