//! One list of cases, six hosts: the library must look the same from C, C++, Go, Ruby, Python and Rust.
//!
//! `conformance/cases.json` holds the cases; each language has one small program that reads requests and answers them
//! (`conformance/README.md` has the protocol). Every answer is checked against the case and against the C program's.

#[path = "conformance/expectation.rs"]
mod expectation;
#[path = "hosts/installed.rs"]
mod installed;

use expectation::{Answer, Variables};
use installed::{command, compile, compile_go, root, shipped_model, text};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

#[test]
fn c() {
    let answers = reference();
    assert!(answers.iter().map(Vec::len).sum::<usize>() > 60, "the list of cases has shrunk");
}

#[test]
fn cpp() {
    let program = compile(&["c++", "-std=c++17"], "tests/conformance/runner.cpp", "conformance-cpp");
    agree_with_c("C++", command(program));
}

#[test]
fn go() {
    agree_with_c("Go", command(compile_go("tests/conformance/go", "conformance-go")));
}

#[test]
fn ruby() {
    let mut ruby = command("ruby");
    ruby.arg("tests/conformance/runner.rb");
    agree_with_c("Ruby", ruby);
}

#[test]
fn python() {
    let mut python = command("python3");
    python.arg("tests/conformance/runner.py");
    agree_with_c("Python", python);
}

/// For Rust the crate itself is the library; cargo builds the program along with its tests.
#[test]
fn rust() {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/conformance");
    assert!(program.exists(), "{program:?} is missing: run `cargo test`, or `cargo build --examples` first");
    agree_with_c("Rust", command(program));
}

fn agree_with_c(language: &str, host: Command) {
    let ours = run_cases(language, host);
    let mut differences = Vec::new();
    for ((case, c_answers), answers) in cases().iter().zip(reference()).zip(&ours) {
        for (index, (c_answer, answer)) in c_answers.iter().zip(answers).enumerate() {
            let step = &case["steps"][index];
            // Handles differ from process to process, by design.
            let varies = step.get("save").is_some() || step["varies"] == true;
            if !varies && c_answer != answer {
                differences.push(format!("{} step {index}: C gives {c_answer:?}, {language} {answer:?}", case["name"]));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The C program's answers; the other hosts' are compared with them.
fn reference() -> &'static [Vec<Answer>] {
    static ANSWERS: OnceLock<Vec<Vec<Answer>>> = OnceLock::new();
    ANSWERS.get_or_init(|| {
        let program = compile(&["cc", "-std=c99"], "tests/conformance/runner.c", "conformance-c");
        run_cases("C", command(program))
    })
}

fn cases() -> &'static [Value] {
    static CASES: OnceLock<Vec<Value>> = OnceLock::new();
    CASES.get_or_init(|| {
        let file = std::fs::read_to_string(root().join("tests/conformance/cases.json")).unwrap();
        let list: Value = serde_json::from_str(&file).expect("cases.json is JSON");
        list["cases"].as_array().expect("a list of cases").clone()
    })
}

/// Runs every case in one process of the host and reports each; any failure fails the test, after all have run.
///
/// One host at a time: models are computed with all cores, and hosts that share them only get in each other's way.
fn run_cases(language: &str, command: Command) -> Vec<Vec<Answer>> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let damaged = directory.path().join("damaged.gguf");
    let whole = std::fs::read(shipped_model()).unwrap();
    std::fs::write(&damaged, &whole[..whole.len() / 3]).unwrap();
    let shared = root().join("../shared");

    let mut host = Host::start(command);
    let mut failures = Vec::new();
    let mut all = Vec::new();
    for case in cases() {
        let mut variables = Variables::default();
        variables.set("haiku", &shipped_model().display().to_string());
        variables.set("stories", &shared.join("models/stories260K-f32.gguf").display().to_string());
        variables.set("damaged", &damaged.display().to_string());
        let name = case["name"].as_str().expect("a case has a name");
        let mut answers = Vec::new();
        let mut verdict = Ok(());
        for step in case["steps"].as_array().expect("a case has steps") {
            let request: Vec<String> = step["send"]
                .as_array()
                .expect("a step sends words")
                .iter()
                .map(|word| variables.fill(word.as_str().expect("words are strings")))
                .collect();
            let answer = host.ask(&request);
            let outcome = expectation::check(step, &answer, &mut variables, &shared.join("goldens"));
            answers.push(answer);
            if let Err(problem) = outcome {
                verdict = Err(format!("{language}: {name}: {request:?}: {problem}"));
                break;
            }
        }
        println!("{language}: {name}: {}", if verdict.is_ok() { "pass" } else { "FAIL" });
        failures.extend(verdict.err());
        all.push(answers);
    }
    host.end();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    all
}

/// A running host program.
struct Host {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Host {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let requests = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, requests, answers }
    }

    fn ask(&mut self, words: &[String]) -> Answer {
        let line: Vec<String> = words.iter().map(|word| escape(word)).collect();
        let sent = writeln!(self.requests, "{}", line.join("\t")).and_then(|()| self.requests.flush());
        let mut reply = String::new();
        let read = self.answers.read_line(&mut reply);
        if sent.is_err() || !matches!(read, Ok(length) if length > 0) {
            let status = self.child.wait();
            let mut message = Vec::new();
            let _ = self.child.stderr.take().unwrap().read_to_end(&mut message);
            panic!("the host ended at {words:?}: {status:?}: {}", text(&message));
        }
        let words: Vec<String> = reply.trim_end_matches('\n').split('\t').map(unescape).collect();
        Answer::parse(&words).unwrap_or_else(|| panic!("not an answer: {reply:?}"))
    }

    /// A host that has answered everything must also end well.
    fn end(self) {
        let Self { mut child, requests, answers } = self;
        drop(requests);
        drop(answers);
        let output = child.wait().unwrap();
        let mut message = Vec::new();
        child.stderr.take().unwrap().read_to_end(&mut message).unwrap();
        assert!(output.success(), "the host ended with {output}: {}", text(&message));
    }
}

fn escape(word: &str) -> String {
    word.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(word: &str) -> String {
    let mut plain = String::new();
    let mut characters = word.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('t') => plain.push('\t'),
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some(other) => plain.push(other),
                None => {}
            },
            (other, false) => plain.push(other),
        }
    }
    plain
}
