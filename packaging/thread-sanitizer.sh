#!/usr/bin/env bash
# Runs the managed worker's tests, the stress of 64 sessions from 16 threads among them, under the thread sanitizer: the engine,
# the crates and the standard library are built anew, so that it sees every lock. Called by `make thread-sanitizer`.
# WORKER_STRESS_SECONDS is the length of the stress.
set -euo pipefail
cd "$(dirname "$0")/.."

folder="$PWD/${CARGO_TARGET_DIR:-target}/thread-sanitizer"
export CARGO_TARGET_DIR="$folder" WORKER_STRESS_SECONDS="${WORKER_STRESS_SECONDS:-60}"

rustup component add rust-src
mkdir -p "$folder"
# The kernels go without: they hold no locks and start no threads, and would take most of the time.
cat >"$folder/compiler" <<'COMPILER'
#!/usr/bin/env bash
arguments=("$@")
case "$*" in
*cuda/src/cpu/isa_*)
    arguments=()
    for argument in "$@"; do [ "$argument" = -fsanitize=thread ] || arguments+=("$argument"); done
    ;;
esac
exec c++ "${arguments[@]}"
COMPILER
chmod +x "$folder/compiler"

# The sanitizer of Rust is behind a flag that is not stable.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread CXXFLAGS=-fsanitize=thread CXX="$folder/compiler"
export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=1
exec cargo test --locked -Zbuild-std --target "$(rustc -vV | sed -n 's/^host: //p')" --test worker "$@" -- --test-threads 1
