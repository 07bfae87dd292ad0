//! What llama.cpp does with the same file: `peer.py` measures it, in a Python that has llama-cpp-python.

use std::path::Path;
use std::process::Command;

use crate::{Rates, Wishes, DECODE_TOKENS};

/// Everything but the start.
pub fn measure(python: &Path, model: &Path, wishes: &Wishes) -> Result<Rates, String> {
    let context = if wishes.want("late") { wishes.context } else { 0 };
    let mut arguments =
        vec!["--tokens".to_owned(), DECODE_TOKENS.to_string(), "--context".to_owned(), context.to_string()];
    for part in ["prefill", "single"] {
        if wishes.want(part) {
            arguments.push(format!("--{part}"));
        }
    }
    let answer = ask(python, model, wishes.threads, &arguments)?;
    let found: serde_json::Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    let figure = |key: &str| found[key].as_f64();
    Ok(Rates {
        prefill_long: figure("prefill_512"),
        prefill_short: figure("prefill_16"),
        decode: figure("decode"),
        decode_late: figure("decode_late"),
        decode_single: figure("decode_single"),
        ..Rates::default()
    })
}

/// Loads, runs to the first token, ends; gives the most memory it held.
pub fn first_token(python: &Path, model: &Path, threads: u32) -> Result<u64, String> {
    ask(python, model, threads, &["--first-token".to_owned()])?.trim().parse().map_err(|_| "no number".to_owned())
}

fn ask(python: &Path, model: &Path, threads: u32, arguments: &[String]) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/throughput/peer.py");
    let output = Command::new(python)
        .arg(script)
        .arg(model)
        .args(["--threads", &threads.to_string()])
        .args(arguments)
        .output()
        .map_err(|error| format!("{}: {error}", python.display()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(text.lines().last().unwrap_or("failed without a word").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
