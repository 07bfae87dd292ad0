//! Compiles `cuda/` with the C++ compiler.

use std::path::{Path, PathBuf};

#[path = "gpu.rs"]
mod gpu;
#[path = "objects.rs"]
mod objects;

use gpu::Gpu;

/// Compiles the engine and links it.
pub fn compile() {
    // Directories: a file that is added, changed or taken away builds the engine anew, and nothing else does.
    println!("cargo:rerun-if-changed=cuda/src");
    println!("cargo:rerun-if-changed=cuda/include");

    let gpu = Gpu::chosen();
    for folder in gpu.folders() {
        println!("cargo:rerun-if-changed={folder}");
    }

    // The script also runs when only the headers' sources changed; the engine, which takes much longer, need not follow.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let device_objects =
        if gpu == Gpu::Cuda { gpu::device_objects(&out, &state_of(&device_headers())) } else { Vec::new() };
    let (stamp, state) = (out.join("engine.stamp"), state_of_sources(gpu, &device_objects));
    if out.join("libworker_engine.a").exists() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == state) {
        println!("cargo:rustc-link-search=native={}", out.display());
        println!("cargo:rustc-link-lib=static=worker_engine");
    } else {
        build_archive(gpu, &device_objects, &out);
        std::fs::write(&stamp, state).unwrap_or_else(|error| panic!("{}: {error}", stamp.display()));
    }
    if gpu == Gpu::Cuda {
        gpu::link_runtime();
    }
    println!("cargo:rustc-link-lib=stdc++");
}

fn build_archive(gpu: Gpu, device_objects: &[PathBuf], out: &Path) {
    let mut sources = Vec::new();
    for folder in [&["cuda/src"], gpu.folders()].concat() {
        collect(Path::new(folder), &|path| gpu.takes(path) && is_for_target(path), &mut sources);
    }
    sources.sort();

    let mut objects = device_objects.to_vec();
    let (of_gpu, sources): (Vec<_>, Vec<_>) = sources.into_iter().partition(|source| gpu.knows(source));
    // Device code that the tests run on the host: C++, whatever the compiler thinks of the name.
    let (kernels, of_gpu): (Vec<_>, Vec<_>) = of_gpu.into_iter().partition(|source| gpu::is_kernel(source));
    if !kernels.is_empty() {
        objects.extend(gpu.configure(&mut configured()).flag("-x").flag("c++").files(kernels).compile_intermediates());
    }
    if !of_gpu.is_empty() {
        objects.extend(gpu.configure(&mut configured()).files(of_gpu).compile_intermediates());
    }
    objects.extend(objects::shared(&mut configured(), sources, &state_of_sources(Gpu::None, &[]), out));
    configured().objects(objects).compile("worker_engine");
}

/// Everything that decides what the engine is compiled to: its files, these, and the environment's choices.
fn state_of_sources(gpu: Gpu, device_objects: &[PathBuf]) -> String {
    let mut files = ["engine.rs", "gpu.rs", "objects.rs"].map(|name| Path::new("build").join(name)).to_vec();
    for folder in [&["cuda/src", "cuda/include"], gpu.folders()].concat() {
        collect(Path::new(folder), &|_| true, &mut files);
    }
    files.extend_from_slice(device_objects);
    state_of(&files)
}

/// What device code may include: one change compiles all of it anew.
fn device_headers() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["cuda/src/gpu", "cuda/src/formats"] {
        collect(Path::new(folder), &|path| has_extension(path, "h"), &mut files);
    }
    files
}

fn state_of(files: &[PathBuf]) -> String {
    let mut files = files.to_vec();
    files.sort();
    let contents: Vec<_> = files.into_iter().map(|path| (std::fs::read(&path).unwrap_or_default(), path)).collect();
    hash_of(&(contents, ["TARGET", "CXX", "CXXFLAGS"].map(std::env::var_os)))
}

fn hash_of(value: &impl std::hash::Hash) -> String {
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    value.hash(&mut hasher);
    std::hash::Hasher::finish(&hasher).to_string()
}

/// Sources that may use instructions which not every processor has, by the beginnings of their names, and the architecture
/// they are for. They set their instructions themselves, and each is entered only after the processor was asked.
const INSTRUCTION_SETS: &[(&str, &str)] = &[("isa_avx", "x86_64"), ("isa_amx", "x86_64"), ("isa_neon", "aarch64")];

fn is_for_target(source: &Path) -> bool {
    let target = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let name = source.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    INSTRUCTION_SETS.iter().all(|(beginning, architecture)| !name.starts_with(beginning) || target == *architecture)
}

fn configured() -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++20")
        // A slow engine makes slow tests; debug builds of the Rust side get a fast one too.
        .opt_level(3)
        .debug(false)
        .warnings(true)
        .extra_warnings(true)
        .flag("-Werror")
        // GCC 12 sees overlaps in `"text" + string` that are not there (its bug 105329).
        .flag_if_supported("-Wno-restrict")
        .flag("-fvisibility=hidden")
        .flag("-fvisibility-inlines-hidden")
        // Unique symbols would be shared with other C++ code in the host, and keep the library from being unloaded.
        .flag_if_supported("-fno-gnu-unique")
        // The compiler must not choose where to fuse: the same sums in every kernel, on every machine.
        .flag("-ffp-contract=off")
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        .include("cuda/include")
        .include("cuda/src");
    build
}

fn collect(folder: &Path, wanted: &dyn Fn(&Path) -> bool, into: &mut Vec<PathBuf>) {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display())).path();
        if path.is_dir() {
            collect(&path, wanted, into);
        } else if wanted(&path) {
            into.push(path);
        }
    }
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension == wanted)
}
