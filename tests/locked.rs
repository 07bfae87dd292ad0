//! The 14 locked functions, from a program that knows nothing but the seed documents' declarations.

mod c_host;

use std::process::Command;

use c_host::{compile_c, declared_functions, header, must_run, root, tiny_model};

fn program() -> std::path::PathBuf {
    compile_c(&root().join("tests/locked/seeds.c"), "seeds", &["-lm"])
}

#[test]
fn a_program_written_against_the_seeds_runs_and_gets_the_right_error_for_each_bad_call() {
    let said = must_run(Command::new(program()).arg(tiny_model()));
    assert_eq!(said, "all calls gave what they should\n");
}

#[test]
fn the_locked_group_is_exactly_the_seeds_fourteen_with_their_signatures() {
    let seeds = std::fs::read_to_string(root().join("tests/locked/seeds.c")).unwrap();
    let ours = c_host::prototypes(&header("worker_ffi.h"));
    let locked: Vec<_> = ours.iter().filter(|(name, _)| name.starts_with("cuda_")).collect();
    assert_eq!(locked.len(), 14);
    for (name, prototype) in locked {
        let declared = seeds.split("extern ").find(|text| text.contains(&format!("{name}("))).unwrap();
        let declared: Vec<&str> = declared.split(';').next().unwrap().split_whitespace().collect();
        assert_eq!(prototype.replace("struct ", ""), declared.join(" "), "{name}");
    }
    assert!(declared_functions(&header("worker_ffi.h"))
        .iter()
        .all(|n| n.starts_with("cuda_") || n.starts_with("worker_")));
}

#[test]
fn reading_through_a_pointer_faults_at_once() {
    let source = c_host::write(
        "fault.c",
        "#include \"worker_ffi.h\"\nint main(void) { int code; return *(volatile char *)cuda_init(-1, &code); }\n",
    );
    let program = compile_c(&source, "fault", &[]);
    let output = c_host::output_of(&mut Command::new(program), std::time::Duration::from_secs(20));
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
}
