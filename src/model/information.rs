//! What a model file says about itself, as JSON for hosts and people.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use super::families::describe;
use super::gguf::GgufFile;
use crate::engine::ModelDescription;

/// Architecture, name, shape, quantisation, tokenizer, context, licence and sizes of the model in the file. What the
/// file does not say, or says wrongly, is null: to refuse damaged files is [`describe`]'s part.
#[must_use]
pub fn information(file: &GgufFile) -> Value {
    let text = |key: &str| file.metadata.string(key).ok().flatten();
    let parameters: u64 = file.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.values()));
    let model = describe(file).ok().map(|(model, _)| model);
    // Tensors do not overlap, so their bytes add up to no more than the file.
    let bytes: usize = file.tensors.iter().map(|tensor| tensor.range.len()).sum();
    json!({
        "architecture": text("general.architecture"),
        "name": text("general.name"),
        "description": text("general.description"),
        "license": text("general.license"),
        "file_type": file.metadata.u32("general.file_type").ok().flatten().and_then(file_type_name),
        "parameters": parameters,
        "size_bytes": bytes,
        "file_bytes": file.mapping.bytes().len(),
        "gguf_version": file.version,
        "shape": model.as_ref().map(shape),
        "context_length": model.as_ref().map(|model| model.context_length),
        "quantization": quantization(file),
        "tokenizer": {
            "model": text("tokenizer.ggml.model"),
            "pre": text("tokenizer.ggml.pre"),
            "tokens": file.metadata.strings("tokenizer.ggml.tokens").ok().flatten().map(|tokens| tokens.len()),
            "chat_template": text("tokenizer.chat_template").is_some(),
        },
    })
}

fn shape(model: &ModelDescription) -> Value {
    json!({
        "vocabulary": model.vocabulary,
        "width": model.width,
        "layers": model.layers,
        "heads": model.heads,
        "kv_heads": model.kv_heads,
        "head_size": model.head_size,
        "value_size": model.value_size,
        "feed_forward": model.feed_forward,
        "experts": model.experts,
        "experts_used": model.experts_used,
        "window": model.window,
    })
}

/// Per tensor type: how many tensors, and their bytes.
fn quantization(file: &GgufFile) -> Value {
    let mut types: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for tensor in &file.tensors {
        let (count, bytes) = types.entry(tensor.format.name).or_default();
        *count += 1;
        *bytes += tensor.range.len();
    }
    types
        .into_iter()
        .map(|(name, (count, bytes))| (name.to_owned(), json!({ "tensors": count, "bytes": bytes })))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The name of a mix of tensor types, by the number that files have.
fn file_type_name(number: u32) -> Option<&'static str> {
    FILE_TYPES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

const FILE_TYPES: &[(u32, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4_MOE"),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::LoadMode;
    use crate::model::gguf::writer::{Pair, Writer};

    #[test]
    fn a_model_tells_what_it_is() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models/stories260K-q8_0.gguf");
        let told = information(&GgufFile::open(&path, LoadMode::Map).unwrap());
        assert_eq!(told["architecture"], "llama");
        assert_eq!(told["name"], "stories260K");
        assert_eq!(told["license"], "mit");
        assert_eq!(told["file_type"], "Q8_0");
        assert_eq!(told["parameters"], 260_032);
        assert_eq!(told["file_bytes"], 344_480);
        assert_eq!(told["context_length"], 512);
        assert_eq!(told["shape"]["layers"], 5);
        assert_eq!(told["shape"]["kv_heads"], 4);
        assert_eq!(told["tokenizer"], json!({"model": "llama", "pre": null, "tokens": 512, "chat_template": false}));
        // The rows of the down matrices are no multiple of Q8_0's block, so they are F16.
        assert_eq!(told["quantization"]["F16"], json!({"tensors": 5, "bytes": 5 * 172 * 64 * 2}));
        assert_eq!(told["quantization"]["F32"]["tensors"], 11);
        let sum: u64 =
            ["F16", "F32", "Q8_0"].iter().filter_map(|name| told["quantization"][name]["bytes"].as_u64()).sum();
        assert_eq!(told["size_bytes"], sum);
    }

    #[test]
    fn a_file_that_is_no_model_tells_what_it_can() {
        let file = Writer::default().pair("general.name", Pair::U32(7)).tensor("x", &[32], 2).parse().unwrap();
        let told = information(&file);
        assert_eq!((&told["name"], &told["shape"]), (&Value::Null, &Value::Null));
        assert_eq!((&told["parameters"], &told["size_bytes"]), (&json!(32), &json!(18)));
    }
}
