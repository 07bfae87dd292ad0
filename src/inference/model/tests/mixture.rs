//! A mixture of experts that are all the same is the dense model.

use super::*;
use crate::inference::ScoreKind;
use crate::model::gguf::writer::{Pair, Writer};
use crate::model::{GgufFile, LoadMode as FileMode};

const EXPERTS: u64 = 4;

/// The stories as Mixtral has them: every expert is the feed-forward, and the router prefers one or another.
fn mixture() -> Vec<u8> {
    let file = GgufFile::open(&stories("f32"), FileMode::Map).unwrap();
    let keys = &file.metadata;
    let number = |key: &str| Pair::U32(keys.u32(key).unwrap().unwrap());
    let tokens = keys.strings("tokenizer.ggml.tokens").unwrap().unwrap();
    let mut writer = Writer::default()
        .pair("general.architecture", Pair::text("llama"))
        .pair("llama.expert_count", Pair::U32(EXPERTS as u32))
        .pair("llama.expert_used_count", Pair::U32(2))
        .pair("llama.attention.layer_norm_rms_epsilon", Pair::F32(1e-5))
        .pair("tokenizer.ggml.model", Pair::text("llama"))
        .pair("tokenizer.ggml.tokens", Pair::Strings(tokens.iter().map(<[u8]>::to_vec).collect()))
        .pair("tokenizer.ggml.scores", Pair::F32s(keys.f32s("tokenizer.ggml.scores").unwrap().unwrap()))
        .pair("tokenizer.ggml.token_type", Pair::I32s(keys.i32s("tokenizer.ggml.token_type").unwrap().unwrap()));
    for key in ["block_count", "context_length", "embedding_length", "feed_forward_length"] {
        writer = writer.pair(&format!("llama.{key}"), number(&format!("llama.{key}")));
    }
    for key in ["attention.head_count", "attention.head_count_kv", "rope.dimension_count"] {
        writer = writer.pair(&format!("llama.{key}"), number(&format!("llama.{key}")));
    }
    let bytes = file.mapping.bytes();
    let mut data: Vec<Vec<u8>> = Vec::new();
    for tensor in &file.tensors {
        let shape = &tensor.shape[..tensor.dimensions as usize];
        let values = &bytes[tensor.range.clone()];
        match tensor
            .name
            .strip_suffix(".weight")
            .filter(|name| ["gate", "up", "down"].iter().any(|end| name.ends_with(&format!("ffn_{end}"))))
        {
            Some(name) => {
                writer = writer.tensor(&format!("{name}_exps.weight"), &[shape, &[EXPERTS]].concat(), 0);
                data.push(values.repeat(EXPERTS as usize));
            }
            None => {
                writer = writer.tensor(&tensor.name, shape, 0);
                data.push(values.to_vec());
            }
        }
        if let Some(layer) = tensor.name.strip_suffix("ffn_norm.weight") {
            writer = writer.tensor(&format!("{layer}ffn_gate_inp.weight"), &[shape[0], EXPERTS], 0);
            data.push(
                (0..shape[0] * EXPERTS).flat_map(|index| ((index * 37 % 11) as f32 - 5.0).to_le_bytes()).collect(),
            );
        }
    }
    let mut out = writer.bytes();
    let padded: Vec<u8> = data
        .into_iter()
        .flat_map(|mut values| {
            values.resize(values.len().next_multiple_of(32), 0);
            values
        })
        .collect();
    let start = out.len() - padded.len();
    out[start..].copy_from_slice(&padded);
    out
}

#[test]
fn equal_experts_are_the_dense_feed_forward() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mixture.gguf");
    std::fs::write(&path, mixture()).unwrap();
    let score = |path: &std::path::Path| {
        let device = Device::open(-1, 2).unwrap();
        let model = Model::load(path, device, &LoadOptions::default(), &mut |_| true).unwrap();
        let tokens: Vec<u32> = (0..40).map(|place| 3 + place * 17 % 500).collect();
        model.score(&tokens, 0, ScoreKind::Logits, KvType::F32).unwrap()
    };
    let (dense, mixed) = (score(&stories("f32")), score(&path));
    assert_eq!(dense.len(), mixed.len());
    let furthest = dense.iter().zip(&mixed).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
    let largest = dense.iter().map(|value| value.abs()).fold(0.0, f32::max);
    assert!(furthest < 2e-5 * largest, "{furthest} of {largest}");
    assert_ne!(dense, mixed, "the experts were asked, and their shares are not whole");
}
