//! Nothing a host does crashes it: every exported function with everything that a caller can get wrong, from several
//! threads; readers against closers; forks; exits in mid-stream; and valgrind over a host's whole life.

mod c_host;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use c_host::{compile_c, must_run, root, tiny_model};

const ALL_WELL: &str = "all calls gave what they should\n";

fn program(name: &'static str) -> PathBuf {
    // Tests of one program run side by side, and must not write it while another runs it.
    static PROGRAMS: OnceLock<()> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        for name in ["calls", "life", "managed"] {
            compile_c(&root().join(format!("tests/misuse/{name}.c")), name, &[]);
        }
    });
    c_host::scratch("programs").join(name)
}

fn run(name: &'static str, arguments: &[&str]) -> String {
    must_run(Command::new(program(name)).args(arguments).arg(tiny_model()))
}

#[test]
fn every_function_gives_the_right_code_for_every_bad_argument_from_several_threads() {
    let said = must_run(Command::new(program("calls")).arg(tiny_model()));
    assert_eq!(said, ALL_WELL);
}

#[test]
fn every_exported_function_is_called_with_bad_arguments() {
    let calls: String = ["tests/misuse/calls.c", "tests/misuse/managed.c", "tests/locked/seeds.c"]
        .iter()
        .map(|path| std::fs::read_to_string(root().join(path)).unwrap())
        .collect();
    for name in c_host::declared_functions(&c_host::header("worker_ffi.h")) {
        assert!(calls.contains(&format!("{name}(")), "{name} is in none of the programs");
    }
}

#[test]
fn an_ordinary_life_goes_well() {
    assert_eq!(run("life", &["ordinary"]), ALL_WELL);
}

#[test]
fn readers_come_back_whatever_ends_their_session() {
    assert_eq!(run("life", &["races"]), ALL_WELL);
}

#[test]
fn a_forked_child_is_told_and_may_load_for_itself() {
    assert_eq!(run("life", &["forks"]), ALL_WELL);
}

#[test]
fn a_process_may_exit_in_mid_stream() {
    for _ in 0..20 {
        assert_eq!(run("life", &["leaves"]), ALL_WELL);
    }
}

#[test]
fn the_managed_worker_lives_a_thousand_times() {
    assert_eq!(must_run(Command::new(program("managed")).arg(tiny_model())), ALL_WELL);
}

#[test]
fn what_a_callback_throws_goes_no_further() {
    let source = root().join("tests/misuse/throwing.cpp");
    let program = c_host::compile_cpp(&source, "throwing");
    assert_eq!(must_run(Command::new(program).arg(tiny_model())), ALL_WELL);
}

fn under_valgrind(name: &'static str, before: &[&str], after: &[&str]) {
    let said = must_run(
        Command::new("valgrind")
            .args([
                "--quiet",
                "--error-exitcode=97",
                "--leak-check=full",
                "--show-leak-kinds=definite,indirect,possible",
            ])
            .args(["--errors-for-leak-kinds=definite,indirect,possible"])
            .arg(program(name))
            .args(before)
            .arg(tiny_model())
            .args(after),
    );
    assert_eq!(said, ALL_WELL);
}

#[test]
fn valgrind_finds_no_error_and_no_lost_byte_in_an_ordinary_life() {
    under_valgrind("life", &["ordinary"], &[]);
}

#[test]
fn valgrind_finds_no_error_and_no_lost_byte_in_bad_calls() {
    under_valgrind("calls", &[], &["1"]);
}

#[test]
fn valgrind_finds_no_error_and_no_lost_byte_in_the_managed_workers_lives() {
    under_valgrind("managed", &[], &["1000"]);
}
