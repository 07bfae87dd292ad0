//! What stands between every exported function and its body: panics end here, and failures are told.
//!
//! No panic hook is installed, for that is the host's: a contained panic is also told wherever the host's hook tells it.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_char, CStr};
use std::mem::offset_of;
use std::panic::{catch_unwind, AssertUnwindSafe};

use super::errors::{worker_status_t, WORKER_SUCCESS};
use super::marshal::text_output;
use super::types::worker_error_t;
use crate::error::{Code, Error, Result};
use crate::event;
use crate::telemetry::metrics::METRICS;

/// Runs the body of a function that takes an error struct.
///
/// # Safety
/// `error` is NULL or valid for the size that its first member tells.
pub(super) unsafe fn status(error: *mut worker_error_t, body: impl FnOnce() -> Result<()>) -> worker_status_t {
    // SAFETY: as this function's.
    let result = unsafe { clear(error) }.and_then(|()| contain(body));
    let Err(failure) = result else { return WORKER_SUCCESS };
    note(&failure);
    // SAFETY: as this function's; a struct that `clear` refused is left alone there too.
    unsafe { tell(error, &failure) };
    failure.code.number()
}

/// Runs the body of a function that takes handles alone.
pub(super) fn plain(body: impl FnOnce() -> Result<()>) -> worker_status_t {
    // SAFETY: NULL is allowed.
    unsafe { status(std::ptr::null_mut(), body) }
}

/// Runs a body that gives a value, and `otherwise` when it fails.
pub(super) fn value<T>(otherwise: T, body: impl FnOnce() -> Result<T>) -> T {
    contain(body).unwrap_or_else(|failure| {
        note(&failure);
        otherwise
    })
}

/// Keeps a failure for the thread, counts it, and logs it. Details name places and sizes, never prompts or outputs.
#[cold]
fn note(failure: &Error) {
    keep(failure);
    METRICS.failed(failure.code);
    // Timeouts and small buffers are part of how hosts call, not faults.
    if matches!(failure.code, Code::TimedOut | Code::BufferTooSmall) {
        event!(Trace, "call_incomplete", "A call has to be made again", error_kind = failure.code.c_name());
    } else {
        event!(
            Warn,
            "ffi_call_failed",
            "A call across the boundary failed",
            error_kind = failure.code.c_name(),
            detail = failure.detail.as_str()
        );
    }
}

/// Runs `body`; a panic becomes an error that keeps its message.
pub(super) fn contain<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a panic left half done is one object at most; the others do not share its state.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(Error::new(Code::Panic, message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("the library panicked: {}", text.unwrap_or("without a message"))
}

/// Bytes of detail kept for each thread, which are plenty; no allocation, so that keeping cannot fail.
const KEPT: usize = 2048;

struct Kept {
    length: usize,
    detail: [u8; KEPT],
}

thread_local! {
    // Without a destructor, so that it is there until the thread's very end.
    static LAST: RefCell<Kept> = const { RefCell::new(Kept { length: 0, detail: [0; KEPT] }) };
}

/// Keeps a failure for `worker_last_error`.
pub(super) fn keep(failure: &Error) {
    LAST.with_borrow_mut(|kept| {
        let detail = head(&failure.detail, KEPT);
        kept.detail[..detail.len()].copy_from_slice(detail.as_bytes());
        kept.length = detail.len();
    });
}

/// # Safety
/// `buffer` is NULL or valid for `capacity` bytes, `needed` NULL or valid.
pub(super) unsafe fn last_error(buffer: *mut c_char, capacity: usize, needed: *mut usize) -> worker_status_t {
    let copy = || {
        // SAFETY: as this function's.
        let output = unsafe { text_output(buffer, capacity, needed) }?;
        output.write_with(|| Ok(LAST.with_borrow(|kept| kept.detail[..kept.length].to_vec())))
    };
    contain(copy).map_or_else(|failure| failure.code.number(), |()| WORKER_SUCCESS)
}

/// The name and the message of a code.
pub(super) fn texts(code: worker_status_t) -> (&'static CStr, &'static CStr) {
    TEXTS
        .iter()
        .find(|(number, _, _)| *number == code)
        .map_or((c"WORKER_ERROR_UNRECOGNIZED", c"Unrecognized error code"), |(_, name, message)| (name, message))
}

macro_rules! texts_with_nul {
    ($(($number:literal, $name:ident, $c_name:literal, $message:literal, $status:literal, $retry:literal, $text:literal);)*) => {
        const TEXTS: &[(i32, &CStr, &CStr)] = &[
            (WORKER_SUCCESS, c"WORKER_SUCCESS", c"Success"),
            $(($number, with_nul(concat!($c_name, "\0")), with_nul(concat!($message, "\0")))),*
        ];
    };
}
mod table {
    include!("../error_table.rs");
    pub(super) use error_table;
}
table::error_table!(texts_with_nul);

const fn with_nul(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a text of the error table has a NUL in it"), // at compile time
    }
}

/// The smallest error struct that has room for a code and a few words.
const ERROR_MINIMUM: u32 = 16;

unsafe fn clear(error: *mut worker_error_t) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's; the first member is always there.
    let size = unsafe { (&raw const (*error).struct_size).read_unaligned() };
    if !(ERROR_MINIMUM..=super::marshal::STRUCT_MAXIMUM).contains(&size) {
        return Err(Error::new(
            Code::AbiMismatch,
            format!("error: struct_size is {size}, expected {} as WORKER_ERROR_INIT sets", size_of::<worker_error_t>()),
        ));
    }
    // SAFETY: the caller's: valid for `size` bytes.
    unsafe { error.cast::<u8>().add(size_of::<u32>()).write_bytes(0, size as usize - size_of::<u32>()) };
    Ok(())
}

unsafe fn tell(error: *mut worker_error_t, failure: &Error) {
    if error.is_null() {
        return;
    }
    // SAFETY: the caller's; the first member is always there.
    let size = unsafe { (&raw const (*error).struct_size).read_unaligned() };
    if !(ERROR_MINIMUM..=super::marshal::STRUCT_MAXIMUM).contains(&size) {
        return;
    }
    let room = (size as usize).min(size_of::<worker_error_t>()) - offset_of!(worker_error_t, detail);
    let detail = head(&failure.detail, room - 1);
    // SAFETY: the struct is valid for `size` bytes, which hold the code and `room` bytes of detail; `clear` has zeroed
    // them, so that a NUL follows.
    unsafe {
        (&raw mut (*error).code).write_unaligned(failure.code.number());
        let target = (&raw mut (*error).detail).cast::<u8>();
        std::ptr::copy_nonoverlapping(detail.as_ptr(), target, detail.len());
    }
}

/// As much of a text's beginning as fits, in whole characters and without a NUL in it.
fn head(text: &str, room: usize) -> &str {
    let text = text.split('\0').next().unwrap_or_default();
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> String {
        let mut buffer = [0u8; KEPT + 1];
        let mut needed = 0;
        // SAFETY: the buffer is that large.
        assert_eq!(unsafe { last_error(buffer.as_mut_ptr().cast(), buffer.len(), &raw mut needed) }, WORKER_SUCCESS);
        String::from_utf8(buffer[..needed - 1].to_vec()).unwrap()
    }

    #[test]
    fn a_panic_becomes_a_code_and_keeps_its_message() {
        std::panic::set_hook(Box::new(|_| {}));
        let code = plain(|| panic!("number {}", 7));
        let _ = std::panic::take_hook();
        assert_eq!(code, Code::Panic.number());
        assert_eq!(last(), "the library panicked: number 7");
    }

    #[test]
    fn an_error_is_told_in_the_struct_and_to_the_thread() {
        let mut error = worker_error_t { struct_size: 16, code: 9, detail: [b'x' as c_char; 504] };
        let fail = || Err(Error::new(Code::TimedOut, "größer als alles"));
        // SAFETY: the struct is larger than it says.
        assert_eq!(unsafe { status(&raw mut error, fail) }, 121);
        assert_eq!(error.code, 121);
        let told: Vec<u8> = error.detail[..8].iter().map(|byte| *byte as u8).collect();
        assert_eq!(told, "größe\0".as_bytes(), "cut before the NUL, in whole characters");
        assert_eq!(error.detail[8], b'x' as c_char, "nothing beyond the size");
        assert_eq!(last(), "größer als alles");
        // SAFETY: as above.
        assert_eq!(unsafe { status(&raw mut error, || Ok(())) }, WORKER_SUCCESS);
        assert_eq!((error.code, error.detail[0]), (0, 0));
        assert_eq!(last(), "größer als alles", "a success leaves it");
    }

    #[test]
    fn an_error_struct_of_no_known_size_is_left_alone() {
        for size in [0, 8, 15, u32::MAX] {
            let mut error = worker_error_t { struct_size: size, code: 9, detail: [1; 504] };
            // SAFETY: a refused size is not used.
            let code = unsafe { status(&raw mut error, || panic!("the body must not run")) };
            assert_eq!(code, Code::AbiMismatch.number());
            assert_eq!((error.code, error.detail[0]), (9, 1));
        }
    }

    #[test]
    fn long_details_are_cut_to_whole_characters() {
        keep(&Error::new(Code::Unknown, "ä".repeat(KEPT)));
        assert_eq!(last(), "ä".repeat(KEPT / 2));
        assert_eq!(head("äb", 1), "");
        assert_eq!(head("a\0b", 9), "a");
    }
}
