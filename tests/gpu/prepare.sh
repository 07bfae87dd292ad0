#!/usr/bin/env bash
# Puts together what run.sh needs on a machine with a GPU, where there is neither Rust nor a compiler.
#
#     tests/gpu/prepare.sh FOLDER LIBRARY [ENGINE TOOLKIT]
#
# LIBRARY is libworker.so built for GPUs; ENGINE is the engine's archive of the same build (libworker_engine.a), and TOOLKIT
# the CUDA toolkit's root, for the one program that looks at memory below the C interface.
set -euo pipefail
cd "$(dirname "$0")/../.."

main() {
    [ $# -eq 2 ] || [ $# -eq 4 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
    local folder="$1" library="$2"
    rm -rf "$folder"
    mkdir -p "$folder/lib" "$folder/bin" "$folder/models" "$folder/goldens"
    cp "$library" "$folder/lib/libworker.so.0"
    ln -s libworker.so.0 "$folder/lib/libworker.so"
    program card tests/gpu/card.c
    program seeds tests/locked/seeds.c
    program locked examples/c/locked.c
    program generate examples/c/generate.c
    if [ $# -eq 4 ]; then memory_kinds "$3" "$4"; fi
    cp ../shared/models/stories260K-q8_0.gguf "$folder/models/"
    cp ../shared/goldens/micro-tokens.txt "$folder/goldens/"
    local model
    for model in "${golden_models[@]}"; do
        cp "../shared/models/micro/$model.gguf" "$folder/models/"
        cp "../shared/goldens/$model.f32" "$folder/goldens/"
    done
    cp tests/gpu/run.sh tests/gpu/report.py tests/gpu/README.md "$folder/"
    echo "$folder: $(du -sh "$folder" | cut -f1)"
}

# Every architecture, every way of storing weights, and no file of many megabytes.
golden_models=(
    llama-q2_k llama-q3_k_s llama-q4_0 llama-q4_1 llama-q4_k_m llama-q5_0 llama-q5_1 llama-q5_k_s llama-q6_k llama-q8_0
    llama-f16 llama-bf16 llama-iq4_nl llama-iq4_xs
    qwen2-q4_k_m qwen3-q4_k_m phi3-q4_k_m gpt2-q4_k_m gemma2-q4_k_m gemma3-q4_k_m gpt-oss-mxfp4_moe
)

program() {
    "${CC:-cc}" -std=c99 -O2 -Iinclude -o "$folder/bin/$1" "$2" "$folder/lib/libworker.so.0" -pthread -lm "-Wl,-rpath,\$ORIGIN/../lib"
}

memory_kinds() {
    "${CXX:-c++}" -std=c++20 -O2 -DWORKER_GPU -Icuda/include -Icuda/src "-I$2/include" -o "$folder/bin/memory_kinds" \
        tests/gpu/memory_kinds.cpp "$1" "-L$2/lib" "-L$2/lib64" -lcudart_static -ldl -lrt -pthread
}

main "$@"
