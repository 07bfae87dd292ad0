//! The kinds of handle, and the bridge between the two groups of functions.
#![allow(non_camel_case_types)]

use std::ffi::c_void;
use std::sync::Arc;

use super::objects::registry;
use super::session_calls::SessionEntry;
use crate::cuda::CudaModel;
use crate::error::Result;

/// Any handle. A handle is a number that names an object of this process: 0 is never one, and a number that was closed
/// never names anything again. Handles are not addresses; compare and store them as the numbers they are.
pub type worker_handle_t = u64;

/// A device prepared for use; only the cuda_* functions give these out.
pub type worker_context_t = u64;

/// A loaded model. A `CudaModel *` names the same kind of object.
pub type worker_model_t = u64;

/// A running or finished generation. An `InferenceResult *` names the same kind of object.
pub type worker_session_t = u64;

/// Gives the handle that a pointer of the cuda_* functions stands for, so that worker_* functions can use the object.
///
/// - pointer: a `CudaContext *`, `CudaModel *` or `InferenceResult *`; NULL gives 0.
///
/// The value is not looked up: the function that is given the handle tells whether it is valid. The object stays owned
/// as it was, and may be freed by either group's function, once.
///
/// *Errors*: none.
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_handle_from_pointer(pointer: *const c_void) -> worker_handle_t {
    pointer as usize as u64
}

/// Gives the pointer that stands for a handle in the cuda_* functions: the other direction of
/// worker_handle_from_pointer().
///
/// - handle: a handle of a context, model or session; 0 gives NULL.
///
/// The pointer is no address: reading through it faults. It is not looked up here.
///
/// *Errors*: none.
/// *Ownership*: none is taken.
/// *Thread*: any.
/// *Blocks*: no.
#[no_mangle]
pub extern "C" fn worker_handle_to_pointer(handle: worker_handle_t) -> *mut c_void {
    handle as usize as *mut c_void
}

/// Finds a model.
pub(super) fn model(handle: worker_model_t) -> Result<Arc<CudaModel>> {
    registry().get(handle)
}

/// Finds a session.
pub(super) fn session(handle: worker_session_t) -> Result<Arc<SessionEntry>> {
    registry().get(handle)
}
