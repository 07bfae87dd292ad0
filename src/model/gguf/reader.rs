//! Reads numbers and strings off a byte slice; every step is checked, and says where it failed.

use std::ops::Range;

use crate::error::{Code, Error, Result};

/// A position in the file's bytes.
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Offset of the next byte.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `count` bytes, by their place in the file; `what` names them in the error.
    pub fn skip(&mut self, count: u64, what: &dyn Fn() -> String) -> Result<Range<usize>> {
        let end = usize::try_from(count).ok().and_then(|count| self.position.checked_add(count));
        match end {
            Some(end) if end <= self.bytes.len() => {
                let range = self.position..end;
                self.position = end;
                Ok(range)
            }
            _ => Err(Error::new(
                Code::ModelLoadFailed,
                format!(
                    "{}: expected {count} bytes at offset {}, but the file ends at {}",
                    what(),
                    self.position,
                    self.bytes.len()
                ),
            )),
        }
    }

    fn array<const N: usize>(&mut self, what: &dyn Fn() -> String) -> Result<[u8; N]> {
        let range = self.skip(N as u64, what)?;
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[range]);
        Ok(out)
    }

    /// The next 32-bit number.
    pub fn u32(&mut self, what: &dyn Fn() -> String) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// The next 64-bit number.
    pub fn u64(&mut self, what: &dyn Fn() -> String) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// The next string's bytes: a 64-bit length, then the text.
    pub fn string(&mut self, what: &dyn Fn() -> String) -> Result<Range<usize>> {
        let length = self.u64(&|| format!("length of {}", what()))?;
        self.skip(length, what)
    }

    /// Passes over the next string; where there is none, stays, and [`Self::string`] says why. For the hundreds of thousands of
    /// a vocabulary.
    #[inline]
    pub fn pass_string(&mut self) -> bool {
        let Some((length, after)) = self.bytes[self.position..].split_first_chunk() else { return false };
        let length = u64::from_le_bytes(*length);
        let fits = length <= after.len() as u64;
        if fits {
            // No overflow: both are within the bytes.
            self.position += size_of::<u64>() + length as usize;
        }
        fits
    }

    /// The next string, as the name of something: UTF-8, not empty, not longer than `limit`.
    pub fn name(&mut self, limit: usize, what: &dyn Fn() -> String) -> Result<String> {
        let at = self.position;
        let range = self.string(what)?;
        let refuse = |found: String| Error::new(Code::ModelLoadFailed, format!("{} at offset {at}: {found}", what()));
        if range.is_empty() || range.len() > limit {
            return Err(refuse(format!("expected 1 to {limit} bytes, found {}", range.len())));
        }
        match std::str::from_utf8(&self.bytes[range]) {
            Ok(name) => Ok(name.to_owned()),
            Err(error) => Err(refuse(format!("expected UTF-8: {error}"))),
        }
    }

    /// A number of entries that each take at least `least` bytes, refused where the rest of the file cannot hold them.
    pub fn count(&self, count: u64, least: u64, what: &dyn Fn() -> String) -> Result<usize> {
        match count.checked_mul(least) {
            // No overflow in the conversion: the count is below the number of bytes left.
            Some(bytes) if bytes <= self.remaining() as u64 => Ok(count as usize),
            _ => Err(Error::new(
                Code::ModelLoadFailed,
                format!(
                    "{}: {count} entries of at least {least} bytes after offset {} do not fit, the file ends at {}",
                    what(),
                    self.position,
                    self.bytes.len()
                ),
            )),
        }
    }
}
