//! The GPU part of the engine: compiled by nvcc for the devices (feature `cuda`), or as C++ for the tests' emulated one
//! (feature `emulated-gpu`).

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the features ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gpu {
    None,
    Cuda,
    Emulated,
}

impl Gpu {
    /// By cargo's features.
    pub fn chosen() -> Self {
        let has = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
        match (has("CUDA"), has("EMULATED_GPU")) {
            (true, true) => panic!("the features `cuda` and `emulated-gpu` exclude each other"),
            (true, false) => Gpu::Cuda,
            (false, true) => Gpu::Emulated,
            (false, false) => Gpu::None,
        }
    }

    /// Whether a source under `cuda/src` belongs to the build. The real table is for devices alone.
    pub fn takes(self, source: &Path) -> bool {
        if !source.starts_with("cuda/src/gpu") {
            return super::has_extension(source, "cpp");
        }
        let is_real_table = source.file_name().is_some_and(|name| name == "runtime_cuda.cu");
        match self {
            Gpu::None => false,
            Gpu::Cuda => super::has_extension(source, "cpp"),
            Gpu::Emulated => !is_real_table && (super::has_extension(source, "cpp") || is_kernel(source)),
        }
    }

    /// Whether a source of the build is compiled otherwise than without a GPU. The rest is the same, and compilers' caches
    /// know it already.
    pub fn knows(self, source: &Path) -> bool {
        let folders = ["cuda/src/gpu", "cuda/tests/emulation"];
        self != Gpu::None
            && (source == Path::new("cuda/src/device.cpp") || folders.iter().any(|folder| source.starts_with(folder)))
    }

    /// What the compiler is told for those.
    pub fn configure(self, build: &mut cc::Build) -> &mut cc::Build {
        build.define("WORKER_GPU", None);
        if self == Gpu::Emulated {
            build.define("WORKER_EMULATED_GPU", None).include("cuda/tests");
        }
        build
    }

    /// What the build depends on besides `cuda/src` and `cuda/include`.
    pub fn folders(self) -> &'static [&'static str] {
        match self {
            Gpu::Emulated => &["cuda/tests/emulation"],
            Gpu::None | Gpu::Cuda => &[],
        }
    }
}

/// Whether the file has code for the device.
pub fn is_kernel(source: &Path) -> bool {
    super::has_extension(source, "cu")
}

/// Everything that nvcc makes of `cuda/src/gpu`, ready to be linked.
pub fn device_objects(out: &Path, depends_on: &str) -> Vec<PathBuf> {
    let toolkit = Toolkit::find();
    let mut sources = Vec::new();
    super::collect(Path::new("cuda/src/gpu"), &is_kernel, &mut sources);
    sources.sort();
    sources.iter().map(|source| toolkit.compile(source, out, depends_on)).collect()
}

/// Tells cargo to link the CUDA runtime, statically: the library then loads where there is no driver.
pub fn link_runtime() {
    println!("cargo:rustc-link-search=native={}", Toolkit::find().library_folder().display());
    println!("cargo:rustc-link-lib=static=cudart_static");
    for library in ["dl", "pthread", "rt"] {
        println!("cargo:rustc-link-lib={library}");
    }
}

/// The real architectures that device code is made for when WORKER_CUDA_ARCHITECTURES does not say; the last one also
/// as PTX, for devices that are newer than all of them.
const ARCHITECTURES: &str = "75 80 86 89 90 100 120";

fn architectures() -> Vec<String> {
    println!("cargo:rerun-if-env-changed=WORKER_CUDA_ARCHITECTURES");
    let text = std::env::var("WORKER_CUDA_ARCHITECTURES").unwrap_or_default();
    let text = if text.trim().is_empty() { ARCHITECTURES } else { &text };
    let list: Vec<String> =
        text.split([' ', ',', ';']).filter(|part| !part.is_empty()).map(|part| part.replace("sm_", "")).collect();
    for architecture in &list {
        let number = architecture.parse::<u32>();
        assert!(
            number.is_ok_and(|number| number >= 75),
            "WORKER_CUDA_ARCHITECTURES: {architecture} is no architecture from 75 on"
        );
    }
    list
}

/// Where the CUDA toolkit is.
struct Toolkit {
    nvcc: PathBuf,
    root: PathBuf,
}

impl Toolkit {
    /// By NVCC, then CUDA_HOME, then the path, then what `make cuda-toolkit` installed.
    fn find() -> Self {
        for variable in ["NVCC", "CUDA_HOME", "PATH"] {
            println!("cargo:rerun-if-env-changed={variable}");
        }
        let set = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(nvcc) = set("NVCC") {
            return Self::of(nvcc, "NVCC");
        }
        if let Some(home) = set("CUDA_HOME") {
            return Self::of(home.join("bin/nvcc"), "CUDA_HOME");
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed = PathBuf::from("target/cuda-toolkit/nvidia/cu13/bin/nvcc");
        let candidates = std::env::split_paths(&path).map(|folder| folder.join("nvcc")).chain([installed]);
        let found = candidates.into_iter().find(|nvcc| nvcc.is_file());
        let nvcc = found.unwrap_or_else(|| {
            panic!(
                "the feature `cuda` needs nvcc: set NVCC or CUDA_HOME, put nvcc on the path, or run `make cuda-toolkit`"
            )
        });
        Self::of(nvcc, "the path")
    }

    fn of(nvcc: PathBuf, origin: &str) -> Self {
        let nvcc = std::fs::canonicalize(&nvcc)
            .unwrap_or_else(|error| panic!("nvcc by {origin}: {}: {error}", nvcc.display()));
        let root = nvcc.parent().and_then(Path::parent).map(Path::to_path_buf);
        Self { root: root.unwrap_or_else(|| PathBuf::from("/")), nvcc }
    }

    fn library_folder(&self) -> PathBuf {
        let folders = ["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"];
        let found =
            folders.iter().map(|folder| self.root.join(folder)).find(|f| f.join("libcudart_static.a").is_file());
        found.unwrap_or_else(|| panic!("{} has no libcudart_static.a", self.root.display()))
    }

    /// Compiles one file, unless that was done with the same input before.
    fn compile(&self, source: &Path, out: &Path, depends_on: &str) -> PathBuf {
        let name = source.display().to_string().replace(['/', '.'], "_");
        let (object, stamp) = (out.join(format!("{name}.o")), out.join(format!("{name}.stamp")));
        let mut command = Command::new(&self.nvcc);
        command.args(["-c", "-std=c++20", "-O3", "-DWORKER_GPU", "-Icuda/include", "-Icuda/src", "--threads=2"]);
        // The compiler must not choose where to fuse: the same sums as in the emulation and on the CPU.
        command.args(["-fmad=false", "--expt-relaxed-constexpr", "-Xcompiler"]);
        command.arg("-fPIC,-fvisibility=hidden,-fvisibility-inlines-hidden,-ffp-contract=off,-Wall,-Wextra,-Werror");
        let list = architectures();
        for architecture in &list {
            command.arg(format!("--generate-code=arch=compute_{architecture},code=sm_{architecture}"));
        }
        if let Some(newest) = list.last() {
            command.arg(format!("--generate-code=arch=compute_{newest},code=compute_{newest}"));
        }
        command.arg(source).arg("-o").arg(&object);

        let text = std::fs::read_to_string(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let state = format!("{depends_on}\n{command:?}\n{text}");
        if object.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == state) {
            return object;
        }
        let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", self.nvcc.display()));
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "nvcc {}:\n{said}", source.display());
        std::fs::write(&stamp, state).unwrap_or_else(|error| panic!("{}: {error}", stamp.display()));
        object
    }
}
