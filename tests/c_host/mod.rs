//! Builds host programs in C against the headers and the library of this build, and runs them.
#![allow(dead_code)] // each test uses its part

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A model that is small enough for every test.
pub fn tiny_model() -> PathBuf {
    let path = root().join("../shared/models/stories260K-q8_0.gguf");
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// The shared library of this build. It has the same name whatever its features, and cargo takes the last one built for its
/// own: so it is asked.
pub fn library() -> PathBuf {
    static CHECKED: OnceLock<PathBuf> = OnceLock::new();
    let checked = CHECKED.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows its own path");
        let path = test.with_file_name("libworker.so");
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        const MARK: &[u8] = b"libworker features: ";
        let place = bytes.windows(MARK.len()).position(|window| window == MARK).expect("the library says what it is");
        let features = bytes[place + MARK.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
        let (found, wanted) = (String::from_utf8_lossy(features), env!("WORKER_FEATURES"));
        let name = path.display();
        assert!(
            found == wanted,
            "{name} has the features '{found}' and these tests '{wanted}': delete it, and cargo builds it anew"
        );
        path
    });
    checked.clone()
}

/// A folder with the library under the names that the linker and the loader look for.
pub fn library_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch("library");
        for name in ["libworker.so", "libworker.so.0"] {
            let link = folder.join(name);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(library(), &link).expect("the scratch folder takes links");
        }
        folder
    })
}

/// A folder of this test program's own.
pub fn scratch(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let test = test.file_stem().expect("and has a name").to_string_lossy().into_owned();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test).join(name);
    std::fs::create_dir_all(&folder).expect("the target folder takes folders");
    folder
}

/// Writes a source file into the scratch folder.
pub fn write(name: &str, text: &str) -> PathBuf {
    let path = scratch("sources").join(name);
    std::fs::write(&path, text).expect("the scratch folder takes files");
    path
}

/// Runs a tool, which must exist and succeed.
pub fn must_run(command: &mut Command) -> String {
    let output = output_of(command, Duration::from_secs(120));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Runs a tool, which must exist and end within the time.
pub fn output_of(command: &mut Command, limit: Duration) -> Output {
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} is needed for this test: {error}"));
    let id = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Nobody may listen any more, after the time is up.
        let _ = sender.send(child.wait_with_output());
    });
    match receiver.recv_timeout(limit) {
        Ok(output) => output.unwrap_or_else(|error| panic!("{command:?}: {error}")),
        Err(_) => {
            // SAFETY: plain system call; the child was not waited for, so the id is still its own.
            unsafe { libc::kill(id as i32, libc::SIGKILL) };
            panic!("{command:?} did not end within {:?}", started.elapsed());
        }
    }
}

/// Compiles a C program against `include/` and the library of this build.
pub fn compile_c(source: &Path, name: &str, flags: &[&str]) -> PathBuf {
    compile(Command::new("cc").args(["-std=c11", "-D_GNU_SOURCE"]).args(flags), source, name)
}

/// The same for a program in C++.
pub fn compile_cpp(source: &Path, name: &str) -> PathBuf {
    compile(Command::new("c++").arg("-std=c++17"), source, name)
}

fn compile(compiler: &mut Command, source: &Path, name: &str) -> PathBuf {
    let program = scratch("programs").join(name);
    let folder = library_folder();
    must_run(
        compiler
            .args(["-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"])
            .arg(source)
            .arg("-I")
            .arg(root().join("include"))
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(folder)
            .args(["-lworker", "-Wl,-rpath"])
            .arg(folder),
    );
    program
}

/// The names of the functions that a header declares, in its order.
pub fn declared_functions(header: &str) -> Vec<String> {
    prototypes(header).into_iter().map(|(name, _)| name).collect()
}

/// The functions that a header declares: name and prototype, on one line and without the semicolon.
pub fn prototypes(header: &str) -> Vec<(String, String)> {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").expect("comments end").1;
    }
    code.push_str(rest);
    let code: String = code.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
    let code = code.replace("extern \"C\" {", " ");
    let statements = code.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    let functions = statements.filter(|statement| statement.ends_with(')'));
    functions
        .map(|prototype| {
            let before = prototype.split('(').next().expect("a prototype has parentheses");
            let name = before.rsplit([' ', '*']).next().expect("a function has a name").to_owned();
            (name, prototype)
        })
        .collect()
}

/// The text of a committed header.
pub fn header(name: &str) -> String {
    let path = root().join("include").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
