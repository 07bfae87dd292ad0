#!/usr/bin/env bash
# Installs what `make test` needs and this machine lacks (Debian and its relatives). What is there is left alone.
set -euo pipefail

# With --only: the tools to look at, with a space around each.
only=""

main() {
    case "${1:-}" in
        "") ;;
        --only) shift; only=" $* " ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    [ -n "$only" ] || need_cargo
    find_missing
    if [ "${#missing[@]}" -gt 0 ]; then
        install_packages "${missing[@]}"
        find_missing
        [ "${#missing[@]}" -eq 0 ] || fail "still missing after installation: ${missing[*]}"
    fi
    [ -n "$only" ] || echo "test tools: all present"
}

usage() {
    echo "usage: packaging/test-tools.sh [--only TOOL...]"
    echo "Checks for each tool the tests use and installs the Debian packages of those missing (as root, or through sudo)."
    echo "With --only, looks at the named tools alone."
}

# A tool, the shell test that shows it works, and the Debian package that brings it.
find_missing() {
    missing=()
    want cc g++
    want g++ g++
    want clang clang
    want clang++ clang
    want cmake cmake
    want pkg-config pkg-config
    want go golang-go
    want abidiff abigail-tools
    want abidw abigail-tools
    want readelf binutils
    want python3 python3
    want curl curl
    # Of `make aarch64`, which asks for them by name.
    [ -z "$only" ] || want aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
    [ -z "$only" ] || want qemu-aarch64 qemu-user
    # Where the loader is stripped, valgrind does not start without its debugging symbols.
    wanted valgrind && { valgrind -q true >/dev/null 2>&1 || { add valgrind; add libc6-dbg; }; }
    wanted pip && { python3 -m pip --version >/dev/null 2>&1 || add python3-pip; }
    # Fiddle is Ruby's own foreign function interface; some distributions split it off.
    wanted ruby && { ruby -rfiddle -rfiddle/import -e '' >/dev/null 2>&1 || add ruby; }
    return 0
}

want() {
    ! wanted "$1" || command -v "$1" >/dev/null 2>&1 || add "$2"
}

wanted() {
    [ -z "$only" ] || [[ "$only" == *" $1 "* ]]
}

add() {
    case " ${missing[*]-} " in *" $1 "*) ;; *) missing+=("$1") ;; esac
}

# Rust comes from rustup, not from here: which toolchain to use is the developer's choice.
need_cargo() {
    command -v cargo >/dev/null 2>&1 || fail "cargo is missing: install Rust from https://rustup.rs"
    local component
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null 2>&1 || fail "cargo $component is missing, and there is no rustup to add it with"
        rustup component add "${component/fmt/rustfmt}"
    done
}

install_packages() {
    command -v apt-get >/dev/null 2>&1 || fail "no apt-get here; install by hand: $*"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || fail "neither root nor sudo; have an administrator install: $*"
        as_root=(sudo)
    fi
    echo "test tools: installing $*"
    attempt "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    attempt "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
    hash -r
}

# Mirrors fail now and then; three tries, with a pause that grows.
attempt() {
    local try
    for try in 1 2 3; do
        "$@" && return 0
        echo "test tools: attempt $try of 3 failed: $*" >&2
        sleep $((try * 5))
    done
    fail "gave up on: $*"
}

fail() {
    echo "test tools: $*" >&2
    exit 1
}

main "$@"
