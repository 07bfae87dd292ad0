//! Metadata values: how they are read off the file and kept, as places in it rather than copies.

use std::ops::Range;
use std::sync::Arc;

use super::reader::Reader;
use crate::error::{Code, Error, Result};

/// The type of a metadata value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    /// The kind with the format's number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        usize::try_from(number).ok().and_then(|number| KINDS.get(number)).copied()
    }

    /// The format's number.
    #[must_use]
    pub fn number(self) -> u32 {
        KINDS.iter().zip(0..).find_map(|(kind, number)| (*kind == self).then_some(number)).unwrap_or(u32::MAX)
    }

    /// Bytes of one value; 0 where that varies.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::String | Self::Array => 0,
        }
    }

    /// The name used in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

/// One number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Any integer kind; the format's all fit.
    Integer(i128),
    /// f32 or f64.
    Float(f64),
    /// A boolean.
    Bool(bool),
}

/// A value, as a place in the file.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number or boolean.
    Scalar(Kind, Number),
    /// A string's bytes.
    String(Range<usize>),
    /// An array of numbers or booleans: their kind, and the bytes.
    Numbers(Kind, Range<usize>),
    /// An array of strings: where each begins, and where the last one ends.
    Strings(Arc<[usize]>),
}

impl Value {
    /// What this is, for messages: "u32", "array of 12 string".
    #[must_use]
    pub fn kind_name(&self) -> String {
        match self {
            Self::Scalar(kind, _) => kind.name().to_owned(),
            Self::String(_) => "string".to_owned(),
            Self::Numbers(kind, range) => format!("array of {} {}", range.len() / kind.bytes().max(1), kind.name()),
            Self::Strings(offsets) => format!("array of {} string", offsets.len() - 1),
        }
    }

    /// Whether this is an array of anything.
    #[must_use]
    pub fn is_array(&self) -> bool {
        matches!(self, Self::Numbers(..) | Self::Strings(_))
    }

    /// Reads the value of `key`: its kind, then its content.
    pub fn read(reader: &mut Reader, bytes: &[u8], key: &str) -> Result<Self> {
        let what = || format!("value of key {key:?}");
        let kind = read_kind(reader, &what)?;
        match kind {
            Kind::String => Ok(Self::String(reader.string(&what)?)),
            Kind::Array => Self::read_array(reader, bytes, &what),
            _ => {
                let range = reader.skip(kind.bytes() as u64, &what)?;
                match number(kind, &bytes[range.clone()]) {
                    Some(number) => Ok(Self::Scalar(kind, number)),
                    None => Err(refuse(format!("{}: expected a bool, 0 or 1, found {}", what(), bytes[range.start]))),
                }
            }
        }
    }

    fn read_array(reader: &mut Reader, bytes: &[u8], what: &dyn Fn() -> String) -> Result<Self> {
        let kind = read_kind(reader, what)?;
        let count = reader.u64(&|| format!("length of the {}", what()))?;
        match kind {
            Kind::Array => Err(Error::new(
                Code::ModelUnsupported,
                format!("{}: an array of arrays; supported are arrays of numbers, booleans and strings", what()),
            )),
            Kind::String => {
                let count = reader.count(count, 8, what)?;
                let mut offsets = Vec::new();
                offsets.try_reserve_exact(count + 1).map_err(|_| {
                    Error::new(Code::OutOfMemory, format!("{}: no memory for the places of {count} strings", what()))
                })?;
                for index in 0..count {
                    offsets.push(reader.position());
                    if !reader.pass_string() {
                        reader.string(&|| format!("{}, string {index}", what()))?;
                    }
                }
                offsets.push(reader.position());
                Ok(Self::Strings(offsets.into()))
            }
            _ => {
                let count = reader.count(count, kind.bytes() as u64, what)?;
                // No overflow: `count` just proved that this many bytes are left.
                let range = reader.skip((count * kind.bytes()) as u64, what)?;
                if kind == Kind::Bool {
                    if let Some(wrong) = bytes[range.clone()].iter().position(|byte| *byte > 1) {
                        let found = bytes[range.start + wrong];
                        return Err(refuse(format!("{}: expected bools, 0 or 1, entry {wrong} is {found}", what())));
                    }
                }
                Ok(Self::Numbers(kind, range))
            }
        }
    }
}

/// The number in `bytes`, which must be as long as its kind; `None` for a boolean that is neither 0 nor 1, for bytes
/// that are too few, and for kinds that are no numbers.
#[must_use]
pub fn number(kind: Kind, bytes: &[u8]) -> Option<Number> {
    fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
        bytes.try_into().ok()
    }
    Some(match kind {
        Kind::U8 => Number::Integer(u8::from_le_bytes(array(bytes)?).into()),
        Kind::I8 => Number::Integer(i8::from_le_bytes(array(bytes)?).into()),
        Kind::U16 => Number::Integer(u16::from_le_bytes(array(bytes)?).into()),
        Kind::I16 => Number::Integer(i16::from_le_bytes(array(bytes)?).into()),
        Kind::U32 => Number::Integer(u32::from_le_bytes(array(bytes)?).into()),
        Kind::I32 => Number::Integer(i32::from_le_bytes(array(bytes)?).into()),
        Kind::U64 => Number::Integer(u64::from_le_bytes(array(bytes)?).into()),
        Kind::I64 => Number::Integer(i64::from_le_bytes(array(bytes)?).into()),
        Kind::F32 => Number::Float(f32::from_le_bytes(array(bytes)?).into()),
        Kind::F64 => Number::Float(f64::from_le_bytes(array(bytes)?)),
        Kind::Bool => match array::<1>(bytes)? {
            [0] => Number::Bool(false),
            [1] => Number::Bool(true),
            _ => return None,
        },
        Kind::String | Kind::Array => return None,
    })
}

fn read_kind(reader: &mut Reader, what: &dyn Fn() -> String) -> Result<Kind> {
    let number = reader.u32(&|| format!("type of the {}", what()))?;
    Kind::from_number(number)
        .ok_or_else(|| refuse(format!("type of the {}: expected 0 to {}, found {number}", what(), KINDS.len() - 1)))
}

fn refuse(detail: String) -> Error {
    Error::new(Code::ModelLoadFailed, detail)
}

/// In the order of the format's numbers.
const KINDS: [Kind; 13] = [
    Kind::U8,
    Kind::I8,
    Kind::U16,
    Kind::I16,
    Kind::U32,
    Kind::I32,
    Kind::F32,
    Kind::Bool,
    Kind::String,
    Kind::Array,
    Kind::U64,
    Kind::I64,
    Kind::F64,
];
