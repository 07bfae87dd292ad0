//! Sound files are read back whole; every single fault is refused, by name.

use super::writer::{Pair, Writer};
use super::*;

fn sound() -> Writer {
    Writer::default()
        .pair("general.architecture", Pair::text("llama"))
        .pair("words", Pair::texts(&["one", "", "drei"]))
        .pair("n", Pair::U32(7))
        .pair("numbers", Pair::I32s(vec![1, -2, 3]))
        .tensor("a.weight", &[64, 3], 8)
        .tensor("b.weight", &[5], 0)
}

#[test]
fn a_sound_file_is_read_back_whole() {
    for version in [2, 3] {
        let file = Writer { version, ..sound() }.parse().unwrap();
        assert_eq!(file.version, version);
        assert_eq!(file.metadata.string("general.architecture").unwrap(), Some("llama"));
        let words = file.metadata.strings("words").unwrap().unwrap();
        assert_eq!(words.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"drei"]);
        assert_eq!(words.get(3), b"");
        assert_eq!(file.metadata.i32s("numbers").unwrap(), Some(vec![1, -2, 3]));
        let tensor = file.tensor("a.weight").unwrap();
        assert_eq!((tensor.shape, tensor.range.len(), tensor.format.name), ([64, 3, 1, 1], 6 * 34, "Q8_0"));
        assert_eq!(file.tensor("b.weight").unwrap().range.start - tensor.range.start, 224);
    }
}
