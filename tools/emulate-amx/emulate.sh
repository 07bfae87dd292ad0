#!/usr/bin/env bash
# Runs the engine's tests of the matrix unit (AMX) in the Bochs emulator, without an operating system: see README.md.
# With arguments, only the tests whose names contain one of them. Exits with 0 if all passed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build="$root/target/emulate-amx"
bochs="$build/bochs"
mkdir -p "$build"

# Bochs of Debian 13 with all that it needs, unpacked beside us and not installed: earlier ones have no AMX.
fetch_bochs() {
    local apt="$build/apt" mirror
    mirror="$(apt-get indextargets --format '$(SITE)' | grep -m 1 '/debian/*$')"
    mkdir -p "$apt"/{lists/partial,cache/archives/partial,parts,preferences}
    : > "$apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$apt/sources"
    cat > "$apt/conf" <<END
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources";
Dir::Etc::sourceparts "$apt/parts";
Dir::Etc::preferencesparts "$apt/preferences";
APT::Architecture "amd64";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
END
    APT_CONFIG="$apt/conf" apt-get -qq update
    APT_CONFIG="$apt/conf" apt-get -qq --yes --download-only install bochs bochs-term bochsbios vgabios
    rm -rf "$bochs.part"
    mkdir "$bochs.part"
    local package
    for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$bochs.part"; done
    mv "$bochs.part" "$bochs"
    rm -rf "$apt"
}

build_system() {
    g++ -c "$here/boot.S" -o "$build/boot.o"
    ld -e _start -Ttext=0x7c00 --oformat=binary "$build/boot.o" -o "$build/boot.image"
    truncate -s 1474560 "$build/boot.image"
    g++ -c "$here/system.S" -o "$build/system-entry.o"
    g++ -std=c++20 -O2 -Wall -Wextra -Werror -ffreestanding -fno-exceptions -fno-rtti -fno-stack-protector -fno-pic -fno-pie \
        -mno-red-zone -mgeneral-regs-only -fcf-protection=none -fno-tree-loop-distribute-patterns -c "$here/system.cpp" -o "$build/system.o"
    ld --no-warn-rwx-segments -T "$here/system.ld" "$build/system-entry.o" "$build/system.o" -o "$build/system.elf"
    objcopy -O binary "$build/system.elf" "$build/system.image"
}

# The test as `make test` builds it, but linked statically.
build_program() {
    local engine
    (cd "$root" && cargo build --quiet --lib)
    engine=$(ls -t "$root"/target/debug/build/worker-*/out/libworker_engine.a | sed -n 1p)
    g++ -static -std=c++20 -O2 -Wall -Wextra -Wno-restrict -ffp-contract=off -pthread -I"$root/cuda/include" -I"$root/cuda/src" -I"$root/cuda/tests" \
        -I"$root/cuda/tests/kernels" "$root/cuda/tests/harness.cpp" "$root/cuda/tests/math/matrix_tiles_test.cpp" "$engine" -o "$build/program"
}

# emulate TEST: the tests whose names contain it.
emulate() {
    local libraries="$bochs/usr/lib/x86_64-linux-gnu" run="$build/$1"
    mkdir -p "$run"
    printf '%s' "$1" > "$run/argument"
    truncate -s 128 "$run/argument"
    echo c > "$run/debugger"
    # Images in memory must each lie within a block of it.
    cat > "$run/bochsrc" <<END
config_interface: textconfig
display_library: rfb, options="timeout=0"
cpu: model=sapphire_rapids, count=1, ips=1000000000, reset_on_triple_fault=0
memory: guest=512, host=512, block_size=8192
romimage: file="$bochs/usr/share/bochs/BIOS-bochs-latest"
vgaromimage: file="$bochs/usr/share/bochs/VGABIOS-lgpl-latest"
floppya: 1_44="$build/boot.image", status=inserted
boot: floppy
optramimage1: file="$build/system.image", address=0x100000
optramimage2: file="$build/program", address=0x8000000
optramimage3: file="$run/argument", address=0x7ff8000
port_e9_hack: enabled=1
log: "$run/log"
panic: action=fatal
END
    BXSHARE="$bochs/usr/share/bochs" LTDL_LIBRARY_PATH="$libraries/bochs/plugins" timeout 3600 \
        "$bochs/usr/lib64/ld-linux-x86-64.so.2" --library-path "$libraries:$libraries/pulseaudio" "$bochs/usr/bin/bochs-bin" -q \
        -f "$run/bochsrc" -rc "$run/debugger" < /dev/null > "$run/output" 2>&1 || true # it always ends by a word of ours
    sed -n '/^system: /,/^=====/p' "$run/output" | grep -v '^====='
    # It must have been the unit: without one the tests find nothing to do.
    grep -q '^system: .*, AMX_TILE, AMX_BF16, XCR0 0x600e7$' "$run/output" && grep -q '^system: the program ends with 0x0$' "$run/output"
}

[ -d "$bochs" ] || fetch_bochs
build_system
build_program
[ $# -gt 0 ] || set -- the_matrix_unit_of_this_machine_is_absent_or_works the_model_of_the_matrix_unit_rounds_and_flushes_as_documented \
    the_matrix_units_products_are_right_and_independent_of_their_company
failed=0
for test in "$@"; do emulate "$test" || failed=1; done
[ $failed = 0 ] && echo "All passed in the emulator." || echo "FAILED in the emulator."
exit $failed
