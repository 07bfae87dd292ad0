//! The Rust host of the conformance cases, over the crate's C functions (a case passes handles as numbers, which the safe
//! API has none of); README.md beside this file has the protocol.

use std::ffi::{c_char, c_void, CStr};
use std::io::{BufRead, Write};
use std::sync::Mutex;

use worker::error::Code;
use worker::ffi::errors::{worker_abi_version, worker_last_error, worker_status_t, WORKER_SUCCESS};
use worker::ffi::health::*;
use worker::ffi::lifecycle::*;
use worker::ffi::logging::*;
use worker::ffi::models::*;
use worker::ffi::operation_types::*;
use worker::ffi::residency::worker_model_check_residency;
use worker::ffi::scoring::{worker_model_embed, worker_model_score};
use worker::ffi::session_types::*;
use worker::ffi::sessions::*;
use worker::ffi::types::*;

/// The fields of an answer, or the code and the detail of a failure.
type Answer = Result<Vec<String>, (i32, String)>;

fn main() {
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("requests are UTF-8");
        let words: Vec<String> = line.split('\t').map(unescape).collect();
        let reply: Vec<String> = match perform(&words) {
            Ok(fields) => std::iter::once("ok".to_owned()).chain(fields).collect(),
            Err((code, detail)) => vec!["error".to_owned(), code.to_string(), detail],
        };
        let reply: Vec<String> = reply.iter().map(|word| escape(word)).collect();
        writeln!(out, "{}", reply.join("\t")).and_then(|()| out.flush()).expect("the reader is there");
    }
}

fn perform(words: &[String]) -> Answer {
    let word = |index: usize| words.get(index).map_or("", String::as_str);
    let handle: u64 = word(1).parse().unwrap_or(0);
    match word(0) {
        "version" => Ok(vec![WORKER_ABI_VERSION.to_string(), worker_abi_version().to_string()]),
        "sizes" => Ok(sizes()),
        "load" => load(word(1), word(2).parse().unwrap_or(WORKER_CPU)),
        "unload" => last(worker_model_unload(handle)),
        "memory" => {
            let mut out: worker_memory_t = sized();
            // SAFETY: both structs tell their size and live through the call.
            call(|error| unsafe { worker_model_memory(handle, &mut out, error) })?;
            Ok(vec![out.weights.to_string()])
        }
        "residency" => {
            let mut out: worker_residency_t = sized();
            // SAFETY: both structs tell their size and live through the call.
            call(|error| unsafe { worker_model_check_residency(handle, &mut out, error) })?;
            Ok(vec![out.resident.to_string()])
        }
        "tokenize" => tokenize(handle, word(2), word(3) == "1"),
        "detokenize" => detokenize(handle, &ids(word(2))),
        "chat" => chat(handle, word(2)),
        "start" => start(handle, &words[2..]),
        "next" => {
            let (event, text) = next(handle, word(2).parse().unwrap_or(0))?;
            let kind = if event.kind == WORKER_EVENT_TOKEN { "token" } else { "end" };
            Ok(vec![kind.to_owned(), text])
        }
        "read" => read(handle),
        "cancel" => last(worker_session_cancel(handle)),
        "close" => last(worker_session_close(handle)),
        "score" => score(handle, &ids(word(2))),
        "embed" => embed(handle, &ids(word(2))),
        verb => managed(verb, word(1), word(2), word(3)),
    }
}

/// The verbs of the managed worker.
fn managed(verb: &str, first: &str, second: &str, third: &str) -> Answer {
    match verb {
        "bootstrap" => {
            let mut out: worker_bootstrap_t = sized();
            // SAFETY: the configuration and the structs live through the call.
            call(|error| unsafe { worker_bootstrap(first.as_ptr().cast(), first.len(), &mut out, error) })?;
            Ok(vec![until_nul(&out.worker_id), out.model.to_string()])
        }
        "status" => {
            let mut out: worker_overview_t = sized();
            // SAFETY: both structs tell their size and live through the call.
            call(|error| unsafe { worker_status(&mut out, error) })?;
            Ok(vec![out.state.to_string(), out.models.to_string(), until_nul(&out.worker_id)])
        }
        "health" => {
            let mut out: worker_health_t = sized();
            // SAFETY: both structs tell their size and live through the call.
            call(|error| unsafe { worker_health_check(&mut out, error) })?;
            Ok(vec![out.healthy.to_string(), out.checks.to_string()])
        }
        "shutdown" => last(worker_transition_to_graceful_shutdown(first.parse().unwrap_or(0))),
        "stop" => last(worker_stop()),
        "collect" => {
            COLLECTED.lock().expect("no holder panics").clear();
            last(worker_set_log_level(first.parse().unwrap_or(0)))?;
            // SAFETY: the function needs no data and lives as long as the process.
            last(unsafe { worker_set_log_callback(Some(collect), std::ptr::null_mut(), None) })
        }
        "log" => {
            let add = [worker_log_trace, worker_log_debug, worker_log_info, worker_log_warn, worker_log_error]
                [first.parse::<usize>().unwrap_or(5) - 1];
            // SAFETY: both texts are as long as is said, and live through the call.
            last(unsafe { add(second.as_ptr().cast(), second.len(), third.as_ptr().cast(), third.len()) })
        }
        "records" => {
            // SAFETY: no function is given.
            last(unsafe { worker_set_log_callback(None, std::ptr::null_mut(), None) })?;
            let collected = COLLECTED.lock().expect("no holder panics");
            let lines: Vec<&str> =
                collected.iter().filter(|(target, _)| target == first).map(|(_, line)| line.as_str()).collect();
            Ok(vec![lines.len().to_string(), lines.join("\n")])
        }
        "metrics" => {
            // SAFETY: the buffers are as long as is said.
            let json =
                process_text(|buffer, capacity, needed| unsafe { worker_metrics_json(buffer, capacity, needed) })?;
            // SAFETY: as above.
            let lines = process_text(|buffer, capacity, needed| unsafe {
                worker_metrics_prometheus(buffer, capacity, needed)
            })?;
            let after = |text: &str, mark: &str| {
                let rest = text.split_once(mark).map_or("", |(_, rest)| rest);
                rest.chars().take_while(char::is_ascii_digit).collect::<String>()
            };
            Ok(vec![after(&json, "\"generated\":"), after(&lines, "\nworker_tokens_generated_total ")])
        }
        other => Err((-1, format!("unknown verb {other}"))),
    }
}

/// Target, and "LEVEL MESSAGE FIELDS", of the records since `collect`.
static COLLECTED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

unsafe extern "C" fn collect(_user_data: *mut c_void, record: *const worker_log_record_t) {
    // SAFETY: the record and its texts, which end in NUL, are valid during this call.
    let (level, [target, message, fields]) = unsafe {
        let record = &*record;
        let texts = [record.target, record.message, record.fields];
        (record.level, texts.map(|text| CStr::from_ptr(text).to_string_lossy().into_owned()))
    };
    COLLECTED.lock().expect("no holder panics").push((target, format!("{level} {message} {fields}")));
}

/// A text of the process, which fits.
fn process_text(read: impl Fn(*mut c_char, usize, *mut usize) -> worker_status_t) -> Result<String, (i32, String)> {
    let mut text = vec![0u8; 1 << 16];
    let mut needed = 0;
    last(read(text.as_mut_ptr().cast(), text.len(), &mut needed))?;
    Ok(utf8(&text[..needed - 1]))
}

fn until_nul(text: &[c_char]) -> String {
    let bytes: Vec<u8> = text.iter().take_while(|letter| **letter != 0).map(|letter| *letter as u8).collect();
    utf8(&bytes)
}

fn load(path: &str, device: i32) -> Answer {
    let mut options: worker_model_options_t = sized();
    options.device_kind = if device == WORKER_CPU { WORKER_DEVICE_CPU } else { WORKER_DEVICE_GPU };
    options.device_ordinal = u32::try_from(device).unwrap_or(0);
    let mut model = 0;
    // SAFETY: the path, the structs and the output live through the call.
    call(|error| unsafe { worker_model_load(path.as_ptr().cast(), path.len(), &options, &mut model, error) })?;
    Ok(vec![model.to_string()])
}

fn tokenize(model: u64, text: &str, add_special: bool) -> Answer {
    let flags = if add_special { WORKER_TOKENIZE_ADD_SPECIAL } else { 0 };
    let mut tokens = vec![0; text.len() + 8];
    let mut count = 0;
    // SAFETY: text and buffer are as long as is said, and live through the call.
    call(|error| unsafe {
        let (text, length) = (text.as_ptr().cast(), text.len());
        worker_model_tokenize(model, text, length, flags, tokens.as_mut_ptr(), tokens.len(), &mut count, error)
    })?;
    let words: Vec<String> = tokens[..count].iter().map(u32::to_string).collect();
    Ok(vec![words.join(" ")])
}

fn detokenize(model: u64, tokens: &[u32]) -> Answer {
    let mut text = vec![0u8; 4096];
    let mut needed = 0;
    // SAFETY: tokens and buffer are as long as is said, and live through the call.
    call(|error| unsafe {
        let buffer = text.as_mut_ptr().cast();
        worker_model_detokenize(model, tokens.as_ptr(), tokens.len(), 0, buffer, text.len(), &mut needed, error)
    })?;
    Ok(vec![utf8(&text[..needed - 1])])
}

fn chat(model: u64, messages: &str) -> Answer {
    let mut text = vec![0u8; 4096];
    let mut needed = 0;
    // SAFETY: messages and buffer are as long as is said, and live through the call.
    call(|error| unsafe {
        let (messages, length) = (messages.as_ptr().cast(), messages.len());
        let (buffer, capacity) = (text.as_mut_ptr().cast(), text.len());
        worker_model_apply_chat_template(
            model,
            messages,
            length,
            std::ptr::null(),
            buffer,
            capacity,
            &mut needed,
            error,
        )
    })?;
    Ok(vec![utf8(&text[..needed - 1])])
}

fn start(model: u64, words: &[String]) -> Answer {
    let mut options: worker_session_options_t = sized();
    let (mut prompt, mut messages, mut tokens) = ("", None, None);
    let mut stop = Vec::new();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "prompt" => prompt = value,
            "chat" => messages = Some(value),
            "tokens" => tokens = Some(ids(value)),
            "max_tokens" => options.maximum_tokens = value.parse().unwrap_or(0),
            "temperature" => options.temperature = value.parse().unwrap_or(0.0),
            "top_k" => options.top_k = value.parse().unwrap_or(0),
            "top_p" => options.top_p = value.parse().unwrap_or(0.0),
            "seed" => (options.seed, options.seed_given) = (value.parse().unwrap_or(0), 1),
            "stop" => stop.push(worker_text_t { data: value.as_ptr().cast(), length: value.len() as u64 }),
            "schema" | "regex" => {
                options.constraint_kind =
                    if key == "schema" { WORKER_CONSTRAINT_JSON_SCHEMA } else { WORKER_CONSTRAINT_REGEX };
                options.constraint = value.as_ptr().cast();
                options.constraint_length = value.len() as u64;
            }
            _ => return Err((-1, format!("unknown key {key}"))),
        }
    }
    options.stop = stop.as_ptr();
    options.stop_count = stop.len() as u64;
    let mut session = 0;
    // SAFETY: what is pointed to is as long as is said, and lives through the call.
    call(|error| unsafe {
        if let Some(tokens) = &tokens {
            worker_session_start_tokens(model, tokens.as_ptr(), tokens.len(), &options, &mut session, error)
        } else if let Some(messages) = messages {
            let (text, length) = (messages.as_ptr().cast(), messages.len());
            worker_session_start_chat(model, text, length, &options, &mut session, error)
        } else {
            worker_session_start(model, prompt.as_ptr().cast(), prompt.len(), &options, &mut session, error)
        }
    })?;
    Ok(vec![session.to_string()])
}

fn next(session: u64, capacity: usize) -> Result<(worker_event_t, String), (i32, String)> {
    let mut text = vec![0u8; capacity];
    let mut event: worker_event_t = sized();
    event.text = text.as_mut_ptr().cast();
    event.text_capacity = capacity as u64;
    // SAFETY: the event's buffer is as long as it says, and both structs live through the call.
    call(|error| unsafe { worker_session_next(session, &mut event, WORKER_WAIT_FOREVER, error) })?;
    if event.kind == WORKER_EVENT_ERROR {
        return Err((event.error_code, "the model failed".to_owned()));
    }
    let length = usize::try_from(event.text_length).expect("shorter than the buffer");
    Ok((event, utf8(&text[..length])))
}

fn read(session: u64) -> Answer {
    const END_REASONS: [&str; 10] = [
        "none",
        "end_of_text",
        "maximum_tokens",
        "stop_string",
        "cancelled",
        "closed",
        "deadline",
        "context_full",
        "error",
        "constraint_complete",
    ];
    let mut whole = String::new();
    loop {
        let (event, text) = next(session, 256)?;
        whole.push_str(&text);
        if event.kind == WORKER_EVENT_END {
            let reason = END_REASONS[event.end_reason as usize].to_owned();
            return Ok(vec![whole, reason, event.prompt_tokens.to_string(), event.generated_tokens.to_string()]);
        }
    }
}

fn score(model: u64, tokens: &[u32]) -> Answer {
    let mut options: worker_score_options_t = sized();
    options.kind = WORKER_SCORE_LOGPROBS;
    let scores = read_numbers(|out, capacity, needed, error| {
        // SAFETY: tokens and buffer are as long as is said, and live through the call.
        unsafe { worker_model_score(model, tokens.as_ptr(), tokens.len(), &options, out, capacity, needed, error) }
    })?;
    let sum: f64 = scores.iter().map(|logprob| f64::from(*logprob)).sum();
    Ok(vec![format!("{sum:.4}")])
}

fn embed(model: u64, tokens: &[u32]) -> Answer {
    let embedding = read_numbers(|out, capacity, needed, error| {
        let options = std::ptr::null();
        // SAFETY: tokens and buffer are as long as is said, and live through the call.
        unsafe { worker_model_embed(model, tokens.as_ptr(), tokens.len(), options, out, capacity, needed, error) }
    })?;
    let sum: f64 = embedding.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    Ok(vec![embedding.len().to_string(), format!("{:.4}", sum.sqrt())])
}

fn sizes() -> Vec<String> {
    vec![
        format!("bootstrap={}", size_of::<worker_bootstrap_t>()),
        format!("chat_options={}", size_of::<worker_chat_options_t>()),
        format!("device_info={}", size_of::<worker_device_info_t>()),
        format!("embed_options={}", size_of::<worker_embed_options_t>()),
        format!("error={}", size_of::<worker_error_t>()),
        format!("event={}", size_of::<worker_event_t>()),
        format!("health={}", size_of::<worker_health_t>()),
        format!("memory={}", size_of::<worker_memory_t>()),
        format!("model_options={}", size_of::<worker_model_options_t>()),
        format!("overview={}", size_of::<worker_overview_t>()),
        format!("residency={}", size_of::<worker_residency_t>()),
        format!("score_options={}", size_of::<worker_score_options_t>()),
        format!("session_options={}", size_of::<worker_session_options_t>()),
        format!("usage={}", size_of::<worker_usage_t>()),
    ]
}

/// A struct of the C interface, all zero but for its size, which is its first member.
fn sized<Struct>() -> Struct {
    let mut value = std::mem::MaybeUninit::<Struct>::zeroed();
    // SAFETY: the public structs are numbers, pointers and optional functions, for all of which zero is valid, and begin
    // with a 32-bit size.
    unsafe {
        value.as_mut_ptr().cast::<u32>().write(u32::try_from(size_of::<Struct>()).expect("structs are small"));
        value.assume_init()
    }
}

fn call(function: impl FnOnce(*mut worker_error_t) -> worker_status_t) -> Result<(), (i32, String)> {
    let mut error: worker_error_t = sized();
    match function(&mut error) {
        WORKER_SUCCESS => Ok(()),
        code => Err((code, c_text(&error.detail))),
    }
}

/// For the functions without an error struct.
fn last(status: worker_status_t) -> Answer {
    let mut text = [0; 1024];
    if status == WORKER_SUCCESS {
        return Ok(Vec::new());
    }
    // SAFETY: the buffer is as long as is said.
    unsafe { worker_last_error(text.as_mut_ptr(), text.len(), std::ptr::null_mut()) };
    Err((status, c_text(&text)))
}

fn read_numbers(
    function: impl Fn(*mut f32, usize, *mut usize, *mut worker_error_t) -> worker_status_t,
) -> Result<Vec<f32>, (i32, String)> {
    let mut needed = 0;
    match call(|error| function(std::ptr::null_mut(), 0, &mut needed, error)) {
        Err((code, _)) if code == Code::BufferTooSmall.number() => {}
        other => return other.map(|()| Vec::new()),
    }
    let mut numbers = vec![0.0; needed];
    call(|error| function(numbers.as_mut_ptr(), numbers.len(), &mut needed, error))?;
    Ok(numbers)
}

fn c_text(characters: &[c_char]) -> String {
    let bytes: Vec<u8> = characters.iter().take_while(|character| **character != 0).map(|c| *c as u8).collect();
    utf8(&bytes)
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ids(word: &str) -> Vec<u32> {
    word.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn escape(word: &str) -> String {
    word.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(word: &str) -> String {
    let mut plain = String::new();
    let mut characters = word.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => continue,
            },
            other => other,
        });
    }
    plain
}
