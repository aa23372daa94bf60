# make run: serve the examples on http://127.0.0.1:8080 · make test: run the tests · make long: those that take long
# Both make their own virtual environment; a machine needs Python 3.10 or newer. With a C compiler the hot path is
# compiled, once for all targets: some 20 s on two processors. Without one everything works as pure Python.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What the compiled twin is built from: a change builds it again.
TYPED := $(shell find uwsgi_ws -name '*.pxd')
HOT := setup.py $(TYPED) $(wildcard $(TYPED:.pxd=.py)) $(shell find uwsgi_ws -name '*.pyx')
ADDRESS ?= 127.0.0.1:8080
# Tests wait more than they compute, so three processes suit two processors; a file's servers are its own.
SPREAD ?= -n 3 --dist loadfile
# Where an environment forbids byte code, each of the thousands of servers that tests start would compile all anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test long libraries chaos rolling soak faults fuzz mutants garden coverage lint types docs go
.PHONY: compliance compliance-matrix bench million wheel wheels clean

run: $(VENV)/.installed
	@echo "uwsgi_ws: open http://$(ADDRESS)/ in a browser; stop with Ctrl-C"
	$(BIN)/python -m uwsgi_ws --http $(ADDRESS) --gevent 1000 --wsgi-file examples/echo.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q $(SPREAD) $(ARGS)

# Soak and stress tests, which `make test` leaves out; they print what they have measured.
long: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -s -m long $(ARGS)

# Other people's libraries on our server.
libraries: $(VENV)/.installed-libraries
	$(BIN)/python -m pytest -q $(SPREAD) -m libraries $(ARGS)

# Two instances on one engine, and what a seed draws to be done to them; of one SEED, again, with its log.
# ARGS="--table FILE" writes what came of each. A seed takes some 15 seconds.
SEEDS ?= 4
MESSAGES ?= 10000
chaos: $(VENV)/.installed-test
	$(BIN)/python tests/chaos/run.py --messages $(MESSAGES) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

# How long fuzz and garden go on.
SECONDS ?= 60

# Inputs that nobody has thought of, for each of our parsers; SECONDS are shared among them, and TARGET=frames is for one.
fuzz: $(VENV)/.installed-fuzz
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(if $(TARGET),--target $(TARGET)) $(ARGS)

# Odd requests at us, at other servers, and at us behind proxies: do all find the same end? ARGS="--table FILE" writes
# what came of each; those in Python have an environment of their own.
garden: $(VENV)/.installed-test $(VENV)/garden/.installed
	$(BIN)/python tests/garden/run.py --environment $(VENV)/garden --seconds $(SECONDS) $(ARGS)

# Changes in one file of protocol/, and which of them no test sees; FILE="one another", some minutes each.
FILE ?= uwsgi_ws/protocol/websocket/frames.py
mutants: $(VENV)/.installed-mutants
	$(BIN)/python tests/mutants/run.py $(ARGS) $(FILE)

# Mixed traffic with churn, and whether what the workers hold of it grows; ARGS="--chart FILE" draws it.
MINUTES ?= 3
soak: $(VENV)/.installed-test
	$(BIN)/python tests/soak/run.py --minutes $(MINUTES) $(ARGS)

# Each system call of a worker fails in turn, by strace, with ARGS="--mode threads" where applications run in threads, and
# with "--start" each of a start; "--few" for some of them, "--table FILE" writes what came.
faults: $(VENV)/.installed-test
	$(BIN)/python tests/faults/run.py $(ARGS)

# A rolling restart of two instances behind each of five proxies, under 1,000 WebSockets; some minutes. The table is
# docs/deploying.md's, which ARGS="--update docs/deploying.md" writes anew. nginx and haproxy have to be installed.
rolling: $(VENV)/.installed-deploying
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/rolling.py $(ARGS)

# Of the pure build, branches too, in all processes; the protocol's is whole. ARGS="tests" measures all tests.
coverage: $(VENV)/.installed-dev
	$(BIN)/coverage erase
	UWSGI_WS_PURE_PYTHON=1 $(BIN)/coverage run -m pytest -q -p no:cacheprovider $(or $(ARGS),tests/unit)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort=cover
	$(BIN)/coverage report --include='uwsgi_ws/protocol/*' --show-missing --fail-under=100

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# A site of the pages in docs/, in docs/_build; what is wrong in them is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build

# The Go module's own tests (the race detector needs gcc), and a short run of its fuzzer.
GO_FOLDERS = uwsgi_ws/companions/go examples/go-echo examples/go-chat tests/applications/go/carriers benchmarks/peers/go
go:
	@unformatted=$$(gofmt -l $(GO_FOLDERS)); [ -z "$$unformatted" ] || { echo "gofmt would change $$unformatted"; exit 1; }
	for folder in $(GO_FOLDERS); do (cd $$folder && go vet ./... && go test -race ./...) || exit 1; done
	cd uwsgi_ws/companions/go && go test -run '^$$' -fuzz FuzzRecords -fuzztime 5s .

# All of the Autobahn suite's cases, and requests that must get their answer, bad ones and good ones: stricter than the
# suites themselves. ARGS=--sample leaves out most of the cases of compression, which take minutes.
compliance: $(VENV)/.installed-dev
	$(BIN)/python tests/compliance/autobahn.py $(ARGS)
	$(BIN)/python tests/compliance/http11probe.py
	$(BIN)/python tests/compliance/valid_requests.py
	$(BIN)/python tests/compliance/http2.py
	@echo "compliance: the Autobahn suite, Http11Probe, the valid requests and HTTP/2 are as they must be"

# The suite in every way to the server: TLS, HTTP/2, behind nginx, and more; pass --way NAME for one. It takes hours.
compliance-matrix: $(VENV)/.installed-dev
	$(BIN)/python tests/compliance/autobahn.py --mode plain --mode alone --mode takeover $(or $(ARGS),--way all)

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/run.py all

# A million WebSockets, server and clients, on this machine: some ten minutes on two processors, and 9 GiB.
million: $(VENV)/.installed-test
	$(BIN)/python benchmarks/million.py $(ARGS)

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# What is released from here: the source, and a wheel for each interpreter named, such as PYTHONS="python3.12 python3.13",
# for as old a C library as it runs with; checked, and with a list of what it needs.
PYTHONS ?= $(BIN)/python
wheels: $(VENV)/.installed-release
	rm -rf dist && mkdir -p dist/raw
	$(BIN)/python -m build --quiet --sdist --outdir dist
	for python in $(PYTHONS); do $$python -m pip wheel --quiet --no-deps --wheel-dir dist/raw dist/uwsgi_ws-*.tar.gz || exit; done
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist dist/raw/*.whl
	rm -r dist/raw
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents --ignore W009 dist
	$(PYTHON) -m venv build/released
	build/released/bin/python -m pip install --quiet --disable-pip-version-check --find-links dist uwsgi_ws
	build/released/bin/python -m uwsgi_ws --version
	$(BIN)/cyclonedx-py environment --output-file dist/uwsgi_ws.cdx.json build/released

clean:
	rm -rf $(VENV) build dist *.egg-info .tox $(shell find uwsgi_ws -name '*.so' -o -name '*.c')

$(BIN)/python:
	@echo "uwsgi_ws: making a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

# What the groups of packages have in common: $(1) says what for, $(2) is what pip installs besides.
define install
@echo "uwsgi_ws: installing what is needed to $(1); what is not built yet is compiled (1 minute at most, once)"
$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.$(2)'
@touch $@
endef

$(VENV)/.installed: $(BIN)/python setup.cfg pyproject.toml $(HOT)
	$(call install,serve)

$(VENV)/.installed-test: $(BIN)/python setup.cfg pyproject.toml $(HOT)
	$(call install,test,[test])

$(VENV)/.installed-libraries: $(BIN)/python setup.cfg pyproject.toml $(HOT) tests/libraries.txt
	$(call install,test other libraries,[libraries])
	$(BIN)/python -m pip install --quiet --no-deps --requirement tests/libraries.txt

$(VENV)/.installed-fuzz: $(BIN)/python setup.cfg pyproject.toml $(HOT)
	$(call install,fuzz,[fuzz])

$(VENV)/garden/.installed: $(BIN)/python tests/garden/requirements.txt
	$(PYTHON) -m venv $(VENV)/garden
	$(VENV)/garden/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/garden/requirements.txt
	@touch $@

$(VENV)/.installed-mutants: $(BIN)/python setup.cfg pyproject.toml $(HOT)
	$(call install,test the tests,[mutants])


$(VENV)/.installed-deploying: $(VENV)/.installed-test tests/deploying.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tests/deploying.txt
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python setup.cfg pyproject.toml $(HOT)
	$(call install,develop,[dev])

$(VENV)/.installed-docs: $(BIN)/python setup.cfg pyproject.toml $(HOT)
	$(call install,make the documentation,[docs])

$(VENV)/.installed-release: $(BIN)/python setup.cfg pyproject.toml $(HOT)
	$(call install,release,[release])

$(VENV)/.installed-bench: $(BIN)/python setup.cfg pyproject.toml $(HOT) benchmarks/requirements.txt
	$(call install,measure)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
