//! Damaged model files: cut anywhere, with any byte changed. Each gives an error or a working model, in bounded time.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::Arc;
use std::time::Duration;

use worker::engine::{Device, LoadMode};
use worker::error::{Code, Result};
use worker::inference::{LoadOptions, Model, Next, Prompt, SamplingOptions, SessionRequest};
use worker::model::{describe, information, GgufFile, Mapping, Tokenizer};

fn story_model() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models/stories260K-q8_0.gguf");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All that reads the file before the engine does.
fn read(bytes: &[u8]) -> Result<GgufFile> {
    let file = GgufFile::parse(Mapping::from_bytes(bytes)?)?;
    let _ = information(&file);
    describe(&file)?;
    Tokenizer::from_metadata(&file.metadata)?;
    Ok(file)
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = story_model();
    let whole = read(&bytes).unwrap();
    let header = whole.tensors.iter().map(|tensor| tensor.range.start).min().unwrap();
    let end = whole.tensors.iter().map(|tensor| tensor.range.end).max().unwrap();
    // Every byte of the header holds all its structural boundaries; beyond it tensors begin and end.
    let mut lengths: Vec<usize> = (0..header).collect();
    for tensor in &whole.tensors {
        let range = &tensor.range;
        lengths.extend([range.start, range.start + 1, range.end - 1]);
    }
    lengths.extend(Numbers::new(1).take(100).map(|number| header + number % (end - header)));
    let before = std::time::Instant::now();
    for length in lengths {
        let error = read(&bytes[..length]).err().unwrap_or_else(|| panic!("cut to {length} bytes it was accepted"));
        assert_eq!(error.code, Code::ModelLoadFailed, "cut to {length}: {error}");
        assert!(error.detail.contains("the file ends at") && error.detail.contains(&length.to_string()), "{error}");
    }
    println!("{:?} for every cut", before.elapsed());
    read(&bytes[..end]).unwrap();
}

#[test]
fn a_file_cut_on_disk_is_refused_in_both_modes() {
    let bytes = story_model();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    for length in [0, 3, 4, 24, 1000, 14_357, bytes.len() / 2] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        for mode in [LoadMode::Map, LoadMode::Copy] {
            let options = LoadOptions { mode, ..LoadOptions::default() };
            let device = Device::open(-1, 1).unwrap();
            let error = Model::load(&path, device, &options, &mut |_| true).err().unwrap();
            assert_eq!(error.code, Code::ModelLoadFailed, "{error}");
            assert!(error.detail.contains("cut.gguf"), "{error}");
        }
    }
}

#[test]
fn a_file_with_any_byte_changed_gives_an_error_or_a_working_model() {
    let bytes = story_model();
    let header = read(&bytes).unwrap().tensors.iter().map(|tensor| tensor.range.start).min().unwrap();
    let mut flips: Vec<(usize, u8)> = Vec::new();
    // All of the counts, keys and settings; of the vocabulary, tensor table and weights a sample.
    flips.extend((0..DENSE).flat_map(|place| [(place, 0xff), (place, 1 << (place % 8))]));
    flips.extend(Numbers::new(2).take(500).map(|number| (DENSE + number % (header - DENSE), 1 << (number >> 32 & 7))));
    // The tensor table lies last in the header.
    flips
        .extend(Numbers::new(3).take(500).map(|number| (header - 1 - number % TENSOR_TABLE, (number >> 32) as u8 | 1)));
    flips.extend(Numbers::new(4).take(50).map(|number| (header + number % (bytes.len() - header), 0xff)));

    let runner = Runner::start();
    let (mut refused, mut worked) = (0, 0);
    for (place, mask) in flips {
        let mut changed = bytes.clone();
        changed[place] ^= mask;
        // The parse of most needs no disk; what passes it is loaded and run.
        match runner.run(changed, &format!("byte {place} ^ {mask:#04x}")) {
            Outcome::Refused => refused += 1,
            Outcome::Worked => worked += 1,
        }
    }
    println!("{refused} refused, {worked} worked");
    assert!(refused > 500 && worked > 500, "{refused} refused, {worked} worked");
}

#[test]
fn random_changes_in_many_places_are_survived() {
    let bytes = story_model();
    let runner = Runner::start();
    let mut numbers = Numbers::new(5);
    for round in 0..300 {
        let mut changed = bytes.clone();
        for _ in 0..=round % 16 {
            let (place, value) = (numbers.next().unwrap(), numbers.next().unwrap());
            changed[place % (bytes.len() / 20)] = value as u8;
        }
        runner.run(changed, &format!("round {round}"));
    }
}

#[test]
fn wrong_settings_of_every_architecture_are_survived() {
    let runner = Runner::start();
    let (mut refused, mut worked) = (0, 0);
    for name in ["gemma2-q4_k_m", "gemma3-q4_k_m", "gpt-oss-mxfp4_moe", "gpt2-q4_k_m", "phi3-q4_k_m", "qwen3-q4_k_m"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../shared/models/micro/{name}.gguf"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // The settings come before the vocabulary.
        let key = b"tokenizer.ggml.model";
        let settings = bytes.windows(key.len()).position(|window| window == key).unwrap();
        for number in Numbers::new(6).take(120) {
            let (place, bit) = (24 + number % (settings - 24), number >> 32 & 7);
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            match runner.run(changed, &format!("{name}, bit {bit} of byte {place}")) {
                Outcome::Refused => refused += 1,
                Outcome::Worked => worked += 1,
            }
        }
    }
    println!("{refused} refused, {worked} worked");
    assert!(refused > 100 && worked > 50, "{refused} refused, {worked} worked");
}

enum Outcome {
    Refused,
    Worked,
}

/// Reads, loads and runs files on a thread of its own, so that a hang is a failure that names its file.
struct Runner {
    files: mpsc::Sender<Vec<u8>>,
    outcomes: mpsc::Receiver<std::result::Result<Outcome, String>>,
    _folder: Arc<tempfile::TempDir>,
}

impl Runner {
    fn start() -> Self {
        let (files, incoming) = mpsc::channel::<Vec<u8>>();
        let (outgoing, outcomes) = mpsc::channel();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let path = folder.path().join("changed.gguf");
        std::thread::spawn(move || {
            let device = Device::open(-1, 1).unwrap();
            for bytes in incoming {
                let outcome =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_one(&bytes, &path, &device)));
                if outgoing.send(outcome.unwrap_or_else(|_| Err("it panicked".to_owned()))).is_err() {
                    return;
                }
            }
        });
        Self { files, outcomes, _folder: folder }
    }

    fn run(&self, bytes: Vec<u8>, name: &str) -> Outcome {
        self.files.send(bytes).unwrap();
        match self.outcomes.recv_timeout(LIMIT) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(message)) => panic!("{name}: {message}"),
            Err(RecvTimeoutError::Timeout) => panic!("{name}: no end within {LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("{name}: the thread is gone"),
        }
    }
}

fn run_one(bytes: &[u8], path: &PathBuf, device: &Arc<Device>) -> std::result::Result<Outcome, String> {
    if let Err(error) = read(bytes) {
        return match error.code {
            Code::ModelLoadFailed | Code::ModelUnsupported => Ok(Outcome::Refused),
            _ => Err(format!("refused with {error}")),
        };
    }
    std::fs::write(path, bytes).unwrap();
    let options = LoadOptions { context_length: 64, ..LoadOptions::default() };
    let model = match Model::load(path, Arc::clone(device), &options, &mut |_| true) {
        Ok(model) => model,
        Err(error) if matches!(error.code, Code::ModelLoadFailed | Code::ModelUnsupported) => {
            return Ok(Outcome::Refused);
        }
        Err(error) => return Err(format!("loading failed with {error}")),
    };
    let session = model.start(SessionRequest {
        prompt: Prompt::Text("Once".to_owned()),
        maximum_tokens: 1,
        sampling: SamplingOptions::greedy(),
        stop: Vec::new(),
        seed: None,
        logprobs: 0,
        constraint: None,
        deadline: None,
        ignore_end: false,
    });
    // A model whose numbers have become nonsense may fail to choose a token; it may not do worse.
    match session.and_then(|session| session.next(Some(LIMIT))) {
        Ok(Next::Event(_)) => Ok(Outcome::Worked),
        Ok(Next::TimedOut) => Err("no token came".to_owned()),
        Err(error) if matches!(error.code, Code::InferenceFailed | Code::InvalidParameter) => Ok(Outcome::Refused),
        Err(error) => Err(format!("running failed with {error}")),
    }
}

/// A seeded sequence (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Iterator for Numbers {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some((mixed ^ mixed >> 31) as usize)
    }
}

/// Bytes at the beginning of the file of which each is changed.
const DENSE: usize = 2048;
/// Bytes at the end of the header that describe tensors.
const TENSOR_TABLE: usize = 2600;
const LIMIT: Duration = Duration::from_secs(20);
