//! Devices: where weights lie and work runs.

use std::ptr::{null_mut, NonNull};
use std::sync::Arc;

use super::raw;
use crate::error::Result;

/// An open device. Everything loaded onto it keeps it open.
pub struct Device {
    handle: NonNull<raw::engine_device>,
    kind: DeviceKind,
}

/// What kind of device it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// The processor and its main memory.
    Cpu,
    /// A graphics processor with memory of its own.
    Gpu,
}

/// What a device is, and how much of it is free now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInformation {
    /// -1 is the CPU; 0 and up are GPUs.
    pub ordinal: i32,
    /// CPU or GPU.
    pub kind: DeviceKind,
    /// The maker's name for it.
    pub name: String,
    /// Bytes; on the CPU the cgroup's limit where that is less than the machine's memory.
    pub total_memory: u64,
    /// Bytes that could be allocated now.
    pub free_memory: u64,
    /// Major version times ten, plus minor; 0 on the CPU.
    pub compute_capability: u32,
    /// Threads that work, the caller's among them; 0 on a GPU.
    pub threads: u32,
    /// The instruction set that the kernels use, such as "avx2".
    pub kernel_path: String,
}

/// How much of a device's memory is in use, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceUsage {
    /// Bytes that this process uses.
    pub process: u64,
    /// Who counted these.
    pub source: UsageSource,
    /// Bytes that all processes together use.
    pub all_processes: u64,
}

/// Who counts a process's device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageSource {
    /// The operating system, on the CPU.
    ResidentSet,
    /// NVIDIA's driver, through NVML: the context and the kernels are counted as well.
    Nvml,
    /// This library, where the driver does not tell: what it has allocated, a lower bound.
    Ledger,
}

impl UsageSource {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ResidentSet => "resident_set",
            Self::Nvml => "nvml",
            Self::Ledger => "ledger",
        }
    }
}

/// Bytes of device memory, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Model weights, mapped ones included.
    pub weights: u64,
    /// Keys and values of sequences. Pages count from their creation, though untouched ones take no memory yet.
    pub kv_cache: u64,
    /// Scratch of the forward pass.
    pub workspace: u64,
    /// Everything else.
    pub other: u64,
    /// How many allocations there are.
    pub allocations: u64,
}

impl MemoryUse {
    /// All purposes together, in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights + self.kv_cache + self.workspace + self.other
    }
}

impl Device {
    /// How many GPUs this build can use here.
    #[must_use]
    pub fn gpu_count() -> u32 {
        // SAFETY: takes nothing, may be called at any time.
        unsafe { raw::engine_gpu_count() }
    }

    /// Opens device -1, the CPU, or a GPU from 0 up. `threads` of 0 takes the cores this process may use.
    ///
    /// A device that is not there is [`Code::InvalidDevice`](crate::error::Code::InvalidDevice); another is never taken
    /// in its place.
    pub fn open(ordinal: i32, threads: u32) -> Result<Arc<Self>> {
        let mut handle = null_mut();
        // SAFETY: both pointers are valid for the call.
        raw::call(|error| unsafe { raw::engine_device_open(ordinal, threads, &raw mut handle, error) })?;
        let kind = if ordinal < 0 { DeviceKind::Cpu } else { DeviceKind::Gpu };
        Ok(Arc::new(Self { handle: raw::owned(handle)?, kind }))
    }

    /// CPU or GPU.
    #[must_use]
    pub fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// What the device is and has free.
    pub fn information(&self) -> Result<DeviceInformation> {
        let mut found = raw::engine_device_information {
            ordinal: 0,
            compute_capability: 0,
            total_memory: 0,
            free_memory: 0,
            threads: 0,
            reserved: 0,
            name: [0; 128],
            kernel_path: [0; 32],
        };
        // SAFETY: the device lives as long as `self`; both pointers are valid for the call.
        raw::call(|error| unsafe { raw::engine_device_get_information(self.raw(), &raw mut found, error) })?;
        Ok(DeviceInformation {
            ordinal: found.ordinal,
            kind: if found.ordinal < 0 { DeviceKind::Cpu } else { DeviceKind::Gpu },
            name: raw::text(&found.name),
            total_memory: found.total_memory,
            free_memory: found.free_memory,
            compute_capability: found.compute_capability,
            threads: found.threads,
            kernel_path: raw::text(&found.kernel_path),
        })
    }

    /// Bytes of the device's memory that this process uses; on the CPU its resident set.
    #[must_use]
    pub fn process_memory(&self) -> u64 {
        // SAFETY: the device lives as long as `self`.
        unsafe { raw::engine_device_process_memory(self.raw()) }
    }

    /// How much of the device's memory this process uses, and all processes together.
    pub fn usage(&self) -> Result<DeviceUsage> {
        let mut usage = raw::engine_device_usage::default();
        // SAFETY: the device lives as long as `self`; both pointers are valid for the call.
        raw::call(|error| unsafe { raw::engine_device_get_usage(self.raw(), &raw mut usage, error) })?;
        Ok(DeviceUsage {
            process: usage.process_bytes,
            source: match usage.process_source {
                raw::ENGINE_MEMORY_NVML => UsageSource::Nvml,
                raw::ENGINE_MEMORY_LEDGER => UsageSource::Ledger,
                _ => UsageSource::ResidentSet,
            },
            all_processes: usage.device_bytes,
        })
    }

    /// What the engine has allocated on this device, for all models.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        let mut memory = raw::engine_memory::default();
        // SAFETY: the device lives as long as `self`; the pointer is valid for the call.
        unsafe { raw::engine_device_memory(self.raw(), &raw mut memory) };
        memory.into()
    }

    /// Allocates, writes, computes on every thread and reads back.
    pub fn check_health(&self) -> Result<()> {
        // SAFETY: the device lives as long as `self`.
        raw::call(|error| unsafe { raw::engine_device_check_health(self.raw(), error) })
    }

    pub(super) fn raw(&self) -> *mut raw::engine_device {
        self.handle.as_ptr()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: models hold the device by `Arc`, so none is left; the handle is not used again.
        unsafe { raw::engine_device_close(self.raw()) };
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.information() {
            Ok(information) => information.fmt(formatter),
            Err(error) => write!(formatter, "Device({error})"),
        }
    }
}

// SAFETY: the engine's device functions may be called from any thread, also at once.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl From<raw::engine_memory> for MemoryUse {
    #[inline]
    fn from(memory: raw::engine_memory) -> Self {
        Self {
            weights: memory.weights,
            kv_cache: memory.kv_cache,
            workspace: memory.workspace,
            other: memory.other,
            allocations: memory.allocations,
        }
    }
}
