//! Reads GGUF files, versions 2 and 3. A file is untrusted input: every count, length, offset, type and shape is
//! checked before it is used, nothing is allocated beyond what the file's own size allows, and every refusal names the
//! key or tensor, what was expected, and what was found.

mod metadata;
mod reader;
mod types;
mod value;
#[cfg(test)]
#[allow(missing_docs)]
pub mod writer;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use metadata::{Metadata, StringArray};
pub use types::BlockFormat;
pub use value::{Kind, Number, Value};

use super::map::{LoadMode, Mapping};
use crate::error::{Code, Error, Result};
use reader::Reader;

/// A GGUF file whose structure holds: its keys, and where its tensors lie.
#[derive(Debug, Clone)]
pub struct GgufFile {
    /// The format's version, 2 or 3.
    pub version: u32,
    /// Keys and values.
    pub metadata: Metadata,
    /// The tensors, in the file's order.
    pub tensors: Vec<TensorInformation>,
    /// The bytes that metadata and tensors refer into.
    pub mapping: Arc<Mapping>,
}

/// Where a tensor lies, and its form.
#[derive(Debug, Clone)]
pub struct TensorInformation {
    /// Its name, such as "blk.0.attn_q.weight".
    pub name: String,
    /// Its type.
    pub format: &'static BlockFormat,
    /// Lengths by dimension; `shape[0]` is the length of a row; 1 beyond the tensor's dimensions.
    pub shape: [u64; 4],
    /// How many dimensions the file gives.
    pub dimensions: u32,
    /// Its bytes in the mapping; checked to lie within it and to fit type and shape.
    pub range: Range<usize>,
}

impl TensorInformation {
    /// How many values it has.
    #[must_use]
    pub fn values(&self) -> u64 {
        // No overflow: the product was checked when the tensor was read.
        self.shape.iter().product()
    }
}

impl GgufFile {
    /// Opens and reads a file; errors begin with its path.
    pub fn open(path: &Path, mode: LoadMode) -> Result<Self> {
        Self::open_watched(path, mode, &mut |_, _| true)
    }

    /// The same, with `progress` as [`Mapping::open_watched`] tells it.
    pub fn open_watched(path: &Path, mode: LoadMode, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<Self> {
        let mapping = Mapping::open_watched(path, mode, progress)?;
        Self::parse(mapping).map_err(|error| Error::new(error.code, format!("{}: {}", path.display(), error.detail)))
    }

    /// Reads the structure of a file in memory.
    pub fn parse(mapping: Arc<Mapping>) -> Result<Self> {
        let bytes = mapping.bytes();
        let mut reader = Reader::new(bytes);
        let version = read_version(&mut reader, bytes)?;
        let tensor_count = reader.u64(&|| "the number of tensors".to_owned())?;
        let key_count = reader.u64(&|| "the number of keys".to_owned())?;
        let values = read_values(&mut reader, bytes, key_count)?;
        let metadata = Metadata::new(mapping.clone(), values);
        let alignment = read_alignment(&metadata)?;
        let placed = read_tensors(&mut reader, tensor_count, alignment)?;
        let tensors = place(placed, reader.position(), alignment, bytes.len())?;
        mapping.check_size()?;
        Ok(Self { version, metadata, tensors, mapping })
    }

    /// The tensor with this name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInformation> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

fn read_version(reader: &mut Reader, bytes: &[u8]) -> Result<u32> {
    let magic = reader.skip(4, &|| "GGUF magic".to_owned())?;
    if &bytes[magic.clone()] != b"GGUF" {
        return Err(refuse(format!("not a GGUF file: expected it to begin with \"GGUF\", found {:?}", &bytes[magic])));
    }
    let version = reader.u32(&|| "GGUF version".to_owned())?;
    match version {
        2 | 3 => Ok(version),
        _ if version & 0xffff == 0 && version != 0 => Err(unsupported(format!(
            "a big-endian GGUF file (version {}); supported are little-endian ones, versions 2 and 3",
            version.swap_bytes()
        ))),
        _ => Err(unsupported(format!("GGUF version {version}; supported are 2 and 3"))),
    }
}

fn read_values(reader: &mut Reader, bytes: &[u8], count: u64) -> Result<BTreeMap<String, Value>> {
    let count = reader.count(count, LEAST_KEY_BYTES, &|| "the number of keys".to_owned())?;
    let mut values = BTreeMap::new();
    for index in 0..count {
        let key = reader.name(MAXIMUM_KEY_BYTES, &|| format!("name of key {index} of {count}"))?;
        let value = Value::read(reader, bytes, &key)?;
        if values.contains_key(&key) {
            return Err(refuse(format!("key {key:?}: present twice")));
        }
        values.insert(key, value);
    }
    Ok(values)
}

fn read_alignment(metadata: &Metadata) -> Result<u64> {
    let alignment = metadata.u32("general.alignment")?.unwrap_or(DEFAULT_ALIGNMENT);
    if alignment >= LEAST_ALIGNMENT && alignment.is_power_of_two() {
        return Ok(alignment.into());
    }
    Err(refuse(format!(
        "key \"general.alignment\": expected a power of two from {LEAST_ALIGNMENT} up, found {alignment}"
    )))
}

/// A tensor whose offset still counts from the start of the data.
struct Placed {
    tensor: TensorInformation,
    offset: u64,
    bytes: u64,
}

fn read_tensors(reader: &mut Reader, count: u64, alignment: u64) -> Result<Vec<Placed>> {
    let count = reader.count(count, LEAST_TENSOR_BYTES, &|| "the number of tensors".to_owned())?;
    let mut names = HashSet::new();
    let mut placed = Vec::new();
    for index in 0..count {
        let name = reader.name(MAXIMUM_NAME_BYTES, &|| format!("name of tensor {index} of {count}"))?;
        if !names.insert(name.clone()) {
            return Err(refuse(format!("tensor {name:?}: present twice")));
        }
        placed.push(read_tensor(reader, name, alignment)?);
    }
    Ok(placed)
}

fn read_tensor(reader: &mut Reader, name: String, alignment: u64) -> Result<Placed> {
    let dimensions = reader.u32(&|| format!("tensor {name:?}: number of dimensions"))?;
    if !(1..=4).contains(&dimensions) {
        return Err(refuse(format!("tensor {name:?}: expected 1 to 4 dimensions, found {dimensions}")));
    }
    let mut shape = [1; 4];
    for (index, length) in shape.iter_mut().enumerate().take(dimensions as usize) {
        *length = reader.u64(&|| format!("tensor {name:?}: length of dimension {index}"))?;
        if *length == 0 {
            return Err(refuse(format!("tensor {name:?}: dimension {index} has length 0")));
        }
    }
    let number = reader.u32(&|| format!("tensor {name:?}: type"))?;
    let Some(format) = BlockFormat::from_number(number) else {
        return Err(unsupported(format!("tensor {name:?}: type {number} is not known; known are {}", known_types())));
    };
    let offset = reader.u64(&|| format!("tensor {name:?}: offset"))?;
    if offset % alignment != 0 {
        return Err(refuse(format!("tensor {name:?}: expected an offset that {alignment} divides, found {offset}")));
    }
    if shape[0] % format.block_values != 0 {
        return Err(refuse(format!(
            "tensor {name:?}: expected rows of a multiple of {} values for type {}, found {}",
            format.block_values, format.name, shape[0]
        )));
    }
    let values = shape.iter().try_fold(1u64, |product, length| product.checked_mul(*length));
    let bytes = values.and_then(|values| (values / format.block_values).checked_mul(format.block_bytes));
    match bytes {
        // What no address space holds cannot be in the file either; below this bound no sum of two overflows.
        Some(bytes) if bytes <= i64::MAX as u64 => {
            let tensor = TensorInformation { name, format, shape, dimensions, range: 0..0 };
            Ok(Placed { tensor, offset, bytes })
        }
        _ => Err(refuse(format!("tensor {name:?}: shape {shape:?} of type {} is too large", format.name))),
    }
}

/// Turns offsets into places in the file: all within it, none over another.
fn place(placed: Vec<Placed>, header_end: usize, alignment: u64, file_bytes: usize) -> Result<Vec<TensorInformation>> {
    // No overflow: the header lies in memory, and the alignment is below 2^32.
    let data = (header_end as u64).next_multiple_of(alignment);
    let mut tensors = Vec::with_capacity(placed.len());
    for Placed { mut tensor, offset, bytes } in placed {
        let start = data.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= file_bytes as u64 => tensor.range = start as usize..end as usize,
            _ => {
                return Err(refuse(format!(
                    "tensor {:?}: expected {bytes} bytes at offset {offset} of the data, which begins at {data}, \
                     but the file ends at {file_bytes}",
                    tensor.name
                )))
            }
        }
        tensors.push(tensor);
    }
    refuse_overlap(&tensors)?;
    Ok(tensors)
}

fn refuse_overlap(tensors: &[TensorInformation]) -> Result<()> {
    let mut order: Vec<&TensorInformation> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.range.start);
    for pair in order.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if before.range.end > after.range.start {
            return Err(refuse(format!(
                "tensor {:?}: expected it after byte {} where tensor {:?} ends, found at {}",
                after.name, before.range.end, before.name, after.range.start
            )));
        }
    }
    Ok(())
}

fn known_types() -> String {
    BlockFormat::all().iter().map(|format| format.name).collect::<Vec<_>>().join(", ")
}

fn refuse(detail: String) -> Error {
    Error::new(Code::ModelLoadFailed, detail)
}

fn unsupported(detail: String) -> Error {
    Error::new(Code::ModelUnsupported, detail)
}

/// Of a key's entry: length of the name, one byte of name, type, one byte of value.
const LEAST_KEY_BYTES: u64 = 8 + 1 + 4 + 1;
/// Of a tensor's entry: length of the name, one byte of name, dimensions, one length, type, offset.
const LEAST_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// The format's own limit.
const MAXIMUM_KEY_BYTES: usize = 65_535;
/// The format says 64; longer ones were seen, and cost nothing.
const MAXIMUM_NAME_BYTES: usize = 256;
const DEFAULT_ALIGNMENT: u32 = 32;
/// Numbers of eight bytes are the widest a tensor holds.
const LEAST_ALIGNMENT: u32 = 8;

#[cfg(test)]
mod tests;
