//! How long a new prompt waits for its first token while others decode, and how long others wait for their next token
//! while a long prompt is read.
//!
//! `cargo bench --bench first_token -- [--threads N] MODEL.gguf...`

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use worker::engine::Device;
use worker::inference::{Event, LoadOptions, Model, Next, Prompt, SamplingOptions, Session, SessionRequest};

/// Sessions that decode while the new prompt comes.
const CROWDS: [usize; 4] = [0, 8, 16, 64];
const SHORT_PROMPT: u32 = 16;
const LONG_PROMPT: u32 = 4096;
const PASSES: usize = 5;
/// Tokens of one session of the crowd; another follows it.
const CROWD_TOKENS: u32 = 400;

fn main() {
    let (mut threads, mut models) = (0, Vec::new());
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            // Cargo adds this to every bench.
            "--bench" => {}
            "--threads" => threads = given.next().and_then(|number| number.parse().ok()).unwrap_or(0),
            _ => models.push(argument),
        }
    }
    if models.is_empty() {
        eprintln!("Usage: cargo bench --bench first_token -- [--threads N] MODEL.gguf...");
        std::process::exit(2);
    }
    for model in models {
        if let Err(problem) = measure(Path::new(&model), threads) {
            eprintln!("{model}: {problem}");
            std::process::exit(1);
        }
    }
}

fn measure(path: &Path, threads: u32) -> Result<(), String> {
    let device = Device::open(-1, threads).map_err(|error| error.to_string())?;
    let options = LoadOptions {
        context_length: LONG_PROMPT + CROWD_TOKENS,
        maximum_sessions: 66,
        kv_budget_bytes: 2 << 30,
        ..LoadOptions::default()
    };
    let model = Model::load(path, device, &options, &mut |_| true).map_err(|error| error.to_string())?;
    println!("{}", path.display());
    println!("{:>9} {:>26} {:>22}", "sessions", "first token, ms (worst)", "a token of others, ms");
    // Each prompt is a new one: the prefix cache would answer a repeated one.
    let salt = AtomicU32::new(0);
    first_token(&model, &salt)?;
    for crowd in CROWDS {
        let (mut waits, gaps) = while_crowded(&model, &salt, crowd, || {
            (0..PASSES).map(|_| first_token(&model, &salt)).collect::<Result<Vec<f64>, String>>()
        })?;
        waits.sort_by(f64::total_cmp);
        let typical = gaps.get(gaps.len() / 2).map_or("-".to_owned(), |gap| format!("{:.0}", gap * 1e3));
        println!("{crowd:>9} {:>17.0} ({:>6.0}) {typical:>22}", waits[PASSES / 2] * 1e3, waits[PASSES - 1] * 1e3);
    }
    println!("{:>9} {:>26} {:>22}", "sessions", "prompt of 4096, s", "others' longest wait, ms");
    for crowd in [1, 8] {
        let (seconds, gaps) = while_crowded(&model, &salt, crowd, || {
            let begun = Instant::now();
            wait_for_token(start(&model, &prompt(LONG_PROMPT, &salt), 1)?.as_ref())?;
            Ok(begun.elapsed().as_secs_f64())
        })?;
        println!("{crowd:>9} {seconds:>26.1} {:>22.0}", gaps.last().copied().unwrap_or(0.0) * 1e3);
    }
    Ok(())
}

/// Seconds from the start of a short prompt to its first token.
fn first_token(model: &Arc<Model>, salt: &AtomicU32) -> Result<f64, String> {
    let begun = Instant::now();
    wait_for_token(start(model, &prompt(SHORT_PROMPT, salt), 1)?.as_ref())?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Does `what` while so many sessions decode, and gives the times that these waited for their tokens meanwhile, sorted.
fn while_crowded<T>(
    model: &Arc<Model>,
    salt: &AtomicU32,
    crowd: usize,
    what: impl FnOnce() -> Result<T, String>,
) -> Result<(T, Vec<f64>), String> {
    let (over, watching, decoding) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU32::new(0));
    let gaps = Mutex::new(Vec::new());
    let result = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..crowd)
            .map(|_| {
                scope.spawn(|| -> Result<(), String> {
                    let mut is_first = true;
                    while !over.load(Ordering::Relaxed) {
                        let session = start(model, &prompt(4, salt), CROWD_TOKENS)?;
                        wait_for_token(&session)?;
                        decoding.fetch_add(u32::from(std::mem::take(&mut is_first)), Ordering::Relaxed);
                        let mut before = Instant::now();
                        while !over.load(Ordering::Relaxed) && wait_for_token(&session)? {
                            if watching.load(Ordering::Relaxed) {
                                if let Ok(mut gaps) = gaps.lock() {
                                    gaps.push(before.elapsed().as_secs_f64());
                                }
                            }
                            before = Instant::now();
                        }
                        session.cancel();
                    }
                    Ok(())
                })
            })
            .collect();
        while (decoding.load(Ordering::Relaxed) as usize) < crowd && !readers.iter().any(|reader| reader.is_finished())
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        watching.store(true, Ordering::Relaxed);
        let result = what();
        watching.store(false, Ordering::Relaxed);
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().map_err(|_| "a reader failed".to_owned())??;
        }
        result
    })?;
    let mut gaps = gaps.into_inner().unwrap_or_default();
    gaps.sort_by(f64::total_cmp);
    Ok((result, gaps))
}

fn prompt(length: u32, salt: &AtomicU32) -> Vec<u32> {
    let salt = salt.fetch_add(1, Ordering::Relaxed);
    (0..length).map(|place| 5 + (place * 7 + salt * 31 + place * salt) % 200).collect()
}

fn start(model: &Arc<Model>, prompt: &[u32], tokens: u32) -> Result<Arc<Session>, String> {
    let mut request = SessionRequest::new(Prompt::Tokens(prompt.to_vec()), tokens);
    request.sampling = SamplingOptions::greedy();
    request.ignore_end = true;
    model.start(request).map_err(|error| error.to_string())
}

/// Whether a token came, rather than the end.
fn wait_for_token(session: &Session) -> Result<bool, String> {
    match session.next(Some(Duration::from_secs(600))).map_err(|error| error.to_string())? {
        Next::Event(Event::Token { .. }) => Ok(true),
        Next::Event(Event::End { .. }) => Ok(false),
        Next::TimedOut => Err("no token for ten minutes".to_owned()),
    }
}
