/*
 * Which GPUs there are, what they say of themselves, and what becomes of one that fails.
 */
#include "device_memory.h"
#include "emulated_machine.h"
#include "gpu/device_gpu.h"

#include <cstring>
#include <string>
#include <vector>

using namespace worker;
using emulation::Lasting;
using gpu::GpuDevice;
using gpu::Status;

TEST(a_machine_without_gpus_has_none_and_says_why) {
    struct Case {
        int32_t devices;
        Status status;
        const char *reason;
    };
    for (const auto &[devices, status, reason] : {Case{0, Status::Success, "the driver reports no device"},
                                                  Case{-3, Status::Success, "the driver reports no device"},
                                                  Case{1, Status::NoDevice, "no CUDA-capable device is detected"},
                                                  Case{1, Status::InsufficientDriver, "driver version is insufficient"}}) {
        emulation::Machine machine;
        machine.devices = devices;
        machine.count_status = status;
        const EmulatedMachine emulated(machine);
        CHECK_EQUAL(Device::gpu_count(), 0u);
        CHECK_THROWS(ENGINE_INVALID_DEVICE, reason, Device::open(0, 0));
        CHECK_THROWS(ENGINE_INVALID_DEVICE, "Device not found: GPU 0", Device::open(0, 0));
        CHECK(Device::open(-1, 1)->kind() == DeviceKind::Cpu);
        CHECK_EQUAL(static_cast<int>(gpu::runtime().take_last_error()), 0);
    }
}

TEST(only_gpus_that_are_there_open) {
    const EmulatedMachine emulated(2);
    CHECK_EQUAL(Device::gpu_count(), 2u);
    for (const int32_t ordinal : {0, 1}) {
        const auto device = Device::open(ordinal, 0);
        CHECK(device->kind() == DeviceKind::Gpu);
        const engine_device_information information = device->information();
        CHECK_EQUAL(information.ordinal, ordinal);
        CHECK_EQUAL(std::string(information.name), "Emulated GPU " + std::to_string(ordinal));
        CHECK_EQUAL(information.compute_capability, 90u);
        CHECK_EQUAL(information.total_memory, uint64_t{1} << 30);
        CHECK(information.free_memory <= information.total_memory);
        CHECK_EQUAL(information.threads, 0u);
        device->check_health();
    }
    for (const int32_t ordinal : {2, 999, INT32_MAX}) {
        CHECK_THROWS(ENGINE_INVALID_DEVICE, "there is no GPU " + std::to_string(ordinal) + ": this machine has 2", Device::open(ordinal, 0));
    }
    CHECK_THROWS(ENGINE_INVALID_DEVICE, "there is no device -2", Device::open(-2, 0));
}

TEST(a_gpu_older_than_the_kernels_is_refused_by_name) {
    emulation::Machine machine;
    machine.compute_capability = 70;
    const EmulatedMachine emulated(machine);
    CHECK_THROWS(ENGINE_INVALID_DEVICE, "GPU 0 (Emulated GPU 0) has compute capability 7.0", Device::open(0, 0));
}

TEST(a_machine_that_counts_more_gpus_than_it_has_refuses_them_one_by_one) {
    const EmulatedMachine emulated(2);
    emulation::fail("device_properties", 0, Status::InvalidDevice, Lasting::FromThenOn);
    CHECK_THROWS(ENGINE_INVALID_DEVICE, "reading the properties of GPU 1", Device::open(1, 0));
    emulation::fail("enter_device", 0, Status::DevicesUnavailable, Lasting::FromThenOn);
    CHECK_THROWS(ENGINE_INVALID_DEVICE, "choosing GPU 1", Device::open(1, 0));
}

TEST(settings_that_a_device_refuses_do_not_matter) {
    for (const char *setting : {"set_malloc_heap_limit", "prefer_l1"}) {
        const EmulatedMachine emulated;
        emulation::fail(setting, 0, Status::InvalidValue, Lasting::FromThenOn);
        Device::open(0, 0)->check_health();
    }
}

TEST(the_host_threads_own_device_stays_its_device) {
    const EmulatedMachine emulated(2);
    void *previous = nullptr;
    CHECK(gpu::runtime().enter_device(1, &previous) == Status::Success);
    {
        const auto device = Device::open(0, 0);
        CHECK_EQUAL(emulation::device_of_thread(), 1);
        device->check_health();
        static_cast<void>(device->information());
        CHECK_EQUAL(emulation::device_of_thread(), 1);
        CHECK_THROWS(ENGINE_INVALID_DEVICE, "GPU 2", Device::open(2, 0));
    }
    CHECK_EQUAL(emulation::device_of_thread(), 1);
    static_cast<void>(gpu::runtime().leave_device(previous));
}

TEST(the_process_s_memory_comes_from_nvml_and_says_so) {
    emulation::Machine machine;
    machine.foreign_memory = uint64_t{100} << 20;
    const EmulatedMachine emulated(machine);
    const auto device = Device::open(0, 0);
    const DeviceMemory block(*device, size_t{8} << 20, {VramPurpose::Unknown, "a block", 0});
    CHECK_EQUAL(device->process_usage().source, uint32_t{ENGINE_MEMORY_NVML});
    CHECK_EQUAL(device->process_memory(), emulation::context_bytes + (uint64_t{8} << 20));

    /* Device-wide is another figure: what other processes have is in it. */
    const engine_device_information information = device->information();
    CHECK_EQUAL(information.total_memory - information.free_memory, uint64_t{108} << 20);

    machine.has_nvml = false;
    emulation::set_machine(machine);
    CHECK_EQUAL(device->process_usage().source, uint32_t{ENGINE_MEMORY_LEDGER});
    CHECK_EQUAL(device->process_memory(), uint64_t{8} << 20);
}

TEST(a_fault_that_stays_is_told_as_what_it_is_and_spares_other_devices) {
    const EmulatedMachine emulated(2);
    const auto broken = Device::open(0, 0);
    const auto sound = Device::open(1, 0);
    DeviceMemory block(*broken, 4096, {VramPurpose::Unknown, "a block", 0});
    emulation::lose_device(0, Status::IllegalAddress);
    std::vector<char> bytes(4096);
    constexpr auto lasting = "the device runs nothing more in this process";
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, lasting, broken->check_health());
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, "cudaErrorIllegalAddress, 700", block.copy_from_host(bytes.data(), 4096));
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, lasting, block.copy_to_host(bytes.data(), 4096));
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, lasting, block.zero());
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, lasting, static_cast<void>(broken->information()));
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, lasting, Device::open(0, 0));
    CHECK_THROWS(ENGINE_RESIDENCY_FAILED, "does not answer", broken->resident_bytes(block.get(), 4096));
    /* It is no want of memory. */
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, lasting, DeviceMemory(*broken, size_t{4} << 20, {VramPurpose::Unknown, "more", 0}));
    CHECK_EQUAL(Device::gpu_count(), 2u);
    sound->check_health();
}

TEST(a_kernel_that_fails_is_found_by_whoever_waits_for_it) {
    const EmulatedMachine emulated;
    const auto device = Device::open(0, 0);
    emulation::fail("synchronise_stream", 1, Status::LaunchFailure, Lasting::Once); /* the copy's wait, then the kernel's */
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, "running a kernel on GPU 0 (Emulated GPU 0)", device->check_health());
    CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, "cudaErrorLaunchFailure", device->check_health());
}

TEST(a_launch_that_is_refused_harms_nothing_else) {
    const EmulatedMachine emulated;
    const auto device = Device::open(0, 0);
    for (const Status status : {Status::NoKernelImage, Status::LaunchOutOfResources, Status::InvalidConfiguration, Status::InvalidValue}) {
        emulation::fail("launch", 0, status, Lasting::Once);
        CHECK_THROWS(ENGINE_KERNEL_LAUNCH_FAILED, "kernel invert", device->check_health());
        static_cast<void>(gpu::runtime().take_last_error());
        device->check_health();
    }
}
