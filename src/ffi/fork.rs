//! Notices forks, without a system call on any other path.

use std::sync::Once;

/// Makes forks known to the registry from now on.
pub(crate) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the handler only counts in an atomic, which is allowed in a child of a fork; the library is never
        // unmapped, so the handler stays valid. Should it fail (out of memory), forks go unnoticed: nothing else can be
        // done here, and nothing else depends on it.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

unsafe extern "C" fn in_child() {
    crate::registry::note_fork();
}
