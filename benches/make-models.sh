#!/usr/bin/env bash
# Makes the synthetic models that `make bench` measures: right shapes and formats, random weights.
# usage: benches/make-models.sh FOLDER [ARCH:SHAPE:TYPE...]
set -euo pipefail
case "${1:---help}" in
-h | --help)
    sed -n '2,3s/^# //p' "$0"
    exit 0
    ;;
esac
folder=$1
shift
here=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -eq 0 ]; then # both shapes in four types: 7.4 GB
    for type in q8_0 q4_0 q4_k_m f16; do set -- "$@" "qwen2:0.5b:$type" "llama:1b:$type"; done
fi
mkdir -p "$folder"
[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -c 'import gguf, numpy' 2>/dev/null || "$folder/venv/bin/pip" install --quiet numpy gguf
for model in "$@"; do
    IFS=: read -r arch shape type <<<"$model"
    out="$folder/$arch-$shape-$type.gguf"
    if [ ! -e "$out" ]; then
        echo "making $out" >&2
        "$folder/venv/bin/python" "$here/../shared/tools/make_gguf.py" --arch "$arch" --shape "$shape" --type "$type" --out "$out.part"
        mv "$out.part" "$out"
    fi
    echo "$out"
done
