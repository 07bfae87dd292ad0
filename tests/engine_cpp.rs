//! Builds and runs the C++ engine's own tests.
//!
//! `cuda/tests/infrastructure/` is built from source with a forward pass that only pretends, so that the sanitizers need
//! no kernels; the other tests of `cuda/tests/`, those of the kernels' arithmetic among them, link with the engine as
//! the library has it. Objects are kept under `target/`, named by what went into them, so that a second run compiles
//! only what changed.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

#[test]
fn infrastructure() {
    run_program("infrastructure", &infrastructure_sources(), &["-DWORKER_TEST_FAULTS"], &[]);
}

#[test]
fn infrastructure_with_address_and_undefined_behaviour_sanitizers() {
    let flags = ["-DWORKER_TEST_FAULTS", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    run_program("sanitized", &infrastructure_sources(), &flags, &[]);
}

#[test]
fn thread_pool_with_thread_sanitizer() {
    let sources = [
        "cuda/src/thread_pool.cpp",
        "cuda/src/cuda_error.cpp",
        "cuda/src/cpu/topology.cpp",
        "cuda/tests/harness.cpp",
        "cuda/tests/infrastructure/thread_pool_test.cpp",
    ];
    let sources: Vec<PathBuf> = sources.iter().map(|source| root().join(source)).collect();
    run_program("threads", &sources, &["-fsanitize=thread"], &[]);
}

/// Against the library's own objects: only what faults are put into is compiled anew, and taken first by the linker.
#[test]
fn engine() {
    let mut sources = cpp_files(&root().join("cuda/tests"));
    sources.extend(cpp_files(&root().join("cuda/tests/math")));
    sources.push(root().join("cuda/src/device_memory.cpp"));
    run_program("engine", &sources, &["-DWORKER_TEST_FAULTS"], &[&engine_library()]);
}

/// On the emulated device, see `cuda/tests/emulation/README.md`.
#[test]
fn gpu_kernels() {
    run_program("gpu_kernels", &gpu_kernel_sources(), &["-DWORKER_EMULATED_GPU"], &[&engine_library()]);
}

/// Finds what a kernel reads or writes outside of its buffers, or at addresses that its type does not allow. Of the stacks the sanitizer has no notion: each of the
/// device's threads has one of its own.
#[test]
fn gpu_kernels_with_address_sanitizer() {
    let flags = [
        "-DWORKER_EMULATED_GPU",
        "-fsanitize=address,alignment",
        "-fno-sanitize-recover=alignment",
        "--param=asan-stack=0",
    ];
    run_program("gpu_kernels_sanitized", &gpu_kernel_sources(), &flags, &[&engine_library()]);
}

/// The device's kernels, the emulation, and their tests. The CPU's kernels, which they are compared with, are the
/// library's.
fn gpu_kernel_sources() -> Vec<PathBuf> {
    let mut sources = files_with("cu", &root().join("cuda/src/gpu/kernels"));
    sources.extend(cpp_files(&root().join("cuda/tests/kernels")));
    for source in ["src/gpu/runtime.cpp", "tests/harness.cpp"] {
        sources.push(root().join("cuda").join(source));
    }
    for source in ["emulator.cpp", "fiber.cpp", "runtime_emulated.cpp"] {
        sources.push(root().join("cuda/tests/emulation").join(source));
    }
    sources
}

/// What build.rs makes.
fn engine_library() -> PathBuf {
    let library = Path::new(env!("OUT_DIR")).join("libworker_engine.a");
    assert!(library.is_file(), "{} is what build.rs makes", library.display());
    library
}

/// What the process uses of a GPU, as NVML tells it: another library stands in for NVML.
#[test]
fn gpu_nvml() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine_cpp/in_nvml_s_place");
    std::fs::create_dir_all(&folder).unwrap();
    let mut link = Command::new(compiler());
    link.args(["-std=c++20", "-shared", "-fPIC"]).arg(root().join("cuda/tests/nvml/fake_nvml.cpp"));
    link.arg("-o").arg(folder.join("libnvidia-ml.so.1"));
    expect_success(&mut link, "linking the library in NVML's place");
    let sources =
        ["cuda/src/gpu/nvml.cpp", "cuda/src/cuda_error.cpp", "cuda/tests/harness.cpp", "cuda/tests/nvml/nvml_test.cpp"];
    let sources: Vec<PathBuf> = sources.iter().map(|source| root().join(source)).collect();
    let path = format!("-Wl,-rpath,{}", folder.display());
    run_program("nvml_test", &sources, &["-Wl,--disable-new-dtags", &path], &[]);
}

/// The GPU's device, memory and failures, against the library's objects with the emulated machine in them.
#[cfg(feature = "emulated-gpu")]
#[test]
fn gpu_device() {
    let mut sources = cpp_files(&root().join("cuda/tests/gpu"));
    sources.push(root().join("cuda/tests/harness.cpp"));
    let library = Path::new(env!("OUT_DIR")).join("libworker_engine.a");
    run_program("gpu_device", &sources, &["-DWORKER_GPU", "-DWORKER_EMULATED_GPU"], &[&library]);
}

/// Everything but the kernels, which `forward_double.cpp` stands in for.
fn infrastructure_sources() -> Vec<PathBuf> {
    let mut sources = cpp_files(&root().join("cuda/src"));
    for source in ["device.cpp", "residency.cpp", "topology.cpp"] {
        sources.push(root().join("cuda/src/cpu").join(source));
    }
    sources.push(root().join("cuda/tests/harness.cpp"));
    sources.extend(cpp_files(&root().join("cuda/tests/infrastructure")));
    sources
}

/// Compiles, links and runs; fails with the program's output.
fn run_program(name: &str, sources: &[PathBuf], flags: &[&str], libraries: &[&Path]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine_cpp");
    std::fs::create_dir_all(&folder).unwrap();
    let objects = compile(sources, flags, &folder);

    let program = folder.join(name);
    let mut link = Command::new(compiler());
    link.args(flags).args(&objects).args(libraries).arg("-o").arg(&program).arg("-pthread");
    expect_success(&mut link, &format!("linking {name}"));

    // The tests write files of their own into the folder they run in; some in the name of nobody.
    let output = Command::new(&program).current_dir(&folder).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{name}: {}\n{text}", output.status);
    println!("{text}");
}

/// Two at a time over all tests of this file: there may be no more cores.
fn compile(sources: &[PathBuf], flags: &[&str], folder: &Path) -> Vec<PathBuf> {
    static AT_ONCE: Mutex<()> = Mutex::new(());
    let _turn = AT_ONCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);

    let headers = headers_hash();
    let commands: Vec<(PathBuf, Vec<String>)> = sources
        .iter()
        .map(|source| {
            let mut arguments: Vec<String> = FLAGS.iter().chain(flags).map(ToString::to_string).collect();
            for include in ["cuda/include", "cuda/src", "cuda/tests"] {
                arguments.push(format!("-I{}", root().join(include).display()));
            }
            // The device's code, in `.cu` files, is C++ too.
            arguments.extend(["-x", "c++", "-c"].map(ToOwned::to_owned));
            arguments.push(source.display().to_string());
            let mut hasher = DefaultHasher::new();
            (headers, compiler(), &arguments, std::fs::read(source).unwrap()).hash(&mut hasher);
            let stem = source.file_stem().unwrap().to_string_lossy();
            (folder.join(format!("{stem}-{:016x}.o", hasher.finish())), arguments)
        })
        .collect();

    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while let Some((object, arguments)) = commands.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if object.exists() {
                            continue;
                        }
                        // Under its final name only when whole, in case this is interrupted.
                        let partial = object.with_extension("partial");
                        let mut command = Command::new(compiler());
                        command.args(arguments).arg("-o").arg(&partial);
                        expect_success(&mut command, &format!("compiling {}", object.display()));
                        std::fs::rename(&partial, object).unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    commands.into_iter().map(|(object, _)| object).collect()
}

const FLAGS: &[&str] = &[
    "-std=c++20",
    "-O1",
    "-g1",
    "-fno-omit-frame-pointer",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-restrict", // as in build/engine.rs
    "-pthread",
];

/// Any header's change compiles everything anew: simpler than knowing who includes it, and rare enough.
fn headers_hash() -> u64 {
    let mut headers = Vec::new();
    collect(&root().join("cuda"), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "h" || extension == "inc") {
            headers.push(path.to_owned());
        }
    });
    headers.sort();
    let mut hasher = DefaultHasher::new();
    for header in headers {
        (std::fs::read(&header).unwrap(), header).hash(&mut hasher);
    }
    hasher.finish()
}

fn cpp_files(folder: &Path) -> Vec<PathBuf> {
    files_with("cpp", folder)
}

fn files_with(extension: &str, folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some(OsStr::new(extension)))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .{extension} in {}", folder.display());
    files
}

fn collect(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, visit);
        } else {
            visit(&path);
        }
    }
}

fn expect_success(command: &mut Command, what: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {command:?}: {error}"));
    assert!(output.status.success(), "{what}:\n{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
