#!/usr/bin/env bash
# The whole test run, in order, with the time each step took. Called by `make test`.
# One release build (the installed prefix, without optional features) and one development build (the tests, with all of
# them); nothing is built twice.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/step.sh

main() {
    step "tools" packaging/test-tools.sh
    step "format" cargo fmt --check
    step "clippy" cargo clippy --locked --all-targets --features http -- -D warnings
    step "clippy, emulated GPU" cargo clippy --locked --features emulated-gpu --lib --test gpu_device --test gpu_goldens -- -D warnings
    step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet --features http
    export WORKER_PREFIX="$PWD/target/test-prefix"
    rm -rf "$WORKER_PREFIX"
    step "release build and installation" "${MAKE:-make}" --no-print-directory install PREFIX="$WORKER_PREFIX" DESTDIR=
    # What the library is with GPU support where there is no GPU, and its GPU code on an emulated one.
    step "cuda toolkit" packaging/cuda-toolkit.sh
    step "build for GPUs" with_features cuda --test gpu_absent
    step "emulated GPU" with_features emulated-gpu --test gpu_device --test gpu_goldens
    step "emulated GPU, below the C interface" with_features emulated-gpu --test engine_cpp -- gpu_device
    forget_library
    echo "== tests (after ${SECONDS}s)"
    # Last, so that its own result lines end the output; and all of it, so that one run shows every failure.
    exec cargo test --locked --features http --no-fail-fast
}

with_features() {
    local features="$1"
    shift
    forget_library
    cargo test --locked --features "$features" --no-fail-fast "$@"
}

# The shared library has the same name whatever its features, and cargo takes the last one built for its own.
forget_library() {
    rm -f "${CARGO_TARGET_DIR:-target}"/debug/deps/libworker.{so,a}
}

main
