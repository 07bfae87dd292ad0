//! The library exports what the headers declare, and nothing else; and it is linked as a library for hosts must be.

mod c_host;

use std::collections::BTreeSet;
use std::process::Command;

use c_host::{declared_functions, header, library, must_run, root};

fn exported() -> BTreeSet<String> {
    let list = must_run(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    list.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
}

#[test]
fn exactly_the_committed_functions_are_exported() {
    let path = root().join("abi/worker.symbols");
    let found: String = exported().iter().map(|name| format!("{name}\n")).collect();
    if std::env::var_os("WORKER_WRITE_ABI").is_some_and(|value| value == "1") {
        std::fs::write(&path, &found).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, committed, "{} differs; WORKER_WRITE_ABI=1 rewrites it", path.display());
}

#[test]
fn exactly_the_declared_functions_are_exported() {
    let declared: BTreeSet<String> = declared_functions(&header("worker_ffi.h")).into_iter().collect();
    assert_eq!(exported(), declared);
}

#[test]
fn the_library_has_its_soname_and_stays_loaded() {
    let dynamic = must_run(Command::new("readelf").args(["-d", "--wide"]).arg(library()));
    assert!(dynamic.contains("Library soname: [libworker.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}

#[test]
fn the_library_can_be_loaded_and_unloaded_again_and_again() {
    let source = c_host::write(
        "reload.c",
        r#"
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    int i;
    for (i = 0; i < 100; i++) {
        void *library = dlopen(argv[argc - 1], RTLD_NOW);
        int (*count)(void);
        if (library == NULL) { fprintf(stderr, "%s\n", dlerror()); return 1; }
        *(void **)&count = dlsym(library, "cuda_get_device_count");
        if (count == NULL || count() < 0) return 2;
        if (dlclose(library) != 0) return 3;
    }
    return 0;
}
"#,
    );
    let program = c_host::scratch("programs").join("reload");
    must_run(Command::new("cc").args(["-D_GNU_SOURCE", "-o"]).arg(&program).arg(source).arg("-ldl"));
    must_run(Command::new(program).arg(library()));
}
