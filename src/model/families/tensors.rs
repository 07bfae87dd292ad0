//! Gives each tensor of a file its role, and checks that it has the shape its role asks for.

use std::collections::{HashMap, HashSet};

use super::rules::{Length, Need, Rule};
use super::table::Family;
use crate::engine::{ModelDescription, TensorSource, TensorType};
use crate::error::{Code, Error, Result};
use crate::model::gguf::{GgufFile, TensorInformation};

/// The tensors with their roles; learns the vocabulary's size on the way.
pub fn assign(family: &Family, model: &mut ModelDescription, file: &GgufFile) -> Result<Vec<TensorSource>> {
    let tensors: Tensors = file.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    model.vocabulary = vocabulary(&tensors, file)?;
    let mut sources = Vec::with_capacity(file.tensors.len());
    for rule in family.model.iter().copied().flatten() {
        sources.extend(find(rule, None, model, &tensors)?);
    }
    // A layer too many fails at its first tensor, so a forged number of layers costs nothing.
    for layer in 0..model.layers {
        for rule in family.layer.iter().copied().flatten() {
            sources.extend(find(rule, Some(layer), model, &tensors)?);
        }
    }
    refuse_rest(family, model, &tensors, &sources)?;
    Ok(sources)
}

type Tensors<'a> = HashMap<&'a str, &'a TensorInformation>;

/// The embedding has a row for every token; the tokenizer must know as many.
fn vocabulary(tensors: &Tensors, file: &GgufFile) -> Result<u32> {
    let Some(embedding) = tensors.get(EMBEDDING) else { return Err(missing(EMBEDDING)) };
    let rows = embedding.shape[1];
    if let Some(tokens) = file.metadata.strings(TOKENS)? {
        if tokens.len() as u64 != rows {
            return Err(refuse(format!(
                "tensor {EMBEDDING:?}: expected a row for each of the {} tokens of key {TOKENS:?}, found {rows}",
                tokens.len()
            )));
        }
    }
    u32::try_from(rows)
        .map_err(|_| refuse(format!("tensor {EMBEDDING:?}: expected at most {} rows, found {rows}", u32::MAX)))
}

/// The tensor of a rule, if there is one and may be.
fn find(rule: &Rule, layer: Option<u32>, model: &ModelDescription, tensors: &Tensors) -> Result<Option<TensorSource>> {
    let full_name = |name: &str| match layer {
        Some(layer) => format!("blk.{layer}.{name}"),
        None => name.to_owned(),
    };
    let name = full_name(rule.name);
    let tensor = tensors.get(name.as_str());
    check_need(rule, &name, tensor.is_some(), |other| tensors.contains_key(full_name(other).as_str()))?;
    let Some(tensor) = tensor else { return Ok(None) };
    check_shape(tensor, rule.shape, model)?;
    Ok(Some(TensorSource {
        role: rule.role,
        layer,
        name,
        kind: TensorType(tensor.format.number),
        shape: tensor.shape,
        range: tensor.range.clone(),
    }))
}

fn check_need(rule: &Rule, name: &str, found: bool, has: impl Fn(&str) -> bool) -> Result<()> {
    match rule.need {
        Need::Required if !found => Err(missing(name)),
        Need::InsteadOf(other) if found && has(other) => {
            Err(refuse(format!("tensor {name:?}: expected either it or {other:?}, found both")))
        }
        Need::InsteadOf(other) if !found && !has(other) => {
            Err(refuse(format!("tensor {name:?}: expected either it or {other:?}, found neither")))
        }
        Need::With(other) if !found && has(other) => {
            Err(refuse(format!("tensor {name:?}: expected it beside {other:?}, found none of that name")))
        }
        _ => Ok(()),
    }
}

fn check_shape(tensor: &TensorInformation, lengths: &[Length], model: &ModelDescription) -> Result<()> {
    let mut expected = [1; 4];
    for (expected, length) in expected.iter_mut().zip(lengths) {
        *expected = length.of(model);
    }
    if tensor.shape == expected {
        return Ok(());
    }
    Err(refuse(format!(
        "tensor {:?}: expected {}, file has {}",
        tensor.name,
        shown(&expected, lengths.len()),
        shown(&tensor.shape, tensor.dimensions as usize)
    )))
}

/// What is left would take part in the model in a way this does not know; leaving it out would give wrong answers.
fn refuse_rest(family: &Family, model: &ModelDescription, tensors: &Tensors, used: &[TensorSource]) -> Result<()> {
    let used: HashSet<&str> = used.iter().map(|source| source.name.as_str()).collect();
    let mut unknown: Vec<&str> =
        tensors.keys().copied().filter(|name| !used.contains(name) && !is_redundant(name)).collect();
    unknown.sort_unstable();
    let Some(first) = unknown.first() else { return Ok(()) };
    Err(Error::new(
        Code::ModelUnsupported,
        format!(
            "tensor {first:?}: its part in {:?} with {} layers is not known ({} such tensors)",
            family.name,
            model.layers,
            unknown.len()
        ),
    ))
}

/// Old conversions wrote the rotary frequencies out, which follow from the keys.
fn is_redundant(name: &str) -> bool {
    name.ends_with(".attn_rot_embd.weight") || name.ends_with(".attn_rot_embd")
}

fn shown(shape: &[u64; 4], dimensions: usize) -> String {
    shape[..dimensions.clamp(1, 4)].iter().map(u64::to_string).collect::<Vec<_>>().join("x")
}

fn missing(name: &str) -> Error {
    refuse(format!("tensor {name:?}: expected it, found none of that name"))
}

fn refuse(detail: String) -> Error {
    Error::new(Code::ModelLoadFailed, detail)
}

const EMBEDDING: &str = "token_embd.weight";
const TOKENS: &str = "tokenizer.ggml.tokens";
