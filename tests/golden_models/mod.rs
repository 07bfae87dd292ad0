//! The models at hand with their recorded logits, and the engine driven directly on them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::Arc;

use worker::engine::{Device, KvCache, KvType, LoadMode, Output, ResidencyPolicy, Role, Row, Weights, PAGE_TOKENS};
use worker::model::{describe, GgufFile};

/// Positions of each recorded answer.
pub const GOLDEN_ROWS: usize = 64;

/// Ways to cut the rows of an answer.
pub const CHUNKS: &[&[usize]] = &[&[1, 63], &[31, 33], &[7, 9, 1, 1, 14, 32], &[1; GOLDEN_ROWS]];

/// A folder of the shared files; that they are missing is a failure.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    assert!(path.is_dir(), "{} is missing", path.display());
    path
}

/// The models that have recorded logits.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder("models/micro"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// The tokens of every recorded answer.
pub fn micro_tokens() -> Vec<u32> {
    let text = std::fs::read_to_string(folder("goldens").join("micro-tokens.txt")).unwrap();
    let tokens: Vec<u32> = text.split_whitespace().map(|token| token.parse().unwrap()).collect();
    assert_eq!(tokens.len(), GOLDEN_ROWS);
    tokens
}

/// A model with its recorded logits.
pub struct Case {
    name: String,
    pub path: PathBuf,
    golden: Vec<f32>,
}

impl Case {
    pub fn read(name: &str) -> Self {
        let path = folder("models/micro").join(format!("{name}.gguf"));
        let bytes = std::fs::read(folder("goldens").join(format!("{name}.f32"))).unwrap();
        let golden: Vec<f32> =
            bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert_eq!(golden.len() % GOLDEN_ROWS, 0, "{name}");
        Self { name: name.to_owned(), path, golden }
    }

    /// The most error allowed. A cache of F32 asks for exactness, whatever the weights: prompt rows have the reference's
    /// order of additions, decode rows one of their own. With another cache it is what the reference engine itself has on
    /// the quantised form.
    pub fn limit(&self, kv: KvType, role: Role) -> f64 {
        let (family, kind) = self.name.rsplit_once('-').unwrap();
        match (family, kind) {
            _ if kv == KvType::F32 && role == Role::Prompt => 1e-5,
            (_, "f32") if kv == KvType::F32 => 1e-5,
            _ if kv == KvType::F32 => 2e-4,
            (_, "f32") => 2e-3,
            (_, "f16") => 3e-3,
            (_, "bf16") => 6e-3,
            ("gpt-oss", "q8_0") => 3.4e-2,
            ("gpt-oss", "mxfp4_moe") => 4.5e-2,
            (_, "q4_0" | "q4_1" | "q5_0" | "q5_1" | "q8_0" | "iq4_nl") => 2.2e-2,
            (_, "q2_k" | "q3_k_s" | "q4_k_s" | "q4_k_m" | "q5_k_s" | "q6_k" | "iq4_xs") => 3.1e-2,
            _ => panic!("{}: no limit is agreed for it", self.name),
        }
    }

    /// ||ours - golden|| / ||golden - mean(golden)||.
    pub fn error(&self, ours: &[f32]) -> f64 {
        assert_eq!(ours.len(), self.golden.len(), "{}", self.name);
        let mean = self.golden.iter().map(|value| f64::from(*value)).sum::<f64>() / self.golden.len() as f64;
        let pairs = || ours.iter().zip(&self.golden).map(|(ours, golden)| (f64::from(*ours), f64::from(*golden)));
        let difference: f64 = pairs().map(|(ours, golden)| (ours - golden).powi(2)).sum();
        let spread: f64 = pairs().map(|(_, golden)| (golden - mean).powi(2)).sum();
        (difference / spread).sqrt()
    }

    /// At how many positions the likeliest token is the recorded one.
    pub fn top_agreement(&self, ours: &[f32]) -> usize {
        let vocabulary = self.golden.len() / GOLDEN_ROWS;
        let top = |row: &[f32]| row.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1)).unwrap().0;
        ours.chunks(vocabulary)
            .zip(self.golden.chunks(vocabulary))
            .filter(|(ours, golden)| top(ours) == top(golden))
            .count()
    }
}

/// A model's weights on a device, run without scheduler or sessions.
pub struct Engine {
    weights: Arc<Weights>,
}

impl Engine {
    pub fn load(path: &Path, device: Arc<Device>) -> Self {
        let file = GgufFile::open(path, LoadMode::Map).unwrap();
        let (description, tensors) = describe(&file).unwrap();
        let weights = Weights::load(
            &device,
            &description,
            &tensors,
            file.mapping.clone(),
            LoadMode::Map,
            ResidencyPolicy::Off,
            &mut |_, _| true,
        );
        Self { weights: Arc::new(weights.unwrap_or_else(|error| panic!("{}: {error}", path.display()))) }
    }

    /// The logits of all positions, run in pieces of `chunks` rows.
    pub fn logits(&self, role: Role, kv: KvType, chunks: &[usize]) -> Vec<f32> {
        let (cache, pages) = self.cache(kv, 1);
        let mut logits = Vec::new();
        let mut done = 0;
        for &count in chunks {
            let rows = rows(role, 0, done..done + count);
            logits.extend(self.run(&cache, &rows, &[&pages]));
            done += count;
        }
        assert_eq!(done, GOLDEN_ROWS);
        logits
    }

    /// The same, beside another sequence of other tokens, other roles and pages in between.
    pub fn logits_in_company(&self, role: Role, kv: KvType) -> Vec<f32> {
        let (cache, pages) = self.cache(kv, 2);
        let (even, odd): (Vec<u32>, Vec<u32>) = pages.iter().partition(|page| *page % 2 == 0);
        let other = if role == Role::Prompt { Role::Decode } else { Role::Prompt };
        let mut logits = Vec::new();
        for start in (0..GOLDEN_ROWS).step_by(16) {
            let mut company = rows(other, 1, start..start + 16);
            company.iter_mut().for_each(|row| (row.token, row.output) = (row.token / 2, Output::None));
            company.extend(rows(role, 0, start..start + 16));
            logits.extend(self.run(&cache, &company, &[&odd, &even]));
        }
        logits
    }

    fn cache(&self, kv: KvType, sequences: usize) -> (KvCache, Vec<u32>) {
        let pages = (GOLDEN_ROWS * sequences).div_ceil(PAGE_TOKENS as usize) as u32;
        (KvCache::new(&self.weights, pages, kv).unwrap(), (0..pages).collect())
    }

    fn run(&self, cache: &KvCache, rows: &[Row], tables: &[&[u32]]) -> Vec<f32> {
        let floats: usize = rows.iter().map(|row| row.output.floats(&self.weights)).sum();
        let mut outputs = vec![f32::NAN; floats];
        self.weights.forward(cache, rows, tables, &AtomicU32::new(0), &mut outputs).unwrap();
        outputs
    }
}

fn rows(role: Role, sequence: u32, range: std::ops::Range<usize>) -> Vec<Row> {
    let tokens = micro_tokens();
    range
        .map(|position| Row {
            token: tokens[position],
            position: position as u32,
            sequence,
            role,
            output: Output::Logits,
        })
        .collect()
}
