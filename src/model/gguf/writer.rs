//! Writes small GGUF files in memory, for tests: sound ones, and ones that are wrong in one place.

use super::value::Kind;
use super::{BlockFormat, GgufFile, Metadata};
use crate::model::map::Mapping;

/// A metadata value to write.
#[derive(Debug, Clone)]
pub enum Pair {
    U32(u32),
    U64(u64),
    I32(i32),
    U8(u8),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Strings(Vec<Vec<u8>>),
    F32s(Vec<f32>),
    U32s(Vec<u32>),
    I32s(Vec<i32>),
    Bools(Vec<bool>),
    /// Kind number and content, as they are.
    Raw(u32, Vec<u8>),
}

impl Pair {
    /// A string.
    pub fn text(text: &str) -> Self {
        Self::String(text.to_owned())
    }

    /// An array of strings.
    pub fn texts(texts: &[&str]) -> Self {
        Self::Strings(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
    }

    fn encode(&self) -> (u32, Vec<u8>) {
        fn array<T>(kind: Kind, items: &[T], bytes: impl Fn(&T) -> Vec<u8>) -> (u32, Vec<u8>) {
            let mut out = kind.number().to_le_bytes().to_vec();
            out.extend((items.len() as u64).to_le_bytes());
            out.extend(items.iter().flat_map(bytes));
            (Kind::Array.number(), out)
        }
        match self {
            Self::U32(value) => (Kind::U32.number(), value.to_le_bytes().to_vec()),
            Self::U64(value) => (Kind::U64.number(), value.to_le_bytes().to_vec()),
            Self::I32(value) => (Kind::I32.number(), value.to_le_bytes().to_vec()),
            Self::U8(value) => (Kind::U8.number(), vec![*value]),
            Self::F32(value) => (Kind::F32.number(), value.to_le_bytes().to_vec()),
            Self::F64(value) => (Kind::F64.number(), value.to_le_bytes().to_vec()),
            Self::Bool(value) => (Kind::Bool.number(), vec![u8::from(*value)]),
            Self::String(text) => (Kind::String.number(), string(text.as_bytes())),
            Self::Strings(texts) => array(Kind::String, texts, |text| string(text)),
            Self::F32s(values) => array(Kind::F32, values, |value| value.to_le_bytes().to_vec()),
            Self::U32s(values) => array(Kind::U32, values, |value| value.to_le_bytes().to_vec()),
            Self::I32s(values) => array(Kind::I32, values, |value| value.to_le_bytes().to_vec()),
            Self::Bools(values) => array(Kind::Bool, values, |value| vec![u8::from(*value)]),
            Self::Raw(kind, bytes) => (*kind, bytes.clone()),
        }
    }
}

/// A tensor to write: zeros of its type and shape, at the next aligned offset unless told otherwise.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<u64>,
    pub kind: u32,
    pub offset: Option<u64>,
}

/// A file in the making.
#[derive(Debug, Clone)]
pub struct Writer {
    pub magic: [u8; 4],
    pub version: u32,
    pub pairs: Vec<(String, Pair)>,
    pub tensors: Vec<Tensor>,
    pub key_count: Option<u64>,
    pub tensor_count: Option<u64>,
    pub alignment: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            pairs: Vec::new(),
            tensors: Vec::new(),
            key_count: None,
            tensor_count: None,
            alignment: 32,
        }
    }
}

impl Writer {
    pub fn pair(mut self, key: &str, value: Pair) -> Self {
        self.pairs.push((key.to_owned(), value));
        self
    }

    pub fn tensor(mut self, name: &str, shape: &[u64], kind: u32) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), kind, offset: None });
        self
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.key_count.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            let (kind, bytes) = value.encode();
            out.extend(string(key.as_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(bytes);
        }
        let mut data = 0;
        for tensor in &self.tensors {
            out.extend(string(tensor.name.as_bytes()));
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().for_each(|length| out.extend(length.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(data).to_le_bytes());
            data = (data + size(tensor)).next_multiple_of(self.alignment);
        }
        if !self.tensors.is_empty() {
            out.resize(out.len().next_multiple_of(self.alignment as usize) + data as usize, 0);
        }
        out
    }

    /// The file, read back.
    pub fn parse(&self) -> crate::error::Result<GgufFile> {
        GgufFile::parse(Mapping::from_bytes(&self.bytes())?)
    }
}

impl Metadata {
    /// Metadata with these keys, for tests of what reads them.
    pub fn from_pairs(pairs: &[(&str, Pair)]) -> Metadata {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Writer { pairs, ..Writer::default() }.parse().unwrap().metadata
    }
}

/// Bytes of a tensor; 0 where the test writes an unknown type or an absurd shape.
fn size(tensor: &Tensor) -> u64 {
    let values = tensor.shape.iter().try_fold(1u64, |product, length| product.checked_mul(*length));
    match (BlockFormat::from_number(tensor.kind), values) {
        (Some(format), Some(values)) if values < 1 << 30 => values / format.block_values * format.block_bytes,
        _ => 0,
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u64).to_le_bytes().to_vec();
    out.extend(bytes);
    out
}
