//! Our half of the comparison with the reference engine's tokenizers: `compare.py` beside it runs this.
//!
//! Reads one JSON request a line and answers with one JSON line: `{"text": "..."}` with the tokens of the text, plain,
//! with the special tokens around it, with the names of special tokens read, and both; `{"ids": [...]}` with the text of
//! the tokens in hexadecimal, without and with the names of special tokens; `{"pieces": 0}` with what every token prints.

use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{json, Value};
use worker::model::{GgufFile, LoadMode, Tokenizer};

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: compare_tokenizers FILE.gguf < requests");
        return ExitCode::from(2);
    };
    match answer_all(Path::new(&path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn answer_all(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = GgufFile::open(path, LoadMode::Map)?;
    let tokenizer = Tokenizer::from_metadata(&file.metadata)?;
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        writeln!(output, "{}", answer(&tokenizer, &request)?)?;
    }
    output.flush()?;
    Ok(())
}

fn answer(tokenizer: &Tokenizer, request: &Value) -> Result<Value, Box<dyn std::error::Error>> {
    if let Some(text) = request["text"].as_str() {
        let encode = |add, parse| tokenizer.encode(text, add, parse);
        return Ok(json!([encode(false, false), encode(true, false), encode(false, true), encode(true, true)]));
    }
    if request["pieces"].is_number() {
        let pieces: Vec<String> =
            (0..tokenizer.vocabulary_size()).map(|id| hexadecimal(tokenizer.token_bytes(id))).collect();
        return Ok(json!({ "pieces": pieces, "ends": tokenizer.ends_of_generation() }));
    }
    let ids: Vec<u32> = serde_json::from_value(request["ids"].clone())?;
    Ok(json!([hexadecimal(&tokenizer.decode(&ids, false)?), hexadecimal(&tokenizer.decode(&ids, true)?)]))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
