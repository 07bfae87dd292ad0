//! Streams a haiku: the crate's own API, without the C door.
//!
//!     cargo run --release --example haiku -- rain

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use worker::engine::Device;
use worker::error::{Code, Error, Result};
use worker::inference::{Event, LoadOptions, Model, Next, Prompt, SessionRequest, Usage};

const DEFAULT_MODEL: &str = "examples/models/haiku.gguf";
const USAGE: &str = "usage: haiku [--model FILE] [--device N] [--seed N] [TOPIC...]
Streams a haiku about TOPIC.

  --model FILE   a GGUF model (default examples/models/haiku.gguf)
  --device N     -1 is the CPU (default), 0 and up are GPUs
  --seed N       the same seed gives the same words (default: any)
  --help         this text
";

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprint!("haiku: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nhaiku: {error}");
            eprintln!("haiku: hint: {}", hint(error.code));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let device = Device::open(options.device, 0)?;
    let model = Model::load(Path::new(&options.model), device, &LoadOptions::default(), &mut |_| true)?;

    let wish = format!("Write a haiku about {}", options.topic);
    let prompt = match model.chat_template() {
        Some(_) => Prompt::Chat(serde_json::json!([{"role": "user", "content": wish}]).to_string()),
        None => Prompt::Text(wish),
    };
    let mut request = SessionRequest::new(prompt, 80);
    request.sampling.temperature = 0.7;
    request.seed = options.seed;
    let session = model.start(request)?;

    let usage = loop {
        match session.next(None)? {
            Next::Event(Event::Token { text, .. }) => write(&text)?,
            Next::Event(Event::End { usage, .. }) => break usage,
            Next::TimedOut => {}
        }
    };
    println!("\n");
    report(&model, &usage, session.seed())
}

fn report(model: &Model, usage: &Usage, seed: u64) -> Result<()> {
    let device = model.device().information()?;
    let memory = model.memory();
    let seconds = usage.decode_seconds.max(1e-9);
    println!("device     {} ({} threads)", device.name, device.threads);
    println!("load       {:.1} ms", model.load_seconds() * 1e3);
    println!(
        "tokens     {} in, {} out, {:.0} tokens/s, seed {seed}",
        usage.prompt_tokens,
        usage.generated_tokens,
        f64::from(usage.generated_tokens) / seconds
    );
    println!(
        "memory     weights {} bytes, KV cache {} bytes, workspace {} bytes",
        memory.weights, memory.kv_cache, memory.workspace
    );
    let residency = model.check_residency()?;
    println!("residency  {}", if residency.resident { "resident" } else { "NOT resident" });
    Ok(())
}

/// Prints a token at once, so that the words appear as they are found.
fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Error::new(Code::InputOutput, format!("standard output: {error}")))
}

fn hint(code: Code) -> &'static str {
    match code {
        Code::InputOutput | Code::ModelLoadFailed | Code::ModelUnsupported => {
            "give the path of a readable GGUF model with --model"
        }
        Code::InvalidDevice => "--device -1 is the CPU, which every machine has",
        Code::OutOfMemory => "free some memory, or take a smaller model",
        _ => "see the message above",
    }
}

struct Options {
    model: String,
    device: i32,
    seed: Option<u64>,
    topic: String,
}

impl Options {
    /// The options; `None` where help is asked for.
    fn read(mut arguments: impl Iterator<Item = String>) -> std::result::Result<Option<Self>, String> {
        let mut options = Self { model: DEFAULT_MODEL.into(), device: -1, seed: None, topic: String::new() };
        let mut topic = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let number = |text: String| text.parse::<i64>().map_err(|_| format!("{text} is not a number"));
            match argument.as_str() {
                "--help" => return Ok(None),
                "--model" => options.model = value()?,
                "--device" => {
                    options.device = i32::try_from(number(value()?)?).map_err(|error| error.to_string())?;
                }
                "--seed" => options.seed = Some(u64::try_from(number(value()?)?).map_err(|error| error.to_string())?),
                option if option.starts_with('-') => return Err(format!("unknown option {option}")),
                _ => topic.push(argument),
            }
        }
        options.topic = if topic.is_empty() { "the autumn moon".into() } else { topic.join(" ") };
        Ok(Some(options))
    }
}
