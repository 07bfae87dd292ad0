//! Objects that builds share: what is compiled the same for every profile and set of features is compiled once.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// States of the sources whose objects are kept.
const STATES_KEPT: usize = 4;

/// Objects of the sources, in their order. They lie in a folder of cargo's own, named by everything that they are made of:
/// the compiler, what it is told, and the `state` of all that it may read.
pub fn shared(build: &mut cc::Build, sources: Vec<PathBuf>, state: &str, out: &Path) -> Vec<PathBuf> {
    let all = folder_of_all(out);
    let folder = all.join(super::hash_of(&(compiler(build), state)));
    if !folder.is_dir() {
        keep_newest(&all);
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
    let objects: Vec<PathBuf> = sources.iter().map(|source| folder.join(name_of(source))).collect();
    let (sources, missing): (Vec<_>, Vec<_>) =
        sources.into_iter().zip(&objects).filter(|(_, object)| !object.is_file()).unzip();
    if !sources.is_empty() {
        for (made, object) in build.files(sources).compile_intermediates().iter().zip(missing) {
            place(made, object);
        }
    }
    objects
}

/// Beside the profiles' folders: `OUT_DIR` is `build/<package>/out` within one of them.
fn folder_of_all(out: &Path) -> PathBuf {
    let target = out.ancestors().nth(4).unwrap_or_else(|| panic!("{} is not where cargo has it", out.display()));
    target.join("engine-objects")
}

/// Which compiler it is, and its arguments.
fn compiler(build: &cc::Build) -> String {
    let mut command = build.get_compiler().to_command();
    // Not the command's environment, in which cc puts the folder of this build.
    let told = format!("{:?} {:?}", command.get_program(), command.get_args().collect::<Vec<_>>());
    let output = command.arg("--version").output().unwrap_or_else(|error| panic!("{told}: {error}"));
    told + &String::from_utf8_lossy(&output.stdout)
}

fn name_of(source: &Path) -> String {
    source.display().to_string().replace(['/', '.'], "_") + ".o"
}

/// Whole or not at all: another build may be looking for it.
fn place(made: &Path, object: &Path) {
    let unfinished = object.with_extension(format!("{}.unfinished", std::process::id()));
    std::fs::copy(made, &unfinished)
        .and_then(|_| std::fs::rename(&unfinished, object))
        .unwrap_or_else(|error| panic!("{}: {error}", object.display()));
}

/// Makes room for one more. What cannot be listed or deleted stays.
fn keep_newest(all: &Path) {
    let modified = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let entries = std::fs::read_dir(all).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(modified(folder)));
    for old in folders.iter().skip(STATES_KEPT - 1) {
        let _ = std::fs::remove_dir_all(old);
    }
}
