//! Notices forks, without a system call on any other path.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Once;

/// How many forks lie between the first process and this one, of those since [`watch`] was first called.
#[inline]
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Has forks counted from now on.
pub(crate) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the handler only counts in an atomic, which is allowed in a child of a fork; the library is never
        // unmapped, so the handler stays valid. Should it fail (out of memory), forks go unnoticed: nothing else can be
        // done here, and nothing else depends on it.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

static FORKS: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
