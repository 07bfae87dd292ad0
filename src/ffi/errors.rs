//! The status type, and what can be asked about errors. The WORKER_ERROR_* constants come from `src/error_table.rs`.
#![allow(non_camel_case_types)]

use std::ffi::c_char;

use super::guard;

/// What a fallible function returns: WORKER_SUCCESS or one of the WORKER_ERROR_* values. New values may be added.
pub type worker_status_t = i32;

/// The call did what it says.
pub const WORKER_SUCCESS: worker_status_t = 0;

/// Names the library's version, such as "0.1.0".
///
/// *Errors*: none.
/// *Ownership*: the text belongs to the library, ends in NUL, and stays valid until the process ends.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_version() -> *const c_char {
    // Behind the NUL: what the file was built with, for whoever looks into it (`strings libworker.so`), as our tests do.
    concat!(env!("CARGO_PKG_VERSION"), "\0libworker features: ", env!("WORKER_FEATURES"), "\0").as_ptr().cast()
}

/// Gives the WORKER_ABI_VERSION that the library was built with. It must be the header's or higher.
///
/// *Errors*: none.
/// *Ownership*: none.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_abi_version() -> u32 {
    super::types::WORKER_ABI_VERSION
}

/// Names an error code as the header does, such as "WORKER_ERROR_STALE_HANDLE".
///
/// - code: any number; "WORKER_ERROR_UNRECOGNIZED" where it is no code of this library.
///
/// *Errors*: none.
/// *Ownership*: the text belongs to the library, ends in NUL, and stays valid until the process ends.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_error_name(code: worker_status_t) -> *const c_char {
    guard::texts(code).0.as_ptr()
}

/// Says in a few words what an error code means. What happened in particular is told by worker_last_error().
///
/// - code: any number; "Unrecognized error code" where it is no code of this library.
///
/// *Errors*: none.
/// *Ownership*: the text belongs to the library, ends in NUL, and stays valid until the process ends.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_error_message(code: worker_status_t) -> *const c_char {
    guard::texts(code).1.as_ptr()
}

/// Gives the HTTP status that a server would answer with, such as 503.
///
/// - code: any number; 200 for WORKER_SUCCESS, 500 where it is no code of this library.
///
/// *Errors*: none.
/// *Ownership*: none.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_error_http_status(code: worker_status_t) -> u32 {
    match (code, crate::error::Code::from_number(code)) {
        (WORKER_SUCCESS, _) => 200,
        (_, Some(code)) => u32::from(code.http_status()),
        (_, None) => 500,
    }
}

/// Tells whether the same call may succeed when it is made again.
///
/// - code: any number.
///
/// Returns 1 where a retry may help, otherwise 0.
///
/// *Errors*: none.
/// *Ownership*: none.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_error_retry_helps(code: worker_status_t) -> u32 {
    u32::from(crate::error::Code::from_number(code).is_some_and(crate::error::Code::retry_helps))
}

/// Copies out what the last failed call on this thread had to say: what was expected, what was found, and where. It
/// covers the cuda_* functions too. A call that succeeds leaves it as it is; before any failure it is empty.
///
/// - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
/// - capacity: bytes of buffer.
/// - needed: set to the bytes that the text takes, its NUL included; may be NULL.
///
/// *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL (the text is kept), WORKER_ERROR_INVALID_PARAMETER (buffer is NULL and
/// capacity is not 0). Failures of this function are not themselves kept.
/// *Ownership*: the buffer stays the caller's.
/// *Thread*: any; each has its own.
/// *Blocks*: no.
///
/// # Safety
/// `buffer` is NULL or valid for `capacity` bytes, `needed` NULL or valid.
#[no_mangle]
pub unsafe extern "C" fn worker_last_error(
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> worker_status_t {
    // SAFETY: as this function's.
    unsafe { guard::last_error(buffer, capacity, needed) }
}
