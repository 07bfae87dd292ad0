"""The network in JAX: llama blocks with grouped-query attention.

Rotary positions turn adjacent pairs of a head, as GGUF's llama layout has it,
so the exporter writes the matrices as they are.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Config:
    vocabulary: int = 512
    width: int = 128
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 384
    context: int = 256
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self):
        return self.width // self.heads


def initial(config, key):
    """Weights of all layers stacked; matrices have the shape (out, in)."""
    layers, width, hidden = config.layers, config.width, config.hidden
    kv_width = config.kv_heads * config.head_width
    keys = iter(jax.random.split(key, 16))

    def normal(*shape, scale):
        return jax.random.normal(next(keys), shape, jnp.float32) * scale

    spread = width ** -0.5
    # The branches' last matrices start smaller, so the depth does not swell the sum.
    damped = (2 * layers) ** -0.5
    return {
        "embedding": normal(config.vocabulary, width, scale=0.5),
        "output": normal(config.vocabulary, width, scale=spread * 0.5),
        "output_norm": jnp.ones((width,)),
        "layers": {
            "attn_norm": jnp.ones((layers, width)),
            "ffn_norm": jnp.ones((layers, width)),
            "attn_q": normal(layers, width, width, scale=spread),
            "attn_k": normal(layers, kv_width, width, scale=spread),
            "attn_v": normal(layers, kv_width, width, scale=spread),
            "attn_output": normal(layers, width, width, scale=spread * damped),
            "ffn_gate": normal(layers, hidden, width, scale=spread),
            "ffn_up": normal(layers, hidden, width, scale=spread),
            "ffn_down": normal(layers, width, hidden, scale=hidden ** -0.5 * damped),
        },
    }


def _norm(x, weight, epsilon):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def _rotate(x, cosine, sine):
    """x: (batch, time, heads, head_width), turned pair by pair."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cosine, sine = cosine[None, :, None, :], sine[None, :, None, :]
    turned = jnp.stack([even * cosine - odd * sine, even * sine + odd * cosine], axis=-1)
    return turned.reshape(x.shape)


def forward(config, weights, tokens):
    """Logits (batch, time, vocabulary) of token rows."""
    batch, time = tokens.shape
    head = config.head_width
    steps = config.rope_base ** (-jnp.arange(0, head, 2, dtype=jnp.float32) / head)
    angles = jnp.arange(time, dtype=jnp.float32)[:, None] * steps[None, :]
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    causal = jnp.tril(jnp.ones((time, time), bool))
    group = config.heads // config.kv_heads

    x = weights["embedding"][tokens]
    for index in range(config.layers):
        layer = {name: stack[index] for name, stack in weights["layers"].items()}
        y = _norm(x, layer["attn_norm"], config.norm_epsilon)
        q = (y @ layer["attn_q"].T).reshape(batch, time, config.heads, head)
        k = (y @ layer["attn_k"].T).reshape(batch, time, config.kv_heads, head)
        v = (y @ layer["attn_v"].T).reshape(batch, time, config.kv_heads, head)
        q, k = _rotate(q, cosine, sine), _rotate(k, cosine, sine)
        q = q.reshape(batch, time, config.kv_heads, group, head)
        scores = jnp.einsum("btkgh,bskh->bkgts", q, k) * head ** -0.5
        scores = jnp.where(causal, scores, -1e30)
        mixed = jnp.einsum("bkgts,bskh->btkgh", jax.nn.softmax(scores, axis=-1), v)
        x = x + mixed.reshape(batch, time, config.width) @ layer["attn_output"].T
        y = _norm(x, layer["ffn_norm"], config.norm_epsilon)
        gated = jax.nn.silu(y @ layer["ffn_gate"].T) * (y @ layer["ffn_up"].T)
        x = x + gated @ layer["ffn_down"].T
    return _norm(x, weights["output_norm"], config.norm_epsilon) @ weights["output"].T


def loss(config, weights, tokens, wanted):
    """Mean cross-entropy over the places where `wanted` is not negative."""
    logits = forward(config, weights, tokens)
    chosen = jnp.take_along_axis(logits, jnp.maximum(wanted, 0)[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - chosen
    counted = wanted >= 0
    return jnp.sum(jnp.where(counted, losses, 0.0)) / jnp.sum(counted)
