//! Calls into the host that contain C++ exceptions.

use std::ffi::c_void;

use super::raw;

/// A host's function, given its data and what it is told.
pub type Callback = raw::engine_callback;
/// A host's function that answers with a number.
pub type Question = raw::engine_question;
/// A host's function that is told a fraction and answers with a number.
pub type FractionQuestion = raw::engine_fraction_question;
/// A host's function that is given its data for the last time.
pub type Release = raw::engine_release;

/// Calls a host's function; false when it ended with a C++ exception, which goes no further.
///
/// # Safety
/// The function may be called with these arguments.
pub unsafe fn call_contained(callback: Callback, user_data: *mut c_void, argument: *const c_void) -> bool {
    // SAFETY: the caller's.
    unsafe { raw::engine_call_contained(callback, user_data, argument) == 0 }
}

/// Asks a host's function; `None` when it ended with a C++ exception, which goes no further.
///
/// # Safety
/// The function may be called with these arguments.
pub unsafe fn ask_contained(question: Question, user_data: *mut c_void, argument: *const c_void) -> Option<i32> {
    let mut answer = 0;
    // SAFETY: the caller's; the answer lives through the call.
    let thrown = unsafe { raw::engine_ask_contained(question, user_data, argument, &raw mut answer) };
    (thrown == 0).then_some(answer)
}

/// Tells a host's function a fraction; `None` when it ended with a C++ exception, which goes no further.
///
/// # Safety
/// The function may be called with these arguments.
pub unsafe fn ask_fraction_contained(question: FractionQuestion, user_data: *mut c_void, fraction: f32) -> Option<i32> {
    let mut answer = 0;
    // SAFETY: the caller's; the answer lives through the call.
    let thrown = unsafe { raw::engine_ask_fraction_contained(question, user_data, fraction, &raw mut answer) };
    (thrown == 0).then_some(answer)
}

/// Gives a host its data back; a C++ exception goes no further.
///
/// # Safety
/// The function may be called with these arguments.
pub unsafe fn release_contained(release: Release, user_data: *mut c_void) {
    // SAFETY: the caller's. That it threw changes nothing: the data is the host's again.
    let _ = unsafe { raw::engine_release_contained(release, user_data) };
}
