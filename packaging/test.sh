#!/usr/bin/env bash
# The whole test run, in order, with the time each step took. Called by `make test`.
# One release build (the installed prefix, without optional features) and one development build (the tests, with all of
# them); nothing is built twice.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    step "tools" packaging/test-tools.sh
    step "format" cargo fmt --check
    step "clippy" cargo clippy --locked --all-targets --features http -- -D warnings
    step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet --features http
    export WORKER_PREFIX="$PWD/target/test-prefix"
    rm -rf "$WORKER_PREFIX"
    step "release build and installation" "${MAKE:-make}" --no-print-directory install PREFIX="$WORKER_PREFIX" DESTDIR=
    echo "== tests (after ${SECONDS}s)"
    # Last, so that its own result lines end the output; and all of it, so that one run shows every failure.
    exec cargo test --locked --features http --no-fail-fast
}

step() {
    local name="$1" begin=$SECONDS
    shift
    echo "== $name"
    "$@" || { echo "== $name: FAILED after $((SECONDS - begin))s" >&2; exit 1; }
    echo "== $name: $((SECONDS - begin))s"
}

main
