//! What hosts do beyond plain text, through the C functions: chats, constraints, biases, scores, embeddings; and the golden
//! texts and logits through the same door.

mod c_host;

use std::ffi::CStr;
use std::path::PathBuf;
use std::ptr::{null, null_mut};

use c_host::root;
use worker::error::Code;
use worker::ffi::errors::{worker_last_error, worker_status_t, WORKER_SUCCESS};
use worker::ffi::models::*;
use worker::ffi::scoring::*;
use worker::ffi::session_types::*;
use worker::ffi::sessions::*;
use worker::ffi::types::*;

/// A loaded model that is unloaded at the end.
struct Host(u64);

impl Host {
    fn load(path: PathBuf, options: Option<worker_model_options_t>) -> Self {
        let path = path.to_str().unwrap().as_bytes();
        let mut model = 0;
        let options = options.as_ref().map_or(null(), |options| &raw const *options);
        // SAFETY: all pointers are valid for the call.
        ok(unsafe { worker_model_load(path.as_ptr().cast(), path.len(), options, &raw mut model, null_mut()) });
        Self(model)
    }

    fn shared(name: &str) -> Self {
        Self::load(root().join("../shared/models").join(name), None)
    }

    fn haiku() -> Self {
        Self::load(root().join("examples/models/haiku.gguf"), None)
    }

    /// Everything that a session gives, and why it ended.
    fn generate(&self, prompt: &str, change: impl FnOnce(&mut worker_session_options_t)) -> (String, Vec<u32>, u32) {
        let mut options = session_options();
        change(&mut options);
        let mut session = 0;
        // SAFETY: all pointers are valid for the call.
        ok(unsafe {
            worker_session_start(
                self.0,
                prompt.as_ptr().cast(),
                prompt.len(),
                &raw const options,
                &raw mut session,
                null_mut(),
            )
        });
        read(session)
    }

    fn render(&self, messages: &str, options: &worker_chat_options_t) -> Result<String, i32> {
        let mut buffer = vec![0u8; 4096];
        let mut needed = 0;
        // SAFETY: all pointers are valid for the call.
        let status = unsafe {
            worker_model_apply_chat_template(
                self.0,
                messages.as_ptr().cast(),
                messages.len(),
                options,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &raw mut needed,
                null_mut(),
            )
        };
        if status != WORKER_SUCCESS {
            return Err(status);
        }
        buffer.truncate(needed - 1);
        Ok(String::from_utf8(buffer).unwrap())
    }

    fn score(&self, tokens: &[u32], options: &worker_score_options_t) -> Vec<f32> {
        let mut needed = 0;
        let call = |target: *mut f32, capacity: usize, needed: &mut usize| {
            // SAFETY: all pointers are valid for the call.
            unsafe {
                worker_model_score(self.0, tokens.as_ptr(), tokens.len(), options, target, capacity, needed, null_mut())
            }
        };
        assert_eq!(call(null_mut(), 0, &mut needed), Code::BufferTooSmall.number());
        let mut scores = vec![0.0; needed];
        ok(call(scores.as_mut_ptr(), scores.len(), &mut needed));
        assert_eq!(needed, scores.len());
        scores
    }

    fn embed(&self, tokens: &[u32], pooling: u32, normalize: u32) -> Vec<f32> {
        // SAFETY: the struct may be zero.
        let mut options: worker_embed_options_t = unsafe { std::mem::zeroed() };
        options.struct_size = size_of_val(&options) as u32;
        options.pooling = pooling;
        options.normalize = normalize;
        let mut vector = vec![0.0; 64 * 1024];
        let mut needed = 0;
        // SAFETY: all pointers are valid for the call.
        ok(unsafe {
            worker_model_embed(
                self.0,
                tokens.as_ptr(),
                tokens.len(),
                &raw const options,
                vector.as_mut_ptr(),
                vector.len(),
                &raw mut needed,
                null_mut(),
            )
        });
        vector.truncate(needed);
        vector
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ok(worker_model_unload(self.0));
    }
}

fn ok(status: worker_status_t) {
    if status != WORKER_SUCCESS {
        let mut detail = [0; 512];
        // SAFETY: the buffer is that large, and ends in NUL afterwards.
        let detail = unsafe {
            worker_last_error(detail.as_mut_ptr(), detail.len(), null_mut());
            CStr::from_ptr(detail.as_ptr()).to_string_lossy().into_owned()
        };
        panic!("status {status}: {detail}");
    }
}

fn session_options() -> worker_session_options_t {
    // SAFETY: the struct may be zero.
    let mut options: worker_session_options_t = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is that large.
    ok(unsafe { worker_session_options_init(&raw mut options, size_of_val(&options)) });
    options
}

fn score_options(kind: u32, last: u64) -> worker_score_options_t {
    // SAFETY: the struct may be zero.
    let mut options: worker_score_options_t = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is that large.
    ok(unsafe { worker_score_options_init(&raw mut options, size_of_val(&options)) });
    options.kind = kind;
    options.kv_type = WORKER_KV_F32;
    options.last = last;
    options
}

fn chat_options() -> worker_chat_options_t {
    // SAFETY: the struct may be zero.
    let mut options: worker_chat_options_t = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is that large.
    ok(unsafe { worker_chat_options_init(&raw mut options, size_of_val(&options)) });
    options
}

fn read(session: u64) -> (String, Vec<u32>, u32) {
    let mut buffer = [0u8; 256];
    // SAFETY: the struct may be zero.
    let mut event: worker_event_t = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is that large.
    ok(unsafe { worker_event_init(&raw mut event, size_of_val(&event)) });
    event.text = buffer.as_mut_ptr().cast();
    event.text_capacity = buffer.len() as u64;
    let (mut text, mut tokens) = (String::new(), Vec::new());
    loop {
        // SAFETY: all pointers are valid for the call.
        ok(unsafe { worker_session_next(session, &raw mut event, WORKER_WAIT_FOREVER, null_mut()) });
        if event.kind == WORKER_EVENT_END {
            ok(worker_session_close(session));
            return (text, tokens, event.end_reason);
        }
        assert_eq!(event.kind, WORKER_EVENT_TOKEN);
        text += std::str::from_utf8(&buffer[..event.text_length as usize]).expect("whole characters");
        tokens.push(event.token);
    }
}

#[test]
fn the_golden_text_comes_out_of_the_c_functions() {
    for name in ["f32", "f16"] {
        let host = Host::shared(&format!("stories260K-{name}.gguf"));
        let golden = std::fs::read_to_string(root().join(format!("../shared/goldens/stories260K-{name}.txt"))).unwrap();
        let (text, tokens, _) = host.generate("Once upon a time", |options| options.maximum_tokens = 200);
        let whole = format!("Once upon a time{text}");
        assert_eq!(tokens.len(), 200);
        assert_eq!(whole.trim(), golden.trim(), "{name}");
    }
}

const MESSAGES: &str = r#"[{"role": "user", "content": "Write a haiku about rain"}]"#;

#[test]
fn a_chat_is_rendered_with_the_models_own_template_and_answered() {
    let host = Host::haiku();
    let rendered = host.render(MESSAGES, &chat_options()).unwrap();
    assert!(rendered.contains("Write a haiku about rain"), "{rendered}");
    let mut options = chat_options();
    options.no_generation_prompt = 1;
    let without = host.render(MESSAGES, &options).unwrap();
    assert!(rendered.starts_with(&without) && without.len() <= rendered.len(), "{without:?} {rendered:?}");

    let mut generation = session_options();
    generation.maximum_tokens = 60;
    let mut session = 0;
    // SAFETY: all pointers are valid for the call.
    ok(unsafe {
        worker_session_start_chat(
            host.0,
            MESSAGES.as_ptr().cast(),
            MESSAGES.len(),
            &raw const generation,
            &raw mut session,
            null_mut(),
        )
    });
    let (text, tokens, reason) = read(session);
    assert_eq!(reason, WORKER_END_OF_TEXT, "{text}");
    assert_eq!(text.trim().lines().count(), 3, "{text}");
    assert!(!tokens.is_empty());
}

#[test]
fn chats_that_are_none_are_refused() {
    let host = Host::haiku();
    for messages in ["", "{", "5", "\"text\"", "[5]", "[{\"role\": 5}]"] {
        let status = host.render(messages, &chat_options()).unwrap_err();
        assert_eq!(status, Code::InvalidParameter.number(), "{messages}");
    }
    let mut options = chat_options();
    options.variables_json = c"[1]".as_ptr();
    options.variables_json_length = 3;
    assert_eq!(host.render(MESSAGES, &options).unwrap_err(), Code::InvalidParameter.number());
    options = chat_options();
    options.no_generation_prompt = 2;
    assert_eq!(host.render(MESSAGES, &options).unwrap_err(), Code::InvalidParameter.number());
}

#[test]
fn a_constraint_is_obeyed_and_ends_the_text() {
    let host = Host::shared("stories260K-q8_0.gguf");
    let expression = "(yes|no), [0-9]{3}";
    let (text, _, reason) = host.generate("Tim said ", |options| {
        options.maximum_tokens = 50;
        options.constraint_kind = WORKER_CONSTRAINT_REGEX;
        options.constraint = expression.as_ptr().cast();
        options.constraint_length = expression.len() as u64;
    });
    let (word, digits) = text.split_once(", ").unwrap_or_else(|| panic!("{text:?}"));
    assert!(
        matches!(word, "yes" | "no") && digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()),
        "{text:?}"
    );
    assert!(matches!(reason, WORKER_END_CONSTRAINT_COMPLETE | WORKER_END_OF_TEXT), "{reason}");

    let schema = r#"{"x-guidance": {"whitespace_flexible": false}, "type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["age"], "additionalProperties": false}"#;
    let (text, ..) = host.generate("Tim: ", |options| {
        options.maximum_tokens = 60;
        options.constraint_kind = WORKER_CONSTRAINT_JSON_SCHEMA;
        options.constraint = schema.as_ptr().cast();
        options.constraint_length = schema.len() as u64;
    });
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert!(value["age"].as_u64().unwrap() <= 99);
}

#[test]
fn stop_strings_biases_and_seeds_do_what_they_say() {
    let host = Host::shared("stories260K-q8_0.gguf");
    let (plain, tokens, _) = host.generate("Once upon a time", |options| options.maximum_tokens = 40);
    let stops = ["nowhere to be found", "girl"]
        .map(|stop| worker_text_t { data: stop.as_ptr().cast(), length: stop.len() as u64 });
    let (stopped, _, reason) = host.generate("Once upon a time", |options| {
        options.maximum_tokens = 40;
        options.stop = stops.as_ptr();
        options.stop_count = 2;
    });
    assert_eq!(reason, WORKER_END_STOP_STRING);
    assert_eq!(stopped, plain.split("girl").next().unwrap());

    let bias = [worker_logit_bias_t { token: tokens[0], bias: f32::NEG_INFINITY }];
    let (_, biased, _) = host.generate("Once upon a time", |options| {
        options.maximum_tokens = 5;
        options.logit_bias = bias.as_ptr();
        options.logit_bias_count = 1;
    });
    assert!(!biased.contains(&tokens[0]));

    let drawn = |seed: u64| {
        host.generate("Once upon a time", |options| {
            options.maximum_tokens = 30;
            options.temperature = 1.2;
            options.seed = seed;
            options.seed_given = 1;
        })
    };
    assert_eq!(drawn(0), drawn(0));
    assert_ne!(drawn(0).1, drawn(1).1);
}

#[test]
fn scores_meet_the_golden_logits() {
    let tokens: Vec<u32> = std::fs::read_to_string(root().join("../shared/goldens/micro-tokens.txt"))
        .unwrap()
        .split_whitespace()
        .map(|token| token.parse().unwrap())
        .collect();
    for (name, most) in [("llama-f32", 1e-5), ("llama-q8_0", 2.2e-2), ("gemma3-q8_0", 2.2e-2)] {
        let host = Host::shared(&format!("micro/{name}.gguf"));
        let bytes = std::fs::read(root().join(format!("../shared/goldens/{name}.f32"))).unwrap();
        let golden: Vec<f64> =
            bytes.chunks(4).map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))).collect();
        let ours = host.score(&tokens, &score_options(WORKER_SCORE_LOGITS, 0));
        assert_eq!(ours.len(), golden.len());
        let mean = golden.iter().sum::<f64>() / golden.len() as f64;
        let error: f64 = ours.iter().zip(&golden).map(|(ours, golden)| (f64::from(*ours) - golden).powi(2)).sum();
        let spread: f64 = golden.iter().map(|golden| (golden - mean).powi(2)).sum();
        let nrmse = (error / spread).sqrt();
        assert!(nrmse <= most, "{name}: {nrmse:e} is more than {most:e}");
    }
}

#[test]
fn scores_of_the_last_tokens_are_the_end_of_all_and_logprobs_are_those_of_the_logits() {
    let host = Host::shared("micro/llama-f32.gguf");
    let tokens: Vec<u32> = (1..40).map(|token| token * 7 % 512).collect();
    let all = host.score(&tokens, &score_options(WORKER_SCORE_LOGITS, 0));
    let width = all.len() / tokens.len();
    let last = host.score(&tokens, &score_options(WORKER_SCORE_LOGITS, 3));
    assert_eq!(last, all[(tokens.len() - 3) * width..]);

    let logprobs = host.score(&tokens, &score_options(WORKER_SCORE_LOGPROBS, 0));
    assert_eq!(logprobs.len(), tokens.len() - 1);
    for (position, logprob) in logprobs.iter().enumerate() {
        let row = &all[position * width..][..width];
        let most = row.iter().fold(f32::MIN, |most, logit| most.max(*logit));
        let sum: f64 = row.iter().map(|logit| f64::from(logit - most).exp()).sum();
        let expected = f64::from(row[tokens[position + 1] as usize] - most) - sum.ln();
        assert!((f64::from(*logprob) - expected).abs() < 1e-3, "{position}: {logprob} {expected}");
    }
    let last = host.score(&tokens, &score_options(WORKER_SCORE_LOGPROBS, 5));
    assert_eq!(last, logprobs[logprobs.len() - 5..]);
}

#[test]
fn embeddings_are_pooled_as_asked() {
    let host = Host::shared("micro/llama-f32.gguf");
    let tokens = [1, 168, 488, 80];
    let each = host.embed(&tokens, WORKER_POOLING_NONE, 0);
    let width = each.len() / tokens.len();
    assert_eq!(width, 256);
    assert_eq!(host.embed(&tokens, WORKER_POOLING_FIRST, 0), each[..width]);
    assert_eq!(host.embed(&tokens, WORKER_POOLING_LAST, 0), each[3 * width..]);
    let mean = host.embed(&tokens, WORKER_POOLING_MEAN, 0);
    for (column, value) in mean.iter().enumerate() {
        let expected: f32 = (0..4).map(|row| each[row * width + column]).sum::<f32>() / 4.0;
        assert!((value - expected).abs() < 1e-4, "{column}");
    }
    let length: f32 = host.embed(&tokens, WORKER_POOLING_MEAN, 1).iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
}
