//! How fast models run here: prefill, decode, many sessions, long contexts, start and memory; beside the machine's read
//! bandwidth and, where it is installed, beside llama.cpp on the same file in the same run.
//!
//! `cargo bench --bench throughput -- [OPTIONS] MODEL.gguf...` prints one table; `make bench` makes the models first.

mod figures;
mod machine;
mod ours;
mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use figures::{Figures, Rates};
use machine::{cores, read_bandwidth};

const HELP: &str = "Usage: cargo bench --bench throughput -- [OPTIONS] MODEL.gguf...

Prints a line for each model, and with a peer one for it and one for the ratio of the two. Model and peer take turns, some
rounds of each, since machines change with time: every figure is the median of its rounds, and so is every ratio:
  pre 512, pre 16   tokens per second of prompts
  decode            tokens per second of one session; then as a share of the read bandwidth measured just before
  1 thread          the same with one thread
  8 and 16 sess     all sessions' tokens per second over one session's
  at 4096           tokens per second after so many tokens; then how much longer a token takes than after none,
                    in percent, of which the bytes of keys and values explain so much
  start             seconds of a whole process, from nothing to the first token and the end
  memory            most memory of that process above the file's size, in MiB

  --peer PYTHON     a Python with llama-cpp-python installed
  --rounds N        default 3
  --threads N       threads for both; default: all cores
  --context N       tokens before the late decoding (default 4096; 0: without)
  --only PARTS      some of prefill,decode,single,sessions,late,start (with commas); decode is always there
  --first-token     only load one model, run to the first token, and print the most memory held";

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
    rounds: u32,
    threads: u32,
    context: u32,
    only: Option<String>,
    first_token: bool,
}

impl Wishes {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wishes = Self {
            models: Vec::new(),
            peer: None,
            rounds: 3,
            threads: cores(),
            context: 4096,
            only: None,
            first_token: false,
        };
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
                "--rounds" => wishes.rounds = number("--rounds")?.max(1),
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

/// What plain reads reached just before, in bytes per second.
struct Bandwidth {
    all: f64,
    single: f64,
}

fn print_table(wishes: &Wishes) -> Result<(), String> {
    println!("{}; kernels: {}; threads: {}", machine::processor(), ours::kernels(wishes.threads), wishes.threads);
    println!("{}", figures::head(wishes.context));
    let mut failures = Vec::new();
    for path in &wishes.models {
        if let Err(message) = print_model(path, wishes) {
            failures.push(format!("{}: {message}", path.display()));
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

fn print_model(path: &Path, wishes: &Wishes) -> Result<(), String> {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bandwidths, mut failure) = (Vec::new(), None);
    for _ in 0..wishes.rounds {
        let bandwidth = Bandwidth { all: read_bandwidth(wishes.threads), single: read_bandwidth(1) };
        let rates = own_round(path, wishes)?;
        let line = Figures::of(&rates, &rates, &bandwidth);
        if let (Some(python), None) = (&wishes.peer, &failure) {
            match peer_round(python, path, wishes) {
                Ok(peer) => {
                    let beside = Figures::of(&peer, &rates, &bandwidth);
                    ratios.push(line.over(&beside));
                    theirs.push(beside);
                }
                Err(message) => failure = Some(format!("peer: {message}")),
            }
        }
        ours.push(line);
        bandwidths.push(bandwidth);
    }
    let read = |of: fn(&Bandwidth) -> f64| median(bandwidths.iter().map(of)) / 1e9;
    println!("{}", Figures::medians(&ours).line(&name(path), None));
    if !theirs.is_empty() {
        println!("{}", Figures::medians(&theirs).line("  llama.cpp", None));
        println!("{}", Figures::medians(&ratios).line("  ratio", Some(2)));
    }
    println!(
        "  read: {:.1} GB/s, with one thread {:.1}",
        read(|bandwidth| bandwidth.all),
        read(|bandwidth| bandwidth.single)
    );
    failure.map_or(Ok(()), Err)
}

fn own_round(path: &Path, wishes: &Wishes) -> Result<Rates, String> {
    let mut rates = ours::measure(path, wishes)?;
    if wishes.want("start") {
        start(&mut rates, path, || own_first_token(path, wishes.threads))?;
    }
    Ok(rates)
}

fn peer_round(python: &Path, path: &Path, wishes: &Wishes) -> Result<Rates, String> {
    let mut rates = peer::measure(python, path, wishes)?;
    if wishes.want("start") {
        start(&mut rates, path, || peer::first_token(python, path, wishes.threads))?;
    }
    Ok(rates)
}

/// The file is warm by now: the same model was measured just before.
fn start(rates: &mut Rates, path: &Path, process: impl Fn() -> Result<u64, String>) -> Result<(), String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    let begun = Instant::now();
    rates.memory_bytes = Some(process()? as f64 - size as f64);
    rates.start_seconds = Some(begun.elapsed().as_secs_f64());
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn name(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
