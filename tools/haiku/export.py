"""Writes the trained weights as a GGUF file, matrices in Q8_0."""

import argparse
import pathlib

import gguf
import numpy
from gguf.quants import quantize

import model
import tokenizer

HERE = pathlib.Path(__file__).parent
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ bos_token + message['content'] + '\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
)
LAYER_NAMES = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output",
               "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")


def add_metadata(writer, config, words):
    writer.add_name("Haiku")
    writer.add_description("Writes a haiku on a given topic; trained from scratch.")
    writer.add_license("Apache-2.0")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocabulary)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words.tokens)
    writer.add_token_scores(words.scores)
    writer.add_token_types(words.types)
    writer.add_bos_token_id(tokenizer.BEGIN)
    writer.add_eos_token_id(tokenizer.END)
    writer.add_unk_token_id(tokenizer.UNKNOWN)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_tensors(writer, config, weights):
    def matrix(name, values):
        if values.shape[-1] % 32:
            raise ValueError(f"{name}: a row of {values.shape[-1]} does not fill Q8_0 blocks")
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, quantize(values.astype(numpy.float32), kind), raw_dtype=kind)

    def vector(name, values):
        writer.add_tensor(name, values.astype(numpy.float32))

    matrix("token_embd.weight", weights["embedding"])
    for index in range(config.layers):
        for name in LAYER_NAMES:
            add = vector if name.endswith("norm") else matrix
            add(f"blk.{index}.{name}.weight", weights[f"layers.{name}"][index])
    vector("output_norm.weight", weights["output_norm"])
    matrix("output.weight", weights["output"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=HERE / "build")
    parser.add_argument("--out", type=pathlib.Path,
                        default=HERE.parents[1] / "examples" / "models" / "haiku.gguf")
    options = parser.parse_args()
    config = model.Config()
    words = tokenizer.Tokenizer.load(options.build / "pieces.json")
    weights = numpy.load(options.build / "weights.npz")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(options.out, "llama")
    add_metadata(writer, config, words)
    add_tensors(writer, config, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
