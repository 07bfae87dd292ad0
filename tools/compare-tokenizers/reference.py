"""The reference engine's tokenizer, called by ctypes in whatever shared library exports llama.cpp's C functions."""

import ctypes
import os
from ctypes import POINTER, c_bool, c_char_p, c_int32, c_void_p

# Where `vocab_only` lies in `llama_model_params`: the first of the bools at its end. It moved once in years; a wrong place
# fails to load a file without tensors.
VOCAB_ONLY = 72
SENTENCE_PIECE = 1
CONTROL, UNKNOWN, USER_DEFINED = 1 << 3, 1 << 0, 1 << 4


class Parameters(ctypes.Structure):
    """Room for `llama_model_params`; by value on the stack, what lies beyond its end is not read."""

    _fields_ = [("bytes", ctypes.c_uint8 * 256)]


class Reference:
    """One vocabulary."""

    def __init__(self, library, path, vocab_only=VOCAB_ONLY):
        self.library = library
        self.ids = (c_int32 * (1 << 20))()
        self.bytes = ctypes.create_string_buffer(1 << 22)
        parameters = library.llama_model_default_params()
        parameters.bytes[vocab_only] = 1
        model = library.llama_model_load_from_file(os.fsencode(path), parameters)
        if not model:
            raise RuntimeError(f"the reference engine does not load {path}")
        self.vocabulary = library.llama_model_get_vocab(model)
        self.size = library.llama_vocab_n_tokens(self.vocabulary)

    def encode(self, text, add_special, parse_special):
        """The tokens of `text` (bytes)."""
        count = self.library.llama_tokenize(
            self.vocabulary, text, len(text), self.ids, len(self.ids), add_special, parse_special)
        assert count >= 0
        return self.ids[:count]

    def decode(self, ids, special):
        """The text of tokens.

        Byte-level vocabularies: what the tokens print one after the other, as in generation. The engine's whole-text
        function also drops spaces before punctuation, and so does not give a text back. SentencePiece: that function,
        on what follows the beginning token, since with it first the space that encoding added would stay.
        """
        if self.library.llama_vocab_type(self.vocabulary) != SENTENCE_PIECE:
            return b"".join(self.piece(token, special) for token in ids)
        name = b""
        if ids and ids[0] == self.library.llama_vocab_bos(self.vocabulary):
            name, ids = self.piece(ids[0], special), ids[1:]
        given = (c_int32 * len(ids))(*ids)
        count = self.library.llama_detokenize(
            self.vocabulary, given, len(ids), self.bytes, len(self.bytes), False, special)
        assert count >= 0
        return name + ctypes.string_at(self.bytes, count)

    def piece(self, token, special):
        """What one token prints."""
        count = self.library.llama_token_to_piece(self.vocabulary, token, self.bytes, len(self.bytes), 0, special)
        assert count >= 0
        return ctypes.string_at(self.bytes, count)

    def special_names(self):
        """The names of the tokens that are found in a text before it is split."""
        kinds = CONTROL | UNKNOWN | USER_DEFINED
        return [self.library.llama_vocab_get_text(self.vocabulary, token) for token in range(self.size)
                if self.library.llama_vocab_get_attr(self.vocabulary, token) & kinds]

    def ends(self):
        """The tokens that end a generation."""
        return [token for token in range(self.size) if self.library.llama_vocab_is_eog(self.vocabulary, token)]


def open_library(path):
    """Loads the library, silences it and declares its functions."""
    library = ctypes.CDLL(path, mode=os.RTLD_LAZY)
    quiet = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)(lambda level, text, data: None)
    library.quiet = quiet
    for name, result, arguments in [
        ("llama_log_set", None, [type(quiet), c_void_p]),
        ("llama_model_default_params", Parameters, []),
        ("llama_model_load_from_file", c_void_p, [c_char_p, Parameters]),
        ("llama_model_get_vocab", c_void_p, [c_void_p]),
        ("llama_vocab_n_tokens", c_int32, [c_void_p]),
        ("llama_vocab_type", c_int32, [c_void_p]),
        ("llama_vocab_bos", c_int32, [c_void_p]),
        ("llama_vocab_get_text", c_char_p, [c_void_p, c_int32]),
        ("llama_vocab_get_attr", c_int32, [c_void_p, c_int32]),
        ("llama_vocab_is_eog", c_bool, [c_void_p, c_int32]),
        ("llama_tokenize", c_int32, [c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool]),
        ("llama_detokenize", c_int32, [c_void_p, POINTER(c_int32), c_int32, ctypes.c_void_p, c_int32, c_bool, c_bool]),
        ("llama_token_to_piece", c_int32, [c_void_p, c_int32, ctypes.c_void_p, c_int32, c_int32, c_bool]),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.llama_log_set(quiet, None)
    return library
