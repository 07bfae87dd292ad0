//! Sound files are read back whole; every single fault is refused, and the refusal names the place.

use proptest::prelude::*;

use super::writer::{Pair, Tensor, Writer};
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
        assert_eq!(file.metadata.keys().collect::<Vec<_>>(), ["general.architecture", "n", "numbers", "words"]);
        assert_eq!(file.metadata.string("general.architecture").unwrap(), Some("llama"));
        let words = file.metadata.strings("words").unwrap().unwrap();
        assert_eq!(words.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"drei"]);
        assert_eq!((words.len(), words.get(3), words.get(usize::MAX)), (3, &b""[..], &b""[..]));
        assert_eq!(file.metadata.i32s("numbers").unwrap(), Some(vec![1, -2, 3]));
        let tensor = file.tensor("a.weight").unwrap();
        assert_eq!((tensor.shape, tensor.range.len(), tensor.format.name), ([64, 3, 1, 1], 6 * 34, "Q8_0"));
        assert_eq!((tensor.dimensions, tensor.values()), (2, 192));
        assert_eq!(tensor.range.start % 32, 0);
        assert_eq!(file.tensor("b.weight").unwrap().range.start - tensor.range.start, 224);
        assert!(file.tensor("c.weight").is_none());
    }
}

#[test]
fn an_alignment_of_the_file_is_honoured() {
    let mut writer = sound().pair("general.alignment", Pair::U32(256));
    writer.alignment = 256;
    let file = writer.parse().unwrap();
    assert!(file.tensors.iter().all(|tensor| tensor.range.start % 256 == 0));
    assert_eq!(file.tensors[1].range.start - file.tensors[0].range.start, 256);
}

#[test]
fn every_getter_reads_its_kinds_and_refuses_the_others_by_name() {
    let metadata = Metadata::from_pairs(&[
        ("u8", Pair::U8(200)),
        ("u64", Pair::U64(1 << 40)),
        ("i32", Pair::I32(-5)),
        ("f64", Pair::F64(0.5)),
        ("infinite", Pair::F64(1e300)),
        ("flag", Pair::Bool(true)),
        ("text", Pair::text("ü")),
        ("torn", Pair::Raw(8, [&3u64.to_le_bytes()[..], b"a\xffb"].concat())),
        ("u32s", Pair::U32s(vec![1, u32::MAX])),
        ("f32s", Pair::F32s(vec![1.5, -2.0])),
        ("bools", Pair::Bools(vec![true, false])),
        ("none", Pair::Strings(vec![])),
    ]);
    assert_eq!(metadata.u32("u8").unwrap(), Some(200));
    assert_eq!(metadata.u64("u64").unwrap(), Some(1 << 40));
    assert_eq!(metadata.f32("f64").unwrap(), Some(0.5));
    assert_eq!(metadata.bool("flag").unwrap(), Some(true));
    assert_eq!(metadata.string("text").unwrap(), Some("ü"));
    assert_eq!(metadata.u32s("u32s").unwrap(), Some(vec![1, u32::MAX]));
    assert_eq!(metadata.f32s("f32s").unwrap(), Some(vec![1.5, -2.0]));
    assert_eq!(metadata.bools("bools").unwrap(), Some(vec![true, false]));
    assert_eq!(metadata.f32s("none").unwrap(), Some(vec![]));
    assert_eq!(metadata.u32("absent").unwrap(), None);
    assert_eq!(metadata.strings("absent").unwrap().map(|strings| strings.len()), None);

    let refusals = [
        (metadata.u32("u64").unwrap_err(), ["\"u64\"", "expected u32", "found u64 1099511627776"]),
        (metadata.u32("i32").unwrap_err(), ["\"i32\"", "expected u32", "found i32 -5"]),
        (metadata.u32("text").unwrap_err(), ["\"text\"", "expected u32", "found string"]),
        (metadata.f32("u8").unwrap_err(), ["\"u8\"", "expected f32", "found u8"]),
        (metadata.f32("infinite").unwrap_err(), ["\"infinite\"", "expected a finite f32", "found 1"]),
        (metadata.bool("u8").unwrap_err(), ["\"u8\"", "expected bool", "found u8"]),
        (metadata.string("flag").unwrap_err(), ["\"flag\"", "expected string", "found bool"]),
        (metadata.string("torn").unwrap_err(), ["\"torn\"", "expected UTF-8", "index 1"]),
        (metadata.strings("u32s").unwrap_err(), ["\"u32s\"", "expected array of string", "found array of 2 u32"]),
        (metadata.i32s("u32s").unwrap_err(), ["\"u32s\"", "expected array of i32", "entry 1 is u32 4294967295"]),
        (metadata.f32s("bools").unwrap_err(), ["\"bools\"", "expected array of f32", "entry 0 is bool true"]),
        (metadata.u32s("u8").unwrap_err(), ["\"u8\"", "expected array of u32", "found u8"]),
    ];
    for (error, parts) in refusals {
        assert_eq!(error.code, Code::ModelLoadFailed);
        assert!(parts.iter().all(|part| error.detail.contains(part)), "{error} lacks one of {parts:?}");
    }
}

#[test]
fn every_single_fault_is_refused_by_name() {
    let overlap = Tensor { name: "c".to_owned(), shape: vec![8], kind: 0, offset: Some(192) };
    let huge = u64::MAX.to_le_bytes();
    let array = |kind: u32, count: u64| Pair::Raw(9, [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat());
    let with_tensor = |tensor: Tensor| {
        let mut writer = sound();
        writer.tensors.push(tensor);
        writer
    };
    let named = |name: &str, shape: &[u64], kind: u32, offset: Option<u64>| {
        with_tensor(Tensor { name: name.to_owned(), shape: shape.to_vec(), kind, offset })
    };
    let faults: Vec<(Writer, &[&str])> = vec![
        (Writer { magic: *b"GGML", ..sound() }, &["not a GGUF file", "\"GGUF\""]),
        (Writer { key_count: Some(u64::MAX), ..sound() }, &["number of keys", "18446744073709551615"]),
        (Writer { key_count: Some(100), ..sound() }, &["number of keys", "100 entries"]),
        (Writer { tensor_count: Some(1 << 60), ..sound() }, &["number of tensors", "1152921504606846976"]),
        (sound().pair("n", Pair::U32(1)), &["key \"n\"", "present twice"]),
        (sound().pair("", Pair::U32(1)), &["name of key 4 of 5", "1 to 65535 bytes", "found 0"]),
        (sound().pair(&"k".repeat(65_536), Pair::U32(1)), &["name of key 4 of 5", "found 65536"]),
        (sound().pair("odd", Pair::Raw(13, vec![0])), &["type of the value of key \"odd\"", "0 to 12", "found 13"]),
        (sound().pair("odd", Pair::Raw(7, vec![2])), &["value of key \"odd\"", "expected a bool", "found 2"]),
        (sound().pair("odd", Pair::Raw(8, huge.to_vec())), &["value of key \"odd\"", "18446744073709551615 bytes"]),
        (sound().pair("odd", array(8, u64::MAX)), &["value of key \"odd\"", "18446744073709551615 entries"]),
        (sound().pair("odd", array(10, 1 << 61)), &["value of key \"odd\"", "do not fit"]),
        (sound().pair("odd", array(13, 1)), &["type of the value of key \"odd\"", "found 13"]),
        (
            sound().pair("odd", Pair::Raw(9, [&7u32.to_le_bytes()[..], &2u64.to_le_bytes(), &[1, 9]].concat())),
            &["value of key \"odd\"", "expected bools", "entry 1 is 9"],
        ),
        (sound().pair("general.alignment", Pair::U32(48)), &["\"general.alignment\"", "power of two", "found 48"]),
        (sound().pair("general.alignment", Pair::U32(0)), &["\"general.alignment\"", "found 0"]),
        (sound().pair("general.alignment", Pair::text("32")), &["\"general.alignment\"", "found string"]),
        (sound().tensor("a.weight", &[4], 0), &["tensor \"a.weight\"", "present twice"]),
        (named("", &[4], 0, None), &["name of tensor 2 of 3", "found 0"]),
        (named("c", &[], 0, None), &["tensor \"c\"", "1 to 4 dimensions", "found 0"]),
        (named("c", &[1, 1, 1, 1, 1], 0, None), &["tensor \"c\"", "found 5"]),
        (named("c", &[4, 0], 0, None), &["tensor \"c\"", "dimension 1 has length 0"]),
        (named("c", &[33], 8, None), &["tensor \"c\"", "multiple of 32", "Q8_0", "found 33"]),
        (named("c", &[u64::MAX, 2], 0, None), &["tensor \"c\"", "too large"]),
        (named("c", &[1 << 62, 1], 0, None), &["tensor \"c\"", "too large"]),
        (named("c", &[8], 0, Some(16)), &["tensor \"c\"", "32 divides", "found 16"]),
        (named("c", &[8], 0, Some(u64::MAX - 31)), &["tensor \"c\"", "32 bytes at offset 18446744073709551584"]),
        (named("c", &[8], 0, Some(4096)), &["tensor \"c\"", "offset 4096", "the file ends at"]),
        (named("c", &[1 << 40], 0, None), &["tensor \"c\"", "4398046511104 bytes"]),
        (with_tensor(overlap), &["tensor \"c\"", "where tensor \"a.weight\" ends"]),
    ];
    for (writer, parts) in faults {
        let error = writer.parse().unwrap_err();
        assert_eq!(error.code, Code::ModelLoadFailed, "{error}");
        assert!(parts.iter().all(|part| error.detail.contains(part)), "{error} lacks one of {parts:?}");
    }
}

#[test]
fn sound_files_of_other_kinds_are_unsupported_by_name() {
    let nested = Pair::Raw(9, [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat());
    let others: Vec<(Writer, &[&str])> = vec![
        (Writer { version: 1, ..sound() }, &["version 1", "2 and 3"]),
        (Writer { version: 4, ..sound() }, &["version 4", "2 and 3"]),
        (Writer { version: 0x0300_0000, ..sound() }, &["big-endian", "version 3", "little-endian"]),
        (sound().pair("odd", nested), &["key \"odd\"", "array of arrays"]),
        (sound().tensor("c", &[32], 4), &["tensor \"c\"", "type 4", "Q4_0", "MXFP4"]),
        (sound().tensor("c", &[32], u32::MAX), &["tensor \"c\"", "type 4294967295"]),
    ];
    for (writer, parts) in others {
        let error = writer.parse().unwrap_err();
        assert_eq!(error.code, Code::ModelUnsupported, "{error}");
        assert!(parts.iter().all(|part| error.detail.contains(part)), "{error} lacks one of {parts:?}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = sound().bytes();
    // The padding after the last tensor may be missing.
    let whole = sound().parse().unwrap().tensors[1].range.end;
    for length in 0..bytes.len() {
        let result = GgufFile::parse(Mapping::from_bytes(&bytes[..length]).unwrap());
        match result {
            Ok(_) => assert!(length >= whole, "cut to {length}"),
            Err(error) => {
                assert_eq!(error.code, Code::ModelLoadFailed, "{error}");
                assert!(length < whole && error.detail.contains(&length.to_string()), "cut to {length}: {error}");
            }
        }
    }
}

#[test]
fn errors_of_a_file_begin_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.gguf");
    std::fs::write(&path, b"GGUF").unwrap();
    for mode in [LoadMode::Map, LoadMode::Copy] {
        let error = GgufFile::open(&path, mode).unwrap_err();
        assert!(error.detail.starts_with(&path.display().to_string()), "{error}");
    }
    std::fs::write(&path, sound().bytes()).unwrap();
    for mode in [LoadMode::Map, LoadMode::Copy] {
        assert_eq!(GgufFile::open(&path, mode).unwrap().tensors.len(), 2);
    }
}

#[test]
fn a_large_vocabulary_is_read_without_copies() {
    let words: Vec<Vec<u8>> = (0..150_000).map(|index| format!("token {index}").into_bytes()).collect();
    let mapping = Mapping::from_bytes(&sound().pair("vocabulary", Pair::Strings(words)).bytes()).unwrap();
    let started = std::time::Instant::now();
    let file = GgufFile::parse(mapping.clone()).unwrap();
    let vocabulary = file.metadata.strings("vocabulary").unwrap().unwrap();
    let elapsed = started.elapsed();
    assert_eq!((vocabulary.len(), vocabulary.get(149_999)), (150_000, &b"token 149999"[..]));
    assert!(mapping.bytes().as_ptr_range().contains(&vocabulary.get(7).as_ptr()));
    // A few milliseconds when optimised; the bound is for unoptimised code on a busy machine.
    assert!(elapsed < std::time::Duration::from_millis(500), "took {elapsed:?}");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), head in any::<bool>()) {
        let mut bytes = bytes;
        if head {
            bytes.splice(0..0, [b'G', b'G', b'U', b'F', 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        }
        let _ = GgufFile::parse(Mapping::from_bytes(&bytes).unwrap());
    }

    #[test]
    fn a_sound_file_with_bytes_changed_never_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = sound().bytes();
        for (index, value) in changes {
            let place = index.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(file) = GgufFile::parse(Mapping::from_bytes(&bytes).unwrap()) {
            for tensor in &file.tensors {
                prop_assert!(file.mapping.bytes().get(tensor.range.clone()).is_some());
            }
            for key in file.metadata.keys() {
                let _ = file.metadata.string(key);
                let _ = file.metadata.f32s(key);
                let _ = file.metadata.strings(key).map(|strings| strings.map(|strings| strings.iter().count()));
            }
        }
    }
}
