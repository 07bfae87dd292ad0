//! The controls of the emulated GPU, for tests: what the machine has, what fails, and what kind of memory blocks are.
//!
//! Only a library built with the feature `emulated-gpu` has them; its GPU is no GPU. One machine per process: tests that
//! use it take turns.

use std::ffi::CString;
use std::os::raw::c_char;

/// What the emulated machine has.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// What the runtime says of the number of devices; may be nonsense.
    pub devices: i32,
    /// What the runtime gives when it is asked for the number.
    pub count_status: i32,
    /// Bytes of each device.
    pub memory: u64,
    /// Of these, bytes that other processes use.
    pub foreign_memory: u64,
    /// Major version times ten, plus minor.
    pub compute_capability: u32,
    /// 1 when NVML tells how much memory the process uses.
    pub has_nvml: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Self { devices: 1, count_status: 0, memory: 1 << 30, foreign_memory: 0, compute_capability: 90, has_nvml: 1 }
    }
}

/// What is alive, and what was done so far.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Blocks of device memory.
    pub device_blocks: u64,
    /// Bytes of device memory.
    pub device_bytes: u64,
    /// Blocks of page-locked host memory.
    pub pinned_blocks: u64,
    /// Streams.
    pub streams: u64,
    /// Events.
    pub events: u64,
    /// Requests for memory of either kind, so far.
    pub memory_requests: u64,
    /// Kernels started so far.
    pub launches: u64,
}

/// Kinds of memory, as the runtime's pointer attributes tell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum MemoryKind {
    /// Ordinary memory of the host.
    Unregistered = 0,
    /// The host's, mapped for the device.
    Host = 1,
    /// The device's own.
    Device = 2,
    /// Moves between the two by itself.
    Managed = 3,
}

/// The runtime's numbers for failures that tests choose.
pub mod status {
    /// `cudaErrorMemoryAllocation`
    pub const OUT_OF_MEMORY: i32 = 2;
    /// `cudaErrorInsufficientDriver`
    pub const INSUFFICIENT_DRIVER: i32 = 35;
    /// `cudaErrorNoDevice`
    pub const NO_DEVICE: i32 = 100;
    /// `cudaErrorIllegalAddress`, which stays until the process ends.
    pub const ILLEGAL_ADDRESS: i32 = 700;
    /// `cudaErrorLaunchFailure`, which stays as well.
    pub const LAUNCH_FAILURE: i32 = 719;
    /// `cudaErrorUnknown`: a device that fell off the bus.
    pub const UNKNOWN: i32 = 999;
}

extern "C" {
    fn emulated_gpu_reset();
    fn emulated_gpu_set_machine(machine: *const Machine);
    fn emulated_gpu_census(out: *mut Census);
    fn emulated_gpu_fail(call: *const c_char, successes: i64, status: i32, from_then_on: i32);
    fn emulated_gpu_set_kind_of_allocations(kind: i32);
    fn emulated_gpu_set_kind_of_block(place: u64, kind: i32) -> i32;
    fn emulated_gpu_lose_device(device: i32, status: i32);
}

/// One healthy device, or as many as `WORKER_EMULATED_GPUS` says, and no faults. What is allocated stays.
pub fn reset() {
    // SAFETY: takes nothing; may be called at any time.
    unsafe { emulated_gpu_reset() }
}

/// Makes the machine another.
pub fn set_machine(machine: &Machine) {
    // SAFETY: the reference is valid for the call.
    unsafe { emulated_gpu_set_machine(machine) }
}

/// Counts what is alive.
#[must_use]
pub fn census() -> Census {
    let mut census = Census::default();
    // SAFETY: the pointer is valid for the call.
    unsafe { emulated_gpu_census(&raw mut census) };
    census
}

/// Lets the call of this name in the runtime table ("copy", "launch", "memory", "any", ...) succeed `successes` more
/// times, then gives `status`: once, or from then on. One such fault at a time.
pub fn fail(call: &str, successes: i64, status: i32, from_then_on: bool) {
    let call = CString::new(call).unwrap_or_default();
    // SAFETY: the text is valid for the call.
    unsafe { emulated_gpu_fail(call.as_ptr(), successes, status, i32::from(from_then_on)) }
}

/// What blocks are from now on.
pub fn set_kind_of_allocations(kind: MemoryKind) {
    // SAFETY: may be called at any time.
    unsafe { emulated_gpu_set_kind_of_allocations(kind as i32) }
}

/// Makes a live block of device memory another kind; 0 is the oldest. False when there are not so many.
#[must_use]
pub fn set_kind_of_block(place: u64, kind: MemoryKind) -> bool {
    // SAFETY: may be called at any time.
    unsafe { emulated_gpu_set_kind_of_block(place, kind as i32) != 0 }
}

/// Every call on this device gives the status from now on.
pub fn lose_device(device: i32, status: i32) {
    // SAFETY: may be called at any time.
    unsafe { emulated_gpu_lose_device(device, status) }
}
