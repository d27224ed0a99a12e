# The commands of this project. Each one sets up what it needs and says what it does.
#
#   make demo    three providers, a consumer and the embedded control plane, for half a minute
#   make test    the tests, but for those of the next three, which build more or last longer
#   make interop grpc-go, tonic and h2spec at the other end (builds them: minutes with cold caches)
#   make packaging  the wheel, and a newcomer's path with it
#   make soak    ten minutes of bad weather in both worlds, and of a mesh that says nothing; the attacks
#   make check   formatting, lints, types, import contracts, clippy, cargo test
#   make e2e     the tests on a real istiod and a real kube-apiserver (builds them first: about fifteen minutes once)
#   make bench   ours beside grpcio; python -m bench rpc --help for tonic, grpc-go, a raw socket and a profile

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMPS := .build/stamps
NATIVE := $(shell find native -name target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
CARGO := cargo --quiet
# Tests wait more than they work: one more at a time than there are cores.
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))
AS_ROOT := $(if $(filter 0,$(shell id -u)),,unshare --user --map-root-user)
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile
# What `make test` leaves to a target of its own; .ci/run calls them all.
INTEROP := tests/interop tests/bench/test_peers.py tests/rpc/wire/test_h2spec.py
PACKAGING := tests/packaging/test_wheel.py tests/packaging/test_newcomer.py
SOAK := tests/soak tests/hostile
SOAK_SECONDS ?= 600
QUIET_SECONDS ?= 600
PROTOS := examples/hello/hello.proto tests/interop/testing.proto

.PHONY: demo test interop packaging soak check e2e e2e-build e2e-local e2e-istiod e2e-cluster bench setup lock clean
.DELETE_ON_ERROR:
# pytest rewrites each test module's assertions, half of the time of a collection: once, not in each worker of each run.
unexport PYTHONDONTWRITEBYTECODE

demo: setup
	$(RUN) -m examples.demo

test: setup $(STAMPS)/echo
	$(RUN) -m pytest tests $(addprefix --ignore=,$(INTEROP) $(PACKAGING) $(SOAK)) $(SIDE_BY_SIDE) \
		--no-loadscope-reorder # tests/conftest.py says which file begins when

interop: setup
	$(RUN) -m pytest $(INTEROP) $(SIDE_BY_SIDE)

packaging: setup
	$(RUN) -m pytest $(PACKAGING)

soak: setup
	$(RUN) -m pytest $(SOAK) -n $(WORKERS) --dist load --timeout 3600 \
		--soak-seconds $(SOAK_SECONDS) --quiet-seconds $(QUIET_SECONDS)

check: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(RUN) tools/supply_chain.py check
	$(RUN) tools/public_names.py
	$(RUN) tools/house.py
	$(VENV)/bin/hadolint --failure-threshold style Dockerfile
	$(VENV)/bin/shellcheck --external-sources .ci/run tools/prerequisites e2e/kind.sh e2e/*/build bench/peers/*/build
	cd native && $(CARGO) fmt --check
	cd bench/peers/rust && $(CARGO) fmt --check
	cd native && PYO3_PYTHON=$(CURDIR)/$(RUN) $(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd native && FUZZ_SECONDS=15 $(CARGO) test --locked --workspace --exclude proxyless-native

e2e: e2e-build e2e-local e2e-istiod e2e-cluster

e2e-build:
	e2e/cluster/build

e2e-local e2e-istiod: e2e-%: setup e2e-build
	$(RUN) -m pytest e2e --ignore=e2e/cluster --mesh=$* $(SIDE_BY_SIDE)

# One after the other: they kill the one control plane, and give its mesh other roots.
e2e-cluster: setup e2e-build
	$(AS_ROOT) $(RUN) -m pytest e2e/cluster --cluster=local

bench: setup
	$(RUN) -m bench rpc

setup: $(STAMPS)/native $(STAMPS)/protos

$(STAMPS)/prerequisites:
	@PYTHON=$(PYTHON) tools/prerequisites
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/environment: requirements/dev.lock | $(STAMPS)/prerequisites
	@echo '== Python environment in $(VENV) (once, about a minute)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/native: $(STAMPS)/environment $(NATIVE) pyproject.toml
	@echo "== The native engine and the packages, editable (a minute the first time)"
	@rm -f rpc/_native*.so # where it was once: it would hide rpc/_native.py
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(RUN) -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@

# For tests alone: the wheel is built without it.
$(STAMPS)/echo: $(STAMPS)/environment $(NATIVE)
	@echo '== The engine with a second protocol in it, for tests (a minute or two)'
	cd native && PYO3_BUILD_EXTENSION_MODULE=1 PYO3_PYTHON=$(CURDIR)/$(RUN) \
		$(CARGO) build --locked --profile echo --features echo
	@mkdir -p .build/echo && cp native/target/echo/lib_native.so .build/echo/_native.abi3.so
	@touch $@

$(STAMPS)/protos: $(STAMPS)/environment $(PROTOS)
	@echo '== Python code from $(PROTOS)'
	$(RUN) -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. $(PROTOS)
	@touch $@

# Pins what pyproject.toml asks for, with hashes, for every Python that is supported; UPGRADE=--upgrade: all of it anew.
lock: $(STAMPS)/environment
	$(RUN) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --all-extras --group dev pyproject.toml $(UPGRADE) --output-file requirements/dev.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-emit-index-url \
		--no-header pyproject.toml $(UPGRADE) --output-file requirements/image.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-emit-index-url \
		--no-header requirements/image-build.in $(UPGRADE) --output-file requirements/image-build.lock
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(RUN) tools/supply_chain.py write

clean:
	rm -rf $(VENV) .build native/target proxyless_native/*.so
