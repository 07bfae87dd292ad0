//! From a file's keys and tensors to what the engine runs: the architectures, each described as data.

mod keys;
mod rules;
mod table;
mod tensors;
#[cfg(test)]
mod tests;

use super::gguf::GgufFile;
use crate::engine::{ModelDescription, TensorRole, TensorSource};
use crate::error::{Code, Error, Result};
use table::Family;

/// The model in the file: its shape and arithmetic, and each tensor with its role. Every tensor the architecture needs
/// is there with the shape its keys ask for, and the file holds no tensor whose part in the model is not known.
pub fn describe(file: &GgufFile) -> Result<(ModelDescription, Vec<TensorSource>)> {
    let family = family_of(file)?;
    let mut description = keys::read(family, file)?;
    let tensors = tensors::assign(family, &mut description, file)?;
    // Two sets of factors need to know where one ends and the other begins, whatever the keys call the scaling.
    if description.original_context == 0 && tensors.iter().any(|tensor| tensor.role == TensorRole::RotaryFactorsLong) {
        description.original_context = description.context_length;
    }
    Ok((description, tensors))
}

/// Settles which of two sets of rotary factors is used: those for short contexts, or those for contexts beyond what the
/// model was first trained for. It is decided by the context that sessions may have, not by where one stands in it: keys
/// in the cache were turned by one of the two, and must not meet queries turned by the other.
pub fn choose_rotary_factors(description: &ModelDescription, tensors: &mut Vec<TensorSource>, context: u32) {
    let (chosen, other) = if context > description.original_context {
        (TensorRole::RotaryFactorsLong, TensorRole::RotaryFactorsShort)
    } else {
        (TensorRole::RotaryFactorsShort, TensorRole::RotaryFactorsLong)
    };
    tensors.retain(|tensor| tensor.role != other);
    for tensor in tensors.iter_mut().filter(|tensor| tensor.role == chosen) {
        tensor.role = TensorRole::RotaryFactors;
    }
}

/// The architectures that [`describe`] knows, by the name files give them.
pub fn supported_architectures() -> impl Iterator<Item = &'static str> {
    let is_first =
        |index: usize| table::FAMILIES[..index].iter().all(|other| other.name != table::FAMILIES[index].name);
    table::FAMILIES.iter().enumerate().filter(move |(index, _)| is_first(*index)).map(|(_, family)| family.name)
}

fn family_of(file: &GgufFile) -> Result<&'static Family> {
    refuse_other_kinds(file)?;
    let Some(name) = file.metadata.string("general.architecture")? else {
        return Err(Error::new(Code::ModelLoadFailed, "key \"general.architecture\": expected a string, found none"));
    };
    let mut found = table::FAMILIES.iter().filter(|family| family.name == name);
    let Some(first) = found.next() else {
        let supported = supported_architectures().collect::<Vec<_>>().join(", ");
        return Err(Error::new(Code::ModelUnsupported, format!("architecture {name:?}; supported are {supported}")));
    };
    let Some(other) = found.next() else { return Ok(first) };
    let has_experts = file.metadata.u32(&format!("{name}.expert_count"))?.unwrap_or(0) > 0;
    Ok(if first.experts == has_experts { first } else { other })
}

/// GGUF also carries adapters, projectors, importance matrices, vocabularies, and parts of models.
fn refuse_other_kinds(file: &GgufFile) -> Result<()> {
    if let Some(kind) = file.metadata.string("general.type")? {
        if kind != "model" {
            return Err(Error::new(
                Code::ModelUnsupported,
                format!("key \"general.type\": expected \"model\", found {kind:?}"),
            ));
        }
    }
    if let Some(parts) = file.metadata.u32("split.count")? {
        if parts > 1 {
            return Err(Error::new(
                Code::ModelUnsupported,
                format!("key \"split.count\": one of {parts} parts of a model; supported are models in one file"),
            ));
        }
    }
    if file.tensors.is_empty() {
        return Err(Error::new(Code::ModelUnsupported, "the file holds no tensors, only a vocabulary or settings"));
    }
    Ok(())
}
