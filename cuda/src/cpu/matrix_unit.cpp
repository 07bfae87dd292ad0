#include "matrix_unit.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include "isa_panels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace worker::cpu {

#if defined(__x86_64__) && defined(__linux__)

namespace avx512vnni {
extern const KernelTable table;
}

namespace {

bool cpu_has_unit() noexcept {
    constexpr unsigned bf16_bit = 1u << 22, tile_bit = 1u << 24, system_saves_bit = 1u << 27;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & system_saves_bit) == 0) return false;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & bf16_bit) == 0 || (d & tile_bit) == 0) return false;
    /* The system must keep both the tiles and their configuration. */
    constexpr unsigned tile_state = 3u << 17;
    unsigned enabled = 0, above = 0;
    asm volatile("xgetbv" : "=a"(enabled), "=d"(above) : "c"(0));
    return (enabled & tile_state) == tile_state;
}

/* Linux gives a process the tiles' large state only if it asks. */
bool system_permits_unit() noexcept {
    constexpr long ask = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, ask, tile_data) == 0;
}

/* Small whole numbers, whose sums are exact in any order. */
int weight_of(uint64_t row, uint64_t column) { return static_cast<int>((row * 7 + column * 13 + row * column) % 255) - 127; }
int activation_of(uint64_t vector, uint64_t column) { return static_cast<int>((vector * 5 + column * 3 + vector * column) % 17) - 8; }

struct Freed {
    void operator()(std::byte *memory) const noexcept { std::free(memory); }
};

/* Of two blocks and a part of columns, two pairs of weight tiles and a part, three tiles of activations. */
bool unit_multiplies() {
    constexpr uint64_t columns = 1088, rows = 72, count = 40, block = 34;
    const TileShape shape{TileKind::Bfloats, 16, 0, 0};
    std::vector<uint8_t> weights(rows * columns / 32 * block);
    for (uint64_t row = 0; row < rows; row++)
        for (uint64_t column = 0; column < columns; column++) {
            uint8_t *stored = weights.data() + (row * columns + column) / 32 * block;
            stored[0] = 0x00; /* the scale, one */
            stored[1] = 0x3c;
            stored[2 + column % 32] = static_cast<uint8_t>(weight_of(row, column));
        }
    std::vector<std::vector<float>> activations(count, std::vector<float>(columns)), outputs(count, std::vector<float>(rows));
    std::vector<const float *> inputs;
    std::vector<float *> places;
    for (uint64_t vector = 0; vector < count; vector++) {
        for (uint64_t column = 0; column < columns; column++) activations[vector][column] = static_cast<float>(activation_of(vector, column));
        inputs.push_back(activations[vector].data());
        places.push_back(outputs[vector].data());
    }
    const size_t tile = tile_bytes(shape, columns), scratch = amx::scratch() * sizeof(float);
    const std::unique_ptr<std::byte, Freed> memory(static_cast<std::byte *>(std::aligned_alloc(64, 3 * tile + scratch)));
    if (memory == nullptr) return false;
    for (uint64_t first = 0; first < count; first += 16)
        for (uint64_t column = 0; column < columns; column += tile_segment)
            amx::interleave(shape, inputs.data() + first, std::min<uint64_t>(16, count - first), column, std::min(tile_segment, columns - column),
                            memory.get() + first / 16 * tile);
    amx::product({TensorType::Q8_0, Role::Prompt, PreparedForm::Bfloats, reinterpret_cast<const std::byte *>(weights.data()), columns / 32 * block, columns, 0, rows,
                  nullptr, nullptr, places.data(), count, reinterpret_cast<float *>(memory.get() + 3 * tile), shape, memory.get()});
    for (uint64_t vector = 0; vector < count; vector++)
        for (uint64_t row = 0; row < rows; row++) {
            int sum = 0;
            for (uint64_t column = 0; column < columns; column++) sum += weight_of(row, column) * activation_of(vector, column);
            if (outputs[vector][row] != static_cast<float>(sum)) return false;
        }
    return true;
}

MatrixUnitState find_state() noexcept {
    if (!cpu_has_unit() || !system_permits_unit()) return MatrixUnitState::Absent;
    try {
        return unit_multiplies() ? MatrixUnitState::Works : MatrixUnitState::Fails;
    } catch (const std::exception &) {
        return MatrixUnitState::Fails;
    }
}

bool takes_prompts(TensorType type, Arithmetic arithmetic) noexcept {
    return (arithmetic == Arithmetic::Fast || arithmetic == Arithmetic::Fine) && type != TensorType::F32;
}

PreparedForm prepared_form(TensorType type, Role role, Arithmetic arithmetic) {
    if (role == Role::Prompt && takes_prompts(type, arithmetic)) return PreparedForm::Bfloats;
    return avx512vnni::table.prepared_form(type, role, arithmetic);
}

bool roles_agree(TensorType type, Arithmetic arithmetic) {
    return !takes_prompts(type, arithmetic) && avx512vnni::table.roles_agree(type, arithmetic);
}

TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    if (form != PreparedForm::Bfloats) return avx512vnni::tile_shape(type, form, count);
    if (count == 0) return {};
    return {traits_of(type).block_length == 1 ? TileKind::BfloatPairs : TileKind::Bfloats, 16, 0, 0};
}

size_t tile_scratch(uint64_t columns) { return std::max(amx::scratch(), avx512vnni::tile_scratch(columns)); }

void tile_product(const ProductTask &task) {
    if (task.form == PreparedForm::Bfloats)
        amx::product(task);
    else
        avx512vnni::tile_product(task);
}

} // namespace

MatrixUnitState matrix_unit_state() noexcept {
    static const MatrixUnitState state = find_state();
    return state;
}

KernelTable matrix_unit_table() noexcept {
    KernelTable table = avx512vnni::table;
    table.name = "amx";
    table.prepared_form = prepared_form;
    table.roles_agree = roles_agree;
    table.tile_shape = tile_shape;
    table.tile_scratch = tile_scratch;
    table.tile_product = tile_product;
    table.interleave_floats = amx::interleave;
    return table;
}

#else

MatrixUnitState matrix_unit_state() noexcept { return MatrixUnitState::Absent; }

#endif

} // namespace worker::cpu
