/*
 * An emulated machine for one test; afterwards it is healthy again, and holds what it held before.
 */
#ifndef WORKER_TEST_EMULATED_MACHINE_H
#define WORKER_TEST_EMULATED_MACHINE_H

#include "emulation/runtime_emulated.h"
#include "harness.h"

class EmulatedMachine {
public:
    explicit EmulatedMachine(int32_t devices = 1) : before_(worker::emulation::census()) {
        worker::emulation::Machine machine;
        machine.devices = devices;
        worker::emulation::reset();
        worker::emulation::set_machine(machine);
    }
    explicit EmulatedMachine(const worker::emulation::Machine &machine) : EmulatedMachine() { worker::emulation::set_machine(machine); }
    ~EmulatedMachine() {
        worker::emulation::reset();
        check_nothing_left();
    }
    EmulatedMachine(const EmulatedMachine &) = delete;
    EmulatedMachine &operator=(const EmulatedMachine &) = delete;

    void check_nothing_left() const {
        const worker::emulation::Census now = worker::emulation::census();
        CHECK_EQUAL(now.device_blocks, before_.device_blocks);
        CHECK_EQUAL(now.device_bytes, before_.device_bytes);
        CHECK_EQUAL(now.pinned_blocks, before_.pinned_blocks);
        CHECK_EQUAL(now.streams, before_.streams);
        CHECK_EQUAL(now.events, before_.events);
    }

private:
    worker::emulation::Census before_;
};

#endif
