/*
 * The least system that a static program for Linux runs on: it has memory, writes text and ends. Everything is in ring 0 and
 * mapped as it lies; the emulator puts this at 1 MiB and the program's file at 128 MiB, with an argument before it, and prints what goes to port 0xe9.
 *
 * Compiled without vector registers: those are the program's.
 */
#include <cstddef>
#include <cstdint>

#include <elf.h>

namespace {

constexpr uint64_t program_file = 0x8000000, program_stack_end = 0x7ff0000, heap_end = 0x7000000;
constexpr uint64_t program_argument = 0x7ff8000; /* text, or nothing */
constexpr uint64_t mappings = 0x10000000, mappings_end = 0x1f000000;
constexpr uint64_t wanted_state = 0x600e7; /* x87, SSE, AVX, AVX-512, and the tiles with their configuration */
constexpr uint64_t tile_state = 0x60000;

uint64_t enabled_state = 0, heap_start = 0, heap = 0, next_mapping = mappings;

/* ---- the machine ---- */

void out(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }

void write_register(uint32_t number, uint64_t value) {
    asm volatile("wrmsr" : : "c"(number), "a"(static_cast<uint32_t>(value)), "d"(static_cast<uint32_t>(value >> 32)));
}

struct Identification {
    uint32_t a, b, c, d;
};
Identification identify(uint32_t leaf, uint32_t part = 0) {
    Identification found{};
    asm volatile("cpuid" : "=a"(found.a), "=b"(found.b), "=c"(found.c), "=d"(found.d) : "a"(leaf), "c"(part));
    return found;
}

void copy(void *to, const void *from, size_t bytes) { asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory"); }
void clear(void *to, size_t bytes) { asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory"); }

void print(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) out(0xe9, static_cast<uint8_t>(text[i]));
}
void print(const char *text) {
    while (*text != 0) out(0xe9, static_cast<uint8_t>(*text++));
}
void print_hex(uint64_t number) {
    print("0x");
    unsigned digits = 1;
    while (digits < 16 && number >> (4 * digits) != 0) digits++;
    while (digits-- > 0) out(0xe9, static_cast<uint8_t>("0123456789abcdef"[number >> (4 * digits) & 15]));
}

/* The emulator ends at this word. */
[[noreturn]] void stop() {
    for (const char *c = "Shutdown"; *c != 0; c++) out(0x8900, static_cast<uint8_t>(*c));
    for (;;) asm volatile("cli; hlt");
}

} // namespace

extern "C" {

[[noreturn]] void start_program(uint64_t entry, uint64_t stack);
void system_call_entry();
extern const char exception_entries[];

[[noreturn]] void report_exception(uint64_t vector, uint64_t code, uint64_t place) {
    uint64_t address;
    asm volatile("mov %%cr2, %0" : "=r"(address));
    print("\nsystem: exception ");
    print_hex(vector);
    print(", code ");
    print_hex(code);
    print(", at ");
    print_hex(place);
    print(", page address ");
    print_hex(address);
    print(", instruction");
    for (unsigned i = 0; i < 10; i++) {
        print(" ");
        print_hex(reinterpret_cast<const uint8_t *>(place)[i]);
    }
    print("\n");
    stop();
}

/* As system.S lays it down. */
struct Call {
    uint64_t number, a, b, c, d, e, f, place, flags;
};

uint64_t system_call(const Call *call) {
    constexpr uint64_t unknown = static_cast<uint64_t>(-38), invalid = static_cast<uint64_t>(-22), no_memory = static_cast<uint64_t>(-12);
    switch (call->number) {
    case 1: /* write */
        print(reinterpret_cast<const char *>(call->b), call->c);
        return call->c;
    case 20: { /* writev */
        struct Part {
            const char *text;
            size_t length;
        };
        uint64_t written = 0;
        for (uint64_t i = 0; i < call->c; i++) {
            const Part &part = reinterpret_cast<const Part *>(call->b)[i];
            print(part.text, part.length);
            written += part.length;
        }
        return written;
    }
    case 5:     /* fstat */
    case 262: { /* newfstatat: all that is open is a terminal, so that lines come as they are written */
        const uint64_t place = call->number == 5 ? call->b : call->c;
        clear(reinterpret_cast<void *>(place), 144);
        *reinterpret_cast<uint32_t *>(place + 24) = 0x2190;
        return 0;
    }
    case 16: /* ioctl */ return 0;
    case 9: { /* mmap, of fresh memory only, which is never given twice */
        constexpr uint64_t anonymous = 0x20, fixed = 0x10;
        if ((call->d & anonymous) == 0 || (call->d & fixed) != 0) return invalid;
        const uint64_t bytes = (call->b + 4095) & ~uint64_t{4095};
        if (bytes > mappings_end - next_mapping) return no_memory;
        const uint64_t address = next_mapping;
        next_mapping += bytes;
        clear(reinterpret_cast<void *>(address), bytes);
        return address;
    }
    case 10: /* mprotect */
    case 11: /* munmap */ return 0;
    case 12: /* brk */
        if (call->a >= heap_start && call->a <= heap_end) {
            if (call->a > heap) clear(reinterpret_cast<void *>(heap), call->a - heap);
            heap = call->a;
        }
        return heap;
    case 158: /* arch_prctl: a thread's own data, and leave to use the tiles */
        if (call->a == 0x1002) {
            write_register(0xc0000100, call->b);
            return 0;
        }
        return call->a == 0x1023 && call->b == 18 && (enabled_state & tile_state) == tile_state ? 0 : invalid;
    case 202: /* futex: there is nobody to wake or to wait for */ return (call->b & 127) == 1 ? 0 : invalid;
    case 218: /* set_tid_address */ return 1;
    case 60:  /* exit */
    case 231: /* exit_group */
        print("system: the program ends with ");
        print_hex(call->a & 255);
        print("\n");
        stop();
    case 62:  /* kill */
    case 200: /* tkill */
    case 234: /* tgkill */ print("system: the program kills itself\n"); stop();
    default: return unknown;
    }
}

void run_system() {
    /* Exceptions. */
    static uint64_t entries[64];
    for (unsigned i = 0; i < 32; i++) {
        const uint64_t address = reinterpret_cast<uint64_t>(exception_entries + 16 * i);
        entries[2 * i] = (address & 0xffff) | 8 << 16 | uint64_t{0x8e00} << 32 | (address >> 16 & 0xffff) << 48;
        entries[2 * i + 1] = address >> 32;
    }
    struct [[gnu::packed]] {
        uint16_t limit;
        const uint64_t *address;
    } const descriptor = {sizeof entries - 1, entries};
    asm volatile("lidt %0" : : "m"(descriptor) : "memory");

    /* Vector registers and tiles. */
    uint64_t control;
    asm volatile("mov %%cr0, %0" : "=r"(control));
    asm volatile("mov %0, %%cr0" : : "r"((control & ~uint64_t{0xc}) | 2)); /* neither emulated nor switched, monitored */
    asm volatile("mov %%cr4, %0" : "=r"(control));
    asm volatile("mov %0, %%cr4" : : "r"(control | 0x40600)); /* SSE and its exceptions, XSAVE */
    const Identification features = identify(7), states = identify(13), saved = identify(1);
    enabled_state = wanted_state & states.a;
    asm volatile("xsetbv" : : "c"(0), "a"(static_cast<uint32_t>(enabled_state)), "d"(0));
    uint32_t read_back, above;
    asm volatile("xgetbv" : "=a"(read_back), "=d"(above) : "c"(0));

    char name[49] = {};
    for (unsigned i = 0; i < 3; i++) {
        const Identification part = identify(0x80000002 + i);
        copy(name + 16 * i, &part, 16);
    }
    print("system: ");
    print(name);
    print(", model ");
    print_hex(saved.a);
    print(features.d >> 24 & 1 ? ", AMX_TILE" : ", no AMX_TILE");
    print(features.d >> 22 & 1 ? ", AMX_BF16" : ", no AMX_BF16");
    print(", XCR0 ");
    print_hex(read_back);
    print("\n");

    /* Calls come to the one code segment; interrupts, steps and the direction are off in them. */
    write_register(0xc0000081, uint64_t{8} << 32);
    write_register(0xc0000082, reinterpret_cast<uint64_t>(system_call_entry));
    write_register(0xc0000084, 0x700);

    /* The program. */
    const Elf64_Ehdr &file = *reinterpret_cast<const Elf64_Ehdr *>(program_file);
    if (*reinterpret_cast<const uint32_t *>(file.e_ident) != 0x464c457f || file.e_type != ET_EXEC) {
        print("system: there is no static program\n");
        stop();
    }
    const Elf64_Phdr *parts = reinterpret_cast<const Elf64_Phdr *>(program_file + file.e_phoff);
    uint64_t headers = 0;
    for (unsigned i = 0; i < file.e_phnum; i++) {
        const Elf64_Phdr &part = parts[i];
        if (part.p_type != PT_LOAD) continue;
        if (part.p_vaddr < 0x200000 || part.p_vaddr + part.p_memsz > heap_end) {
            print("system: the program does not fit\n");
            stop();
        }
        copy(reinterpret_cast<void *>(part.p_vaddr), reinterpret_cast<const void *>(program_file + part.p_offset), part.p_filesz);
        clear(reinterpret_cast<void *>(part.p_vaddr + part.p_filesz), part.p_memsz - part.p_filesz);
        if (part.p_offset == 0) headers = part.p_vaddr + file.e_phoff;
        const uint64_t end = (part.p_vaddr + part.p_memsz + 4095) & ~uint64_t{4095};
        if (end > heap_start) heap_start = heap = end;
    }

    static const char path[] = "/program";
    static const uint8_t random[16] = {4, 8, 15, 16, 23, 42};
    const uint64_t argument = *reinterpret_cast<const char *>(program_argument) != 0 ? program_argument : 0;
    const uint64_t stack[] = {argument != 0 ? 2u : 1u, reinterpret_cast<uint64_t>(path), argument, 0, 0,
                              AT_PHDR, headers, AT_PHENT, sizeof(Elf64_Phdr), AT_PHNUM, file.e_phnum, AT_PAGESZ, 4096, AT_ENTRY, file.e_entry,
                              AT_RANDOM, reinterpret_cast<uint64_t>(random), AT_SECURE, 0, AT_NULL, 0};
    const uint64_t place = (program_stack_end - sizeof stack) & ~uint64_t{63};
    copy(reinterpret_cast<void *>(place), stack, sizeof stack);
    start_program(file.e_entry, place);
}

} // extern "C"
