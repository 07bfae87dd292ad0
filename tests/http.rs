//! The HTTP front as a client meets it: the example server, and curl.
#![cfg(feature = "http")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

/// The example server on a free port; killed when dropped.
struct Server {
    child: Child,
    url: String,
    output: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(example())
            .args(["--drain-seconds", "20"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example was built with the tests");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("the server says where it listens").to_owned();
        Self { child, url, output }
    }

    /// Status and body of a request.
    fn call(&self, arguments: &[&str], path: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"])
            .args(arguments)
            .arg(format!("{}{path}", self.url))
            .output()
            .expect("curl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    fn execute(&self, body: &Value) -> (u16, String) {
        self.call(&["--data", &body.to_string()], "/execute")
    }

    fn health(&self) -> Value {
        let (status, body) = self.call(&[], "/health");
        assert_eq!(status, 200);
        serde_json::from_str(&body).unwrap()
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.call(&[], "/metrics");
        let line = page.lines().find(|line| line.starts_with(&format!("{name} "))).expect("the metric is there");
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn example() -> PathBuf {
    // Test programs lie in target/PROFILE/deps, examples in target/PROFILE/examples.
    let program = std::env::current_exe().unwrap();
    program.parent().and_then(Path::parent).unwrap().join("examples/http_worker")
}

/// Names and data of the events of a stream.
fn events(body: &str) -> Vec<(String, Value)> {
    body.split("\n\n")
        .filter(|frame| !frame.trim().is_empty())
        .map(|frame| {
            let field = |name: &str| {
                let line = frame.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_else(|| panic!("{name} in {frame:?}")).trim().to_owned()
            };
            (field("event:"), serde_json::from_str(&field("data:")).unwrap())
        })
        .collect()
}

fn haiku(job: &str) -> Value {
    json!({"job_id": job, "prompt": "Write a haiku about rain", "max_tokens": 40, "seed": 7, "temperature": 0.7})
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_job_is_started_then_tokens_then_one_end_and_repeats_with_its_seed() {
    let server = Server::start();
    let text = |job: &str| {
        let (status, body) = server.execute(&haiku(job));
        assert_eq!(status, 200, "{body}");
        let events = events(&body);
        assert_eq!(events[0].0, "started");
        assert_eq!(events[0].1["seed"], 7);
        assert_eq!(events.last().unwrap().0, "end");
        let tokens = &events[1..events.len() - 1];
        assert!(tokens.iter().enumerate().all(|(place, (name, data))| name == "token" && data["i"] == place));
        assert_eq!(events.last().unwrap().1["tokens_out"], tokens.len());
        tokens.iter().map(|(_, data)| data["t"].as_str().unwrap().to_owned()).collect::<String>()
    };
    let first = text("one");
    assert!(!first.is_empty());
    assert_eq!(first, text("two"));
    let health = server.health();
    assert_eq!(health["status"], "healthy");
    assert!(health["vram_bytes_used"].as_u64().unwrap() > 0);
    assert!(server.metric("worker_tokens_generated_total") > 1.0);
}

#[test]
fn every_bad_field_comes_back_at_once() {
    let server = Server::start();
    let (status, body) = server.execute(&json!({"job_id": "", "prompt": "", "temperature": "NaN", "max_tokens": 0}));
    assert_eq!(status, 400);
    let fields: Vec<String> = serde_json::from_str::<Value>(&body).unwrap()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["field"].as_str().unwrap().to_owned())
        .collect();
    for field in ["job_id", "prompt", "temperature", "max_tokens"] {
        assert!(fields.contains(&field.to_owned()), "{field} in {fields:?}");
    }
    assert_eq!(server.call(&["--data", "{"], "/execute").0, 400);
    assert_eq!(server.call(&["--json", r#"{"job_id":"nobody"}"#], "/cancel").0, 202);
}

/// A job that would take very long, read slowly.
fn endless(server: &Server, job: &str) -> Child {
    let body = json!({"job_id": job, "prompt": "Write a haiku about rain", "max_tokens": 2048, "temperature": 2.0});
    Command::new("curl")
        .args(["--silent", "--no-buffer", "--limit-rate", "200", "--data", &body.to_string()])
        .arg(format!("{}/execute", server.url))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_client_that_leaves_cancels_its_job() {
    let server = Server::start();
    let mut clients: Vec<Child> = (0..4).map(|job| endless(&server, &format!("job {job}"))).collect();
    wait_until("a token", || server.metric("worker_tokens_generated_total") > 0.0);
    for client in &mut clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    wait_until("the jobs' end", || server.metric("worker_sessions_running") == 0.0);
}

#[test]
fn sigterm_drains_and_ends_with_success() {
    let mut server = Server::start();
    let running = {
        let body = haiku("last").to_string();
        let url = format!("{}/execute", server.url);
        std::thread::spawn(move || {
            Command::new("curl").args(["--silent", "--data", &body, &url]).output().unwrap().stdout
        })
    };
    wait_until("the job's start", || server.metric("worker_sessions_started_total") > 0.0);
    let killed = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let body = String::from_utf8(running.join().unwrap()).unwrap();
    assert_eq!(events(&body).last().unwrap().0, "end", "{body}");
    assert!(server.child.wait().unwrap().success());
    let mut rest = String::new();
    server.output.read_line(&mut rest).unwrap();
    assert_eq!(rest.trim(), "drained");
    std::io::stdout().flush().unwrap();
}
