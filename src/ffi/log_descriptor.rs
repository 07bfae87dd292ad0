//! Log records as lines of JSON into a file descriptor: for hosts whose functions no thread of ours may call.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use serde_json::{json, Value};

use super::marshal::invalid;
use crate::error::Result;
use crate::telemetry::log::{Record, Sink};

/// A sink that writes to a duplicate of `descriptor`.
pub(super) fn sink(descriptor: i32) -> Result<Sink> {
    let mut lines = Lines::new(duplicate(descriptor)?);
    Ok(Box::new(move |record: &Record| lines.add(record)))
}

/// A descriptor that lines are written to, and what of the last line is still to be written.
struct Lines {
    target: OwnedFd,
    unwritten: VecDeque<u8>,
    broken: bool,
    silenced: bool,
}

impl Lines {
    fn new(target: OwnedFd) -> Self {
        Self { target, unwritten: VecDeque::new(), broken: false, silenced: false }
    }

    fn add(&mut self, record: &Record) {
        if !self.silenced {
            silence_broken_pipes();
            self.silenced = true;
        }
        // A line that was begun is finished before the next, and a reader that takes nothing misses whole lines.
        self.write_out();
        if self.unwritten.is_empty() && !self.broken {
            self.unwritten.extend(line(record).into_bytes());
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        while !self.broken && !self.unwritten.is_empty() && self.has_room() {
            let (bytes, _) = self.unwritten.as_slices();
            // No more than a pipe with any room takes at once, so that the write does not wait.
            let count = bytes.len().min(libc::PIPE_BUF);
            // SAFETY: the descriptor is open, and the bytes lie in the queue through the call.
            let written = unsafe { libc::write(self.target.as_raw_fd(), bytes.as_ptr().cast(), count) };
            match usize::try_from(written) {
                Ok(written) => drop(self.unwritten.drain(..written)),
                Err(_) => {
                    self.broken = !matches!(
                        io::Error::last_os_error().kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    )
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        let mut watched = libc::pollfd { fd: self.target.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one struct, which lives through the call.
        unsafe { libc::poll(&raw mut watched, 1, PATIENCE_MS) > 0 }
    }
}

fn line(record: &Record) -> String {
    let mut object = json!({
        "timestamp": record.time,
        "level": record.level.name(),
        "target": record.target,
        "message": record.message,
    });
    // Parsed again, since a host's own may be spread over lines.
    object["fields"] = serde_json::from_str(&record.fields).unwrap_or(Value::Null);
    format!("{object}\n")
}

fn duplicate(descriptor: i32) -> Result<OwnedFd> {
    // SAFETY: plain calls on a number.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    if flags < 0 || flags & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(invalid(format!("descriptor: {descriptor} is not open for writing")));
    }
    // SAFETY: as above.
    let ours = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) };
    if ours < 0 {
        return Err(invalid(format!("descriptor: {descriptor}: {}", io::Error::last_os_error())));
    }
    // SAFETY: it was made for us just now.
    Ok(unsafe { OwnedFd::from_raw_fd(ours) })
}

/// Keeps a reader that went away from ending the process, on this thread (the log's).
fn silence_broken_pipes() {
    // SAFETY: the set is filled in before it is read; only the calling thread's mask changes.
    unsafe {
        let mut signals = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
}

const PATIENCE_MS: i32 = 1000;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;
    use crate::telemetry::Level;

    fn pipe() -> (BufReader<std::io::PipeReader>, Lines) {
        let (reader, writer) = std::io::pipe().unwrap();
        (BufReader::new(reader), Lines::new(OwnedFd::from(writer)))
    }

    fn record(message: &str) -> Record {
        Record {
            level: Level::Info,
            target: "host".to_owned(),
            message: message.to_owned(),
            fields: "{\n\"a\":\n1}".to_owned(),
            time: 5,
        }
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        let (mut reader, mut lines) = pipe();
        lines.add(&record("two\nlines"));
        let mut text = String::new();
        reader.read_line(&mut text).unwrap();
        let expected =
            json!({"timestamp": 5, "level": "info", "target": "host", "message": "two\nlines", "fields": {"a": 1}});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn a_reader_that_takes_nothing_misses_whole_lines() {
        let (mut reader, mut lines) = pipe();
        let long = "x".repeat(50_000);
        for _ in 0..3 {
            lines.add(&record(&long));
        }
        let taken = std::thread::spawn(move || {
            let mut messages = Vec::new();
            let mut text = String::new();
            while reader.read_line(&mut text).unwrap() > 0 {
                let value: Value = serde_json::from_str(&text).unwrap();
                messages.push(value["message"].as_str().unwrap().len());
                text.clear();
            }
            messages
        });
        lines.add(&record("last"));
        drop(lines);
        // The pipe held one line and a part of the next, which came whole once it was read.
        assert_eq!(taken.join().unwrap(), [50_000, 50_000, 4]);
    }

    #[test]
    fn a_reader_that_went_away_is_no_signal() {
        let (reader, mut lines) = pipe();
        drop(reader);
        lines.add(&record("nobody"));
        assert!(lines.broken);
    }

    #[test]
    fn what_cannot_be_written_to_is_refused() {
        let read_only = std::fs::File::open("Cargo.toml").unwrap();
        for descriptor in [-2, i32::MAX, read_only.as_raw_fd()] {
            assert!(duplicate(descriptor).unwrap_err().detail.contains("writing"), "{descriptor}");
        }
    }
}
