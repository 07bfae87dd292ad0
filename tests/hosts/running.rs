//! Running a host program, and seeing its writes one by one.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs a command to its end and collects what it wrote.
pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command and gives what each single write to standard output held, and how it ended.
pub fn run_watching_writes(command: &mut Command, limit: Duration) -> (Vec<Vec<u8>>, ExitStatus) {
    // A datagram socket keeps each write apart, where a pipe would join them.
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut child: Child = command.stdout(OwnedFd::from(theirs)).stderr(Stdio::inherit()).spawn().unwrap();
    let begin = Instant::now();
    let mut writes = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let mut ended = false;
    while begin.elapsed() < limit {
        match ours.recv(&mut buffer) {
            Ok(length) if length > 0 => writes.push(buffer[..length].to_vec()),
            // Nothing came for a while: only after the child's end is that the end.
            _ if ended => break,
            _ => ended = child.try_wait().unwrap().is_some(),
        }
    }
    if !ended {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert!(ended, "{command:?} still ran after {limit:?}");
    (writes, status)
}
