//! A worker behind HTTP: one model, `POST /execute` and friends; SIGTERM drains.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use worker::http::Front;
use worker::worker::lifecycle;

const HELP: &str =
    "Usage: http_worker [--model FILE] [--listen ADDRESS] [--drain-seconds N] [--residency off|verify|locked]

Serves a model over HTTP until SIGTERM, SIGINT or POST /shutdown, then lets running jobs finish.

  --model FILE         a GGUF file; default: examples/models/haiku.gguf
  --listen ADDRESS     default: 127.0.0.1:0, a free port, which is printed
  --drain-seconds N    how long running jobs may go on; default: 30
  --residency POLICY   default: verify

Try it:
  curl -N http://ADDRESS/execute -d '{\"job_id\":\"1\",\"prompt\":\"Write a haiku about rain\",\"max_tokens\":64}'";

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("http_worker: {message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("http_worker: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> Result<(), String> {
    let configuration =
        serde_json::json!({ "model": options.model, "residency": options.residency, "worker_id": "http-worker" });
    let bootstrapped = lifecycle::bootstrap(&configuration.to_string()).map_err(|error| error.to_string())?;
    let model = bootstrapped.model.ok_or("no model was loaded")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(options.listen)
            .await
            .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        println!("listening on http://{address}");
        let front = Front::new(model);
        let signalled = front.clone();
        tokio::spawn(async move {
            wait_for_signal().await;
            signalled.drain();
        });
        let (router, deadline) = (front.router(), options.drain);
        let ended = async move { front.drained(deadline).await };
        axum::serve(listener, router).with_graceful_shutdown(ended).await.map_err(|error| error.to_string())
    })?;
    lifecycle::stop().map_err(|error| error.to_string())?;
    println!("drained");
    Ok(())
}

async fn wait_for_signal() {
    use tokio::signal::unix::{signal, SignalKind};
    // Without a handler the signal ends the process as it would anyway.
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

struct Options {
    model: String,
    listen: SocketAddr,
    drain: Duration,
    residency: String,
}

impl Options {
    fn read(mut given: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            model: concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/haiku.gguf").to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            drain: Duration::from_secs(30),
            residency: "verify".to_owned(),
        };
        while let Some(argument) = given.next() {
            if matches!(argument.as_str(), "--help" | "-h") {
                return Ok(None);
            }
            let value = given.next().ok_or_else(|| format!("{argument} needs a value, or is unknown"))?;
            match argument.as_str() {
                "--model" => options.model = value,
                "--listen" => {
                    options.listen =
                        value.parse().map_err(|_| format!("--listen: not an address and port: {value}"))?;
                }
                "--drain-seconds" => {
                    let seconds = value.parse().map_err(|_| format!("--drain-seconds: not a number: {value}"))?;
                    options.drain = Duration::from_secs(seconds);
                }
                "--residency" => options.residency = value,
                unknown => return Err(format!("unknown option {unknown}")),
            }
        }
        Ok(Some(options))
    }
}
