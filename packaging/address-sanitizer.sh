#!/usr/bin/env bash
# Runs the tests of the engine's kernels, then golden models on each path, under the address sanitizer: the engine is built anew with
# it. Called by `make address-sanitizer`.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/step.sh
. packaging/golden-models.sh

main() {
    local folder="$PWD/${CARGO_TARGET_DIR:-target}/address-sanitizer"
    mkdir -p "$folder"
    # With all checks and -O3 the compiler would take hours; with checks of the stack, for these two files, at -O1 too.
    cat >"$folder/compiler" <<'COMPILER'
#!/usr/bin/env bash
arguments=(-fsanitize=address)
case "$*" in *isa_avx2_streams* | *isa_avx2_panels*) arguments+=(--param asan-stack=0) ;; esac
for argument in "$@"; do
    [ "$argument" != -O3 ] || argument=-O1
    arguments+=("$argument")
done
exec c++ "${arguments[@]}"
COMPILER
    chmod +x "$folder/compiler"

    # The sanitizer of Rust is behind a flag that is not stable.
    export CARGO_TARGET_DIR="$folder" CXX="$folder/compiler" RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
    host="$(rustc -vV | sed -n 's/^host: //p')"
    step "engine, built" cargo test --locked --target "$host" --test engine_cpp --test goldens --no-run
    step "kernels" tests engine_cpp engine
    for path in scalar avx2 avx512 avx512vnni avx512bf16; do
        WORKER_CPU_PATH="$path" WORKER_GOLDENS_ONLY="$golden_models" step "models, $path" tests goldens every_model_computes_its_golden_logits
    done
}

tests() {
    local log="$CARGO_TARGET_DIR/$1.log"
    cargo test --locked --target "$host" --test "$1" -- --exact "$2" --nocapture | tee "$log"
    grep -q '1 passed' "$log" || { echo "no test ran" >&2; return 1; }
}

main
