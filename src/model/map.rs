//! A model file's bytes: mapped read-only, or copied into memory of our own. The only `unsafe` of the reading side.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut};

use crate::engine::Backing;
pub use crate::engine::LoadMode;
use crate::error::{Code, Error, Result};

/// The bytes of one file, page-aligned, read-only, for as long as this lives.
pub struct Mapping {
    map: Mmap,
    length: usize,
    /// The mapped file, to see whether its size changes; `None` where the bytes are our own.
    file: Option<File>,
}

impl Mapping {
    /// Opens a regular file. Directories, FIFOs, sockets and devices are refused without waiting for them.
    ///
    /// [`LoadMode::Map`] shares the page cache: nothing is copied, several processes share the pages, and loading takes
    /// as long as the first reading of each page. The price: whoever may write to the file can harm this process.
    /// Truncating it makes the next access to a lost page raise SIGBUS, which ends the process, and writing into it
    /// changes the weights underfoot. [`LoadMode::Copy`] reads the file into anonymous memory once (in huge pages where
    /// the system has them) and keeps nothing mapped: what happens to the file afterwards does not matter. The weights
    /// may then be used where the copy lies.
    pub fn open(path: &Path, mode: LoadMode) -> Result<Arc<Self>> {
        Self::open_watched(path, mode, &mut |_, _| true)
    }

    /// The same; while a file is copied, `progress` is told how many of its bytes were read, and of how many, and stops
    /// it by returning false (`Code::Cancelled`). Mapping a file takes no time, so it is not told of.
    pub fn open_watched(path: &Path, mode: LoadMode, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<Arc<Self>> {
        let (file, length) = open_regular(path)?;
        match mode {
            LoadMode::Map => Self::of_file(path, file, length),
            LoadMode::Copy => Self::copy_of_file(path, &file, length, progress),
        }
    }

    /// A copy of `bytes`, page-aligned as a file's map is.
    pub fn from_bytes(bytes: &[u8]) -> Result<Arc<Self>> {
        let mut map = anonymous(bytes.len())?;
        map[..bytes.len()].copy_from_slice(bytes);
        Self::of_memory(map, bytes.len())
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.map[..self.length]
    }

    /// Whether a mapped file still has the size it was mapped with; a copy never changes.
    pub fn check_size(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let now = file.metadata().map_err(|error| input_output("the mapped file", "look at", &error))?.len();
        if now == self.length as u64 {
            return Ok(());
        }
        Err(Error::new(
            Code::ModelLoadFailed,
            format!("the file changed while it was read: it had {} bytes, now it has {now}", self.length),
        ))
    }

    fn of_file(path: &Path, file: File, length: usize) -> Result<Arc<Self>> {
        if length == 0 {
            return Self::from_bytes(&[]);
        }
        // SAFETY: the map is read-only and private to this struct, which hands out shared slices within it only. That
        // no one else truncates or rewrites the file is the host's promise in this mode; see `open`. Every value
        // read from the map is checked when it is read, and no length is read twice.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| input_output(&shown(path), "map", &error))?;
        if map.len() < length {
            return Err(Error::new(
                Code::ModelLoadFailed,
                format!("{}: the file shrank from {length} to {} bytes while it was opened", shown(path), map.len()),
            ));
        }
        #[cfg(target_os = "linux")]
        // Only a wish, as below. What this reads from the disk then lies in huge pages of the page cache, and whoever
        // maps it while it stays there has a thousandth of the faults, and of the work of taking the map apart.
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Arc::new(Self { map, length, file: Some(file) }))
    }

    fn copy_of_file(
        path: &Path,
        file: &File,
        length: usize,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Arc<Self>> {
        let mut map = anonymous(length)?;
        let mut done = 0;
        while done < length {
            let end = length.min(done + COPY_PIECE);
            file.read_exact_at(&mut map[done..end], done as u64).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Error::new(
                    Code::ModelLoadFailed,
                    format!("{}: the file became shorter than its {length} bytes while it was read", shown(path)),
                ),
                _ => input_output(&shown(path), "read", &error),
            })?;
            done = end;
            if !progress(done as u64, length as u64) {
                return Err(Error::new(Code::Cancelled, format!("{}: reading was stopped", shown(path))));
            }
        }
        Self::of_memory(map, length)
    }

    fn of_memory(map: MmapMut, length: usize) -> Result<Arc<Self>> {
        let map = map.make_read_only().map_err(|error| input_output("memory for the model", "protect", &error))?;
        Ok(Arc::new(Self { map, length, file: None }))
    }
}

impl Drop for Mapping {
    /// A large file in small pages takes tens of milliseconds to leave the page table: two threads share that. Taking
    /// the map itself away locks the address space, so it comes after, when it is empty.
    fn drop(&mut self) {
        let first = (self.length / 2).next_multiple_of(HUGE_PAGE);
        if self.file.is_none() || self.length < LARGE {
            return;
        }
        let forget = |address: usize, length: usize| {
            // SAFETY: the range lies within the map, which nobody reads any more and which lives until the thread below has
            // ended; a read-only map of a file loses nothing. Where it fails, the pages go with the map.
            unsafe { libc::madvise(address as *mut libc::c_void, length, libc::MADV_DONTNEED) };
        };
        let (start, rest) = (self.map.as_ptr() as usize, self.length - first);
        // No scope: it leaves a record of the host's thread behind. Without a thread the map's end does it all.
        let Ok(other) = std::thread::Builder::new().name("worker-unmap".to_owned()).spawn(move || {
            forget(start + first, rest);
        }) else {
            return;
        };
        forget(start, first);
        drop(other.join());
    }
}

impl Backing for Mapping {
    fn bytes(&self) -> &[u8] {
        self.bytes()
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.file.is_some() { "mapped" } else { "copied" };
        write!(formatter, "Mapping({kind}, {} bytes)", self.length)
    }
}

/// Opens without blocking (a FIFO with no writer would hang an ordinary open) and refuses all but regular files.
fn open_regular(path: &Path) -> Result<(File, usize)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| input_output(&shown(path), "open", &error))?;
    let metadata = file.metadata().map_err(|error| input_output(&shown(path), "look at", &error))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "a FIFO, socket or device" };
        return Err(Error::new(Code::InputOutput, format!("{}: expected a file, found {found}", shown(path))));
    }
    let length = usize::try_from(metadata.len()).map_err(|_| {
        Error::new(Code::OutOfMemory, format!("{}: {} bytes exceed the address space", shown(path), metadata.len()))
    })?;
    Ok((file, length))
}

fn anonymous(length: usize) -> Result<MmapMut> {
    // An empty map is refused by the system; one byte more is never seen.
    let map = MmapMut::map_anon(length.max(1)).map_err(|error| {
        Error::new(Code::OutOfMemory, format!("cannot get {length} bytes of memory for the model: {error}"))
    })?;
    #[cfg(target_os = "linux")]
    // Only a wish: without huge pages everything works, with more misses of the address cache.
    let _ = map.advise(memmap2::Advice::HugePage);
    Ok(map)
}

fn input_output(subject: &str, action: &str, error: &io::Error) -> Error {
    Error::new(Code::InputOutput, format!("{subject}: cannot {action}: {error}"))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Read at once: some milliseconds from a fast disk, so that progress is shown and cancelling is heard.
const COPY_PIECE: usize = 16 << 20;

/// Files from here on are let go by two threads.
const LARGE: usize = 64 << 20;
const HUGE_PAGE: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file.flush().unwrap();
        file
    }

    #[test]
    fn both_modes_give_the_files_bytes() {
        for content in [&b""[..], b"x", &[7; 10_000]] {
            let file = file_of(content);
            for mode in [LoadMode::Map, LoadMode::Copy] {
                let mapping = Mapping::open(file.path(), mode).unwrap();
                assert_eq!(mapping.bytes(), content);
                mapping.check_size().unwrap();
            }
        }
    }

    #[test]
    fn copying_tells_how_far_it_is_and_stops_when_told_to() {
        let length = 2 * COPY_PIECE + 5;
        let file = file_of(&vec![7; length]);
        let mut heard = Vec::new();
        let mut listen = |done, total| {
            heard.push((done as usize, total as usize));
            true
        };
        let mapping = Mapping::open_watched(file.path(), LoadMode::Copy, &mut listen).unwrap();
        assert!(mapping.bytes().iter().all(|byte| *byte == 7));
        assert_eq!(heard, [(COPY_PIECE, length), (2 * COPY_PIECE, length), (length, length)]);

        let mut calls = 0;
        let mut stop = |_, _| {
            calls += 1;
            calls < 2
        };
        let error = Mapping::open_watched(file.path(), LoadMode::Copy, &mut stop).unwrap_err();
        assert_eq!((error.code, calls), (Code::Cancelled, 2));
        Mapping::open_watched(file.path(), LoadMode::Map, &mut |_, _| false).unwrap();
    }

    #[test]
    fn a_copy_outlives_the_truncation_of_its_file_and_a_map_notices_it() {
        let file = file_of(&[7; 10_000]);
        let copied = Mapping::open(file.path(), LoadMode::Copy).unwrap();
        let mapped = Mapping::open(file.path(), LoadMode::Map).unwrap();
        file.as_file().set_len(10).unwrap();
        assert_eq!(copied.bytes(), [7; 10_000]);
        copied.check_size().unwrap();
        let error = mapped.check_size().unwrap_err();
        assert_eq!(error.code, Code::ModelLoadFailed);
        assert!(error.detail.contains("10000") && error.detail.ends_with("10"), "{error}");
    }

    #[test]
    fn a_large_file_is_let_go_and_stays_as_it_was() {
        // Holes, which take no disk, around one byte.
        let file = file_of(b"x");
        file.as_file().set_len((LARGE + 12_345) as u64).unwrap();
        let mapping = Mapping::open(file.path(), LoadMode::Map).unwrap();
        assert_eq!(mapping.bytes().iter().step_by(1000).filter(|byte| **byte != 0).count(), 1);
        drop(mapping);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = shown(file.path());
        assert!(!maps.lines().any(|line| line.contains(&path)), "it is mapped still:\n{maps}");
        assert_eq!(std::fs::read(file.path()).unwrap()[0], b'x');
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.gguf");
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for (path, reason) in [
            (missing.as_path(), "No such file"),
            (folder.path(), "a directory"),
            (&fifo, "FIFO"),
            (Path::new("/dev/zero"), "device"),
        ] {
            for mode in [LoadMode::Map, LoadMode::Copy] {
                let error = Mapping::open(path, mode).unwrap_err();
                assert_eq!(error.code, Code::InputOutput);
                assert!(error.detail.contains(reason) && error.detail.contains(&shown(path)), "{error}");
            }
        }
    }
}
