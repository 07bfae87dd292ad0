# Everything starts here; `make` alone says what there is.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PREFIX      ?= /usr/local
DESTDIR     ?=
TOPIC       ?= the autumn moon
MODEL       ?= examples/models/haiku.gguf

VERSION     := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
BUILT       := $(or $(CARGO_TARGET_DIR),target)/release
RUN_PREFIX  := $(CURDIR)/target/prefix

# Read by packaging/install.sh; LIBDIR and INCLUDEDIR follow PREFIX unless given.
export PREFIX DESTDIR LIBDIR INCLUDEDIR VERSION BUILT

.PHONY: help run build cuda cuda-toolkit gpu-bundle install uninstall test thread-sanitizer address-sanitizer aarch64 check headers bench

help:
	@echo "libworker $(VERSION)"
	@echo
	@echo "  make run       build, install into target/prefix, and stream a haiku through examples/c/generate.c"
	@echo "                 (TOPIC='the autumn moon' MODEL=path.gguf)"
	@echo "  make test      install what the tests need, then run all of them"
	@echo "  make thread-sanitizer   run the managed worker's tests under it (WORKER_STRESS_SECONDS=300)"
	@echo "  make address-sanitizer  run the kernels' tests and golden models under it"
	@echo "  make aarch64   build for 64-bit ARM, and run the engine's tests and some models under emulation"
	@echo "  make check     formatting and lints"
	@echo "  make build     the release library, shared and static (FEATURES='cuda http')"
	@echo "  make cuda      the same for NVIDIA GPUs too, with nvcc from the path, CUDA_HOME, NVCC, or installed for it"
	@echo "                 (WORKER_CUDA_ARCHITECTURES='80 90' builds for fewer)"
	@echo "  make gpu-bundle     what a machine with a GPU needs to run tests/gpu/run.sh, in target/gpu-bundle"
	@echo "  make cuda-toolkit   install nvcc into target/cuda-toolkit, from PyPI"
	@echo "  make install   PREFIX=/usr/local DESTDIR= FEATURES= : headers, libraries, worker.pc, CMake package"
	@echo "  make uninstall PREFIX=/usr/local DESTDIR="
	@echo "  make headers   write include/worker_*.h anew from the Rust source"
	@echo "  make bench     measure the C boundary, the samplers, then models beside llama.cpp (MODELS='a.gguf b.gguf' PEER=python)"

# The program is compiled with what pkg-config says of the installed library, as any user's would be.
run:
	@packaging/test-tools.sh --only pkg-config
	@$(MAKE) --no-print-directory install PREFIX="$(RUN_PREFIX)" DESTDIR=
	@export PKG_CONFIG_PATH="$(RUN_PREFIX)/lib/pkgconfig"; \
	mkdir -p "$(RUN_PREFIX)/bin"; \
	$(CC) -std=c99 -O2 -Wall -Wextra -o "$(RUN_PREFIX)/bin/generate" examples/c/generate.c \
	    $$(pkg-config --cflags --libs worker) "-Wl,-rpath,$$(pkg-config --variable=libdir worker)"; \
	echo; \
	"$(RUN_PREFIX)/bin/generate" --model "$(MODEL)" "$(TOPIC)"

# After `make build`, `sudo make install` works even where root has no cargo.
build:
	@if command -v cargo >/dev/null 2>&1; then \
	    cargo build --locked --release --lib $(if $(FEATURES),--features '$(FEATURES)'); \
	elif [ -e "$(BUILT)/libworker.so" ]; then \
	    echo "cargo is not on the path; taking the library built before"; \
	else \
	    echo "cargo is not on the path: install Rust from https://rustup.rs" >&2; exit 1; \
	fi

# Fetches nvcc only where the build would find none.
cuda:
	@[ -n "$${NVCC:-}$${CUDA_HOME:-}" ] || command -v nvcc >/dev/null 2>&1 || packaging/cuda-toolkit.sh
	@$(MAKE) --no-print-directory build FEATURES="cuda $(FEATURES)"

cuda-toolkit:
	@packaging/test-tools.sh --only pip
	@packaging/cuda-toolkit.sh

# The engine's archive is the one of this build: the last that has the real table of CUDA's functions in it.
gpu-bundle: cuda
	@for archive in $$(ls -t $(BUILT)/build/worker-*/out/libworker_engine.a); do \
	    ! ar t "$$archive" | grep runtime_cuda >/dev/null || break; \
	done; \
	nvcc="$${NVCC:-$${CUDA_HOME:+$$CUDA_HOME/bin/nvcc}}"; \
	nvcc="$${nvcc:-$$(command -v nvcc || echo target/cuda-toolkit/nvidia/cu13/bin/nvcc)}"; \
	tests/gpu/prepare.sh target/gpu-bundle "$(BUILT)/libworker.so" "$$archive" "$$(dirname "$$(dirname "$$(realpath "$$nvcc")")")"

install: build
	@packaging/install.sh

uninstall:
	@packaging/install.sh --uninstall

test:
	@packaging/test.sh

thread-sanitizer:
	@packaging/thread-sanitizer.sh

address-sanitizer:
	@packaging/address-sanitizer.sh

aarch64:
	@packaging/aarch64.sh

check:
	cargo fmt --check
	cargo clippy --locked --all-targets --features http -- -D warnings

headers:
	WORKER_WRITE_HEADERS=1 cargo build --locked --lib

# MODELS: GGUF files to measure; by default synthetic ones are made. PEER: a Python with llama-cpp-python.
bench:
	cargo bench --locked --bench boundary
	cargo bench --locked --bench sampling
	models="$(MODELS)"; \
	[ -n "$$models" ] || models="$$(benches/make-models.sh target/bench-models)"; \
	cargo bench --locked --bench throughput -- $(if $(PEER),--peer $(PEER)) $$models
