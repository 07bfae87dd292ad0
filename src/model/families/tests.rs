//! Each architecture's keys and tensors become the description that its reference engine computes.

use std::path::{Path, PathBuf};

use super::*;
use crate::engine::{Activation, LoadMode, Norm, Rotary};
use crate::model::gguf::writer::{Pair, Writer};

fn shared(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models").join(name)
}

fn described(name: &str) -> (ModelDescription, Vec<TensorSource>) {
    describe(&GgufFile::open(&shared(name), LoadMode::Map).unwrap()).unwrap()
}

/// A small model of two layers in `name`'s form, with F32 tensors: width 8, 2 heads of 4, 1 KV head, 12 in the middle,
/// 3 tokens.
fn small(name: &str, layer: &[(&str, &[u64])]) -> Writer {
    let key = |key: &str| format!("{name}.{key}");
    let mut writer = Writer::default()
        .pair("general.architecture", Pair::text(name))
        .pair(&key("block_count"), Pair::U32(2))
        .pair(&key("context_length"), Pair::U32(64))
        .pair(&key("embedding_length"), Pair::U32(8))
        .pair(&key("feed_forward_length"), Pair::U32(12))
        .pair(&key("attention.head_count"), Pair::U32(2))
        .pair(&key("attention.head_count_kv"), Pair::U32(1))
        .pair(&key("attention.layer_norm_rms_epsilon"), Pair::F32(1e-5))
        .tensor("token_embd.weight", &[8, 3], 0)
        .tensor("output_norm.weight", &[8], 0);
    for index in 0..2 {
        for (tensor, shape) in layer {
            writer = writer.tensor(&format!("blk.{index}.{tensor}"), shape, 0);
        }
    }
    writer
}

const LLAMA_LAYER: &[(&str, &[u64])] = &[
    ("attn_norm.weight", &[8]),
    ("attn_q.weight", &[8, 8]),
    ("attn_k.weight", &[8, 4]),
    ("attn_v.weight", &[8, 4]),
    ("attn_output.weight", &[8, 8]),
    ("ffn_norm.weight", &[8]),
    ("ffn_gate.weight", &[8, 12]),
    ("ffn_up.weight", &[8, 12]),
    ("ffn_down.weight", &[12, 8]),
];

fn llama() -> Writer {
    small("llama", LLAMA_LAYER)
}

fn with(name: &str, pairs: &[(&str, Pair)]) -> Writer {
    let mut writer = small(name, LLAMA_LAYER);
    for (key, value) in pairs {
        writer.pairs.retain(|(present, _)| present != key);
        writer = writer.pair(key, value.clone());
    }
    writer
}

fn model_of(writer: &Writer) -> ModelDescription {
    describe(&writer.parse().unwrap()).unwrap().0
}

fn refusal_of(writer: &Writer) -> Error {
    describe(&writer.parse().unwrap()).unwrap_err()
}

#[test]
fn every_model_at_hand_is_described_with_all_its_tensors() {
    let mut count = 0;
    let folder = shared("micro");
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let file = GgufFile::open(&entry.unwrap().path(), LoadMode::Map).unwrap();
        let (model, sources) = describe(&file).unwrap();
        assert_eq!(sources.len(), file.tensors.len());
        assert_eq!((model.width, model.vocabulary, model.context_length), (256, 512, 512));
        count += 1;
    }
    assert!(count >= 35, "only {count} models in {}", folder.display());
}

#[test]
fn the_description_of_stories_is_that_of_its_keys() {
    let (model, sources) = described("stories260K-q8_0.gguf");
    let expected = ModelDescription {
        vocabulary: 512,
        width: 64,
        layers: 5,
        heads: 8,
        kv_heads: 4,
        head_size: 8,
        value_size: 8,
        feed_forward: 172,
        context_length: 512,
        gated: true,
        rotary: Rotary::Adjacent,
        rotary_size: 8,
        norm_epsilon: 1e-5,
        rotary_base: 10_000.0,
        rotary_scale: 1.0,
        yarn_attention: 1.0,
        ..ModelDescription::default()
    };
    assert_eq!(model, expected);
    let embedding = sources.iter().find(|source| source.role == TensorRole::TokenEmbedding).unwrap();
    assert_eq!((embedding.layer, embedding.shape, embedding.kind.0), (None, [64, 512, 1, 1], 8));
    let down = sources.iter().find(|source| source.role == TensorRole::Down && source.layer == Some(4)).unwrap();
    assert_eq!((down.name.as_str(), down.kind.0), ("blk.4.ffn_down.weight", 1));
    assert!(sources.iter().all(|source| source.role != TensorRole::Output), "the output is tied");
}

#[test]
fn each_architecture_has_its_own_arithmetic() {
    let gemma2 = described("micro/gemma2-f32.gguf").0;
    assert_eq!((gemma2.window, gemma2.window_period, gemma2.embedding_scale), (16, 2, 16.0));
    assert_eq!((gemma2.attention_softcap, gemma2.final_softcap, gemma2.attention_scale), (50.0, 30.0, 0.0));
    assert_eq!((gemma2.activation, gemma2.rotary), (Activation::GeluTanh, Rotary::Halves));
    assert_eq!((gemma2.rotary_base, gemma2.rotary_base_windowed), (10_000.0, 10_000.0));

    let gemma3 = described("micro/gemma3-q8_0.gguf").0;
    assert_eq!((gemma3.window, gemma3.window_period, gemma3.final_softcap), (16, 6, 0.0));
    assert_eq!((gemma3.rotary_base, gemma3.rotary_base_windowed), (1e6, 10_000.0));

    let gpt2 = described("micro/gpt2-f32.gguf").0;
    assert_eq!((gpt2.norm, gpt2.rotary, gpt2.gated), (Norm::Layer, Rotary::None, false));
    assert_eq!((gpt2.kv_heads, gpt2.rotary_size, gpt2.activation), (4, 0, Activation::GeluTanh));

    let phi3 = described("micro/phi3-f32.gguf").0;
    assert_eq!((phi3.window, phi3.rotary, phi3.feed_forward), (0, Rotary::Halves, 512));

    let qwen3 = described("micro/qwen3-f32.gguf").0;
    assert_eq!((qwen3.head_size, qwen3.value_size, qwen3.rotary_size), (128, 128, 128));

    let oss = described("micro/gpt-oss-mxfp4_moe.gguf").0;
    assert_eq!((oss.experts, oss.experts_used, oss.experts_softmax_after), (8, 4, true));
    assert_eq!((oss.window, oss.window_period, oss.original_context), (16, 2, 128));
    assert_eq!((oss.rotary_scale, oss.rotary_scale_windowed, oss.yarn_factor), (1.0 / 32.0, 1.0 / 32.0, 1.0));
    assert_eq!((oss.yarn_beta_fast, oss.yarn_beta_slow), (32.0, 1.0));
    assert!((oss.yarn_attention - 1.346_573_6).abs() < 1e-6, "{}", oss.yarn_attention);
    assert_eq!((oss.swiglu_alpha, oss.swiglu_limit), (1.702, 7.0));
    assert_eq!(oss.rotary_base_windowed, 150_000.0);
}

#[test]
fn rotary_scaling_follows_its_keys() {
    let linear = model_of(&with("llama", &[("llama.rope.scaling.factor", Pair::F32(4.0))]));
    assert_eq!((linear.rotary_scale, linear.yarn_factor, linear.yarn_attention), (0.25, 0.0, 1.0));
    let old = model_of(&with("llama", &[("llama.rope.scale_linear", Pair::F32(2.0))]));
    assert_eq!(old.rotary_scale, 0.5);
    let none = [("llama.rope.scaling.factor", Pair::F32(4.0)), ("llama.rope.scaling.type", Pair::text("none"))];
    assert_eq!(model_of(&with("llama", &none)).rotary_scale, 1.0);
    let yarn = model_of(&with(
        "llama",
        &[
            ("llama.rope.scaling.factor", Pair::F32(4.0)),
            ("llama.rope.scaling.type", Pair::text("yarn")),
            ("llama.rope.scaling.attn_factor", Pair::F32(0.5)),
        ],
    ));
    assert_eq!((yarn.rotary_scale, yarn.yarn_factor, yarn.original_context), (0.25, 1.0, 64));
    assert!((yarn.yarn_attention - 0.5 * (1.0 + 0.1 * 4f32.ln())).abs() < 1e-6);
    let error = refusal_of(&with("llama", &[("llama.rope.scaling.type", Pair::text("dynamic"))]));
    assert_eq!(error.code, Code::ModelUnsupported);
    assert!(error.detail.contains("\"dynamic\"") && error.detail.contains("yarn"), "{error}");
}

#[test]
fn llama3_and_longrope_factors_are_found() {
    let file = llama().tensor("rope_freqs.weight", &[2], 0).parse().unwrap();
    let (_, sources) = describe(&file).unwrap();
    assert!(sources.iter().any(|source| source.role == TensorRole::RotaryFactors && source.layer.is_none()));

    let layer: Vec<(&str, &[u64])> = vec![
        ("attn_norm.weight", &[8]),
        ("attn_qkv.weight", &[8, 16]),
        ("attn_output.weight", &[8, 8]),
        ("ffn_norm.weight", &[8]),
        ("ffn_up.weight", &[8, 24]),
        ("ffn_down.weight", &[12, 8]),
    ];
    let phi3 = small("phi3", &layer)
        .pair("phi3.rope.scaling.attn_factor", Pair::F32(1.19))
        .pair("phi3.rope.scaling.original_context_length", Pair::U32(16))
        .pair("phi3.attention.sliding_window", Pair::U32(5))
        .tensor("rope_factors_long.weight", &[2], 0);
    let error = refusal_of(&phi3);
    assert!(error.detail.contains("\"rope_factors_short.weight\": expected it beside"), "{error}");
    let phi3 = phi3.tensor("rope_factors_short.weight", &[2], 0);
    let model = model_of(&phi3);
    assert_eq!((model.original_context, model.yarn_attention, model.window), (16, 1.19, 0));
    for (context, name) in [(16, "rope_factors_short.weight"), (17, "rope_factors_long.weight")] {
        let (model, mut sources) = describe(&phi3.parse().unwrap()).unwrap();
        choose_rotary_factors(&model, &mut sources, context);
        let left: Vec<_> = sources.iter().filter(|source| source.name.starts_with("rope_factors")).collect();
        assert_eq!((left.len(), left[0].name.as_str(), left[0].role), (1, name, TensorRole::RotaryFactors));
    }
}

#[test]
fn tensors_that_are_missing_misshapen_or_unknown_are_refused_by_name() {
    let without = |name: &str| {
        let mut writer = llama();
        writer.tensors.retain(|tensor| tensor.name != name);
        writer
    };
    let reshaped = |name: &str, shape: &[u64]| without(name).tensor(name, shape, 0);
    let load_failed = [
        (without("blk.1.ffn_up.weight"), "tensor \"blk.1.ffn_up.weight\": expected it, found none of that name"),
        (without("token_embd.weight"), "tensor \"token_embd.weight\": expected it"),
        (without("blk.0.attn_q.weight"), "tensor \"blk.0.attn_q.weight\": expected either it or \"attn_qkv.weight\", found neither"),
        (
            llama().tensor("blk.0.attn_qkv.weight", &[8, 16], 0),
            "tensor \"blk.0.attn_q.weight\": expected either it or \"attn_qkv.weight\", found both",
        ),
        (reshaped("blk.1.attn_k.weight", &[8, 8]), "tensor \"blk.1.attn_k.weight\": expected 8x4, file has 8x8"),
        (reshaped("output_norm.weight", &[4]), "tensor \"output_norm.weight\": expected 8, file has 4"),
        (reshaped("blk.0.ffn_norm.weight", &[8, 2]), "tensor \"blk.0.ffn_norm.weight\": expected 8, file has 8x2"),
        (
            llama().pair("tokenizer.ggml.tokens", Pair::texts(&["a", "b"])),
            "tensor \"token_embd.weight\": expected a row for each of the 2 tokens of key \"tokenizer.ggml.tokens\", found 3",
        ),
    ];
    for (writer, detail) in load_failed {
        let error = refusal_of(&writer);
        assert_eq!(error.code, Code::ModelLoadFailed);
        assert!(error.detail.contains(detail), "{error} lacks {detail:?}");
    }
    for name in ["blk.2.attn_norm.weight", "blk.0.attn_gate.weight", "v.patch_embd.weight"] {
        let error = refusal_of(&llama().tensor(name, &[8], 0));
        assert_eq!(error.code, Code::ModelUnsupported);
        assert!(error.detail.contains(&format!("tensor {name:?}")), "{error}");
    }
    describe(&llama().tensor("blk.0.attn_rot_embd.weight", &[4], 0).parse().unwrap()).unwrap();
}

#[test]
fn keys_that_are_missing_or_contradict_are_refused_by_name() {
    let cases = [
        ("llama.block_count", Pair::U32(0), "expected a positive number, found 0"),
        ("llama.embedding_length", Pair::text("8"), "expected u32, found string"),
        ("llama.attention.head_count_kv", Pair::U32(3), "expected a divisor of the 2 heads, found 3"),
        ("llama.attention.head_count_kv", Pair::U32(0), "expected a divisor of the 2 heads, found 0"),
        ("llama.rope.dimension_count", Pair::U32(6), "expected an even number up to the head size 4, found 6"),
        ("llama.rope.freq_base", Pair::F32(0.0), "expected 1 or more, found 0"),
        ("llama.rope.scaling.factor", Pair::F32(-4.0), "expected no negative number, found -4"),
        ("llama.attention.key_length", Pair::U32(0), "expected a positive number, found 0"),
        ("llama.attention.layer_norm_rms_epsilon", Pair::F32(f32::NAN), "expected a finite f32, found NaN"),
    ];
    for (key, value, detail) in cases {
        let error = refusal_of(&with("llama", &[(key, value)]));
        assert_eq!(error.code, Code::ModelLoadFailed);
        assert!(
            error.detail.contains(&format!("{key:?}")) && error.detail.contains(detail),
            "{error} lacks {detail:?}"
        );
    }
    for key in [
        "block_count",
        "context_length",
        "embedding_length",
        "attention.head_count",
        "attention.layer_norm_rms_epsilon",
    ] {
        let mut writer = llama();
        writer.pairs.retain(|(present, _)| !present.ends_with(key));
        let error = refusal_of(&writer);
        assert!(error.detail.contains(&format!("\"llama.{key}\": expected a number, found none")), "{error}");
    }
    let mut nameless = llama();
    nameless.pairs.remove(0);
    assert!(refusal_of(&nameless).detail.contains("\"general.architecture\""));
}

const EXPERTS_LAYER: &[(&str, &[u64])] = &[
    ("attn_norm.weight", &[8]),
    ("attn_q.weight", &[8, 8]),
    ("attn_k.weight", &[8, 4]),
    ("attn_v.weight", &[8, 4]),
    ("attn_output.weight", &[8, 8]),
    ("ffn_norm.weight", &[8]),
    ("ffn_gate_inp.weight", &[8, 5]),
    ("ffn_gate_exps.weight", &[8, 6, 5]),
    ("ffn_up_exps.weight", &[8, 6, 5]),
    ("ffn_down_exps.weight", &[6, 8, 5]),
];

#[test]
fn a_number_of_experts_tells_mixtral_from_llama() {
    let mixtral = small("llama", EXPERTS_LAYER)
        .pair("llama.expert_count", Pair::U32(5))
        .pair("llama.expert_used_count", Pair::U32(2))
        .pair("llama.expert_feed_forward_length", Pair::U32(6));
    let found = model_of(&mixtral);
    assert_eq!((found.experts, found.experts_used, found.feed_forward), (5, 2, 6));
    assert_eq!((found.activation, found.rotary), (Activation::Silu, Rotary::Adjacent));
    assert_eq!(model_of(&with("llama", &[("llama.expert_count", Pair::U32(0))])).experts, 0);
    let dense_tensors =
        with("llama", &[("llama.expert_count", Pair::U32(5)), ("llama.expert_used_count", Pair::U32(2))]);
    assert!(refusal_of(&dense_tensors).detail.contains("blk.0.ffn_gate_inp.weight"));
    let mut heads = EXPERTS_LAYER.to_vec();
    heads.extend([("attn_q_norm.weight", &[4][..]), ("attn_k_norm.weight", &[4][..])]);
    let qwen = small("qwen3moe", &heads)
        .pair("qwen3moe.expert_count", Pair::U32(5))
        .pair("qwen3moe.expert_used_count", Pair::U32(5))
        .pair("qwen3moe.expert_feed_forward_length", Pair::U32(6));
    assert_eq!((model_of(&qwen).experts, model_of(&qwen).rotary), (5, Rotary::Halves));
    assert_eq!(supported_architectures().filter(|name| *name == "llama").count(), 1);
}

#[test]
fn what_is_not_supported_is_named() {
    let cases: Vec<(Writer, &[&str])> = vec![
        (with("mamba", &[]), &["\"mamba\"", "gpt-oss", "llama", "qwen3"]),
        (with("llama", &[("general.type", Pair::text("adapter"))]), &["general.type", "\"adapter\""]),
        (with("llama", &[("split.count", Pair::U32(3))]), &["split.count", "3 parts"]),
        (with("qwen2", &[("qwen2.expert_count", Pair::U32(8))]), &["qwen2.expert_count", "8 experts"]),
        (with("llama", &[("llama.attention.causal", Pair::Bool(false))]), &["llama.attention.causal"]),
        (with("llama", &[("llama.attention.head_count_kv", Pair::U32s(vec![1, 2]))]), &["head_count_kv", "differs"]),
        (Writer { tensors: vec![], ..llama() }, &["no tensors"]),
    ];
    for (writer, parts) in cases {
        let error = refusal_of(&writer);
        assert_eq!(error.code, Code::ModelUnsupported, "{error}");
        assert!(parts.iter().all(|part| error.detail.contains(part)), "{error} lacks one of {parts:?}");
    }
    let uniform = model_of(&with("llama", &[("llama.attention.head_count_kv", Pair::I32s(vec![1, 1]))]));
    assert_eq!(uniform.kv_heads, 1);
}

#[test]
fn a_forged_number_of_layers_costs_nothing() {
    let started = std::time::Instant::now();
    let error = refusal_of(&with("llama", &[("llama.block_count", Pair::U32(u32::MAX))]));
    assert!(error.detail.contains("\"blk.2.attn_norm.weight\""), "{error}");
    assert!(started.elapsed() < std::time::Duration::from_secs(1));
}

#[test]
fn windows_come_as_a_period_or_layer_by_layer() {
    let layer: Vec<(&str, &[u64])> = LLAMA_LAYER
        .iter()
        .copied()
        .chain([("post_attention_norm.weight", &[8][..]), ("post_ffw_norm.weight", &[8])])
        .collect();
    let gemma2 = |pattern: Pair| {
        small("gemma2", &layer)
            .pair("gemma2.attention.sliding_window", Pair::U32(7))
            .pair("gemma2.attention.sliding_window_pattern", pattern)
    };
    let windows = |pattern: Pair| {
        let model = model_of(&gemma2(pattern));
        (model.window, model.window_period)
    };
    assert_eq!(windows(Pair::U32(3)), (7, 3));
    assert_eq!(windows(Pair::U32(1)), (0, 0));
    assert_eq!(windows(Pair::U32(0)), (7, 1));
    assert_eq!(windows(Pair::Bools(vec![true, false])), (7, 2));
    assert_eq!(windows(Pair::Bools(vec![true, true])), (7, 1));
    assert_eq!(windows(Pair::Bools(vec![false, false])), (0, 0));
    assert_eq!(refusal_of(&gemma2(Pair::Bools(vec![false, true]))).code, Code::ModelUnsupported);
    assert_eq!(refusal_of(&gemma2(Pair::Bools(vec![true]))).code, Code::ModelLoadFailed);
    assert_eq!(model_of(&small("gemma2", &layer)).window, 4096);
}
