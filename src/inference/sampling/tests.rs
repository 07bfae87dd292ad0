//! The chain against plain references: exact distributions by chi-squared tests with fixed seeds, kept sets by sorting.

use super::*;
use crate::error::Code;
use proptest::prelude::*;

fn no_mask(_: &mut [f32]) -> Result<()> {
    Ok(())
}

fn once(options: &SamplingOptions, seed: u64, logits: &[f32]) -> u32 {
    let mut logits = logits.to_vec();
    Sampler::new(options.clone(), seed, &[]).sample(&mut logits, no_mask).unwrap()
}

/// The tokens that the chain's filters keep, and their probabilities, by full sorts in double precision.
fn reference(options: &SamplingOptions, logits: &[f32]) -> Vec<(u32, f64)> {
    let mut kept: Vec<(u32, f64)> = logits.iter().zip(0..).map(|(&logit, token)| (token, f64::from(logit))).collect();
    kept.retain(|(_, logit)| *logit > f64::NEG_INFINITY);
    let by_likelihood = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    kept.sort_by(by_likelihood);
    if options.top_k > 0 {
        kept.truncate(options.top_k as usize);
    }
    if options.typical_p < 1.0 {
        let probabilities = softmax(&kept, 1.0);
        let entropy: f64 = probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        let mut ranked: Vec<(f64, f64, (u32, f64))> =
            kept.iter().zip(&probabilities).map(|(&item, &p)| ((-p.ln() - entropy).abs(), p, item)).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2 .0.cmp(&b.2 .0)));
        let mut sum = 0.0;
        let count = ranked.iter().position(|ranked| {
            sum += ranked.1;
            sum > f64::from(options.typical_p)
        });
        ranked.truncate(count.map_or(ranked.len(), |count| count + 1));
        kept = ranked.into_iter().map(|ranked| ranked.2).collect();
        kept.sort_by(by_likelihood);
    }
    if options.top_p < 1.0 {
        let probabilities = softmax(&kept, 1.0);
        let mut sum = 0.0;
        let count = probabilities.iter().position(|p| {
            sum += p;
            sum >= f64::from(options.top_p)
        });
        kept.truncate(count.map_or(kept.len(), |count| count + 1));
    }
    if options.min_p > 0.0 {
        let least = kept[0].1 + f64::from(options.min_p).ln();
        kept.retain(|(_, logit)| *logit >= least);
    }
    let probabilities = softmax(&kept, f64::from(options.temperature));
    kept.iter().zip(probabilities).map(|(&(token, _), probability)| (token, probability)).collect()
}

fn softmax(items: &[(u32, f64)], temperature: f64) -> Vec<f64> {
    let maximum = items.iter().map(|item| item.1).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = items.iter().map(|item| ((item.1 - maximum) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

/// Fewest draws below which a bin is joined with the others like it.
const SMALL_BIN: f64 = 8.0;

/// Draws many tokens with consecutive seeds and compares how often each came with the exact probabilities.
fn assert_distribution(options: &SamplingOptions, logits: &[f32], name: &str) {
    let draws = 20_000u32;
    let mut counts = std::collections::HashMap::<u32, u32>::new();
    let mut sampler = Sampler::new(options.clone(), 42, &[]);
    for _ in 0..draws {
        let token = sampler.sample(&mut logits.to_vec(), no_mask).unwrap();
        *counts.entry(token).or_default() += 1;
    }
    let expected = reference(options, logits);
    let (mut statistic, mut freedom, mut rest_expected, mut rest_found) = (0.0, 0.0f64, 0.0, 0.0);
    for (token, probability) in &expected {
        let wanted = probability * f64::from(draws);
        let found = f64::from(counts.remove(token).unwrap_or(0));
        if wanted < SMALL_BIN {
            rest_expected += wanted;
            rest_found += found;
        } else {
            statistic += (found - wanted).powi(2) / wanted;
            freedom += 1.0;
        }
    }
    assert!(counts.is_empty(), "{name}: tokens that were filtered out came: {counts:?}");
    if rest_expected >= SMALL_BIN {
        statistic += (rest_found - rest_expected).powi(2) / rest_expected;
        freedom += 1.0;
    }
    // Wilson and Hilferty's approximation of the chi-squared quantile at one in a thousand.
    let degrees = (freedom - 1.0).max(1.0);
    let limit = degrees * (1.0 - 2.0 / (9.0 * degrees) + 3.09 * (2.0 / (9.0 * degrees)).sqrt()).powi(3);
    assert!(statistic < limit, "{name}: chi-squared {statistic} of {degrees} degrees, limit {limit}");
}

fn slope(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919) % count) as f32 * 6.0 / count as f32).collect()
}

#[test]
fn draws_follow_the_exact_distribution() {
    let base = SamplingOptions::default;
    let cases = [
        ("plain", base()),
        ("cold", SamplingOptions { temperature: 0.3, ..base() }),
        ("hot", SamplingOptions { temperature: 3.0, ..base() }),
        ("top-k", SamplingOptions { top_k: 7, ..base() }),
        ("top-p", SamplingOptions { top_p: 0.6, ..base() }),
        ("min-p", SamplingOptions { min_p: 0.3, ..base() }),
        ("typical", SamplingOptions { typical_p: 0.5, ..base() }),
        ("all", SamplingOptions { top_k: 40, typical_p: 0.9, top_p: 0.9, min_p: 0.05, temperature: 0.8, ..base() }),
    ];
    for (name, options) in &cases {
        assert_distribution(options, &slope(100), name);
        assert_distribution(options, &slope(3), name);
    }
    assert_distribution(&base(), &[2.5], "one token");
}

#[test]
fn bias_and_mask_change_what_is_drawn() {
    let mut logits = slope(50);
    let options = SamplingOptions { logit_bias: vec![(3, 5.0), (49, f32::NEG_INFINITY)], ..SamplingOptions::default() };
    let mut biased = logits.clone();
    biased[3] += 5.0;
    biased[49] = f32::NEG_INFINITY;
    let expected = reference(&SamplingOptions::default(), &biased);
    let mut sampler = Sampler::new(options.clone(), 1, &[]);
    let count = (0..4000).filter(|_| sampler.sample(&mut logits.clone(), no_mask).unwrap() == 3).count();
    let probability = expected.iter().find(|(token, _)| *token == 3).unwrap().1;
    let deviation = (4000.0 * probability * (1.0 - probability)).sqrt();
    assert!((count as f64 - 4000.0 * probability).abs() < 4.0 * deviation, "{count}");

    // Only token 8 is let through.
    let only_eight = |logits: &mut [f32]| {
        logits.iter_mut().enumerate().filter(|(token, _)| *token != 8).for_each(|(_, l)| *l = f32::NEG_INFINITY);
        Ok(())
    };
    assert_eq!(Sampler::new(options, 1, &[]).sample(&mut logits, only_eight).unwrap(), 8);
}

#[test]
fn greedy_takes_the_lowest_of_the_likeliest() {
    let mut logits = vec![0.0; 300];
    logits[70] = 2.0;
    logits[200] = 2.0;
    logits[260] = 2.0;
    for seed in 0..20 {
        assert_eq!(once(&SamplingOptions::greedy(), seed, &logits), 70);
    }
    // Filters leave it alone.
    let filtered = SamplingOptions { typical_p: 0.01, top_k: 1, top_p: 0.0, min_p: 1.0, ..SamplingOptions::greedy() };
    assert_eq!(once(&filtered, 0, &logits), 70);
}

#[test]
fn a_vanishing_temperature_draws_among_the_likeliest_only() {
    let mut logits = slope(300);
    logits[5] = 9.0;
    for temperature in [f32::MIN_POSITIVE, 1e-40, 1e-6] {
        let options = SamplingOptions { temperature, ..SamplingOptions::default() };
        assert_eq!(once(&options, 3, &logits), 5);
        assert_eq!(once(&SamplingOptions { top_k: 9, ..options }, 3, &logits), 5);
    }
}

#[test]
fn the_same_seed_gives_the_same_tokens_and_another_gives_others() {
    let options = SamplingOptions::default();
    let logits = slope(1000);
    let draw = |seed| {
        let mut sampler = Sampler::new(options.clone(), seed, &[]);
        (0..20).map(|_| sampler.sample(&mut logits.clone(), no_mask).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
}

#[test]
fn penalties_turn_greedy_away_from_what_was_said() {
    let options = SamplingOptions { repetition_penalty: 4.0, ..SamplingOptions::greedy() };
    let mut sampler = Sampler::new(options, 0, &[2]);
    let tokens: Vec<u32> = (0..4).map(|_| sampler.sample(&mut [1.0, 2.0, 3.0, 2.5], no_mask).unwrap()).collect();
    assert_eq!(tokens, [3, 1, 0, 2]);
}

#[test]
fn extreme_filters_leave_one_token() {
    let logits = slope(500);
    let likeliest = once(&SamplingOptions::greedy(), 0, &logits);
    let base = SamplingOptions::default;
    for options in [
        SamplingOptions { top_k: 1, ..base() },
        SamplingOptions { top_p: 0.0, ..base() },
        SamplingOptions { min_p: 1.0, ..base() },
    ] {
        for seed in 0..50 {
            assert_eq!(once(&options, seed, &logits), likeliest);
        }
    }
    let typical = SamplingOptions { typical_p: 0.0, ..base() };
    assert!((0..50).all(|seed| once(&typical, seed, &logits) == once(&typical, 0, &logits)));
}

#[test]
fn logits_that_are_not_numbers_are_an_error() {
    let mut sampler = Sampler::new(SamplingOptions::default(), 0, &[]);
    let error = sampler.sample(&mut [0.0, f32::NAN], no_mask).unwrap_err();
    assert_eq!(error.code, Code::InferenceFailed);
    // A bias of minus infinity on a poisoned logit does not hide it.
    let options = SamplingOptions { logit_bias: vec![(0, f32::NEG_INFINITY)], ..SamplingOptions::default() };
    assert!(Sampler::new(options, 0, &[]).sample(&mut [f32::NAN, 0.0], no_mask).is_err());
}

#[test]
fn logprobs_are_those_of_the_models_own_distribution() {
    let logits = slope(200);
    let exact = softmax(&logits.iter().map(|&logit| (0, f64::from(logit))).collect::<Vec<_>>(), 1.0);
    let logprobs = ModelLogprobs::new(&logits, 5).unwrap().of(logits[17]);
    assert!((f64::from(logprobs.chosen) - exact[17].ln()).abs() < 1e-5);
    assert_eq!(logprobs.top.len(), 5);
    assert!(logprobs.top.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    for (token, logprob) in logprobs.top {
        assert!((f64::from(logprob) - exact[token as usize].ln()).abs() < 1e-5);
    }
}

/// The tokens that the filters keep, in rising order.
fn kept(options: &SamplingOptions, logits: &[f32]) -> Vec<u32> {
    let sampler = Sampler::new(options.clone(), 0, &[]);
    let tokens = match sampler.filter(Distribution::new(logits).unwrap()) {
        Remaining::All(distribution) => distribution.all(),
        Remaining::Some(candidates) => candidates,
    };
    tokens.iter().map(|candidate| candidate.token).collect()
}

/// Whether a sum stands so close to its limit that rounding may decide either way.
fn is_close_call(options: &SamplingOptions, logits: &[f32]) -> bool {
    let mut wider = options.clone();
    let mut narrower = options.clone();
    for (field, nudge) in [(&mut wider, 1e-5), (&mut narrower, -1e-5)] {
        field.top_p = if field.top_p < 1.0 { (field.top_p + nudge).clamp(0.0, 1.0) } else { 1.0 };
        field.typical_p = if field.typical_p < 1.0 { (field.typical_p + nudge).clamp(0.0, 1.0) } else { 1.0 };
        field.min_p *= 1.0 - nudge;
    }
    reference(&wider, logits).len() != reference(&narrower, logits).len()
}

/// So many tokens are left that they stay in the vocabulary: the draw is that from a list of them, to the last unit.
#[test]
fn draws_from_a_large_rest_are_those_from_its_list() {
    // In steps, so that the last token kept is one of many equals.
    let logits: Vec<f32> =
        (0..12_000u32).map(|token| (token.wrapping_mul(2_654_435_761) >> 20) as f32 / 2048.0).collect();
    let base = || SamplingOptions { temperature: 0.7, ..SamplingOptions::default() };
    for options in [
        SamplingOptions { top_p: 0.9, ..base() },
        SamplingOptions { typical_p: 0.8, ..base() },
        SamplingOptions { min_p: 0.3, ..base() },
        SamplingOptions { typical_p: 0.9, top_p: 0.9, min_p: 0.2, ..base() },
    ] {
        let filtered = Sampler::new(options.clone(), 0, &[]).filter(Distribution::new(&logits).unwrap());
        let Remaining::All(distribution) = filtered else { panic!("{options:?} leaves a list") };
        let list = distribution.all();
        let likeliest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(list.len() < logits.len() && list.len() > 1000, "{}", list.len());
        assert_eq!(distribution.maximum(), maximum(&list));
        for seed in 0..8 {
            let sampler = Sampler::new(options.clone(), seed, &[]);
            let from_list = sampler.draw(Remaining::Some(list.clone()), likeliest);
            assert_eq!(once(&options, seed, &logits), from_list, "{options:?}, seed {seed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]
    #[test]
    fn the_filters_keep_what_full_sorts_keep(
        steps in proptest::collection::vec(-200i32..200, 1..900),
        spread in 1.0f32..20.0,
        top_k in prop_oneof![Just(0u32), 1u32..50, 1u32..1000],
        typical_p in prop_oneof![Just(1.0f32), 0.05f32..0.98],
        top_p in prop_oneof![Just(1.0f32), 0.05f32..0.98],
        min_p in prop_oneof![Just(0.0f32), 0.001f32..0.9],
    ) {
        // A little slope keeps probabilities from being equal, where the orders of two summations may differ.
        let logits: Vec<f32> =
            steps.iter().enumerate().map(|(index, &step)| step as f32 * spread / 200.0 - index as f32 * 1e-4).collect();
        let options = SamplingOptions { top_k, typical_p, top_p, min_p, ..SamplingOptions::default() };
        prop_assume!(!is_close_call(&options, &logits));
        let mut expected: Vec<u32> = reference(&options, &logits).iter().map(|(token, _)| *token).collect();
        expected.sort_unstable();
        prop_assert_eq!(kept(&options, &logits), expected);
    }
}
