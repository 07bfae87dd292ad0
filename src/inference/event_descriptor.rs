//! A file descriptor that is readable while a session has something to read, for hosts with a poll or epoll loop.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::session::Session;
use crate::error::{Code, Error, Result};

/// The two ends of a session's descriptor; dropping it closes both.
pub struct EventDescriptor {
    /// The host watches this end.
    watched: UnixStream,
    /// The scheduler writes a byte to this one.
    signal: Arc<UnixStream>,
}

impl EventDescriptor {
    /// A descriptor that follows `session` from now on.
    ///
    /// # Errors
    /// `InputOutput` when the process may open no more files.
    pub fn new(session: &Session) -> Result<Self> {
        let failed = |error: std::io::Error| Error::new(Code::InputOutput, format!("event descriptor: {error}"));
        let (watched, signal) = UnixStream::pair().map_err(failed)?;
        watched.set_nonblocking(true).map_err(failed)?;
        signal.set_nonblocking(true).map_err(failed)?;
        let signal = Arc::new(signal);
        let waking = Arc::clone(&signal);
        session.set_waker(Some(Arc::new(move || raise(&waking))));
        Ok(Self { watched, signal })
    }

    /// The descriptor to watch. Hosts neither read nor close it.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.watched.as_raw_fd()
    }

    /// Lowers the signal; to be called before a read of the session.
    pub fn lower(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.watched).read(&mut bytes), Ok(count) if count > 0) {}
    }

    /// Raises the signal.
    pub fn raise(&self) {
        raise(&self.signal);
    }

    /// Raises the signal again when the session still has something to read; to be called after a read.
    pub fn raise_if_readable(&self, session: &Session) {
        if session.is_readable() {
            raise(&self.signal);
        }
    }
}

/// One byte is enough, and a full pipe is raised already.
fn raise(signal: &UnixStream) {
    loop {
        match (&*signal).write(&[1]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
