//! Weights: loaded onto a device, kept there, and checked to be there.

use std::any::Any;
use std::ffi::{c_void, CString};
use std::ops::Range;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr::{null_mut, NonNull};
use std::sync::Arc;

use super::{raw, Device, DeviceKind, MemoryUse, ModelDescription, TensorRole, TensorType};
use crate::error::{Code, Error, Result};

/// A model's weights on a device. May be used from any thread; forward passes take turns.
pub struct Weights {
    handle: NonNull<raw::engine_model>,
    description: ModelDescription,
    device: Arc<Device>,
    /// What the engine reads in place; nothing where it took the weights over.
    _backing: Option<Arc<dyn Backing>>,
}

/// Memory that holds tensors; its address and bytes stay the same while it lives.
pub trait Backing: Send + Sync {
    /// All of it.
    fn bytes(&self) -> &[u8];
}

/// One tensor, where it lies in its [`Backing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSource {
    /// What it is for.
    pub role: TensorRole,
    /// Of which layer; `None` for the model's own.
    pub layer: Option<u32>,
    /// The file's name for it, for messages.
    pub name: String,
    /// How its values are stored.
    pub kind: TensorType,
    /// The first is the length of a row; 1 beyond the tensor's dimensions.
    pub shape: [u64; 4],
    /// Bytes of the backing.
    pub range: Range<usize>,
}

/// How weights come into the device's reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum LoadMode {
    /// Used where they lie, on a device that can; the backing is kept.
    #[default]
    Map = 0,
    /// Copied; the backing is let go.
    Copy = 1,
}

/// What is done about weights that leave memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum ResidencyPolicy {
    /// Nothing, unless asked.
    Off = 0,
    /// Loading ends with a check, and fails if it does.
    #[default]
    Verify = 1,
    /// They are locked, so that they cannot leave.
    Locked = 2,
}

/// What a check of residency found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidencyReport {
    /// Everything is where it was put.
    pub resident: bool,
    /// The policy of the model.
    pub policy: ResidencyPolicy,
    /// Bytes looked at.
    pub checked_bytes: u64,
    /// Of these, bytes in place.
    pub resident_bytes: u64,
    /// Allocations looked at: on the CPU tensors, on a GPU all that the model has there, its KV caches and workspace too.
    pub allocations: u64,
    /// Of these, the ones not wholly in place.
    pub violations: u64,
    /// Bytes not in place.
    pub violating_bytes: u64,
    /// The first that is not wholly in place, by name.
    pub violating: Option<String>,
}

impl Weights {
    /// Loads the tensors that the description asks for onto `device`.
    ///
    /// `progress` gets bytes done and in total, on this thread, and cancels by returning false
    /// ([`Code::Cancelled`]).
    pub fn load(
        device: &Arc<Device>,
        description: &ModelDescription,
        tensors: &[TensorSource],
        backing: Arc<dyn Backing>,
        mode: LoadMode,
        residency: ResidencyPolicy,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Self> {
        let bytes = backing.bytes();
        let names: Vec<CString> = tensors.iter().map(|tensor| name_for_c(&tensor.name)).collect();
        let table =
            tensors.iter().zip(&names).map(|(tensor, name)| entry(tensor, name, bytes)).collect::<Result<Vec<_>>>()?;

        let raw_description = description.raw();
        let mut watched = Progress { callback: progress, panic: None };
        let load = raw::engine_load {
            description: &raw const raw_description,
            tensors: table.as_ptr(),
            tensor_count: table.len() as u64,
            residency: residency as u32,
            mode: mode as u32,
            progress: Some(report_progress),
            progress_context: (&raw mut watched).cast(),
            backing: bytes.as_ptr().cast(),
            backing_bytes: bytes.len() as u64,
        };
        let mut handle = null_mut();
        // SAFETY: every pointer in `load` lives through the call; each tensor's data lies within the backing, which is
        // kept as long as the model for the mode that reads it later.
        let loaded =
            raw::call(|error| unsafe { raw::engine_model_load(device.raw(), &raw const load, &raw mut handle, error) });
        if let Some(panic) = watched.panic {
            resume_unwind(panic);
        }
        loaded?;
        Ok(Self {
            handle: raw::owned(handle)?,
            description: description.clone(),
            device: Arc::clone(device),
            _backing: (mode == LoadMode::Map && device.kind() == DeviceKind::Cpu).then_some(backing),
        })
    }

    /// What this model holds on its device: weights, KV caches and workspace.
    #[must_use]
    #[inline]
    pub fn memory(&self) -> MemoryUse {
        let mut memory = raw::engine_memory::default();
        // SAFETY: the model lives as long as `self`; the pointer is valid for the call.
        unsafe { raw::engine_model_memory(self.raw(), &raw mut memory) };
        memory.into()
    }

    /// Looks whether every weight is where it was put. That one is not is a finding, not an error.
    pub fn check_residency(&self) -> Result<ResidencyReport> {
        self.residency(raw::engine_model_check_residency)
    }

    /// Brings back what has left, then checks.
    pub fn repair_residency(&self) -> Result<ResidencyReport> {
        self.residency(raw::engine_model_repair_residency)
    }

    /// What the model is made of.
    #[must_use]
    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// Where it is loaded.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    pub(super) fn raw(&self) -> *mut raw::engine_model {
        self.handle.as_ptr()
    }

    fn residency(&self, entry: ResidencyEntry) -> Result<ResidencyReport> {
        let mut found = raw::engine_residency {
            checked_bytes: 0,
            resident_bytes: 0,
            allocations: 0,
            violations: 0,
            violating_bytes: 0,
            resident: 0,
            policy: 0,
            violating: [0; 192],
        };
        // SAFETY: the model lives as long as `self`; both pointers are valid for the call.
        raw::call(|error| unsafe { entry(self.raw(), &raw mut found, error) })?;
        Ok(ResidencyReport {
            resident: found.resident != 0,
            policy: match found.policy {
                1 => ResidencyPolicy::Verify,
                2 => ResidencyPolicy::Locked,
                _ => ResidencyPolicy::Off,
            },
            checked_bytes: found.checked_bytes,
            resident_bytes: found.resident_bytes,
            allocations: found.allocations,
            violations: found.violations,
            violating_bytes: found.violating_bytes,
            violating: (found.violations > 0).then(|| raw::text(&found.violating)),
        })
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        // SAFETY: caches hold the weights by `Arc`, so none is left; the handle is not used again.
        unsafe { raw::engine_model_unload(self.raw()) };
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Weights").field("description", &self.description).finish_non_exhaustive()
    }
}

// SAFETY: the engine's model functions may be called from any thread, also at once; forward passes take turns inside.
unsafe impl Send for Weights {}
// SAFETY: as above.
unsafe impl Sync for Weights {}

type ResidencyEntry =
    unsafe extern "C" fn(*mut raw::engine_model, *mut raw::engine_residency, *mut raw::engine_error) -> i32;

/// A callback, and the panic that it ended with, on its way around the C++ frames.
struct Progress<'callback> {
    callback: &'callback mut dyn FnMut(u64, u64) -> bool,
    panic: Option<Box<dyn Any + Send>>,
}

/// Non-zero cancels.
unsafe extern "C" fn report_progress(context: *mut c_void, done: u64, total: u64) -> i32 {
    // SAFETY: `context` is the `Progress` of the running `Weights::load`, and the engine calls from that call's thread.
    let progress = unsafe { &mut *context.cast::<Progress<'_>>() };
    match catch_unwind(AssertUnwindSafe(|| (progress.callback)(done, total))) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(panic) => {
            progress.panic = Some(panic);
            1
        }
    }
}

fn entry(tensor: &TensorSource, name: &CString, bytes: &[u8]) -> Result<raw::engine_tensor> {
    let data = bytes.get(tensor.range.clone()).ok_or_else(|| {
        Error::new(
            Code::ModelLoadFailed,
            format!("{}: bytes {:?} are not within the {} bytes there are", tensor.name, tensor.range, bytes.len()),
        )
    })?;
    let layer = match tensor.layer.map(i32::try_from) {
        None => -1,
        Some(Ok(layer)) => layer,
        Some(Err(_)) => return Err(Error::new(Code::ModelLoadFailed, format!("{}: no such layer", tensor.name))),
    };
    Ok(raw::engine_tensor {
        name: name.as_ptr(),
        data: data.as_ptr().cast(),
        bytes: data.len() as u64,
        shape: tensor.shape,
        kind: tensor.kind.0,
        role: tensor.role as u32,
        layer,
        reserved: 0,
    })
}

/// Names are for messages only; one with a NUL inside is shown without.
fn name_for_c(name: &str) -> CString {
    let bytes: Vec<u8> = name.bytes().filter(|byte| *byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}
