//! What a model is made of, as data.

use super::raw;

/// A model's shape and arithmetic; zero means "none" or "as usual" where the field says so.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelDescription {
    /// How many tokens there are.
    pub vocabulary: u32,
    /// Length of an embedding.
    pub width: u32,
    /// How many layers.
    pub layers: u32,
    /// Attention heads.
    pub heads: u32,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: u32,
    /// Values in a head of queries or keys.
    pub head_size: u32,
    /// Values in a head of values.
    pub value_size: u32,
    /// Width of the feed-forward's middle; of one expert, where there are experts.
    pub feed_forward: u32,
    /// Positions the model was trained for.
    pub context_length: u32,
    /// How layers normalise.
    pub norm: Norm,
    /// The feed-forward's activation.
    pub activation: Activation,
    /// True: down(act(gate x) * up x). False: down(act(up x)).
    pub gated: bool,
    /// How many experts; 0: dense.
    pub experts: u32,
    /// How many experts a token uses.
    pub experts_used: u32,
    /// Softmax over the chosen experts' scores, not over all.
    pub experts_softmax_after: bool,
    /// How queries and keys turn with their position.
    pub rotary: Rotary,
    /// How many values of a head turn.
    pub rotary_size: u32,
    /// Context before extension by YaRN or longrope; 0: none.
    pub original_context: u32,
    /// Sliding window in tokens; 0: none.
    pub window: u32,
    /// Layer `l` is windowed when `l % period < period - 1`; 1: every layer is.
    pub window_period: u32,
    /// Epsilon of the norms.
    pub norm_epsilon: f32,
    /// Embeddings are multiplied by it; 0 or 1: not.
    pub embedding_scale: f32,
    /// Of q·k; 0: 1/sqrt(head_size).
    pub attention_scale: f32,
    /// Soft cap of attention scores; 0: none.
    pub attention_softcap: f32,
    /// Soft cap of logits; 0: none.
    pub final_softcap: f32,
    /// Base of the rotary frequencies.
    pub rotary_base: f32,
    /// The same in windowed layers; 0: as `rotary_base`.
    pub rotary_base_windowed: f32,
    /// Linear scale of frequencies in full layers (1 / factor); 0 or 1: none.
    pub rotary_scale: f32,
    /// The same in windowed layers; 0 or 1: none.
    pub rotary_scale_windowed: f32,
    /// YaRN's extrapolation mix; 0: no YaRN.
    pub yarn_factor: f32,
    /// Factor of sine and cosine; 0 or 1: none.
    pub yarn_attention: f32,
    /// YaRN's fast end, in turns.
    pub yarn_beta_fast: f32,
    /// YaRN's slow end, in turns.
    pub yarn_beta_slow: f32,
    /// Factor of what a layer adds; 0 or 1: none.
    pub residual_scale: f32,
    /// Factor of logits; 0 or 1: none.
    pub logit_scale: f32,
    /// Alpha of the clamped SwiGLU.
    pub swiglu_alpha: f32,
    /// Limit of the clamped SwiGLU.
    pub swiglu_limit: f32,
}

/// How a layer normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Norm {
    /// By the root of the mean square.
    #[default]
    Rms = 0,
    /// By mean and variance.
    Layer = 1,
}

/// How queries and keys turn with their position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Rotary {
    /// They do not.
    #[default]
    None = 0,
    /// Pairs (2i, 2i+1).
    Adjacent = 1,
    /// Pairs (i, i + n/2).
    Halves = 2,
}

/// The feed-forward's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Activation {
    /// x * sigmoid(x).
    #[default]
    Silu = 0,
    /// GELU in its tanh form.
    GeluTanh = 1,
    /// gpt-oss's clamped SwiGLU.
    SwigluClamped = 2,
}

/// A tensor's type, by GGUF's number. The engine says at loading which ones it computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorType(pub u32);

impl TensorType {
    /// 32-bit floats.
    pub const F32: Self = Self(0);
    /// 16-bit floats.
    pub const F16: Self = Self(1);
    /// 16-bit floats with eight exponent bits.
    pub const BF16: Self = Self(30);
}

macro_rules! tensor_roles {
    ($($(#[$documentation:meta])* $name:ident = $number:literal,)*) => {
        /// What a tensor is for. Those before `AttentionNorm` belong to the model, the rest to a layer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum TensorRole {
            $($(#[$documentation])* $name = $number,)*
        }

        impl TensorRole {
            /// Every role.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

tensor_roles! {
    /// Rows: tokens.
    TokenEmbedding = 0,
    /// Rows: positions.
    PositionEmbedding = 1,
    /// After the last layer.
    OutputNorm = 2,
    /// Its bias.
    OutputNormBias = 3,
    /// Absent: the token embedding.
    Output = 4,
    /// Its bias.
    OutputBias = 5,
    /// Divisors of the rotary frequencies.
    RotaryFactors = 6,
    /// Divisors for contexts above the original one.
    RotaryFactorsLong = 7,
    /// Divisors for contexts within the original one.
    RotaryFactorsShort = 8,
    /// Before attention.
    AttentionNorm = 32,
    /// Its bias.
    AttentionNormBias = 33,
    /// Queries.
    Query = 34,
    /// Their bias.
    QueryBias = 35,
    /// Keys.
    Key = 36,
    /// Their bias.
    KeyBias = 37,
    /// Values.
    Value = 38,
    /// Their bias.
    ValueBias = 39,
    /// Rows: all queries, all keys, all values.
    Qkv = 40,
    /// Their bias.
    QkvBias = 41,
    /// Of each query head.
    QueryNorm = 42,
    /// Of each key head.
    KeyNorm = 43,
    /// From heads back to the embedding.
    AttentionOutput = 44,
    /// Its bias.
    AttentionOutputBias = 45,
    /// One score per head that takes attention and gives nothing.
    AttentionSinks = 46,
    /// Of attention's output, before it is added.
    PostAttentionNorm = 47,
    /// Before the feed-forward.
    FeedForwardNorm = 48,
    /// Its bias.
    FeedForwardNormBias = 49,
    /// The gate.
    Gate = 50,
    /// Its bias.
    GateBias = 51,
    /// Up.
    Up = 52,
    /// Its bias.
    UpBias = 53,
    /// Down.
    Down = 54,
    /// Its bias.
    DownBias = 55,
    /// Rows: gate, then up.
    GateUp = 56,
    /// Of the feed-forward's output, before it is added.
    PostFeedForwardNorm = 57,
    /// Scores experts.
    Router = 58,
    /// Its bias.
    RouterBias = 59,
    /// All experts' gates.
    ExpertsGate = 60,
    /// Their biases.
    ExpertsGateBias = 61,
    /// All experts' ups.
    ExpertsUp = 62,
    /// Their biases.
    ExpertsUpBias = 63,
    /// All experts' downs.
    ExpertsDown = 64,
    /// Their biases.
    ExpertsDownBias = 65,
}

impl ModelDescription {
    pub(super) fn raw(&self) -> raw::engine_model_description {
        let or_one = |factor: f32| if factor == 0.0 { 1.0 } else { factor };
        raw::engine_model_description {
            vocabulary: self.vocabulary,
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_size: self.head_size,
            value_size: self.value_size,
            feed_forward: self.feed_forward,
            context_length: self.context_length,
            norm: self.norm as u32,
            activation: self.activation as u32,
            gated: u32::from(self.gated),
            experts: self.experts,
            experts_used: self.experts_used,
            experts_softmax_after: u32::from(self.experts_softmax_after),
            rotary: self.rotary as u32,
            rotary_size: self.rotary_size,
            original_context: self.original_context,
            window: self.window,
            window_period: self.window_period,
            embedding_norm_scale: u32::from(self.embedding_scale != 0.0 && self.embedding_scale != 1.0),
            reserved: 0,
            norm_epsilon: self.norm_epsilon,
            embedding_scale: or_one(self.embedding_scale),
            attention_scale: self.attention_scale,
            attention_softcap: self.attention_softcap,
            final_softcap: self.final_softcap,
            rotary_base: self.rotary_base,
            rotary_base_windowed: self.rotary_base_windowed,
            rotary_scale: or_one(self.rotary_scale),
            rotary_scale_windowed: or_one(self.rotary_scale_windowed),
            yarn_factor: self.yarn_factor,
            yarn_attention: or_one(self.yarn_attention),
            yarn_beta_fast: self.yarn_beta_fast,
            yarn_beta_slow: self.yarn_beta_slow,
            residual_scale: self.residual_scale,
            logit_scale: self.logit_scale,
            swiglu_alpha: self.swiglu_alpha,
            swiglu_limit: self.swiglu_limit,
        }
    }
}
