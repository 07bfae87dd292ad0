//! Every example, built against the installed library and run: help, a streamed haiku, a clear failure.

#[path = "hosts/installed.rs"]
mod installed;
#[path = "hosts/running.rs"]
mod running;

use installed::{command, compile, compile_go, pkg_config, prefix, root, shipped_model, text};
use running::{run, run_watching_writes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A host program: how to start it, and whether it is the small door (14 functions, which has fewer reports).
struct Host {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Host {
    fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self { program: program.into(), arguments: arguments.iter().map(ToString::to_string).collect() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.program);
        command.args(&self.arguments).args(arguments);
        command
    }
}

/// What every host program owes its user.
fn check(host: &Host) {
    check_help(host);
    check_haiku(host);
    check_failures(host);
}

fn check_help(host: &Host) {
    let help = run(&mut host.command(&["--help"]));
    assert!(help.status.success(), "{:?} --help: {}", host.program, text(&help.stderr));
    let help = text(&help.stdout);
    assert!(help.starts_with("usage: "), "{help}");
    assert!(help.contains("--model") && help.contains("--seed") && help.contains("TOPIC"), "{help}");
}

fn check_haiku(host: &Host) {
    let (writes, status) = run_watching_writes(&mut host.command(&["--seed", "3", "rain"]), Duration::from_secs(60));
    let whole = text(&writes.concat());
    assert!(status.success(), "{:?} ended with {status}:\n{whole}", host.program);
    assert!(!whole.contains('\x1b'), "colour where there is no terminal: {whole:?}");

    // The haiku, an empty line, the report.
    let (haiku, report) = whole.trim_start().split_once("\n\n").unwrap_or_else(|| panic!("no report in {whole:?}"));
    assert_eq!(haiku.lines().count(), 3, "{haiku:?}");
    assert!(haiku.lines().all(|line| line.trim().len() > 5), "{haiku:?}");
    assert!(report.contains("tokens") && report.contains("resident"), "{report}");

    // Streaming: the haiku came in many writes, and no write held the whole of it.
    assert!(writes.len() > 8, "{} writes", writes.len());
    assert!(writes.iter().all(|write| !text(write).contains(haiku)), "the haiku came at once");

    let again = run(&mut host.command(&["--seed", "3", "rain"]));
    assert!(text(&again.stdout).contains(haiku), "the same seed gave other words: {}", text(&again.stdout));
}

fn check_failures(host: &Host) {
    let missing = run(&mut host.command(&["--model", "no/such/model.gguf", "rain"]));
    let message = text(&missing.stderr);
    assert_eq!(missing.status.code(), Some(1), "{message}");
    assert!(message.contains("no/such/model.gguf") && message.contains("hint"), "{message}");

    let unknown = run(&mut host.command(&["--no-such-option"]));
    let message = text(&unknown.stderr);
    assert_eq!(unknown.status.code(), Some(2), "{message}");
    assert!(message.contains("--no-such-option") && message.contains("usage: "), "{message}");
}

#[test]
fn c() {
    let host = Host::new(compile(&["cc", "-std=c99"], "examples/c/generate.c", "generate"), &[]);
    check(&host);

    // `make run` is this program with this report.
    let report = text(&run(&mut host.command(&["rain"])).stdout);
    for part in ["device", "load", "tokens/s", "weights", "KV cache", "resident"] {
        assert!(report.contains(part), "no {part:?} in the report:\n{report}");
    }
}

#[test]
fn c_by_the_locked_functions_alone() {
    let program = compile(&["clang", "-std=c99"], "examples/c/locked.c", "locked");
    let used = text(&run(Command::new("nm").arg("-u").arg(&program)).stdout);
    let of_ours: Vec<&str> = used.split_whitespace().filter(|name| name.starts_with("worker_")).collect();
    assert!(of_ours.is_empty(), "locked.c is to use the 14 functions alone, but uses {of_ours:?}");
    assert!(used.contains("cuda_inference_next_token"));
    check(&Host::new(program, &[]));
}

#[test]
fn c_linked_statically() {
    let program = installed::built("generate-static");
    let mut libraries = pkg_config(&["--static", "--libs-only-l"]);
    // The archive by name, so that the linker cannot take the shared library beside it.
    libraries.retain(|library| library != "-lworker");
    let output = run(command("cc")
        .args(["-std=c99", "-o"])
        .arg(&program)
        .arg(root().join("examples/c/generate.c"))
        .args(pkg_config(&["--cflags"]))
        .arg(prefix().join("lib/libworker.a"))
        .args(libraries));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let needed = text(&run(Command::new("readelf").arg("-d").arg(&program)).stdout);
    assert!(!needed.contains("libworker"), "{needed}");
    check_haiku(&Host::new(program, &[]));
}

#[test]
fn cpp() {
    let strict = ["-Wshadow", "-Wconversion"];
    for compiler in ["g++", "clang++"] {
        for standard in ["-std=c++17", "-std=c++20"] {
            let program = compile(
                &[&[compiler, standard], &strict[..]].concat(),
                "examples/cpp/generate.cpp",
                &format!("generate-{compiler}{standard}"),
            );
            check_help(&Host::new(&program, &[]));
        }
    }
    check(&Host::new(installed::built("generate-g++-std=c++17"), &[]));
}

#[test]
fn cmake_finds_the_package() {
    let source = tempfile::tempdir().unwrap();
    std::fs::write(
        source.path().join("CMakeLists.txt"),
        format!(
            "cmake_minimum_required(VERSION 3.13)\nproject(user C CXX)\nfind_package(libworker 0.1 REQUIRED)\n\
             add_executable(shared {c})\ntarget_link_libraries(shared worker::worker)\n\
             add_executable(static {c})\ntarget_link_libraries(static worker::worker_static)\n",
            c = root().join("examples/c/generate.c").display()
        ),
    )
    .unwrap();
    let build = source.path().join("build");
    let configure = run(command("cmake")
        .arg("-S")
        .arg(source.path())
        .arg("-B")
        .arg(&build)
        .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix().display())));
    assert!(configure.status.success(), "{}{}", text(&configure.stdout), text(&configure.stderr));
    let make = run(command("cmake").arg("--build").arg(&build));
    assert!(make.status.success(), "{}{}", text(&make.stdout), text(&make.stderr));
    for program in ["shared", "static"] {
        check_help(&Host::new(build.join(program), &[]));
    }
}

#[test]
fn go() {
    check(&Host::new(compile_go("examples/go", "haiku-go"), &[]));
}

#[test]
fn ruby() {
    check(&Host::new("ruby", &["examples/ruby/haiku.rb"]));
}

#[test]
fn python() {
    check(&Host::new("python3", &["examples/python/haiku.py"]));
}

/// For Rust the crate itself is the library; cargo builds its examples along with its tests.
#[test]
fn rust() {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/haiku");
    assert!(program.exists(), "{program:?} is missing: run `cargo test`, or `cargo build --example haiku` first");
    check(&Host::new(program, &[]));
}

#[test]
fn the_readme_program_works_as_printed() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let program = readme.split("```c\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a C program");
    let source = tempfile::tempdir().unwrap();
    let file = source.path().join("first.c");
    std::fs::write(&file, program).unwrap();
    let built = compile(&["cc", "-std=c99"], file.to_str().unwrap(), "readme");
    let output = run(&mut command(built));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim().lines().count(), 3, "{}", text(&output.stdout));
}

#[test]
fn programs_load_the_installed_library_by_its_soname() {
    let program = compile(&["cc", "-std=c99"], "examples/c/generate.c", "generate-soname");
    let loaded = text(&run(command("ldd").arg(&program)).stdout);
    let expected = format!("libworker.so.0 => {}", prefix().join("lib/libworker.so.0").display());
    assert!(loaded.contains(&expected), "{expected:?} not in\n{loaded}");
}

#[test]
fn the_installed_tree_is_whole() {
    let prefix = prefix();
    for file in [
        "include/worker_ffi.h",
        "include/worker_types.h",
        "include/worker_errors.h",
        "include/worker.hpp",
        "include/worker_managed.hpp",
        "lib/libworker.a",
        "lib/libworker.so",
        "lib/libworker.so.0",
        concat!("lib/libworker.so.", env!("CARGO_PKG_VERSION")),
        "lib/pkgconfig/worker.pc",
        "lib/cmake/libworker/libworkerConfig.cmake",
        "lib/cmake/libworker/libworkerConfigVersion.cmake",
    ] {
        assert!(prefix.join(file).exists(), "{file} is not installed");
    }
    let version = text(&run(command("pkg-config").args(["--modversion", "worker"])).stdout);
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
    assert!(shipped_model().exists());
}

/// `features/README.md` says which test answers each demand of the story; this keeps it from naming tests that are gone.
#[test]
fn every_test_that_the_features_name_exists() {
    let readme = std::fs::read_to_string(root().join("tests/features/README.md")).unwrap();
    let mut named = 0;
    for row in readme.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
        let words: Vec<&str> = row.split('`').collect();
        let file = words.iter().position(|word| word.ends_with(".rs")).unwrap();
        let source = std::fs::read_to_string(root().join("tests").join(words[file])).expect(words[file]);
        assert!(source.contains(&format!("fn {}()", words[file + 2])), "{row}");
        named += 1;
    }
    assert!(named >= 20, "{named} rows");
}
