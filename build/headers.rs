//! Generates the public headers with cbindgen, and gives the shared library its soname.
//!
//! `include/` is committed. A plain build writes the headers to `OUT_DIR`, where `tests/headers.rs` compares them with
//! the committed ones; with `WORKER_WRITE_HEADERS=1` in the environment it writes `include/` itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[allow(dead_code)]
mod table {
    include!("../src/error_table.rs");

    macro_rules! rows {
        ($(($number:literal, $name:ident, $c_name:literal, $message:literal, $status:literal, $retry:literal, $text:literal);)*) => {
            /// Number, C name, documentation.
            pub const ROWS: &[(i32, &str, &str)] = &[$(($number, $c_name, $text)),*];
        };
    }
    error_table!(rows);
}

/// The headers, and the sources of each. The order of the sources is the order of the header.
const HEADERS: [(&str, &str, &[&str]); 3] = [
    ("worker_errors.h", "errors", &["errors"]),
    ("worker_types.h", "types", &["handles", "types", "session_types", "locked"]),
    ("worker_ffi.h", "ffi", &["errors", "devices", "models", "sessions", "scoring", "residency", "handles", "locked"]),
];

/// Generates the headers and sets the linker options of the shared library.
pub fn generate() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for path in ["build", "build.rs", "cbindgen", "src/ffi", "src/error_table.rs"] {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=WORKER_WRITE_HEADERS");
    let constants = out.join("error_constants.rs");
    write_if_different(&constants, &error_constants());
    let committed = std::env::var_os("WORKER_WRITE_HEADERS").is_some_and(|value| value == "1");
    for (name, configuration, sources) in HEADERS {
        let text = header(&root, &constants, configuration, sources);
        write_if_different(&out.join(name), &text);
        if committed {
            write_if_different(&root.join("include").join(name), &text);
        }
    }
    link_options();
}

fn link_options() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libworker.so.0");
    // Thread-local destructors of the standard library run after dlclose() would have unmapped them.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Some dependencies have C functions of their own (llguidance's llg_*), which are none of ours. They come from archives,
    // our functions from objects.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
}

fn header(root: &Path, constants: &Path, configuration: &str, sources: &[&str]) -> String {
    let path = root.join("cbindgen").join(format!("{configuration}.toml"));
    let mut config = cbindgen::Config::from_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if configuration == "types" {
        // Nothing in this header uses the types, so cbindgen has to be told that they are wanted.
        config.export.include = sources.iter().flat_map(|source| public_types(&read(root, source))).collect();
        config.trailer = Some(initializers(root, sources));
    }
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        builder = builder.with_src(root.join("src/ffi").join(format!("{source}.rs")));
    }
    if configuration == "errors" {
        builder = builder.with_src(constants);
    }
    let bindings = builder.generate().unwrap_or_else(|error| panic!("cbindgen, {configuration}: {error}"));
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    let mut text = String::from_utf8(bytes).expect("cbindgen writes UTF-8");
    if configuration == "types" {
        text = inside_guard(&text, "WORKER_TYPES_H");
    }
    without_safety_sections(&text.replace(" -1\n", " (-1)\n"))
}

fn read(root: &Path, source: &str) -> String {
    let path = root.join("src/ffi").join(format!("{source}.rs"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn public_types(source: &str) -> Vec<String> {
    let declared =
        source.lines().filter_map(|line| line.strip_prefix("pub struct ").or(line.strip_prefix("pub type ")));
    declared.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}

/// cbindgen writes its trailer after the guard's end, where a second inclusion would see it again: moves it inside.
fn inside_guard(text: &str, guard: &str) -> String {
    let end = format!("#endif  /* {guard} */\n");
    match text.rsplit_once(&end) {
        Some((before, trailer)) => format!("{}\n\n{}\n\n{end}", before.trim_end(), trailer.trim_matches('\n')),
        None => panic!("the end of {guard} was not found"),
    }
}

/// The "# Safety" sections speak to Rust; in C they would only repeat what the parameters' lines say.
fn without_safety_sections(text: &str) -> String {
    let mut result = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if line.trim() == "* # Safety" {
            skipping = true;
            let before = result.trim_end_matches('\n').len();
            result.truncate(before);
            let last = result.rfind('\n').map_or(0, |index| index + 1);
            if result[last..].trim() == "*" {
                result.truncate(last.saturating_sub(1));
            }
            result.push('\n');
        }
        skipping &= line.trim() != "*/";
        if !skipping {
            result.push_str(line.trim_end());
            result.push('\n');
        }
    }
    result
}

/// The error codes as Rust constants, for cbindgen to read.
fn error_constants() -> String {
    let mut text = String::new();
    for (number, name, documentation) in table::ROWS {
        writeln!(text, "/// {documentation}\npub const {name}: worker_status_t = {number};")
            .expect("writing to a string cannot fail");
    }
    text
}

/// An `_INIT` macro for each struct with a size, naming every member: a shorter list would be warned about.
fn initializers(root: &Path, sources: &[&str]) -> String {
    let mut macros = String::from(
        "/* Initial values: everything zero, with the struct's size. Such as: worker_event_t event = WORKER_EVENT_INIT; */\n",
    );
    for source in sources {
        for body in read(root, source).split("pub struct ").skip(1) {
            let (name, rest) = body.split_once(' ').expect("a struct has a body");
            let fields: Vec<&str> = rest
                .split("\n}")
                .next()
                .unwrap_or_default()
                .lines()
                .filter_map(|line| line.trim().strip_prefix("pub "))
                .collect();
            if !fields.first().is_some_and(|field| field.starts_with("struct_size")) {
                continue;
            }
            let zeros: Vec<&str> =
                fields[1..].iter().map(|field| if field.contains("[c_char;") { "{0}" } else { "0" }).collect();
            let macro_name = name.trim_end_matches("_t").to_uppercase();
            writeln!(macros, "#define {macro_name}_INIT {{ sizeof({name}), {} }}", zeros.join(", "))
                .expect("writing to a string cannot fail");
        }
    }
    macros
}

fn write_if_different(path: &Path, text: &str) {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
