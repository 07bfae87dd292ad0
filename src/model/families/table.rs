//! The architectures. One that differs from these in data alone is one entry more.

use super::rules::{self, Rule};
use crate::engine::{Activation, Norm, Rotary};

/// An architecture.
pub struct Family {
    /// The value of "general.architecture", and the prefix of its other keys. Two may have the same, one with experts and
    /// one without: the number of experts tells which it is.
    pub name: &'static str,
    /// How layers normalise; says also which key has the epsilon.
    pub norm: Norm,
    /// How positions turn queries and keys.
    pub rotary: Rotary,
    /// The feed-forward's activation.
    pub activation: Activation,
    /// Whether the feed-forward has a gate.
    pub gated: bool,
    /// Whether embeddings are multiplied by the root of the width.
    pub embeddings_scaled: bool,
    /// Which layers see only a window.
    pub windows: Windows,
    /// Soft caps of attention scores and of logits where the keys are absent; 0: none.
    pub softcaps: Softcaps,
    /// The number of layers of the one size whose attention scale is 1/sqrt(width / heads) instead of
    /// 1/sqrt(head size); no key tells.
    pub layers_scaled_by_width: Option<u32>,
    /// Whether the feed-forward is a mixture of experts.
    pub experts: bool,
    /// The model's own tensors.
    pub model: &'static [&'static [Rule]],
    /// The tensors of each layer.
    pub layer: &'static [&'static [Rule]],
}

/// Which layers see only a window of the context.
pub enum Windows {
    /// None, whatever the keys say.
    None,
    /// All but the last of every `period` layers.
    Periodic {
        /// Layers of a period, unless the file says otherwise.
        period: u32,
        /// The window where the key is absent.
        absent: AbsentWindow,
        /// Base of the rotary frequencies in windowed layers, where it is their own; they are then not scaled either.
        own_rotary_base: Option<f32>,
    },
}

/// What the absence of the window's key means.
pub enum AbsentWindow {
    /// The file is damaged.
    Refused,
    /// No layer is windowed.
    NoWindow,
    /// This one.
    Is(u32),
}

/// Soft caps; 0: none.
pub struct Softcaps {
    /// Of attention scores; `None`: there is none, whatever the keys say.
    pub attention: Option<f32>,
    /// Of logits.
    pub logits: f32,
}

const UNCAPPED: Softcaps = Softcaps { attention: None, logits: 0.0 };

/// What most are: root-mean-square norms, a gated SiLU feed-forward, nothing capped or windowed.
const PLAIN: Family = Family {
    name: "",
    norm: Norm::Rms,
    rotary: Rotary::Halves,
    activation: Activation::Silu,
    gated: true,
    embeddings_scaled: false,
    windows: Windows::None,
    softcaps: UNCAPPED,
    layers_scaled_by_width: None,
    experts: false,
    model: &[rules::ENDS],
    layer: &[rules::ATTENTION, rules::ATTENTION_MAYBE_BIASED, rules::GATED],
};

/// Every architecture.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "llama",
        rotary: Rotary::Adjacent,
        model: &[rules::ENDS, rules::ROTARY_FACTORS, rules::LONG_ROTARY_FACTORS],
        layer: &[
            rules::ATTENTION,
            rules::ATTENTION_MAYBE_BIASED,
            rules::ATTENTION_OUTPUT_MAYBE_BIASED,
            rules::GATED,
            rules::GATED_MAYBE_BIASED,
        ],
        ..PLAIN
    },
    // Mixtral, whose files have the same name.
    Family {
        name: "llama",
        rotary: Rotary::Adjacent,
        experts: true,
        model: &[rules::ENDS, rules::ROTARY_FACTORS, rules::LONG_ROTARY_FACTORS],
        layer: &[rules::ATTENTION, rules::ATTENTION_MAYBE_BIASED, rules::ATTENTION_OUTPUT_MAYBE_BIASED, rules::EXPERTS],
        ..PLAIN
    },
    Family {
        name: "qwen2",
        model: &[rules::ENDS, rules::OUTPUT_MAYBE_BIASED],
        layer: &[rules::ATTENTION, rules::ATTENTION_BIASED, rules::GATED],
        ..PLAIN
    },
    Family {
        name: "qwen3",
        layer: &[rules::ATTENTION, rules::ATTENTION_MAYBE_BIASED, rules::HEAD_NORMS, rules::GATED],
        ..PLAIN
    },
    Family {
        name: "qwen3moe",
        experts: true,
        layer: &[rules::ATTENTION, rules::ATTENTION_MAYBE_BIASED, rules::HEAD_NORMS, rules::EXPERTS],
        ..PLAIN
    },
    // Its files have a window's key, but what the conversion wrote there is not what the models were trained with:
    // the reference engine reads the key and runs full attention.
    Family {
        name: "phi3",
        model: &[rules::ENDS, rules::LONG_ROTARY_FACTORS],
        layer: &[rules::ATTENTION, rules::ATTENTION_MAYBE_BIASED, rules::GATE_UP_FUSED],
        ..PLAIN
    },
    Family {
        name: "gemma2",
        activation: Activation::GeluTanh,
        embeddings_scaled: true,
        windows: Windows::Periodic { period: 2, absent: AbsentWindow::Is(4096), own_rotary_base: None },
        softcaps: Softcaps { attention: Some(50.0), logits: 30.0 },
        layers_scaled_by_width: Some(46),
        layer: &[rules::ATTENTION, rules::ATTENTION_MAYBE_BIASED, rules::GATED, rules::POST_NORMS],
        ..PLAIN
    },
    Family {
        name: "gemma3",
        activation: Activation::GeluTanh,
        embeddings_scaled: true,
        windows: Windows::Periodic { period: 6, absent: AbsentWindow::NoWindow, own_rotary_base: Some(10_000.0) },
        layers_scaled_by_width: Some(62),
        layer: &[rules::ATTENTION, rules::ATTENTION_MAYBE_BIASED, rules::HEAD_NORMS, rules::GATED, rules::POST_NORMS],
        ..PLAIN
    },
    Family {
        name: "gpt2",
        norm: Norm::Layer,
        rotary: Rotary::None,
        activation: Activation::GeluTanh,
        gated: false,
        model: &[rules::ENDS, rules::GPT2_ENDS],
        layer: &[rules::ATTENTION, rules::ATTENTION_BIASED, rules::ATTENTION_OUTPUT_BIASED, rules::GPT2_LAYER],
        ..PLAIN
    },
    Family {
        name: "gpt-oss",
        activation: Activation::SwigluClamped,
        windows: Windows::Periodic { period: 2, absent: AbsentWindow::Refused, own_rotary_base: None },
        experts: true,
        layer: &[
            rules::ATTENTION,
            rules::ATTENTION_BIASED,
            rules::ATTENTION_OUTPUT_BIASED,
            rules::SINKS,
            rules::GPT_OSS_EXPERTS,
        ],
        ..PLAIN
    },
];
