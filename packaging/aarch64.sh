#!/usr/bin/env bash
# Builds the library for 64-bit ARM with a cross compiler, and runs what can be run of it under emulation: the engine's own
# tests, with dot products and without, whole models on every kernel path, and a conversation's next turn. Called by `make aarch64`.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/step.sh
. packaging/golden-models.sh

target=aarch64-unknown-linux-gnu
built="${CARGO_TARGET_DIR:-target}/$target"
folder="$built/engine_tests"

# All the emulator knows, and a CPU without dot products.
whole_cpu=max
plain_cpu=cortex-a53

# What that CPU runs otherwise, by parts of the tests' names: every kernel, and models in both roles. The rest takes minutes and
# asks nothing more of it.
plain_tests=(attention products path type norms activations rotation where_the_roles)

main() {
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
    step "tools" need_tools
    step "library" cargo build --locked --target "$target" --lib
    step "engine tests, built" build_engine_tests
    step "engine tests" emulated "$whole_cpu" "$folder/engine"
    step "engine tests without dot products" emulated "$plain_cpu" "$folder/engine" "${plain_tests[@]}"
    step "models, built" cargo test --locked --target "$target" --lib --test goldens --no-run
    step "stories" goldens neon-dotprod "$whole_cpu" the_stories_are_told_as_recorded
    step "models by dot products" goldens neon-dotprod "$whole_cpu" every_model_computes_its_golden_logits
    step "models by NEON" goldens neon "$plain_cpu" every_model_computes_its_golden_logits
    step "models in plain C++" goldens scalar "$plain_cpu" every_model_computes_its_golden_logits
    step "next turn" one_test "$whole_cpu" --lib inference::model::tests::a_next_turn_finds_the_last_answer_computed
}

need_tools() {
    packaging/test-tools.sh --only aarch64-linux-gnu-g++ qemu-aarch64 || return
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || rustup target add "$target"
}

# As tests/engine_cpp.rs does it: against the library's own objects; what faults are put into is compiled anew, and taken first. The
# matrix unit's tests are of x86-64.
build_engine_tests() {
    mkdir -p "$folder"
    rm -f "$folder"/*.o
    printf '%s\n' cuda/tests/*.cpp cuda/tests/math/*.cpp cuda/src/device_memory.cpp | grep -v /matrix_tiles_test | xargs -P 2 -I '{}' "$0" --compile '{}' || return
    local archive
    archive="$(ls -t "$built"/debug/build/worker-*/out/libworker_engine.a | head -n 1)"
    aarch64-linux-gnu-g++ -o "$folder/engine" "$folder"/*.o "$archive" -pthread
}

compile() {
    aarch64-linux-gnu-g++ -std=c++20 -O1 -ffp-contract=off -Wall -Wextra -Werror -Wno-restrict -pthread -DWORKER_TEST_FAULTS \
        -Icuda/include -Icuda/src -Icuda/tests -c "$1" -o "$folder/$(basename "$1" .cpp).o"
}

emulated() {
    local cpu="$1"
    shift
    qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "$cpu" "$@"
}

goldens() {
    WORKER_CPU_PATH="$1" WORKER_GOLDENS_ONLY="$golden_models" one_test "$2" "--test=goldens" "$3"
}

one_test() {
    local cpu="$1" of="$2" test="$3" log="$folder/test.log"
    # The emulator does not pass on the request to read a mapped file, which loading makes; so it must be in memory already.
    cat ../shared/models/*.gguf ../shared/models/micro/*.gguf >/dev/null || return
    QEMU_CPU="$cpu" cargo test --locked --target "$target" "$of" -- --exact "$test" --nocapture | tee "$log"
    grep -q '1 passed' "$log" || { echo "no test ran" >&2; return 1; }
}

case "${1:-}" in
    "") main ;;
    --compile) compile "$2" ;;
    *) echo "usage: packaging/aarch64.sh" >&2; exit 2 ;;
esac
