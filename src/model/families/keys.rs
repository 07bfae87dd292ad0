//! Reads an architecture's keys into the engine's description.

use super::table::{AbsentWindow, Family, Windows};
use crate::engine::{Activation, ModelDescription, Norm, Rotary};
use crate::error::{Code, Error, Result};
use crate::model::gguf::{GgufFile, Metadata};

/// The description, all but the vocabulary, which the embedding's rows tell.
pub fn read(family: &Family, file: &GgufFile) -> Result<ModelDescription> {
    let keys = Keys { metadata: &file.metadata, prefix: family.name };
    if keys.metadata.bool(&keys.name("attention.causal"))? == Some(false) {
        return Err(unsupported(format!("key {:?}: attention that is not causal", keys.name("attention.causal"))));
    }
    let mut model = read_shape(family, &keys)?;
    read_arithmetic(family, &keys, &mut model)?;
    read_rotary(family, &keys, &mut model)?;
    read_windows(family, &keys, &mut model)?;
    Ok(model)
}

fn read_shape(family: &Family, keys: &Keys) -> Result<ModelDescription> {
    let mut model = ModelDescription {
        width: keys.positive("embedding_length")?,
        layers: keys.positive("block_count")?,
        context_length: keys.positive("context_length")?,
        heads: keys.positive("attention.head_count")?,
        feed_forward: keys.positive("feed_forward_length")?,
        ..ModelDescription::default()
    };
    model.kv_heads = keys.optional("attention.head_count_kv")?.unwrap_or(model.heads);
    if model.kv_heads == 0 || !model.heads.is_multiple_of(model.kv_heads) {
        return Err(refuse(format!(
            "key {:?}: expected a divisor of the {} heads, found {}",
            keys.name("attention.head_count_kv"),
            model.heads,
            model.kv_heads
        )));
    }
    model.head_size = keys.size_or("attention.key_length", model.width / model.heads)?;
    model.value_size = keys.size_or("attention.value_length", model.width / model.heads)?;
    read_experts(family, keys, &mut model)?;
    Ok(model)
}

fn read_experts(family: &Family, keys: &Keys, model: &mut ModelDescription) -> Result<()> {
    let experts = keys.optional("expert_count")?.unwrap_or(0);
    if !family.experts {
        if experts == 0 {
            return Ok(());
        }
        return Err(unsupported(format!(
            "key {:?}: {experts} experts in {:?}",
            keys.name("expert_count"),
            family.name
        )));
    }
    model.experts = keys.positive("expert_count")?;
    model.experts_used = keys.positive("expert_used_count")?;
    if model.experts_used > model.experts {
        return Err(refuse(format!(
            "key {:?}: expected at most the {} experts, found {}",
            keys.name("expert_used_count"),
            model.experts,
            model.experts_used
        )));
    }
    model.feed_forward = keys.size_or("expert_feed_forward_length", model.feed_forward)?;
    // The others take the softmax over all experts and then make the chosen ones' shares sum to one: the same numbers.
    model.experts_softmax_after = true;
    Ok(())
}

fn read_arithmetic(family: &Family, keys: &Keys, model: &mut ModelDescription) -> Result<()> {
    model.norm = family.norm;
    model.activation = family.activation;
    model.gated = family.gated;
    model.norm_epsilon = keys.required_f32(match family.norm {
        Norm::Rms => "attention.layer_norm_rms_epsilon",
        Norm::Layer => "attention.layer_norm_epsilon",
    })?;
    if family.embeddings_scaled {
        model.embedding_scale = (model.width as f32).sqrt();
    }
    if family.layers_scaled_by_width == Some(model.layers) {
        // A division of integers, as where the files come from.
        model.attention_scale = 1.0 / ((model.width / model.heads) as f32).sqrt();
    }
    if let Some(absent) = family.softcaps.attention {
        model.attention_softcap = keys.f32_or("attn_logit_softcapping", absent)?;
    }
    model.final_softcap = keys.f32_or("final_logit_softcapping", family.softcaps.logits)?;
    if family.activation == Activation::SwigluClamped {
        // No key has them; they are constants of the model's definition.
        model.swiglu_alpha = 1.702;
        model.swiglu_limit = 7.0;
    }
    Ok(())
}

fn read_rotary(family: &Family, keys: &Keys, model: &mut ModelDescription) -> Result<()> {
    model.rotary = family.rotary;
    if family.rotary == Rotary::None {
        return Ok(());
    }
    model.rotary_size = keys.size_or("rope.dimension_count", model.head_size)?;
    if model.rotary_size > model.head_size || !model.rotary_size.is_multiple_of(2) {
        return Err(refuse(format!(
            "key {:?}: expected an even number up to the head size {}, found {}",
            keys.name("rope.dimension_count"),
            model.head_size,
            model.rotary_size
        )));
    }
    model.rotary_base = keys.f32_or("rope.freq_base", 10_000.0)?;
    if model.rotary_base < 1.0 {
        return Err(refuse(format!(
            "key {:?}: expected 1 or more, found {}",
            keys.name("rope.freq_base"),
            model.rotary_base
        )));
    }
    read_rotary_scaling(keys, model)
}

fn read_rotary_scaling(keys: &Keys, model: &mut ModelDescription) -> Result<()> {
    let factor = match keys.f32_or("rope.scaling.factor", 0.0)? {
        0.0 => keys.f32_or("rope.scale_linear", 0.0)?,
        factor => factor,
    };
    let factor = if factor == 0.0 { 1.0 } else { factor };
    let attention_factor = keys.f32_or("rope.scaling.attn_factor", 1.0)?;
    let original = keys.optional("rope.scaling.original_context_length")?;
    let key = keys.name("rope.scaling.type");
    let scaling = keys.metadata.string(&key)?.unwrap_or("linear");
    model.rotary_scale = if scaling == "none" { 1.0 } else { 1.0 / factor };
    model.yarn_attention = attention_factor;
    match scaling {
        "none" | "linear" => model.original_context = original.unwrap_or(0),
        "longrope" => model.original_context = original.unwrap_or(model.context_length),
        "yarn" => {
            model.original_context = original.unwrap_or(model.context_length);
            model.yarn_factor = 1.0;
            // The magnitude YaRN's authors found to keep attention as sharp as before; the file's factor comes on top.
            model.yarn_attention = attention_factor * (1.0 + 0.1 * factor.max(1.0).ln());
            model.yarn_beta_fast = 32.0;
            model.yarn_beta_slow = 1.0;
        }
        other => {
            return Err(unsupported(format!("key {key:?}: {other:?}; supported are none, linear, yarn, longrope")));
        }
    }
    Ok(())
}

fn read_windows(family: &Family, keys: &Keys, model: &mut ModelDescription) -> Result<()> {
    let Windows::Periodic { period, ref absent, own_rotary_base } = family.windows else { return Ok(()) };
    let window = match (keys.optional("attention.sliding_window")?, absent) {
        (Some(window), _) => window,
        (None, AbsentWindow::Is(window)) => *window,
        (None, AbsentWindow::NoWindow) => 0,
        (None, AbsentWindow::Refused) => keys.positive("attention.sliding_window")?,
    };
    let period = keys.window_period(model.layers)?.unwrap_or(period);
    // In files a period of 1 windows no layer and 0 windows all; for the engine 1 means all.
    if window == 0 || period == 1 {
        return Ok(());
    }
    model.window = window;
    model.window_period = period.max(1);
    if family.rotary == Rotary::None {
        return Ok(());
    }
    model.rotary_base_windowed = keys.f32_or("rope.freq_base_swa", own_rotary_base.unwrap_or(model.rotary_base))?;
    model.rotary_scale_windowed = if own_rotary_base.is_some() { 1.0 } else { model.rotary_scale };
    Ok(())
}

/// The keys of one architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'static str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    /// A number that may be given once or, all the same, per layer.
    fn optional(&self, key: &str) -> Result<Option<u32>> {
        let name = self.name(key);
        let Some(value) = self.metadata.value(&name) else { return Ok(None) };
        if !value.is_array() {
            return self.metadata.u32(&name);
        }
        let values = self.metadata.u32s(&name)?.unwrap_or_default();
        match values.first() {
            None => Ok(None),
            Some(first) if values.iter().all(|value| value == first) => Ok(Some(*first)),
            Some(_) => Err(unsupported(format!("key {name:?}: it differs between layers; supported is one for all"))),
        }
    }

    /// Layers of a window's period, given as such or as which layers are windowed.
    fn window_period(&self, layers: u32) -> Result<Option<u32>> {
        let name = self.name("attention.sliding_window_pattern");
        let Some(value) = self.metadata.value(&name) else { return Ok(None) };
        if !value.is_array() {
            return self.metadata.u32(&name);
        }
        let windowed = self.metadata.bools(&name)?.unwrap_or_default();
        if windowed.len() as u64 != u64::from(layers) {
            return Err(refuse(format!("key {name:?}: expected {layers} entries, found {}", windowed.len())));
        }
        if windowed.iter().all(|windowed| *windowed) {
            return Ok(Some(0));
        }
        // A pattern that fits has its first full layer at the end of its first period.
        let period = windowed.iter().take_while(|windowed| **windowed).count() + 1;
        if windowed.iter().enumerate().all(|(layer, windowed)| *windowed == (layer % period < period - 1)) {
            return Ok(Some(period as u32));
        }
        Err(unsupported(format!("key {name:?}: supported are all but the last of every so many layers")))
    }

    fn positive(&self, key: &str) -> Result<u32> {
        match self.optional(key)? {
            Some(0) => Err(refuse(format!("key {:?}: expected a positive number, found 0", self.name(key)))),
            Some(value) => Ok(value),
            None => Err(refuse(format!("key {:?}: expected a number, found none", self.name(key)))),
        }
    }

    /// A positive number; `default` where the key is absent.
    fn size_or(&self, key: &str, default: u32) -> Result<u32> {
        match self.optional(key)?.unwrap_or(default) {
            0 => Err(refuse(format!("key {:?}: expected a positive number, found 0", self.name(key)))),
            value => Ok(value),
        }
    }

    fn required_f32(&self, key: &str) -> Result<f32> {
        let name = self.name(key);
        match self.metadata.f32(&name)? {
            Some(_) => self.f32_or(key, 0.0),
            None => Err(refuse(format!("key {name:?}: expected a number, found none"))),
        }
    }

    /// A number that is not negative; nothing read here may be.
    fn f32_or(&self, key: &str, default: f32) -> Result<f32> {
        let name = self.name(key);
        match self.metadata.f32(&name)?.unwrap_or(default) {
            value if value < 0.0 => Err(refuse(format!("key {name:?}: expected no negative number, found {value}"))),
            value => Ok(value),
        }
    }
}

fn refuse(detail: String) -> Error {
    Error::new(Code::ModelLoadFailed, detail)
}

fn unsupported(detail: String) -> Error {
    Error::new(Code::ModelUnsupported, detail)
}
