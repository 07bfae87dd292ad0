//! A host's function with its data: called contained, released once.

use std::ffi::c_void;

use super::types::worker_destroy_fn;
use crate::engine;
use crate::error::{Code, Error};

/// A host's data, given back once, when this is dropped.
pub(super) struct HostData {
    pub(super) user_data: *mut c_void,
    destroy: worker_destroy_fn,
}

impl HostData {
    /// Takes charge of the data: `destroy` is called when this is dropped.
    pub(super) fn new(user_data: *mut c_void, destroy: worker_destroy_fn) -> Self {
        Self { user_data, destroy }
    }
}

impl Drop for HostData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy.take() {
            // SAFETY: whoever gave the function promised that it may be called with its data, once.
            unsafe { engine::release_contained(destroy, self.user_data) };
        }
    }
}

/// A callback of the shape `void fn(void *user_data, const T *argument)`, kept beyond the call that gave it.
pub(super) struct HostFunction {
    function: Option<engine::Callback>,
    data: HostData,
}

// SAFETY: the host promised that function, data and destroy may be used on any thread.
unsafe impl Send for HostFunction {}
// SAFETY: as above; calls take turns where the struct is used.
unsafe impl Sync for HostFunction {}

impl HostFunction {
    /// Takes charge of the data: `destroy` is called when this is dropped.
    pub(super) fn new(function: Option<engine::Callback>, user_data: *mut c_void, destroy: worker_destroy_fn) -> Self {
        Self { function, data: HostData::new(user_data, destroy) }
    }

    /// Calls the function; a C++ exception from it ends there.
    ///
    /// # Safety
    /// `argument` points to what the function takes.
    pub(super) unsafe fn call(&self, argument: *const c_void) {
        if let Some(function) = self.function {
            // SAFETY: the caller's.
            unsafe { engine::call_contained(function, self.data.user_data, argument) };
        }
    }
}

/// What a call gives whose callback `name` threw.
pub(super) fn thrown(name: &str) -> Error {
    Error::new(Code::Cancelled, format!("{name} ended with a C++ exception"))
}
