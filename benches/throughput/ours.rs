//! What our own engine does with a model.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use worker::engine::Device;
use worker::inference::{Event, LoadOptions, Model, Next, Prompt, SamplingOptions, Session, SessionRequest};

use crate::machine::peak_resident_bytes;
use crate::{median, Rates, Wishes, DECODE_TOKENS};

/// Of decoding after short and long prompts.
const TURNS: usize = 3;

/// Everything but the start, which wants a process of its own.
pub fn measure(path: &Path, wishes: &Wishes) -> Result<Rates, String> {
    let context = wishes.context.max(1024) + DECODE_TOKENS + 16;
    let model = load(path, wishes.threads, context)?;
    let mut figures = Rates { decode: Some(decode(&model, 4)?), ..Rates::default() };
    if wishes.want("prefill") {
        figures.prefill_long = Some(prefill(&model, 512)?);
        figures.prefill_short = Some(prefill(&model, 16)?);
    }
    if wishes.want("sessions") {
        figures.eight = Some(together(&model, 8)?);
        figures.sixteen = Some(together(&model, 16)?);
    }
    if wishes.want("late") && wishes.context > 0 {
        let (early, late) = decode_in_turn(&model, wishes.context)?;
        (figures.decode, figures.decode_late) = (Some(early), Some(late));
    }
    figures.bytes_per_token = Some(model.weight_bytes_per_token() as f64);
    let (_, pages) = model.kv_pages();
    let page_bytes = model.memory().kv_cache as f64 / pages.max(1) as f64;
    figures.context_bytes = Some(page_bytes * f64::from(wishes.context) / f64::from(worker::engine::PAGE_TOKENS));
    drop(model);
    if wishes.want("single") {
        figures.decode_single = Some(decode(&load(path, 1, 1024)?, 4)?);
    }
    Ok(figures)
}

/// What a process of its own does: load, first token, end. Prints the most memory it held.
pub fn first_token(path: &Path, threads: u32) -> Result<(), String> {
    let model = load(path, threads, 1024)?;
    run(&model, &[3, 4, 5, 6], 1)?;
    println!("{}", peak_resident_bytes());
    Ok(())
}

/// Which kernels run, and on what.
pub fn kernels(threads: u32) -> String {
    Device::open(-1, threads).and_then(|device| device.information()).map_or_else(
        |error| error.to_string(),
        |information| format!("{} on {}", information.kernel_path, information.name),
    )
}

fn load(path: &Path, threads: u32, context_length: u32) -> Result<Arc<Model>, String> {
    let device = Device::open(-1, threads).map_err(|error| error.to_string())?;
    let options = LoadOptions { context_length, maximum_sessions: 16, ..LoadOptions::default() };
    Model::load(path, device, &options, &mut |_| true).map_err(|error| error.to_string())
}

fn prompt(length: u32, salt: u32) -> Vec<u32> {
    (0..length).map(|place| 5 + (place * 7 + salt * 31) % 200).collect()
}

/// Tokens per second of a prompt of `length`.
fn prefill(model: &Arc<Model>, length: u32) -> Result<f64, String> {
    Ok(f64::from(length) / run(model, &prompt(length, length * 3), 1)?.usage().prefill_seconds)
}

/// Tokens per second after a short prompt and after one of `length`, by turns: their ratio counts, and machines change with time.
fn decode_in_turn(model: &Arc<Model>, length: u32) -> Result<(f64, f64), String> {
    decode(model, length)?; // reads the prompt
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        early.push(decode(model, 4)?);
        late.push(decode(model, length)?);
    }
    Ok((median(early.into_iter()), median(late.into_iter())))
}

/// Tokens per second after a prompt of `length`.
fn decode(model: &Arc<Model>, length: u32) -> Result<f64, String> {
    // The same prompt each time: only the first has to be read.
    let usage = run(model, &prompt(length, 1), DECODE_TOKENS)?.usage();
    Ok(f64::from(usage.generated_tokens - 1) / usage.decode_seconds)
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

/// Tokens per second of so many sessions decoding at once, all together, over the time that the slowest took.
fn together(model: &Arc<Model>, count: u32) -> Result<f64, String> {
    let sessions: Vec<_> =
        (0..count).map(|place| start(model, &[3, 4, 5, 10 + place], DECODE_TOKENS)).collect::<Result<_, _>>()?;
    for session in &sessions {
        finish(session)?;
    }
    let slowest = sessions.iter().map(|session| session.usage().decode_seconds).fold(0.0, f64::max);
    Ok(f64::from(count * (DECODE_TOKENS - 1)) / slowest)
}
