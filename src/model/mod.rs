//! What a model file holds: GGUF, architecture, tokenizer, chat template.
