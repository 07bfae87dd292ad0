//! How fast models run here: prefill, decode, many sessions, load; beside the machine's read bandwidth and, where it is
//! installed, beside llama.cpp on the same file in the same run.
//!
//! `cargo bench --bench throughput -- [--peer PYTHON] [--threads N] MODEL.gguf...`
//! prints one table. `make bench` makes the models first. Numbers are medians of three passes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use worker::engine::Device;
use worker::inference::{Event, LoadOptions, Model, Next, Prompt, SamplingOptions, Session, SessionRequest};

const HELP: &str = "Usage: cargo bench --bench throughput -- [--peer PYTHON] [--threads N] MODEL.gguf...

Prints tokens per second for each model: prefill of 512 and of 16 tokens, decode alone, 8 and 16 sessions decoding
together, decode as a share of the read bandwidth measured in this run, and the time from nothing to the first token.

  --peer PYTHON   a Python with llama-cpp-python installed; its figures stand beside ours
  --threads N     threads for both; default: all cores";

const PASSES: usize = 3;
const DECODE_TOKENS: u32 = 48;

fn main() {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}\n\n{HELP}");
            std::process::exit(2);
        }
    };
    let threads = if arguments.threads == 0 { cores() } else { arguments.threads };
    let bandwidth = median((0..PASSES).map(|_| read_bandwidth(threads)));
    println!("threads: {threads}; read bandwidth: {:.1} GB/s", bandwidth / 1e9);
    println!(
        "kernels: {}",
        Device::open(-1, threads).and_then(|device| device.information()).map_or_else(
            |error| error.to_string(),
            |information| format!("{} on {}", information.kernel_path, information.name),
        )
    );
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9}",
        "model", "pre 512", "pre 16", "decode", "of bw", "8 sess", "16 sess", "first s"
    );
    let mut failed = false;
    for path in &arguments.models {
        match measure(path, threads) {
            Ok(ours) => print_row(&name(path), &ours, bandwidth),
            Err(message) => {
                failed = true;
                eprintln!("{}: {message}", path.display());
                continue;
            }
        }
        if let Some(python) = &arguments.peer {
            match peer(python, path, threads) {
                Ok(theirs) => print_row("  llama.cpp", &theirs, bandwidth),
                Err(message) => eprintln!("{}: peer: {message}", path.display()),
            }
        }
    }
    std::process::exit(i32::from(failed));
}

struct Arguments {
    models: Vec<PathBuf>,
    peer: Option<PathBuf>,
    threads: u32,
}

impl Arguments {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self { models: Vec::new(), peer: None, threads: 0 };
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--help" | "-h" => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                // Cargo adds this to every bench.
                "--bench" => {}
                "--peer" => arguments.peer = Some(given.next().ok_or("--peer needs a Python")?.into()),
                "--threads" => {
                    let number = given.next().ok_or("--threads needs a number")?;
                    arguments.threads = number.parse().map_err(|_| format!("--threads: not a number: {number}"))?;
                }
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                model => arguments.models.push(model.into()),
            }
        }
        if arguments.models.is_empty() {
            return Err("no model given".to_owned());
        }
        Ok(arguments)
    }
}

/// Tokens per second, but for the last two.
struct Figures {
    prefill_long: f64,
    prefill_short: f64,
    decode: f64,
    eight: f64,
    sixteen: f64,
    first_token_seconds: f64,
    bytes_per_token: f64,
}

fn print_row(name: &str, figures: &Figures, bandwidth: f64) {
    let share = figures.decode * figures.bytes_per_token / bandwidth;
    let together = |value: f64| if value > 0.0 { format!("{:.2}x", value / figures.decode) } else { "-".to_owned() };
    println!(
        "{name:<28} {:>9.1} {:>9.1} {:>9.2} {share:>7.2} {:>9} {:>9} {:>9.2}",
        figures.prefill_long,
        figures.prefill_short,
        figures.decode,
        together(figures.eight),
        together(figures.sixteen),
        figures.first_token_seconds
    );
}

fn measure(path: &Path, threads: u32) -> Result<Figures, String> {
    let begun = Instant::now();
    let device = Device::open(-1, threads).map_err(|error| error.to_string())?;
    let options = LoadOptions { context_length: 1024, maximum_sessions: 16, ..LoadOptions::default() };
    let model = Model::load(path, device, &options, &mut |_| true).map_err(|error| error.to_string())?;
    run(&model, &[3, 4, 5, 6], 1)?;
    let first_token_seconds = begun.elapsed().as_secs_f64();
    // Each pass has a prompt of its own: the prefix cache would answer a repeated one.
    let mut salt = 0;
    let mut prefill = |length: u32| -> Result<f64, String> {
        let mut rates = Vec::new();
        for _ in 0..PASSES {
            salt += 1;
            let prompt: Vec<u32> = (0..length).map(|place| 5 + (place * 7 + salt * 31) % 200).collect();
            let session = run(&model, &prompt, 1)?;
            rates.push(f64::from(length) / session.usage().prefill_seconds);
        }
        Ok(median(rates.into_iter()))
    };
    let prefill_long = prefill(512)?;
    let prefill_short = prefill(16)?;
    let mut decode_rates = Vec::new();
    for _ in 0..PASSES {
        let usage = run(&model, &[3, 4, 5, 6], DECODE_TOKENS)?.usage();
        decode_rates.push(f64::from(usage.generated_tokens - 1) / usage.decode_seconds);
    }
    Ok(Figures {
        prefill_long,
        prefill_short,
        decode: median(decode_rates.into_iter()),
        eight: together(&model, 8)?,
        sixteen: together(&model, 16)?,
        first_token_seconds,
        bytes_per_token: bytes_per_token(&model),
    })
}

/// All weights are read for each token, but of the embedding table only one row, unless it is the output matrix too.
fn bytes_per_token(model: &Arc<Model>) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let weights = model.weight_bytes_per_token() as f64;
    weights
}

fn run(model: &Arc<Model>, prompt: &[u32], tokens: u32) -> Result<Arc<Session>, String> {
    let session = start(model, prompt, tokens)?;
    finish(&session)?;
    Ok(session)
}

fn start(model: &Arc<Model>, prompt: &[u32], tokens: u32) -> Result<Arc<Session>, String> {
    let mut request = SessionRequest::new(Prompt::Tokens(prompt.to_vec()), tokens);
    request.sampling = SamplingOptions::greedy();
    request.ignore_end = true;
    model.start(request).map_err(|error| error.to_string())
}

fn finish(session: &Session) -> Result<(), String> {
    loop {
        match session.next(Some(Duration::from_secs(600))).map_err(|error| error.to_string())? {
            Next::Event(Event::Token { .. }) => {}
            Next::Event(Event::End { .. }) => return Ok(()),
            Next::TimedOut => return Err("no token for ten minutes".to_owned()),
        }
    }
}

/// Tokens per second of so many sessions decoding at once, all together.
fn together(model: &Arc<Model>, count: u32) -> Result<f64, String> {
    let mut rates = Vec::new();
    for _ in 0..PASSES {
        let sessions: Vec<_> =
            (0..count).map(|place| start(model, &[3, 4, 5, 10 + place], DECODE_TOKENS)).collect::<Result<_, _>>()?;
        for session in &sessions {
            finish(session)?;
        }
        let slowest = sessions.iter().map(|session| session.usage().decode_seconds).fold(0.0, f64::max);
        rates.push(f64::from(count * (DECODE_TOKENS - 1)) / slowest);
    }
    Ok(median(rates.into_iter()))
}

fn peer(python: &Path, model: &Path, threads: u32) -> Result<Figures, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.py");
    let output = Command::new(python)
        .arg(script)
        .arg(model)
        .args(["--threads", &threads.to_string(), "--tokens", &DECODE_TOKENS.to_string()])
        .output()
        .map_err(|error| format!("{}: {error}", python.display()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(text.lines().last().unwrap_or("failed without a word").to_owned());
    }
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let figure = |key: &str| figures[key].as_f64().ok_or_else(|| format!("no {key} in its answer"));
    Ok(Figures {
        prefill_long: figure("prefill_512")?,
        prefill_short: figure("prefill_16")?,
        decode: figure("decode")?,
        eight: 0.0,
        sixteen: 0.0,
        first_token_seconds: figure("first_token_seconds")?,
        bytes_per_token: 0.0,
    })
}

/// Bytes per second that plain reads reach, all threads together.
fn read_bandwidth(threads: u32) -> f64 {
    const WORDS: usize = 64 << 20;
    let buffers: Vec<Vec<u64>> = (0..threads).map(|seed| vec![u64::from(seed) + 1; WORDS]).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for buffer in &buffers {
            scope.spawn(|| {
                let sum = buffer.chunks_exact(32).fold([0_u64; 32], |mut sums, chunk| {
                    for (sum, word) in sums.iter_mut().zip(chunk) {
                        *sum = sum.wrapping_add(*word);
                    }
                    sums
                });
                std::hint::black_box(sum);
            });
        }
    });
    #[allow(clippy::cast_precision_loss)]
    let bytes = (buffers.len() * WORDS * 8) as f64;
    bytes / begun.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

fn name(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
