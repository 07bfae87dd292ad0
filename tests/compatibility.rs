//! The ABI stays what it was: `abi/worker-0.abi` against the headers of today, compared by libabigail.
//!
//! What is compared is a library of empty functions that the C compiler makes from the headers: it has the published
//! functions and types to the last member, which a debug build of the product would have to be compiled with far more
//! debug information for. That the product agrees with the headers is for `tests/headers.rs` and `tests/symbols.rs`.

mod c_host;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use c_host::{header, must_run, prototypes, root, scratch, write};

/// Compiles the headers' functions, with the text of the headers changed by `change`, and describes the library.
fn described(name: &str, change: impl Fn(&str) -> String) -> PathBuf {
    let include = scratch(name);
    for file in ["worker_errors.h", "worker_types.h", "worker_ffi.h"] {
        std::fs::write(include.join(file), change(&header(file))).unwrap();
    }
    let functions: String = prototypes(&change(&header("worker_ffi.h")))
        .iter()
        .map(|(_, prototype)| format!("{prototype} {{ for (;;) {{ }} }}\n"))
        .collect();
    let source = write(&format!("{name}.c"), &format!("#include \"worker_ffi.h\"\n{functions}"));
    let library = include.join("libworker.so.0");
    must_run(
        Command::new("cc")
            .args(["-std=c11", "-g", "-w", "-shared", "-fPIC", "-Wl,-soname,libworker.so.0", "-I"])
            .arg(&include)
            .arg(source)
            .arg("-o")
            .arg(&library),
    );
    let description = include.join("worker.abi");
    must_run(
        Command::new("abidw")
            .args(["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-parameter-names", "--out-file"])
            .arg(&description)
            .arg(library),
    );
    description
}

/// What abidiff says about two descriptions: whether hosts of the first may be given the second, and its words.
fn compared(old: &Path, new: &Path) -> (bool, String) {
    let output = c_host::output_of(
        // Functions may be added; nothing else may differ.
        Command::new("abidiff").arg("--no-added-syms").arg(old).arg(new),
        Duration::from_secs(60),
    );
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    // 1 and 2: it could not compare at all.
    let status = output.status.code().unwrap_or(1);
    assert!(status & 3 == 0, "abidiff: {status}\n{words}{}", String::from_utf8_lossy(&output.stderr));
    (status == 0, words)
}

fn baseline() -> PathBuf {
    root().join("abi/worker-0.abi")
}

#[test]
fn what_was_published_is_still_there_and_the_same() {
    let today = described("today", str::to_owned);
    if std::env::var_os("WORKER_WRITE_ABI").is_some_and(|value| value == "1") {
        // The folder in which it was made says nothing about the ABI.
        let folder = format!("{}/", c_host::scratch("sources").display());
        let text = std::fs::read_to_string(&today).unwrap().replace(&folder, "");
        std::fs::write(baseline(), text).unwrap();
    }
    let (same, words) = compared(&baseline(), &today);
    assert!(
        same,
        "hosts would break, or a struct has grown; after review WORKER_WRITE_ABI=1 rewrites the baseline\n{words}"
    );
}

#[test]
fn a_function_more_is_no_difference() {
    let more = described("more", |text| {
        text.replace("uint32_t worker_abi_version(void);", "uint32_t worker_abi_version(void);\nint worker_new(int a);")
    });
    assert!(compared(&baseline(), &more).0);
}

#[test]
fn a_changed_argument_a_moved_member_and_a_lost_function_are_noticed() {
    let changes: [(&str, &str, &str); 3] = [
        ("argument", "int64_t timeout_ms", "int32_t timeout_ms"),
        ("member", "uint32_t kv_type;", "uint64_t kv_type;"),
        ("lost", "uint32_t worker_abi_version(void);", ""),
    ];
    for (name, from, to) in changes {
        let from = if name == "member" { "worker_kv_type_t kv_type;" } else { from };
        assert!(["worker_types.h", "worker_ffi.h"].iter().any(|file| header(file).contains(from)), "{from}");
        let changed = described(name, |text| text.replace(from, to));
        assert!(!compared(&baseline(), &changed).0, "{name} was not noticed");
    }
}
