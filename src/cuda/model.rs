//! A loaded model.

use std::sync::Arc;

use super::{CudaError, InferenceResult};
use crate::error;
use crate::inference::{Model, Prompt, SamplingOptions, SessionRequest};
use crate::registry::ProcessOwned;

/// A loaded model. Dropping it ends what runs on it and frees its memory.
pub struct CudaModel {
    model: ProcessOwned<Arc<Model>>,
}

impl CudaModel {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        Self { model: ProcessOwned::new(model) }
    }

    /// The model itself, for what this door does not offer.
    ///
    /// # Errors
    /// [`Code::Forked`](crate::error::Code::Forked) in the child of a fork.
    pub fn model(&self) -> error::Result<&Arc<Model>> {
        self.model.get()
    }

    /// Bytes of device memory that the model uses: weights, KV cache and workspace. On the CPU, the engine's memory.
    #[must_use]
    pub fn vram_usage(&self) -> u64 {
        self.model.get().map_or(0, |model| model.memory().total())
    }

    /// Checks that all weights are where they were put; `true` when they are.
    ///
    /// # Errors
    /// [`CudaError::VramResidencyFailed`] when some are not, naming the first, or when the check could not be made.
    pub fn check_vram_residency(&self) -> Result<bool, CudaError> {
        let report = self.model.get()?.check_residency()?;
        if report.resident {
            return Ok(true);
        }
        Err(CudaError::VramResidencyFailed(format!(
            "{} of {} bytes are not in place; the first is {}",
            report.violating_bytes,
            report.checked_bytes,
            report.violating.as_deref().unwrap_or("unknown")
        )))
    }

    /// Starts to continue `prompt` by at most `max_tokens` tokens (at least 1). `temperature` goes from 0, which always
    /// takes the likeliest token, to 2; the same `seed` gives the same tokens.
    ///
    /// # Errors
    /// [`CudaError::InvalidParameter`] names the argument that is out of range; [`CudaError::OutOfMemory`] when too many
    /// generations wait.
    pub fn start_inference(
        &self,
        prompt: &str,
        max_tokens: u32,
        temperature: f32,
        seed: u64,
    ) -> Result<InferenceResult, CudaError> {
        if prompt.contains('\0') {
            return Err(CudaError::InvalidParameter("prompt contains a null byte".into()));
        }
        if max_tokens == 0 || i32::try_from(max_tokens).is_err() {
            return Err(CudaError::InvalidParameter(format!("max_tokens: {max_tokens} is outside 1 to {}", i32::MAX)));
        }
        // Written so that NaN, which compares with nothing, is refused.
        if !(0.0..=2.0).contains(&temperature) {
            return Err(CudaError::InvalidParameter(format!("temperature: {temperature} is outside 0 to 2")));
        }
        let mut request = SessionRequest::new(Prompt::Text(prompt.to_owned()), max_tokens);
        request.sampling = SamplingOptions { temperature, ..SamplingOptions::default() };
        request.seed = Some(seed);
        Ok(InferenceResult::new(self.model.get()?.start(request)?))
    }

    /// Ends what runs on it; later calls fail.
    pub(crate) fn close(&self) {
        if let Ok(model) = self.model.get() {
            model.close();
        }
    }
}

impl Drop for CudaModel {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for CudaModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CudaModel").field("vram_usage", &self.vram_usage()).finish()
    }
}
