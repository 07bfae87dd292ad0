//! The device chooses the token that the host's sampler chooses from the same logits: not often, always.

use std::sync::atomic::AtomicU32;
use std::sync::Arc;
use std::time::Duration;

use worker::engine::{
    Backing, KvCache, KvType, LoadMode, ModelDescription, Output, ResidencyPolicy, Role, Rotary, Row, Sampling,
    TensorRole, TensorSource, TensorType, Weights,
};
use worker::error::{Code, Result};
use worker::inference::sampling::{rng, Sampler};
use worker::inference::{ConstraintSource, Event, LoadOptions, Model, Next, Prompt, SamplingOptions, SessionRequest};

use crate::golden_models::folder;
use crate::{gpu, MACHINE};

struct Bytes(Vec<u8>);

impl Backing for Bytes {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A model whose logits are these, whatever it reads: its output matrix is zero, and its output bias is what is wanted.
fn model_of(logits: &[f32]) -> Arc<Weights> {
    const WIDTH: u64 = 16;
    let vocabulary = logits.len() as u64;
    let description = ModelDescription {
        vocabulary: vocabulary as u32,
        width: WIDTH as u32,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        head_size: 16,
        value_size: 16,
        feed_forward: 16,
        context_length: 64,
        rotary: Rotary::None,
        norm_epsilon: 1e-5,
        ..ModelDescription::default()
    };
    let (mut bytes, mut tensors) = (Vec::new(), Vec::new());
    let mut add = |role, layer, shape: [u64; 2], values: &dyn Fn(u64) -> f32| {
        let begin = bytes.len();
        bytes.extend((0..shape[0] * shape[1]).flat_map(|index| values(index).to_le_bytes()));
        let shape = [shape[0], shape[1], 1, 1];
        let name = format!("{role:?}");
        tensors.push(TensorSource { role, layer, name, kind: TensorType::F32, shape, range: begin..bytes.len() });
    };
    add(TensorRole::TokenEmbedding, None, [WIDTH, vocabulary], &|index| (index % 7) as f32 - 3.0);
    add(TensorRole::OutputNorm, None, [WIDTH, 1], &|_| 1.0);
    add(TensorRole::Output, None, [WIDTH, vocabulary], &|_| 0.0);
    add(TensorRole::OutputBias, None, [vocabulary, 1], &|index| logits[index as usize]);
    for role in [TensorRole::AttentionNorm, TensorRole::FeedForwardNorm] {
        add(role, Some(0), [WIDTH, 1], &|_| 1.0);
    }
    for role in [TensorRole::Query, TensorRole::Key, TensorRole::Value, TensorRole::AttentionOutput] {
        add(role, Some(0), [WIDTH, WIDTH], &|index| (index % 5) as f32 * 0.1);
    }
    for role in [TensorRole::Up, TensorRole::Down] {
        add(role, Some(0), [WIDTH, WIDTH], &|index| (index % 3) as f32 * 0.1);
    }
    let backing = Arc::new(Bytes(bytes));
    let policy = ResidencyPolicy::Verify;
    let weights = Weights::load(&gpu(), &description, &tensors, backing, LoadMode::Map, policy, &mut |_, _| true);
    Arc::new(weights.unwrap())
}

/// What the device chooses by each of `samplings`.
fn chosen(weights: &Arc<Weights>, samplings: &[Sampling]) -> Vec<Result<u32>> {
    assert!(weights.samples());
    let cache = KvCache::new(weights, samplings.len() as u32, KvType::F16).unwrap();
    let row = |sequence| Row { token: 0, position: 0, sequence, role: Role::Decode, output: Output::Token };
    let rows: Vec<Row> = (0..samplings.len() as u32).map(row).collect();
    let pages: Vec<[u32; 1]> = (0..samplings.len() as u32).map(|page| [page]).collect();
    let tables: Vec<&[u32]> = pages.iter().map(<[u32; 1]>::as_slice).collect();
    weights.forward_and_sample(&cache, &rows, &tables, samplings, &AtomicU32::new(0), &mut []).unwrap()
}

/// One choice: the options, the text before, and what a constraint lets through.
struct Choice {
    options: SamplingOptions,
    seed: u64,
    before: Vec<u32>,
    allowed: Option<Vec<u32>>,
}

impl Choice {
    fn on_host(&self, logits: &[f32]) -> Result<u32> {
        let forbid = |logits: &mut [f32]| {
            for (token, logit) in logits.iter_mut().enumerate() {
                if self.allowed.as_ref().is_some_and(|words| words[token / 32] >> (token % 32) & 1 == 0) {
                    *logit = f32::NEG_INFINITY;
                }
            }
            Ok(())
        };
        Sampler::new(self.options.clone(), self.seed, &self.before).sample(&mut logits.to_vec(), forbid)
    }

    fn on_device(&self) -> Sampling {
        Sampler::new(self.options.clone(), self.seed, &self.before).parameters(self.allowed.clone())
    }
}

fn assert_same(name: &str, logits: &[f32], choices: &[Choice]) {
    let samplings: Vec<Sampling> = choices.iter().map(Choice::on_device).collect();
    for (choice, found) in choices.iter().zip(chosen(&model_of(logits), &samplings)) {
        let expected = choice.on_host(logits);
        assert_eq!(found, expected, "{name}: {:?}, seed {}", choice.options, choice.seed);
    }
}

/// Random numbers, by counting.
struct Dice(u64);

impl Dice {
    fn below(&mut self, total: u64) -> u64 {
        self.0 += 1;
        rng::below(20_26, self.0, total)
    }

    fn between(&mut self, least: f32, most: f32) -> f32 {
        least + (most - least) * self.below(1 << 24) as f32 / (1 << 24) as f32
    }

    fn often(&mut self, likely: f32, other: impl FnOnce(&mut Self) -> f32) -> f32 {
        if self.below(2) == 0 {
            likely
        } else {
            other(self)
        }
    }

    fn choice(&mut self, vocabulary: usize) -> Choice {
        let tokens = vocabulary as u64;
        let options = SamplingOptions {
            temperature: [0.0, 0.2, 0.7, 1.0, 1.0, 3.0, 1e-40, 100.0][self.below(8) as usize],
            top_k: [0, 0, 1, 2, 40, 1000][self.below(6) as usize],
            typical_p: self.often(1.0, |dice| dice.between(0.0, 1.0)),
            top_p: self.often(1.0, |dice| dice.between(0.0, 1.0)),
            min_p: self.often(0.0, |dice| dice.between(0.0, 1.0)),
            repetition_penalty: self.often(1.0, |dice| dice.between(0.5, 2.0)),
            presence_penalty: self.often(0.0, |dice| dice.between(-1.0, 1.0)),
            frequency_penalty: self.often(0.0, |dice| dice.between(-1.0, 1.0)),
            penalty_window: [0, 5, 200][self.below(3) as usize],
            // The same token may be named more than once.
            logit_bias: (0..self.below(3) * 20)
                .map(|_| (self.below(tokens) as u32, self.often(f32::NEG_INFINITY, |dice| dice.between(-4.0, 4.0))))
                .chain([(0, 0.1), (0, 0.2), (0, 0.3)])
                .collect(),
        };
        let allowed = (self.below(3) == 0).then(|| {
            let sparse = self.below(2) == 0;
            (0..vocabulary.div_ceil(32))
                .map(|_| self.below(1 << 32) as u32 & if sparse { 0x0101 } else { !0 })
                .collect()
        });
        Choice {
            options,
            seed: self.below(1 << 62),
            before: (0..150).map(|_| self.below(tokens) as u32).collect(),
            allowed,
        }
    }
}

#[test]
fn every_option_alone_and_together_gives_the_host_s_token() {
    let _whole = MACHINE.read();
    let mut dice = Dice(0);
    let rows: Vec<(&str, Vec<f32>)> = vec![
        ("slope", (0..1000).map(|index| ((index * 7919) % 1000) as f32 * 0.012).collect()),
        ("ties", (0..700).map(|_| dice.below(12) as f32 * 0.5 - 3.0).collect()),
        ("flat", vec![-2.5; 300]),
        ("few", vec![1.0, 2.0, 0.5]),
        ("one", vec![7.0]),
        ("wide", (0..500).map(|_| dice.between(-3e4, 3e4)).collect()),
        ("sure", (0..900).map(|index| if index == 801 { 30.0 } else { dice.between(-9.0, 0.0) }).collect()),
        (
            "holes",
            (0..640).map(|index| if index % 3 == 0 { f32::NEG_INFINITY } else { dice.between(-5.0, 5.0) }).collect(),
        ),
        ("large", (0..70_000).map(|_| dice.between(-8.0, 8.0)).collect()),
    ];
    for (name, logits) in rows {
        let count = if logits.len() > 10_000 { 12 } else { 60 };
        let choices: Vec<Choice> = (0..count).map(|_| dice.choice(logits.len())).collect();
        assert_same(name, &logits, &choices);
    }
}

#[test]
fn many_draws_of_one_session_are_the_host_s() {
    let _whole = MACHINE.read();
    let logits: Vec<f32> = (0..400).map(|index| ((index * 7919) % 400) as f32 * 6.0 / 400.0).collect();
    let weights = model_of(&logits);
    for options in [
        SamplingOptions::default(),
        SamplingOptions { top_p: 0.9, temperature: 0.8, ..SamplingOptions::default() },
        SamplingOptions { typical_p: 0.6, ..SamplingOptions::default() },
    ] {
        let mut host = Sampler::new(options.clone(), 11, &[]);
        let mut device = Sampler::new(options.clone(), 11, &[]);
        let samplings: Vec<Sampling> = (0..200)
            .map(|_| {
                let sampling = device.parameters(None);
                device.accept(0);
                sampling
            })
            .collect();
        let mut kinds = std::collections::HashSet::new();
        for found in chosen(&weights, &samplings) {
            let expected = host.sample(&mut logits.clone(), |_| Ok(())).unwrap();
            assert_eq!(found.unwrap(), expected, "{options:?}");
            kinds.insert(expected);
        }
        assert!(kinds.len() > 30, "{options:?}: only {} different tokens", kinds.len());
    }
}

#[test]
fn what_cannot_be_chosen_from_is_the_row_s_own_failure() {
    let _whole = MACHINE.read();
    for bad in [f32::NAN, f32::INFINITY] {
        let mut logits = vec![0.5; 600];
        (logits[333], logits[599]) = (bad, bad);
        let plain = || Choice { options: SamplingOptions::default(), seed: 1, before: Vec::new(), allowed: None };
        // Where a constraint forbids it, it does no harm.
        let mut words = vec![!0u32; 19];
        words[333 / 32] ^= 1 << (333 % 32);
        words[599 / 32] ^= 1 << (599 % 32);
        let choices =
            [plain(), Choice { allowed: Some(words), ..plain() }, Choice { allowed: Some(vec![0; 19]), ..plain() }];
        assert_same("not finite", &logits, &choices);
        let samplings: Vec<Sampling> = choices.iter().map(Choice::on_device).collect();
        let found = chosen(&model_of(&logits), &samplings);
        let detail = |index: usize| found[index].as_ref().unwrap_err().detail.clone();
        assert!(detail(0).contains("logit for token 333"), "{}", detail(0));
        assert!(found[1].is_ok());
        assert!(detail(2).contains("no token may follow"), "{}", detail(2));
        assert!(found.iter().flat_map(|found| found.as_ref().err()).all(|error| error.code == Code::InferenceFailed));
    }
}

#[test]
fn samplings_that_would_read_beyond_the_model_are_refused() {
    let _whole = MACHINE.read();
    let weights = model_of(&[1.0; 40]);
    let cache = KvCache::new(&weights, 1, KvType::F16).unwrap();
    let row = Row { token: 1, position: 0, sequence: 0, role: Role::Decode, output: Output::Token };
    let refused = |change: fn(&mut Sampling)| {
        let mut sampling = Sampler::new(SamplingOptions::default(), 1, &[]).parameters(None);
        change(&mut sampling);
        let pages: &[&[u32]] = &[&[0]];
        let error = weights.forward_and_sample(&cache, &[row], pages, &[sampling], &AtomicU32::new(0), &mut []);
        let error = error.unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter, "{error}");
        error.detail
    };
    let beyond = worker::engine::TokenCount { token: 40, count: 1 };
    assert!(refused(|sampling| sampling.allowed = Some(vec![!0])).contains("1 words"));
    assert!(refused(|sampling| sampling.temperature = f32::NAN).contains("temperature"));
    assert!(refused(|sampling| sampling.biases = [worker::engine::TokenBias { token: 40, bias: 0.0 }].into())
        .contains("40"));
    let mut sampling = Sampler::new(SamplingOptions::default(), 1, &[]).parameters(None);
    sampling.window = vec![beyond];
    let error = weights.forward_and_sample(&cache, &[row], &[&[0]], &[sampling], &AtomicU32::new(0), &mut []);
    assert!(error.unwrap_err().detail.contains("window has token 40"));
    let error = weights.forward_and_sample(&cache, &[row], &[&[0]], &[], &AtomicU32::new(0), &mut []).unwrap_err();
    assert!(error.detail.contains("1 rows ask for tokens"), "{error}");
}

/// The tokens of a session, and how many came with log-probabilities.
fn tokens(model: &Arc<Model>, request: SessionRequest) -> (Vec<u32>, usize) {
    let session = model.start(request).unwrap();
    let (mut tokens, mut with_logprobs) = (Vec::new(), 0);
    loop {
        match session.next(Some(Duration::from_secs(300))).unwrap() {
            Next::Event(Event::Token { id, logprob, .. }) => {
                tokens.push(id);
                with_logprobs += usize::from(logprob.is_some());
            }
            Next::Event(Event::End { .. }) => return (tokens, with_logprobs),
            Next::TimedOut => panic!("no token for five minutes"),
        }
    }
}

#[test]
fn sessions_on_the_device_give_the_same_tokens_whether_logits_come_to_the_host_or_not() {
    let _whole = MACHINE.read();
    let options = LoadOptions { context_length: 256, ..LoadOptions::default() };
    let path = folder("models").join("stories260K-q8_0.gguf");
    let model = Model::load(&path, gpu(), &options, &mut |_| true).unwrap();
    let filtered = SamplingOptions {
        temperature: 0.9,
        top_k: 50,
        top_p: 0.95,
        min_p: 0.02,
        repetition_penalty: 1.2,
        ..SamplingOptions::default()
    };
    let constraint = ConstraintSource::Regex("[A-Z][a-z ]{4,30}[.]".to_owned());
    for (sampling, constraint) in
        [(SamplingOptions::greedy(), None), (filtered.clone(), None), (filtered, Some(constraint))]
    {
        let request = |logprobs| SessionRequest {
            sampling: sampling.clone(),
            constraint: constraint.clone(),
            seed: Some(5),
            logprobs,
            ..SessionRequest::new(Prompt::Text("Once upon a time".to_owned()), 16)
        };
        let (on_device, none) = tokens(&model, request(0));
        let (on_host, all) = tokens(&model, request(3));
        assert_eq!((none, all), (0, on_host.len()));
        assert_eq!(on_device, on_host, "{sampling:?}");
        assert!(!on_device.is_empty());
    }
}
