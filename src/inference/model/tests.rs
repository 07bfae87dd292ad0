//! A real model from file to text: the smallest trained one there is.

mod load;
mod mixture;

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::engine::PAGE_TOKENS;
use crate::inference::request::SamplingOptions;
use crate::inference::session::{Event, Next, Usage};

fn stories(kind: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../shared/models/stories260K-{kind}.gguf"))
}

fn load_with(options: &LoadOptions) -> Arc<Model> {
    let device = Device::open(-1, 2).unwrap();
    Model::load(&stories("q8_0"), device, options, &mut |_| true).unwrap()
}

fn load() -> Arc<Model> {
    load_with(&LoadOptions::default())
}

fn text_request(text: &str, maximum_tokens: u32) -> SessionRequest {
    let mut request = SessionRequest::new(Prompt::Text(text.into()), maximum_tokens);
    request.sampling = SamplingOptions::greedy();
    request
}

/// A session that draws, so that a wrong logit anywhere shows.
fn drawing_request(text: &str, seed: u64, maximum_tokens: u32) -> SessionRequest {
    let mut request = text_request(text, maximum_tokens);
    request.sampling = SamplingOptions { temperature: 0.9, top_p: 0.95, ..SamplingOptions::default() };
    request.seed = Some(seed);
    request.ignore_end = true;
    request
}

fn read(session: &Session) -> (Vec<u32>, String, EndReason, Usage) {
    let (mut tokens, mut all) = (Vec::new(), String::new());
    loop {
        match session.next(Some(Duration::from_secs(60))).unwrap() {
            Next::Event(Event::Token { id, text, .. }) => {
                tokens.push(id);
                all.push_str(&text);
            }
            Next::Event(Event::End { reason, usage }) => return (tokens, all, reason, usage),
            Next::TimedOut => panic!("no event for a minute"),
        }
    }
}

#[test]
fn greedy_text_is_the_published_one() {
    let model = load();
    let golden = std::fs::read_to_string(stories("q8_0").with_file_name("../goldens/stories260K-q8_0.txt")).unwrap();
    let (tokens, text, reason, usage) = read(&model.start(text_request("Once upon a time", 200)).unwrap());
    let whole = format!("Once upon a time{text}");
    assert_eq!(&whole.as_bytes()[..290], &golden.as_bytes()[..290]);
    assert_eq!((tokens.len(), reason), (200, EndReason::MaximumTokens));
    assert_eq!(usage.generated_tokens, 200);
    assert!(usage.first_token_seconds > 0.0 && usage.decode_seconds > 0.0);
}

#[test]
fn the_same_tokens_alone_and_among_eight_and_with_a_prefix() {
    let model = load();
    let beginning =
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. ".repeat(2);
    let prompts: Vec<String> = (0..8).map(|index| format!("{}{index}", &beginning[..20 + index * 22])).collect();
    let alone: Vec<Vec<u32>> = prompts
        .iter()
        .zip(0..)
        .map(|(prompt, seed)| read(&load().start(drawing_request(prompt, seed, 60)).unwrap()).0)
        .collect();
    for round in 0..2 {
        let sessions: Vec<Arc<Session>> = prompts
            .iter()
            .zip(0..)
            .map(|(prompt, seed)| model.start(drawing_request(prompt, seed, 60)).unwrap())
            .collect();
        for (session, expected) in sessions.iter().zip(&alone) {
            let (tokens, _, _, usage) = read(session);
            assert_eq!(&tokens, expected, "round {round}");
            // In the second round every full page of every prompt is there.
            let full = (usage.prompt_tokens - 1) / PAGE_TOKENS * PAGE_TOKENS;
            assert!(round == 0 || usage.cached_tokens == full, "{} of {full} cached", usage.cached_tokens);
        }
    }
}

/// The answer's pages serve the next turn: a decode row has a prompt row's bits, by integers as by floats.
#[test]
fn a_next_turn_finds_the_last_answer_computed() {
    let turns = |kv_type: KvType| {
        let load = || {
            let options = LoadOptions { kv_type, ..LoadOptions::default() };
            let path = stories("q8_0").with_file_name("micro/llama-q8_0.gguf");
            Model::load(&path, Device::open(-1, 2).unwrap(), &options, &mut |_| true).unwrap()
        };
        let model = load();
        let mut tokens: Vec<u32> = (0..40).map(|place| 3 + place * 17 % 500).collect();
        let request = |tokens: &[u32]| {
            let mut request = drawing_request("", 3, 100);
            request.prompt = Prompt::Tokens(tokens.to_vec());
            request
        };
        tokens.extend(read(&model.start(request(&tokens)).unwrap()).0);
        tokens.extend([7, 8, 9]);
        let (again, _, _, usage) = read(&model.start(request(&tokens)).unwrap());
        assert_eq!(again, read(&load().start(request(&tokens)).unwrap()).0, "{kv_type:?}");
        usage.cached_tokens
    };
    // Of 143 tokens 139 are computed, which fill four pages; the prompt's fill one.
    assert_eq!(turns(KvType::F16), 4 * PAGE_TOKENS);
    assert_eq!(turns(KvType::F32), 4 * PAGE_TOKENS);
}

#[test]
fn sessions_stop_where_they_are_told() {
    let model = load();
    let mut request = text_request("Once upon a time", 100);
    request.stop = vec!["xyzzy".into(), "little girl".into()];
    let session = model.start(request).unwrap();
    let (_, text, reason, _) = read(&session);
    assert_eq!((text.as_str(), reason, session.matched_stop()), (", there was a ", EndReason::StopString, Some(1)));

    let model = load_with(&LoadOptions { context_length: 40, ..LoadOptions::default() });
    assert_eq!(model.context_length(), 40);
    let mut request = text_request("Once upon a time", 0);
    request.ignore_end = true;
    let (tokens, _, reason, usage) = read(&model.start(request).unwrap());
    assert_eq!(reason, EndReason::ContextFull);
    assert_eq!(tokens.len() as u32 + usage.prompt_tokens, 40);
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    let model = load();
    let refused = |request: SessionRequest| {
        let error = model.start(request).err().unwrap();
        assert_eq!(error.code, Code::InvalidParameter);
        error.detail
    };
    assert_eq!(refused(SessionRequest::new(Prompt::Tokens(vec![]), 1)), "prompt: it has no tokens");
    let detail = refused(SessionRequest::new(Prompt::Tokens(vec![1, 512]), 1));
    assert_eq!(detail, "prompt[1]: token 512 is outside the vocabulary of 512 tokens");
    let long = vec![1; model.context_length() as usize];
    assert!(refused(SessionRequest::new(Prompt::Tokens(long), 1)).starts_with("prompt: 512 tokens leave no room"));
    let mut request = text_request("a", 1);
    request.sampling.temperature = f32::NAN;
    assert!(refused(request).starts_with("temperature: NaN"));
    let chat = model.start(SessionRequest::new(Prompt::Chat("[]".into()), 1)).err().unwrap();
    assert_eq!(chat.code, Code::ModelUnsupported);
}

#[test]
fn closing_ends_sessions_and_refuses_new_ones() {
    let model = load();
    let session = model.start(drawing_request("Once", 1, 400)).unwrap();
    session.next(None).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&session).2);
        model.close();
        assert_eq!(reader.join().unwrap(), EndReason::Closed);
    });
    model.close();
    assert_eq!(model.start(text_request("a", 1)).err().unwrap().code, Code::StaleHandle);
    assert_eq!(model.score(&[1, 2], 0, ScoreKind::Logits, KvType::F16).unwrap_err().code, Code::StaleHandle);
    drop(model);
    assert_eq!(read(&session).2, EndReason::Closed);
}

#[test]
fn loading_reports_progress_and_can_be_cancelled() {
    let device = Device::open(-1, 1).unwrap();
    let mut parts = Vec::new();
    Model::load(&stories("q8_0"), Arc::clone(&device), &LoadOptions::default(), &mut |part| {
        parts.push(part);
        true
    })
    .unwrap();
    assert!(parts.windows(2).all(|pair| pair[0] <= pair[1]), "{parts:?}");
    assert_eq!((parts[0], *parts.last().unwrap()), (0.0, 1.0));
    for stop_at in 0..parts.len() {
        let mut calls = 0;
        let cancelled = Model::load(&stories("q8_0"), Arc::clone(&device), &LoadOptions::default(), &mut |_| {
            calls += 1;
            calls <= stop_at
        });
        assert_eq!(cancelled.err().unwrap().code, Code::Cancelled);
        assert_eq!(calls, stop_at + 1);
    }
}

#[test]
fn the_kv_cache_is_as_large_as_was_asked() {
    let kv = |options: LoadOptions, trained| kv_size(&options, trained, 1000);
    assert_eq!(kv(LoadOptions::default(), 512).unwrap(), (64, 512));
    assert_eq!(kv(LoadOptions::default(), 131_072).unwrap(), (512, 4096));
    assert_eq!(kv(LoadOptions { context_length: 100, ..LoadOptions::default() }, 512).unwrap(), (16, 100));
    assert_eq!(kv(LoadOptions { context_length: 1000, ..LoadOptions::default() }, 512).unwrap(), (64, 512));
    assert_eq!(kv(LoadOptions { kv_budget_bytes: 20_999, ..LoadOptions::default() }, 512).unwrap(), (20, 512));
    assert_eq!(kv(LoadOptions { kv_budget_bytes: 2_000, ..LoadOptions::default() }, 512).unwrap(), (2, 64));
    let tight = LoadOptions { kv_budget_bytes: 2_000, context_length: 100, ..LoadOptions::default() };
    let error = kv(tight, 512).unwrap_err();
    assert_eq!(error.code, Code::InvalidParameter);
    assert!(
        error.detail.contains("2000 are too few for a context of 100 tokens, which takes 4000"),
        "{}",
        error.detail
    );
    assert!(kv(LoadOptions { kv_budget_bytes: 999, ..LoadOptions::default() }, 512).is_err());
    assert!(kv_size(&LoadOptions::default(), 512, 0).unwrap_err().detail.contains("head size"));
}

#[test]
fn scores_agree_with_the_logits_they_come_from() {
    let model = load();
    let tokens =
        model.tokenizer().encode("Once upon a time, there was a little girl named Lily. She loved to", true, false);
    let vocabulary = model.vocabulary_size() as usize;
    let logits = model.score(&tokens, 0, ScoreKind::Logits, KvType::F32).unwrap();
    assert_eq!(logits.len(), tokens.len() * vocabulary);
    let from_third = model.score(&tokens, 3, ScoreKind::Logits, KvType::F32).unwrap();
    assert_eq!(from_third, logits[3 * vocabulary..]);
    let scores = model.score(&tokens, 1, ScoreKind::LogProbabilities, KvType::F32).unwrap();
    assert_eq!(scores.len(), tokens.len() - 1);
    for (position, score) in scores.iter().enumerate() {
        let row = &logits[position * vocabulary..][..vocabulary];
        let total: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = f64::from(row[tokens[position + 1] as usize]) - total.ln();
        assert!((f64::from(*score) - expected).abs() < 1e-4, "{score} {expected}");
    }
    // A story it knows is likelier than the same tokens in a senseless order.
    let mut shuffled = tokens.clone();
    shuffled[1..].reverse();
    let senseless = model.score(&shuffled, 1, ScoreKind::LogProbabilities, KvType::F32).unwrap();
    assert!(scores.iter().sum::<f32>() > senseless.iter().sum::<f32>() + 10.0);

    for (first, kind, word) in [(99, ScoreKind::Logits, "outside"), (0, ScoreKind::LogProbabilities, "begin at 1")] {
        let error = model.score(&tokens, first, kind, KvType::F16).unwrap_err();
        assert!(error.code == Code::InvalidParameter && error.detail.contains(word), "{}", error.detail);
    }
    assert_eq!(model.score(&[1, 999], 0, ScoreKind::Logits, KvType::F16).unwrap_err().code, Code::InvalidParameter);
}

#[test]
fn embeddings_pool_the_hidden_states() {
    let model = load();
    let tokens = model.tokenizer().encode("The cat sat on the mat.", true, false);
    let width = model.embedding_size() as usize;
    let each = model.embed(&tokens, Pooling::None, false).unwrap();
    assert_eq!(each.len(), tokens.len() * width);
    assert_eq!(model.embed(&tokens, Pooling::First, false).unwrap(), each[..width]);
    assert_eq!(model.embed(&tokens, Pooling::Last, false).unwrap(), each[each.len() - width..]);
    let mean = model.embed(&tokens, Pooling::Mean, false).unwrap();
    for (index, &value) in mean.iter().enumerate() {
        let sum: f32 = each.iter().skip(index).step_by(width).sum();
        assert!((value - sum / tokens.len() as f32).abs() < 1e-4);
    }
    let unit = model.embed(&tokens, Pooling::Mean, true).unwrap();
    assert!((unit.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    assert_eq!(model.embed(&[], Pooling::Mean, true).unwrap_err().code, Code::InvalidParameter);
}

#[test]
fn scoring_goes_on_beside_sessions_without_touching_them() {
    let model = load();
    let expected = read(&load().start(drawing_request("Once upon", 3, 150)).unwrap()).0;
    let tokens = model.tokenizer().encode(&"The cat sat on the mat. ".repeat(12), true, false);
    let scores = model.score(&tokens, 1, ScoreKind::LogProbabilities, KvType::F16).unwrap();
    let session = model.start(drawing_request("Once upon", 3, 150)).unwrap();
    for _ in 0..3 {
        assert_eq!(model.score(&tokens, 1, ScoreKind::LogProbabilities, KvType::F16).unwrap(), scores);
    }
    assert_eq!(read(&session).0, expected);
}

#[test]
fn a_generated_seed_can_be_given_again() {
    let model = load();
    let mut request = drawing_request("Once", 0, 30);
    request.seed = None;
    let first = model.start(request.clone()).unwrap();
    let tokens = read(&first).0;
    request.seed = Some(first.seed());
    assert_eq!(read(&model.start(request.clone()).unwrap()).0, tokens);
    request.seed = None;
    let other = model.start(request).unwrap();
    assert_ne!(other.seed(), first.seed());
}

#[test]
fn constraints_hold_the_text_to_their_form() {
    let model = load();
    for seed in 0..3 {
        let mut request = drawing_request("Once upon a time", seed, 60);
        request.ignore_end = false;
        request.constraint =
            Some(crate::inference::ConstraintSource::Regex("[A-Z][a-z]{2,5} (was|had) [0-9]{3}!".into()));
        let (_, text, reason, _) = read(&model.start(request).unwrap());
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(words.len(), 3, "{text}");
        assert!(words[0].starts_with(|letter: char| letter.is_ascii_uppercase()) && words[2].ends_with('!'), "{text}");
        assert!(matches!(reason, EndReason::ConstraintComplete | EndReason::EndOfText), "{reason:?}");
    }
    let mut request = text_request("a", 5);
    request.constraint = Some(crate::inference::ConstraintSource::Regex("(".into()));
    assert_eq!(model.start(request).err().unwrap().code, Code::InvalidParameter);
}
