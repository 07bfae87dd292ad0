//! The KV cache: pages of [`PAGE_TOKENS`](super::PAGE_TOKENS) positions, shared by a model's sequences.

use std::ptr::{null_mut, NonNull};
use std::sync::Arc;

use super::{raw, Weights};
use crate::error::Result;

/// Keys and values of a model's sequences. Which pages belong to which sequence is the caller's business.
pub struct KvCache {
    handle: NonNull<raw::engine_cache>,
    pages: u32,
    weights: Arc<Weights>,
}

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum KvType {
    /// 16-bit floats.
    #[default]
    F16 = 0,
    /// 32-bit floats.
    F32 = 1,
    /// Blocks of 32 signed bytes with a scale; needs head sizes that are multiples of 32.
    Q8_0 = 2,
}

impl KvCache {
    /// A cache of `pages` pages. Pages take memory when they are first written.
    pub fn new(weights: &Arc<Weights>, pages: u32, kind: KvType) -> Result<Self> {
        let mut handle = null_mut();
        raw::call(|error| {
            // SAFETY: the model lives as long as `weights`; both pointers are valid for the call.
            unsafe { raw::engine_cache_create(weights.raw(), pages, kind as u32, &raw mut handle, error) }
        })?;
        Ok(Self { handle: raw::owned(handle)?, pages, weights: Arc::clone(weights) })
    }

    /// How many pages there are.
    #[must_use]
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// The model it belongs to.
    #[must_use]
    pub fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// Bytes of one page, all layers; 0 where the model cannot have this kind.
    #[must_use]
    pub fn page_bytes(weights: &Weights, kind: KvType) -> u64 {
        // SAFETY: the model lives as long as `weights`.
        unsafe { raw::engine_cache_page_bytes(weights.raw(), kind as u32) }
    }

    /// Copies what page `from` holds to page `to`; waits for a running forward pass.
    pub fn copy_page(&self, from: u32, to: u32) -> Result<()> {
        // SAFETY: the cache lives as long as `self`.
        raw::call(|error| unsafe { raw::engine_cache_copy_page(self.raw(), from, to, error) })
    }

    pub(super) fn raw(&self) -> *mut raw::engine_cache {
        self.handle.as_ptr()
    }
}

impl Drop for KvCache {
    fn drop(&mut self) {
        // SAFETY: the handle is not used again, and `weights` is still there.
        unsafe { raw::engine_cache_free(self.raw()) };
    }
}

impl std::fmt::Debug for KvCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "KvCache({} pages)", self.pages)
    }
}

// SAFETY: the engine's cache functions may be called from any thread; those that touch pages take turns inside.
unsafe impl Send for KvCache {}
// SAFETY: as above.
unsafe impl Sync for KvCache {}
