//! A device prepared for use.

use std::path::Path;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{devices, CudaError, CudaModel};
use crate::engine::{Device, DeviceInformation};
use crate::inference::{LoadOptions, Model};
use crate::registry::ProcessOwned;

/// A device prepared for use. Dropping it ends the models loaded with it, and what runs on them.
pub struct CudaContext {
    inner: ProcessOwned<Inner>,
}

struct Inner {
    device: Arc<Device>,
    /// What this context has to end.
    models: Mutex<Vec<Weak<Model>>>,
}

impl CudaContext {
    /// Prepares a device: -1 is the CPU, GPUs count from 0. A GPU is never replaced by the CPU.
    ///
    /// # Errors
    /// [`CudaError::InvalidDevice`] when there is no such device here; [`CudaError::OutOfMemory`].
    pub fn new(gpu_device: i32) -> Result<Self, CudaError> {
        let device = devices::open(gpu_device, 0)?;
        Ok(Self { inner: ProcessOwned::new(Inner { device, models: Mutex::default() }) })
    }

    /// How many GPUs can be used. The CPU is always there besides, and is not counted.
    #[must_use]
    pub fn device_count() -> i32 {
        i32::try_from(Device::gpu_count()).unwrap_or(i32::MAX)
    }

    /// What the device is: its name, kind, memory and capability.
    ///
    /// # Errors
    /// [`CudaError::InvalidDevice`] when the device does not answer.
    pub fn device(&self) -> Result<DeviceInformation, CudaError> {
        Ok(self.inner.get()?.device.information()?)
    }

    /// Loads a GGUF file onto the device, with default options.
    ///
    /// # Errors
    /// [`CudaError::ModelLoadFailed`] when the file cannot be read or is damaged, [`CudaError::ModelUnsupported`],
    /// [`CudaError::OutOfMemory`], [`CudaError::VramResidencyFailed`], and [`CudaError::InvalidParameter`] when the path
    /// is empty or has a NUL in it.
    pub fn load_model(&self, model_path: &str) -> Result<CudaModel, CudaError> {
        if model_path.is_empty() || model_path.contains('\0') {
            let fault = if model_path.is_empty() { "is empty" } else { "contains a null byte" };
            return Err(CudaError::InvalidParameter(format!("model_path {fault}")));
        }
        let inner = self.inner.get()?;
        let device = Arc::clone(&inner.device);
        let model = Model::load(Path::new(model_path), device, &LoadOptions::default(), &mut |_| true)?;
        let mut models = inner.models.lock();
        models.retain(|model| model.strong_count() > 0);
        models.push(Arc::downgrade(&model));
        Ok(CudaModel::new(model))
    }

    /// Bytes of the device's memory that this process uses; on the CPU, what it has in RAM. On a GPU by NVML, or, where that
    /// does not tell, what this library has allocated; never what other processes use.
    #[must_use]
    pub fn process_vram_usage(&self) -> u64 {
        self.inner.get().map_or(0, |inner| inner.device.process_memory())
    }

    /// Whether the device answers and has no lasting fault.
    ///
    /// # Errors
    /// What the fault is.
    pub fn check_device_health(&self) -> Result<bool, CudaError> {
        self.inner.get()?.device.check_health()?;
        Ok(true)
    }

    /// Ends the models loaded with it.
    pub(crate) fn close(&self) {
        if let Ok(inner) = self.inner.get() {
            let models = std::mem::take(&mut *inner.models.lock());
            for model in models.iter().filter_map(Weak::upgrade) {
                model.close();
            }
        }
    }
}

impl Drop for CudaContext {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for CudaContext {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("CudaContext").field(&self.device()).finish()
    }
}
