//! The file's keys and values.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::value::{number, Kind, Number, Value};
use crate::error::{Code, Error, Result};
use crate::model::map::Mapping;

/// Keys with their values. A key that is absent is `Ok(None)`; one whose value is of another type than asked for is an
/// error that names the key, the type expected and the type found.
#[derive(Debug, Clone)]
pub struct Metadata {
    mapping: Arc<Mapping>,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    pub(super) fn new(mapping: Arc<Mapping>, values: BTreeMap<String, Value>) -> Self {
        Self { mapping, values }
    }

    /// Every key, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The value as it lies in the file.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// A string, which must be UTF-8.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::String(range)) => match std::str::from_utf8(self.bytes(range)) {
                Ok(text) => Ok(Some(text)),
                Err(error) => Err(refuse(format!("key {key:?}: expected UTF-8: {error}"))),
            },
            Some(found) => Err(wrong_type(key, "string", found)),
        }
    }

    /// An integer of any kind whose value fits.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.integer(key, "u32")
    }

    /// An integer of any kind whose value fits.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.integer(key, "u64")
    }

    /// A floating-point number of either width; NaN and infinities are refused.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Scalar(_, Number::Float(value))) if (*value as f32).is_finite() => Ok(Some(*value as f32)),
            Some(Value::Scalar(_, Number::Float(value))) => {
                Err(refuse(format!("key {key:?}: expected a finite f32, found {value}")))
            }
            Some(found) => Err(wrong_type(key, "f32", found)),
        }
    }

    /// A boolean.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Scalar(_, Number::Bool(value))) => Ok(Some(*value)),
            Some(found) => Err(wrong_type(key, "bool", found)),
        }
    }

    /// An array of strings, which stay where they are.
    pub fn strings(&self, key: &str) -> Result<Option<StringArray>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Strings(offsets)) => {
                Ok(Some(StringArray { source: Source::File(self.mapping.clone()), start: 0, offsets: offsets.clone() }))
            }
            Some(found) => Err(wrong_type(key, "array of string", found)),
        }
    }

    /// An array of floating-point numbers of either width.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.array(key, "f32", |number| match number {
            Number::Float(value) => Some(value as f32),
            _ => None,
        })
    }

    /// An array of integers of any kind whose values fit.
    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>> {
        self.array(key, "u32", |number| match number {
            Number::Integer(value) => u32::try_from(value).ok(),
            _ => None,
        })
    }

    /// An array of integers of any kind whose values fit.
    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.array(key, "i32", |number| match number {
            Number::Integer(value) => i32::try_from(value).ok(),
            _ => None,
        })
    }

    /// An array of booleans.
    pub fn bools(&self, key: &str) -> Result<Option<Vec<bool>>> {
        self.array(key, "bool", |number| match number {
            Number::Bool(value) => Some(value),
            _ => None,
        })
    }

    fn integer<T: TryFrom<i128>>(&self, key: &str, expected: &str) -> Result<Option<T>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::Scalar(kind, Number::Integer(value))) => match T::try_from(*value) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(refuse(format!("key {key:?}: expected {expected}, found {} {value}", kind.name()))),
            },
            Some(found) => Err(wrong_type(key, expected, found)),
        }
    }

    fn array<T>(&self, key: &str, expected: &str, convert: impl Fn(Number) -> Option<T>) -> Result<Option<Vec<T>>> {
        let (kind, range) = match self.values.get(key) {
            None => return Ok(None),
            // An empty array may be of any kind; some writers call it one of strings or bytes.
            Some(Value::Strings(offsets)) if offsets.len() == 1 => return Ok(Some(Vec::new())),
            Some(Value::Numbers(kind, range)) => (*kind, range),
            Some(found) => return Err(wrong_type(key, &format!("array of {expected}"), found)),
        };
        let bytes = self.bytes(range);
        let mut out = Vec::new();
        out.try_reserve_exact(bytes.len() / kind.bytes().max(1))
            .map_err(|_| Error::new(Code::OutOfMemory, format!("key {key:?}: no memory for its array")))?;
        for (index, bytes) in bytes.chunks_exact(kind.bytes().max(1)).enumerate() {
            match number(kind, bytes).and_then(&convert) {
                Some(value) => out.push(value),
                None => return Err(self.wrong_entry(key, expected, kind, index, bytes)),
            }
        }
        Ok(Some(out))
    }

    fn wrong_entry(&self, key: &str, expected: &str, kind: Kind, index: usize, bytes: &[u8]) -> Error {
        let found = match number(kind, bytes) {
            Some(Number::Integer(value)) => value.to_string(),
            Some(Number::Float(value)) => value.to_string(),
            Some(Number::Bool(value)) => value.to_string(),
            None => format!("{bytes:?}"),
        };
        refuse(format!("key {key:?}: expected array of {expected}, entry {index} is {} {found}", kind.name()))
    }

    /// The range was checked against the mapping when it was read.
    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.mapping.bytes()[range.clone()]
    }
}

/// An array of strings in the file, such as a vocabulary: a table of places, no copies. Cheap to clone.
#[derive(Clone)]
pub struct StringArray {
    source: Source,
    /// Where in the file the source begins.
    start: usize,
    /// Where each string's length field begins, and where the last string ends. Ends come from the next entry, never
    /// from the file a second time, so that a file rewritten underfoot cannot lead outside.
    offsets: Arc<[usize]>,
}

#[derive(Clone)]
enum Source {
    File(Arc<Mapping>),
    Copy(Arc<Vec<u8>>),
}

impl StringArray {
    /// How many strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// String `index`, empty beyond the last.
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        match self.offsets.get(index..index.saturating_add(2)) {
            Some([start, end]) => &self.bytes()[start - self.start + LENGTH_FIELD..end - self.start],
            _ => &[],
        }
    }

    /// The same strings in memory of their own, which need the file no more.
    pub fn detached(&self) -> Result<Self> {
        let (start, end) = match *self.offsets {
            [start, .., end] => (start, end),
            _ => (self.start, self.start),
        };
        let mut copy = Vec::new();
        copy.try_reserve_exact(end - start)
            .map_err(|_| Error::new(Code::OutOfMemory, format!("no memory for {} strings", self.len())))?;
        copy.extend_from_slice(&self.bytes()[start - self.start..end - self.start]);
        Ok(Self { source: Source::Copy(Arc::new(copy)), start, offsets: self.offsets.clone() })
    }

    fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::File(mapping) => mapping.bytes(),
            Source::Copy(copy) => copy,
        }
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl fmt::Debug for StringArray {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StringArray({} strings)", self.len())
    }
}

fn wrong_type(key: &str, expected: &str, found: &Value) -> Error {
    refuse(format!("key {key:?}: expected {expected}, found {}", found.kind_name()))
}

fn refuse(detail: String) -> Error {
    Error::new(Code::ModelLoadFailed, detail)
}

const LENGTH_FIELD: usize = 8;
