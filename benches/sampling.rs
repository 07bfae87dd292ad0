//! What choosing a token costs at a vocabulary of 152k, for each sampler alone and for a usual chain, and what its text
//! costs. Aim: under 1% of a token's time, which for the fastest models measured here is about 100 µs. Recorded in
//! `RESULTS.md`.

#![allow(missing_docs)] // of what the macros make

use criterion::{criterion_group, criterion_main, BatchSize, Criterion};

use worker::inference::sampling::{rng, ModelLogprobs, Sampler};
use worker::inference::stop::{StopMatcher, StopOutcome};
use worker::inference::text_stream::TextStream;
use worker::inference::SamplingOptions;

const VOCABULARY: usize = 151_936;

fn samplers(criterion: &mut Criterion) {
    let plain = SamplingOptions::default();
    let chains = [
        ("greedy", SamplingOptions::greedy()),
        ("temperature", SamplingOptions { temperature: 0.8, ..plain.clone() }),
        ("top-k 40", SamplingOptions { top_k: 40, ..plain.clone() }),
        ("top-p 0.95", SamplingOptions { top_p: 0.95, ..plain.clone() }),
        ("min-p 0.05", SamplingOptions { min_p: 0.05, ..plain.clone() }),
        ("typical 0.9", SamplingOptions { typical_p: 0.9, ..plain.clone() }),
        (
            "penalties",
            SamplingOptions {
                temperature: 0.0,
                repetition_penalty: 1.1,
                presence_penalty: 0.1,
                frequency_penalty: 0.1,
                ..plain.clone()
            },
        ),
        (
            "top-k 40, top-p 0.95, min-p 0.05, temperature 0.8",
            SamplingOptions { top_k: 40, top_p: 0.95, min_p: 0.05, temperature: 0.8, ..plain },
        ),
    ];
    for (shape, spread) in [("peaked", 3.0), ("medium", 1.0), ("flat", 0.3)] {
        let mut group = criterion.benchmark_group(format!("152k {shape} logits"));
        let logits = logits(spread);
        let prompt: Vec<u32> = (0..64).map(|place| place * 97).collect();
        for (name, options) in &chains {
            let mut sampler = Sampler::new(options.clone(), 1, &prompt);
            // Written over where they are, as the engine does: a copy would be measured with the sampler.
            let mut row = logits.clone();
            group.bench_function(*name, |bencher| bencher.iter(|| sampler.sample(&mut row, |_| Ok(()))));
        }
        group.bench_function("log-probabilities of 5", |bencher| bencher.iter(|| ModelLogprobs::new(&logits, 5)));
        group.finish();
    }
}

fn text(criterion: &mut Criterion) {
    criterion.bench_function("a token's text, with a stop string", |bencher| {
        bencher.iter_batched_ref(
            || (TextStream::default(), StopMatcher::new(&["</answer>".to_owned()])),
            |(stream, stop)| {
                let text = stream.push(" snowman ☃".as_bytes());
                matches!(stop.push(&text), StopOutcome::Continue(_))
            },
            BatchSize::SmallInput,
        );
    });
}

/// About normal: sums of twelve uniform numbers, of this standard deviation.
fn logits(spread: f32) -> Vec<f32> {
    let number = |index: usize| {
        (0..12).map(|part| rng::below(part, index as u64, 1 << 24) as f64 / f64::from(1 << 24)).sum::<f64>() - 6.0
    };
    (0..VOCABULARY).map(|index| number(index) as f32 * spread).collect()
}

criterion_group!(benches, samplers, text);
criterion_main!(benches);
