# Sourced by the scripts whose work is a row of steps.

# step NAME COMMAND...: runs a step and prints how long it took; the script ends with the first that fails.
step() {
    local name="$1" begin=$SECONDS
    shift
    echo "== $name"
    "$@" || { echo "== $name: FAILED after $((SECONDS - begin))s" >&2; exit 1; }
    echo "== $name: $((SECONDS - begin))s"
}
