#!/usr/bin/env bash
# Installs the built library, or removes it again: install.sh [--uninstall]
# From the environment: BUILT (where cargo left it), VERSION, PREFIX, LIBDIR, INCLUDEDIR, DESTDIR.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    prefix="$(realpath -ms -- "$PREFIX")"
    libdir="$(realpath -ms -- "${LIBDIR:-$PREFIX/lib}")"
    includedir="$(realpath -ms -- "${INCLUDEDIR:-$PREFIX/include}")"
    # The soname's number is the ABI's major, which is the version's first number.
    soversion="${VERSION%%.*}"
    case "${1:-}" in
        "") install_all ;;
        --uninstall) uninstall_all ;;
        *) echo "usage: packaging/install.sh [--uninstall]" >&2; exit 2 ;;
    esac
}

install_all() {
    readelf -d "$BUILT/libworker.so" | grep -q "SONAME.*\[libworker\.so\.$soversion\]" || {
        echo "$BUILT/libworker.so lacks the soname libworker.so.$soversion" >&2
        exit 1
    }
    local to_lib="${DESTDIR:-}$libdir" to_include="${DESTDIR:-}$includedir"
    install -d "$to_lib/pkgconfig" "$to_lib/cmake/libworker" "$to_include"
    install -m 644 "${headers[@]/#/include/}" "$to_include"
    install -m 755 "$BUILT/libworker.so" "$to_lib/libworker.so.$VERSION"
    ln -sf "libworker.so.$VERSION" "$to_lib/libworker.so.$soversion"
    ln -sf "libworker.so.$soversion" "$to_lib/libworker.so"
    install -m 644 "$BUILT/libworker.a" "$to_lib"
    fill worker.pc.in > "$to_lib/pkgconfig/worker.pc"
    fill libworkerConfig.cmake.in > "$to_lib/cmake/libworker/libworkerConfig.cmake"
    fill libworkerConfigVersion.cmake.in > "$to_lib/cmake/libworker/libworkerConfigVersion.cmake"
    echo "installed libworker $VERSION into ${DESTDIR:-}$prefix"
}

uninstall_all() {
    local from_lib="${DESTDIR:-}$libdir" from_include="${DESTDIR:-}$includedir"
    rm -f "${headers[@]/#/"$from_include"/}" "$from_lib/libworker.so" "$from_lib/libworker.so.$soversion" \
        "$from_lib/libworker.so.$VERSION" "$from_lib/libworker.a" "$from_lib/pkgconfig/worker.pc" \
        "$from_lib/cmake/libworker/libworkerConfig.cmake" "$from_lib/cmake/libworker/libworkerConfigVersion.cmake"
    rmdir --ignore-fail-on-non-empty "$from_lib/cmake/libworker" 2>/dev/null || true
    echo "removed libworker $VERSION from ${DESTDIR:-}$prefix"
}

# A template with its @NAME@ marks replaced.
fill() {
    local text
    text="$(cat "packaging/$1")"
    text="${text//@PREFIX@/"$prefix"}"
    text="${text//@LIBDIR@/"$libdir"}"
    text="${text//@INCLUDEDIR@/"$includedir"}"
    text="${text//@INCLUDEDIR_FROM_LIBDIR@/"$(realpath -ms --relative-to="$libdir" -- "$includedir")"}"
    text="${text//@VERSION@/"$VERSION"}"
    text="${text//@SOVERSION@/"$soversion"}"
    printf '%s\n' "$text"
}

headers=(worker_ffi.h worker_types.h worker_errors.h worker.hpp worker_managed.hpp)

main "$@"
