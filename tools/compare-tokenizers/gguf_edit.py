"""Changes keys of a GGUF file that holds a vocabulary and no tensors."""

import struct

STRING, ARRAY, BOOL, INT32 = 8, 9, 7, 5
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Vocabulary:
    """The file's keys, each with its type and the bytes of its value."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        magic, self.version, tensors, count = struct.unpack_from("<4sIQQ", self.data)
        assert magic == b"GGUF"
        self.has_tensors = tensors != 0
        self.place, self.pairs = 24, {}
        for _ in range(count):
            key = self.string().decode()
            kind = self.number("<I")
            start = self.place
            self.skip(kind)
            self.pairs[key] = (kind, self.data[start:self.place])

    def strings(self, key):
        self.place = 0
        value = self.pairs[key][1]
        (count,) = struct.unpack_from("<Q", value, 4)
        place, found = 12, []
        for _ in range(count):
            (length,) = struct.unpack_from("<Q", value, place)
            found.append(value[place + 8:place + 8 + length])
            place += 8 + length
        return found

    def numbers(self, key):
        value = self.pairs[key][1]
        kind, count = struct.unpack_from("<IQ", value)
        assert kind == INT32
        return list(struct.unpack_from(f"<{count}i", value, 12))

    def set_string(self, key, text):
        self.pairs[key] = (STRING, struct.pack("<Q", len(text.encode())) + text.encode())

    def set_bool(self, key, value):
        self.pairs[key] = (BOOL, bytes([value]))

    def set_numbers(self, key, numbers):
        self.pairs[key] = (ARRAY, struct.pack(f"<IQ{len(numbers)}i", INT32, len(numbers), *numbers))

    def write(self, path):
        assert not self.has_tensors
        with open(path, "wb") as file:
            file.write(struct.pack("<4sIQQ", b"GGUF", self.version, 0, len(self.pairs)))
            for key, (kind, value) in self.pairs.items():
                file.write(struct.pack("<Q", len(key.encode())) + key.encode() + struct.pack("<I", kind) + value)

    def skip(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            inner, count = self.number("<I"), self.number("<Q")
            if inner in WIDTHS:
                self.place += WIDTHS[inner] * count
            else:
                for _ in range(count):
                    self.skip(inner)
        else:
            self.place += WIDTHS[kind]

    def string(self):
        length = self.number("<Q")
        self.place += length
        return self.data[self.place - length:self.place]

    def number(self, form):
        (value,) = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return value
