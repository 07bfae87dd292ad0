#!/usr/bin/env bash
# Installs what compiles the GPU part of the engine (nvcc and the static CUDA runtime, 280 MB) into target/cuda-toolkit,
# from NVIDIA's wheels on PyPI. Needs no GPU, no driver and no root.
set -euo pipefail
cd "$(dirname "$0")/.."

# Exact versions: the compiler decides which bits the kernels give.
packages=(
    nvidia-cuda-nvcc==13.0.88
    nvidia-cuda-crt==13.0.88
    nvidia-nvvm==13.0.88
    nvidia-cuda-runtime==13.0.96
    nvidia-cuda-cccl==13.0.85
)
folder=target/cuda-toolkit

main() {
    if [ "$(cat "$folder/packages" 2>/dev/null)" = "${packages[*]}" ] && [ -x "$folder/nvidia/cu13/bin/nvcc" ]; then
        echo "cuda toolkit: already in $folder"
        return
    fi
    rm -rf "$folder" "$folder.partial"
    local try
    for try in 1 2 3; do
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --upgrade \
            --target "$folder.partial" "${packages[@]}" && break
        [ "$try" -lt 3 ] || { echo "cuda toolkit: pip failed three times" >&2; exit 1; }
        sleep $((try * 5))
    done
    echo "${packages[*]}" > "$folder.partial/packages"
    # Under its name only when whole, in case this is interrupted.
    mv "$folder.partial" "$folder"
    "$folder/nvidia/cu13/bin/nvcc" --version | tail -n 1
}

main
