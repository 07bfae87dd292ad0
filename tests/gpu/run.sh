#!/usr/bin/env bash
# Runs on the machine with the GPU, in the folder that prepare.sh made: checks, then a JSON report on standard output.
#
#     ./run.sh [--dry-run] [--device N] [--stress SECONDS] > report.json
#
# With --dry-run nothing is asked that only a card can answer: those steps are listed as planned. The others run on whatever
# device the library finds, an emulated one in our own tests.
set -uo pipefail
cd "$(dirname "$0")"

dry=0 device=0 stress=30
while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) dry=1 ;;
        --device) device="${2:?}"; shift ;;
        --stress) stress="${2:?}"; shift ;;
        *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done

# Ten minutes for all of it; what has not run by then has failed.
limit=600
results="$(mktemp -d)"
trap 'rm -rf "$results"' EXIT
number=0

# NAME STATUS SECONDS: the step's output is already there.
record() {
    printf '%s\n%s\n%s\n' "$1" "$2" "$3" > "$results/$(printf %03d "$number").step"
    echo "$1: $2" >&2
}

step() {
    local name="$1" begin="$SECONDS" left=$((limit - SECONDS)) status=passed
    shift
    number=$((number + 1))
    local base="$results/$(printf %03d "$number")"
    if [ "$left" -le 0 ]; then
        : > "$base.out"; echo "no time was left" > "$base.err"
        record "$name" failed 0
        return
    fi
    timeout --kill-after=5 "$left" "$@" > "$base.out" 2> "$base.err" < /dev/null || status=failed
    record "$name" "$status" $((SECONDS - begin))
}

# A step that needs a card: planned in a dry run. In a real one a missing program is a failure.
card_step() {
    if [ "$dry" = 1 ]; then
        number=$((number + 1))
        : > "$results/$(printf %03d "$number").out"; : > "$results/$(printf %03d "$number").err"
        record "$1" planned 0
    else
        step "$@"
    fi
}

sanitized() {
    local tool="$1"
    card_step "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 9 bin/card timing "$device" models/stories260K-q8_0.gguf
}

stories=models/stories260K-q8_0.gguf
step "device" bin/card device "$device"
card_step "nvidia-smi" nvidia-smi --query-gpu=name,driver_version,memory.total,pci.bus_id --format=csv,noheader
step "locked functions" bin/seeds "$stories" "$device"
step "locked example" bin/locked --device "$device" --seed 1 --model "$stories" once upon a time
for logits in goldens/*.f32; do
    name="$(basename "$logits" .f32)"
    step "golden $name" bin/card golden "$device" "models/$name.gguf" goldens/micro-tokens.txt "$logits"
done
step "memory" bin/card memory "$device" "$stories"
card_step "memory kinds" bin/memory_kinds "$device"
step "stress" bin/card stress "$device" "$stories" "$stress"
step "timing" bin/card timing "$device" "$stories"
for tool in memcheck initcheck synccheck racecheck; do sanitized "$tool"; done

python3 report.py "$results" "$dry"
