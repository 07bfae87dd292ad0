//! Which tensors a layer is made of: names as GGUF has them, roles, shapes. Shared pieces of the architectures.

use crate::engine::{ModelDescription, TensorRole};
use TensorRole as Role;

/// One tensor of an architecture.
pub struct Rule {
    /// Its name; within a layer, what follows "blk.N.".
    pub name: &'static str,
    /// What it is for.
    pub role: TensorRole,
    /// Its shape; `shape[0]` is the length of a row.
    pub shape: &'static [Length],
    /// Whether it must be there.
    pub need: Need,
}

/// Whether a tensor must be there.
pub enum Need {
    /// Always.
    Required,
    /// Used if there.
    Optional,
    /// Unless the other one is there, and then it must not be.
    InsteadOf(&'static str),
    /// If the other one is, and only then.
    With(&'static str),
}

/// A length, by what it depends on.
#[derive(Clone, Copy)]
pub enum Length {
    /// Of an embedding.
    Width,
    /// How many tokens.
    Vocabulary,
    /// Positions of the trained context.
    Context,
    /// How many query heads.
    Heads,
    /// Values of a query or key head.
    HeadSize,
    /// All query heads' values.
    Queries,
    /// All key heads' values.
    Keys,
    /// All value heads' values.
    Values,
    /// Queries, keys and values together.
    QueriesKeysValues,
    /// What attention gives: a value per query head.
    Attended,
    /// The feed-forward's middle.
    FeedForward,
    /// Gate and up together.
    GateUp,
    /// How many experts.
    Experts,
    /// Half the values that turn.
    RotaryHalf,
}

impl Length {
    /// The number. It cannot overflow: products are of two 32-bit numbers, sums of three such.
    pub fn of(self, model: &ModelDescription) -> u64 {
        let product = |left: u32, right: u32| u64::from(left) * u64::from(right);
        let queries = product(model.heads, model.head_size);
        let keys = product(model.kv_heads, model.head_size);
        let values = product(model.kv_heads, model.value_size);
        match self {
            Self::Width => model.width.into(),
            Self::Vocabulary => model.vocabulary.into(),
            Self::Context => model.context_length.into(),
            Self::Heads => model.heads.into(),
            Self::HeadSize => model.head_size.into(),
            Self::Queries => queries,
            Self::Keys => keys,
            Self::Values => values,
            Self::QueriesKeysValues => queries.saturating_add(keys).saturating_add(values),
            Self::Attended => product(model.heads, model.value_size),
            Self::FeedForward => model.feed_forward.into(),
            Self::GateUp => product(2, model.feed_forward),
            Self::Experts => model.experts.into(),
            Self::RotaryHalf => u64::from(model.rotary_size) / 2,
        }
    }
}

const fn required(name: &'static str, role: Role, shape: &'static [Length]) -> Rule {
    Rule { name, role, shape, need: Need::Required }
}

const fn optional(name: &'static str, role: Role, shape: &'static [Length]) -> Rule {
    Rule { name, role, shape, need: Need::Optional }
}

const fn instead_of(other: &'static str, name: &'static str, role: Role, shape: &'static [Length]) -> Rule {
    Rule { name, role, shape, need: Need::InsteadOf(other) }
}

const fn with(other: &'static str, name: &'static str, role: Role, shape: &'static [Length]) -> Rule {
    Rule { name, role, shape, need: Need::With(other) }
}

use Length::{
    Attended, Context, Experts, FeedForward, GateUp, HeadSize, Heads, Keys, Queries, QueriesKeysValues, RotaryHalf,
    Values, Vocabulary, Width,
};

/// Embedding, output norm and output. Without an output matrix the embedding serves as one.
pub const ENDS: &[Rule] = &[
    required("token_embd.weight", Role::TokenEmbedding, &[Width, Vocabulary]),
    required("output_norm.weight", Role::OutputNorm, &[Width]),
    optional("output.weight", Role::Output, &[Width, Vocabulary]),
];

/// The bias of the output matrix, where a file has it.
pub const OUTPUT_MAYBE_BIASED: &[Rule] = &[optional("output.bias", Role::OutputBias, &[Vocabulary])];

/// Rotary divisors of Llama 3's scaling, computed when the file was made.
pub const ROTARY_FACTORS: &[Rule] = &[optional("rope_freqs.weight", Role::RotaryFactors, &[RotaryHalf])];

/// Rotary divisors of longrope: one set within the original context, one above it.
pub const LONG_ROTARY_FACTORS: &[Rule] = &[
    with("rope_factors_short.weight", "rope_factors_long.weight", Role::RotaryFactorsLong, &[RotaryHalf]),
    with("rope_factors_long.weight", "rope_factors_short.weight", Role::RotaryFactorsShort, &[RotaryHalf]),
];

/// Learned positions and the output norm's bias.
pub const GPT2_ENDS: &[Rule] = &[
    required("position_embd.weight", Role::PositionEmbedding, &[Width, Context]),
    required("output_norm.bias", Role::OutputNormBias, &[Width]),
];

/// Attention with its norm; queries, keys and values apart or in one matrix.
pub const ATTENTION: &[Rule] = &[
    required("attn_norm.weight", Role::AttentionNorm, &[Width]),
    optional("attn_qkv.weight", Role::Qkv, &[Width, QueriesKeysValues]),
    instead_of("attn_qkv.weight", "attn_q.weight", Role::Query, &[Width, Queries]),
    instead_of("attn_qkv.weight", "attn_k.weight", Role::Key, &[Width, Keys]),
    instead_of("attn_qkv.weight", "attn_v.weight", Role::Value, &[Width, Values]),
    required("attn_output.weight", Role::AttentionOutput, &[Attended, Width]),
];

/// Biases of queries, keys and values that some files of an architecture have and some have not.
pub const ATTENTION_MAYBE_BIASED: &[Rule] = &[
    optional("attn_qkv.bias", Role::QkvBias, &[QueriesKeysValues]),
    optional("attn_q.bias", Role::QueryBias, &[Queries]),
    optional("attn_k.bias", Role::KeyBias, &[Keys]),
    optional("attn_v.bias", Role::ValueBias, &[Values]),
];

/// The bias of what attention gives, where a file has it.
pub const ATTENTION_OUTPUT_MAYBE_BIASED: &[Rule] = &[optional("attn_output.bias", Role::AttentionOutputBias, &[Width])];

/// Biases of queries, keys and values, apart or in one.
pub const ATTENTION_BIASED: &[Rule] = &[
    optional("attn_qkv.bias", Role::QkvBias, &[QueriesKeysValues]),
    instead_of("attn_qkv.bias", "attn_q.bias", Role::QueryBias, &[Queries]),
    instead_of("attn_qkv.bias", "attn_k.bias", Role::KeyBias, &[Keys]),
    instead_of("attn_qkv.bias", "attn_v.bias", Role::ValueBias, &[Values]),
];

/// The bias of what attention gives.
pub const ATTENTION_OUTPUT_BIASED: &[Rule] = &[required("attn_output.bias", Role::AttentionOutputBias, &[Width])];

/// Norms of each query and key head.
pub const HEAD_NORMS: &[Rule] = &[
    required("attn_q_norm.weight", Role::QueryNorm, &[HeadSize]),
    required("attn_k_norm.weight", Role::KeyNorm, &[HeadSize]),
];

/// A score per head that takes attention and gives nothing.
pub const SINKS: &[Rule] = &[required("attn_sinks.weight", Role::AttentionSinks, &[Heads])];

/// A gated feed-forward with its norm.
pub const GATED: &[Rule] = &[
    required("ffn_norm.weight", Role::FeedForwardNorm, &[Width]),
    required("ffn_gate.weight", Role::Gate, &[Width, FeedForward]),
    required("ffn_up.weight", Role::Up, &[Width, FeedForward]),
    required("ffn_down.weight", Role::Down, &[FeedForward, Width]),
];

/// Biases of a gated feed-forward.
pub const GATED_MAYBE_BIASED: &[Rule] = &[
    optional("ffn_gate.bias", Role::GateBias, &[FeedForward]),
    optional("ffn_up.bias", Role::UpBias, &[FeedForward]),
    optional("ffn_down.bias", Role::DownBias, &[Width]),
];

/// A gated feed-forward whose gate and up are one matrix.
pub const GATE_UP_FUSED: &[Rule] = &[
    required("ffn_norm.weight", Role::FeedForwardNorm, &[Width]),
    required("ffn_up.weight", Role::GateUp, &[Width, GateUp]),
    required("ffn_down.weight", Role::Down, &[FeedForward, Width]),
];

/// Norms of what attention and feed-forward give, before it is added.
pub const POST_NORMS: &[Rule] = &[
    required("post_attention_norm.weight", Role::PostAttentionNorm, &[Width]),
    required("post_ffw_norm.weight", Role::PostFeedForwardNorm, &[Width]),
];

/// GPT-2's layer: two matrices and biases everywhere.
pub const GPT2_LAYER: &[Rule] = &[
    required("attn_norm.bias", Role::AttentionNormBias, &[Width]),
    required("ffn_norm.weight", Role::FeedForwardNorm, &[Width]),
    required("ffn_norm.bias", Role::FeedForwardNormBias, &[Width]),
    required("ffn_up.weight", Role::Up, &[Width, FeedForward]),
    required("ffn_up.bias", Role::UpBias, &[FeedForward]),
    required("ffn_down.weight", Role::Down, &[FeedForward, Width]),
    required("ffn_down.bias", Role::DownBias, &[Width]),
];

/// A mixture of experts as most have it: a router, and each matrix of a gated feed-forward once for every expert.
pub const EXPERTS: &[Rule] = &[
    required("ffn_norm.weight", Role::FeedForwardNorm, &[Width]),
    required("ffn_gate_inp.weight", Role::Router, &[Width, Experts]),
    required("ffn_gate_exps.weight", Role::ExpertsGate, &[Width, FeedForward, Experts]),
    required("ffn_up_exps.weight", Role::ExpertsUp, &[Width, FeedForward, Experts]),
    required("ffn_down_exps.weight", Role::ExpertsDown, &[FeedForward, Width, Experts]),
];

/// gpt-oss's mixture of experts. What its files call the post-attention norm is the norm before the feed-forward.
pub const GPT_OSS_EXPERTS: &[Rule] = &[
    required("post_attention_norm.weight", Role::FeedForwardNorm, &[Width]),
    required("ffn_gate_inp.weight", Role::Router, &[Width, Experts]),
    required("ffn_gate_inp.bias", Role::RouterBias, &[Experts]),
    required("ffn_gate_exps.weight", Role::ExpertsGate, &[Width, FeedForward, Experts]),
    required("ffn_gate_exps.bias", Role::ExpertsGateBias, &[FeedForward, Experts]),
    required("ffn_up_exps.weight", Role::ExpertsUp, &[Width, FeedForward, Experts]),
    required("ffn_up_exps.bias", Role::ExpertsUpBias, &[FeedForward, Experts]),
    required("ffn_down_exps.weight", Role::ExpertsDown, &[FeedForward, Width, Experts]),
    required("ffn_down_exps.bias", Role::ExpertsDownBias, &[Width, Experts]),
];
