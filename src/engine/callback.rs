//! Calls into the host that contain C++ exceptions.

use std::ffi::c_void;

use super::raw;

/// A host's function, given its data and what it is told.
pub type Callback = raw::engine_callback;

/// Calls a host's function; false when it ended with a C++ exception, which goes no further.
///
/// # Safety
/// The function may be called with these arguments.
pub unsafe fn call_contained(callback: Callback, user_data: *mut c_void, argument: *const c_void) -> bool {
    // SAFETY: the caller's.
    unsafe { raw::engine_call_contained(callback, user_data, argument) == 0 }
}
