//! How fast models run here: prefill, decode, many sessions, long contexts, start and memory; beside the machine's read
//! bandwidth and, where it is installed, beside llama.cpp on the same file in the same run.
//!
//! `cargo bench --bench throughput -- [OPTIONS] MODEL.gguf...` prints one table; `make bench` makes the models first.

mod machine;
mod ours;
mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use machine::{cores, read_bandwidth};

const HELP: &str = "Usage: cargo bench --bench throughput -- [OPTIONS] MODEL.gguf...

Prints a line for each model, and with a peer one for it and one for the ratio of the two:
  pre 512, pre 16   tokens per second of prompts
  decode            tokens per second of one session; then as a share of the read bandwidth measured in this run
  1 thread          the same with one thread
  8 and 16 sess     all sessions' tokens per second over one session's
  at 4096           tokens per second after so many tokens; then how much longer a token takes than after none,
                    in percent, of which the bytes of keys and values explain so much
  start             seconds of a whole process, from nothing to the first token and the end
  memory            most memory of that process above the file's size, in MiB

  --peer PYTHON     a Python with llama-cpp-python installed
  --threads N       threads for both; default: all cores
  --context N       tokens before the late decoding (default 4096; 0: without)
  --only PARTS      some of prefill,decode,single,sessions,late,start (with commas); decode is always there
  --first-token     only load one model, run to the first token, and print the most memory held";

/// Of each measurement; their median counts.
const PASSES: usize = 3;
const DECODE_TOKENS: u32 = 48;

fn main() {
    let wishes = match Wishes::read(std::env::args().skip(1)) {
        Ok(wishes) => wishes,
        Err(message) => {
            eprintln!("{message}\n\n{HELP}");
            std::process::exit(2);
        }
    };
    let result =
        if wishes.first_token { ours::first_token(&wishes.models[0], wishes.threads) } else { print_table(&wishes) };
    if let Err(message) = result {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

/// What the command line asks for.
struct Wishes {
    models: Vec<PathBuf>,
    peer: Option<PathBuf>,
    threads: u32,
    context: u32,
    only: Option<String>,
    first_token: bool,
}

impl Wishes {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wishes =
            Self { models: Vec::new(), peer: None, threads: cores(), context: 4096, only: None, first_token: false };
        while let Some(argument) = given.next() {
            let mut number = |name: &str| -> Result<u32, String> {
                let number = given.next().ok_or(format!("{name} needs a number"))?;
                number.parse().map_err(|_| format!("{name}: not a number: {number}"))
            };
            match argument.as_str() {
                "--help" | "-h" => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                // Cargo adds this to every bench.
                "--bench" => {}
                "--peer" => wishes.peer = Some(given.next().ok_or("--peer needs a Python")?.into()),
                "--threads" => wishes.threads = number("--threads")?.max(1),
                "--context" => wishes.context = number("--context")?,
                "--only" => wishes.only = Some(given.next().ok_or("--only needs a list of parts")?),
                "--first-token" => wishes.first_token = true,
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                model => wishes.models.push(model.into()),
            }
        }
        if wishes.models.is_empty() {
            return Err("no model given".to_owned());
        }
        Ok(wishes)
    }

    fn want(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|wanted| wanted == part))
    }
}

/// Tokens per second, where nothing else is said; what was not measured is `None`.
#[derive(Default)]
struct Figures {
    prefill_long: Option<f64>,
    prefill_short: Option<f64>,
    decode: Option<f64>,
    decode_single: Option<f64>,
    decode_late: Option<f64>,
    eight: Option<f64>,
    sixteen: Option<f64>,
    bytes_per_token: Option<f64>,
    /// Of the keys and values of the long context.
    context_bytes: Option<f64>,
    start_seconds: Option<f64>,
    memory_bytes: Option<f64>,
}

/// What the table's lines have in common.
struct Bandwidth {
    all: f64,
    single: f64,
}

fn print_table(wishes: &Wishes) -> Result<(), String> {
    let bandwidth = Bandwidth { all: read_bandwidth(wishes.threads), single: read_bandwidth(1) };
    println!("{}; kernels: {}", machine::processor(), ours::kernels(wishes.threads));
    println!(
        "threads: {}; read bandwidth: {:.1} GB/s, with one thread {:.1} GB/s",
        wishes.threads,
        bandwidth.all / 1e9,
        bandwidth.single / 1e9
    );
    println!(
        "{:<20} {:>8} {:>8} {:>8} {:>5} {:>8} {:>5} {:>6} {:>7} {:>8} {:>14} {:>6} {:>6}",
        "model",
        "pre 512",
        "pre 16",
        "decode",
        "of bw",
        "1 thread",
        "of bw",
        "8 sess",
        "16 sess",
        format!("at {}", wishes.context),
        "longer (by kv)",
        "start",
        "memory"
    );
    let mut failures = Vec::new();
    for path in &wishes.models {
        let measured = ours::measure(path, wishes).and_then(|mut figures| {
            if wishes.want("start") {
                start(&mut figures, path, || own_first_token(path, wishes.threads))?;
            }
            Ok(figures)
        });
        let ours = match measured {
            Ok(figures) => figures,
            Err(message) => {
                failures.push(format!("{}: {message}", path.display()));
                continue;
            }
        };
        print_line(&name(path), &ours, &bandwidth);
        let Some(python) = &wishes.peer else { continue };
        let measured = peer::measure(python, path, wishes).and_then(|mut figures| {
            if wishes.want("start") {
                start(&mut figures, path, || peer::first_token(python, path, wishes.threads))?;
            }
            figures.bytes_per_token = ours.bytes_per_token;
            figures.context_bytes = ours.context_bytes;
            Ok(figures)
        });
        match measured {
            Ok(theirs) => {
                print_line("  llama.cpp", &theirs, &bandwidth);
                print_ratios(&ours, &theirs);
            }
            Err(message) => failures.push(format!("{}: peer: {message}", path.display())),
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// The file is warm by now: the same model was measured just before.
fn start(figures: &mut Figures, path: &Path, process: impl Fn() -> Result<u64, String>) -> Result<(), String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    let mut seconds = Vec::new();
    for _ in 0..PASSES {
        let begun = Instant::now();
        let peak = process()?;
        seconds.push(begun.elapsed().as_secs_f64());
        figures.memory_bytes = Some(peak as f64 - size as f64);
    }
    figures.start_seconds = Some(median(seconds.into_iter()));
    Ok(())
}

fn own_first_token(path: &Path, threads: u32) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["--first-token", "--threads", &threads.to_string()])
        .arg(path)
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
    text.trim().parse().map_err(|_| text.trim().to_owned())
}

fn print_line(name: &str, figures: &Figures, bandwidth: &Bandwidth) {
    let share = |rate: Option<f64>, of: f64| Some(rate? * figures.bytes_per_token? / of);
    let over_one = |rate: Option<f64>| Some(rate? / figures.decode?);
    let longer = || Some((figures.decode? / figures.decode_late? - 1.0) * 100.0);
    let explained = || Some(figures.context_bytes? / figures.bytes_per_token? * 100.0);
    let late = match (longer(), explained()) {
        (Some(longer), Some(explained)) => format!("{longer:+.1}% ({explained:.1}%)"),
        _ => "-".to_owned(),
    };
    println!(
        "{name:<20} {:>8} {:>8} {:>8} {:>5} {:>8} {:>5} {:>6} {:>7} {:>8} {late:>14} {:>6} {:>6}",
        shown(figures.prefill_long, 1),
        shown(figures.prefill_short, 1),
        shown(figures.decode, 2),
        shown(share(figures.decode, bandwidth.all), 2),
        shown(figures.decode_single, 2),
        shown(share(figures.decode_single, bandwidth.single), 2),
        shown(over_one(figures.eight), 2),
        shown(over_one(figures.sixteen), 2),
        shown(figures.decode_late, 2),
        shown(figures.start_seconds, 2),
        shown(figures.memory_bytes.map(|bytes| bytes / f64::from(1 << 20)), 0),
    );
}

/// How many times as fast we are; of the start, how many times as long it takes.
fn print_ratios(ours: &Figures, theirs: &Figures) {
    let ratio = |ours: Option<f64>, theirs: Option<f64>| Some(ours? / theirs?);
    println!(
        "{:<20} {:>8} {:>8} {:>8} {:>5} {:>8} {:>5} {:>6} {:>7} {:>8} {:>14} {:>6}",
        "  ratio",
        shown(ratio(ours.prefill_long, theirs.prefill_long), 2),
        shown(ratio(ours.prefill_short, theirs.prefill_short), 2),
        shown(ratio(ours.decode, theirs.decode), 2),
        "",
        shown(ratio(ours.decode_single, theirs.decode_single), 2),
        "",
        "",
        "",
        shown(ratio(ours.decode_late, theirs.decode_late), 2),
        "",
        shown(ratio(ours.start_seconds, theirs.start_seconds), 2),
    );
}

fn shown(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn name(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
