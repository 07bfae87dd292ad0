//! The installed library, and host programs built against it the way a user would: by `worker.pc`, never by paths
//! inside cargo's `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The tree's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The model that ships with the project.
pub fn shipped_model() -> PathBuf {
    root().join("examples/models/haiku.gguf")
}

/// Where the library is installed: `WORKER_PREFIX`, else `target/test-prefix`, installed here and now.
pub fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        if let Some(given) = std::env::var_os("WORKER_PREFIX") {
            return PathBuf::from(given);
        }
        let prefix = root().join("target/test-prefix");
        let mut install = Command::new("make");
        install.arg("--no-print-directory").arg("install").arg(format!("PREFIX={}", prefix.display())).arg("DESTDIR=");
        // What cargo tells a test about its package would tell the inner cargo wrong things.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "LD_LIBRARY_PATH" {
                install.env_remove(name);
            }
        }
        let output = install.current_dir(root()).output().expect("make runs");
        assert!(output.status.success(), "make install failed:\n{}", text(&output.stderr));
        prefix
    })
}

/// A command that finds the installed library, and no other, at build time and at run time.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let library = prefix().join("lib");
    let mut command = Command::new(program);
    command
        .current_dir(root())
        .env("PKG_CONFIG_PATH", library.join("pkgconfig"))
        .env("LD_LIBRARY_PATH", &library)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

/// What `pkg-config` answers for the installed library, as words.
pub fn pkg_config(question: &[&str]) -> Vec<String> {
    let output = command("pkg-config").args(question).arg("worker").output().expect("pkg-config runs");
    assert!(output.status.success(), "pkg-config {question:?}: {}", text(&output.stderr));
    text(&output.stdout).split_whitespace().map(String::from).collect()
}

/// Where built host programs go.
pub fn built(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hosts");
    std::fs::create_dir_all(&directory).unwrap();
    directory.join(name)
}

/// Compiles one C or C++ file against the installed library; `compiler` is a command and its flags.
pub fn compile(compiler: &[&str], source: &str, name: &str) -> PathBuf {
    let program = built(name);
    let output = command(compiler[0])
        .args(&compiler[1..])
        .args(["-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o"])
        .arg(&program)
        .arg(root().join(source))
        .args(pkg_config(&["--cflags", "--libs"]))
        .args(["-pthread", "-lm"])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", compiler[0]));
    assert!(output.status.success(), "{compiler:?} {source}:\n{}", text(&output.stderr));
    program
}

/// Builds the Go command in `directory` (relative to the root) with cgo.
pub fn compile_go(directory: &str, name: &str) -> PathBuf {
    let program = built(name);
    let output = command("go")
        .current_dir(root().join(directory))
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .envs([("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GO111MODULE", "on"), ("CGO_ENABLED", "1")])
        .output()
        .expect("go runs");
    assert!(output.status.success(), "go build in {directory}:\n{}", text(&output.stderr));
    program
}

/// Bytes as text, for messages and comparisons.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
