//! A library built for GPUs, on a machine that has none: it loads, says so, and serves the CPU.
//!
//! Where there is a GPU after all it is hidden, so that these tests mean the same everywhere.

mod c_host;

use std::process::Command;
use std::sync::Once;

use worker::cuda::{CudaContext, CudaError};
use worker::engine::Device;
use worker::error::Code;

/// Before the first question to the driver, which looks only then.
fn hide_gpus() {
    static HIDDEN: Once = Once::new();
    HIDDEN.call_once(|| std::env::set_var("CUDA_VISIBLE_DEVICES", ""));
}

#[test]
fn there_are_no_devices_and_that_is_no_error() {
    hide_gpus();
    assert_eq!(Device::gpu_count(), 0);
    assert_eq!(CudaContext::device_count(), 0);
}

#[test]
fn asking_for_a_gpu_fails_with_the_reason_and_never_gives_the_cpu() {
    hide_gpus();
    for ordinal in [0, 1, 7] {
        let error = Device::open(ordinal, 0).unwrap_err();
        assert_eq!(error.code, Code::InvalidDevice);
        assert!(error.detail.contains(&format!("GPU {ordinal} was asked for, and there is none")), "{error}");
        // By whichever of the two this machine has: no driver, or no device that may be seen.
        let reasons = ["cudaErrorInsufficientDriver, 35", "cudaErrorNoDevice, 100"];
        assert!(reasons.iter().any(|reason| error.detail.contains(reason)), "{error}");

        let error = CudaContext::new(ordinal).unwrap_err();
        assert!(matches!(error, CudaError::InvalidDevice(_)), "{error}");
        assert!(error.detail().contains("no GPU can be used here"), "{error}");
    }
}

#[test]
fn the_cpu_works_as_ever() {
    hide_gpus();
    let context = CudaContext::new(-1).unwrap();
    assert!(context.check_device_health().unwrap());
    let model = context.load_model(c_host::tiny_model().to_str().unwrap()).unwrap();
    assert!(model.check_vram_residency().unwrap());
    let mut result = model.start_inference("Once upon a time", 8, 0.0, 1).unwrap();
    let mut tokens = 0;
    while result.next_token().unwrap().is_some() {
        tokens += 1;
    }
    assert!(tokens > 0);
}

#[test]
fn a_program_written_against_the_seeds_runs_with_this_library() {
    let program = c_host::compile_c(&c_host::root().join("tests/locked/seeds.c"), "seeds", &["-lm"]);
    let said = c_host::must_run(Command::new(program).env("CUDA_VISIBLE_DEVICES", "").arg(c_host::tiny_model()));
    assert_eq!(said, "all calls gave what they should\n");
}

#[test]
fn the_library_needs_no_library_of_nvidia_s() {
    let needed = c_host::must_run(Command::new("readelf").arg("-d").arg(c_host::library()));
    assert!(needed.contains("NEEDED"), "{needed}");
    for line in needed.lines().filter(|line| line.contains("NEEDED")) {
        let lower = line.to_lowercase();
        assert!(!["cuda", "nvidia", "nvml", "cublas"].iter().any(|name| lower.contains(name)), "{line}");
    }
}

/// Device code for every architecture that was asked for, and PTX for those to come.
#[test]
fn the_library_carries_device_code() {
    let sections = c_host::must_run(Command::new("readelf").args(["-S", "-W"]).arg(c_host::library()));
    assert!(sections.contains(".nv_fatbin"), "{sections}");
}

/// What is taken to a machine with a card builds, and there too says what is missing rather than passing.
#[test]
fn the_bundle_for_a_real_card_fails_where_there_is_none() {
    let folder = c_host::scratch("bundle");
    let archive = std::path::Path::new(env!("OUT_DIR")).join("libworker_engine.a");
    let script = c_host::root().join("tests/gpu/prepare.sh");
    c_host::must_run(Command::new(script).arg(&folder).arg(c_host::library()).arg(archive).arg(toolkit()));

    let kinds =
        Command::new(folder.join("bin/memory_kinds")).arg("0").env("CUDA_VISIBLE_DEVICES", "").output().unwrap();
    assert_eq!(kinds.status.code(), Some(3), "{kinds:?}");
    assert!(String::from_utf8_lossy(&kinds.stderr).contains("GPU 0 was asked for, and there is none"), "{kinds:?}");

    let run = Command::new(folder.join("run.sh")).args(["--stress", "1"]).env("CUDA_VISIBLE_DEVICES", "").output();
    let run = run.unwrap();
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(!run.status.success());
    assert_eq!((&report["passed"], &report["dry_run"]), (&0.into(), &false.into()), "{report:#}");
}

/// Where `build/gpu.rs` found nvcc.
fn toolkit() -> std::path::PathBuf {
    if let Some(nvcc) = std::env::var_os("NVCC") {
        return std::fs::canonicalize(nvcc).unwrap().parent().unwrap().parent().unwrap().to_owned();
    }
    if let Some(home) = std::env::var_os("CUDA_HOME") {
        return home.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nvcc")).find(|nvcc| nvcc.is_file());
    let nvcc = on_path.unwrap_or_else(|| c_host::root().join("target/cuda-toolkit/nvidia/cu13/bin/nvcc"));
    std::fs::canonicalize(nvcc).unwrap().parent().unwrap().parent().unwrap().to_owned()
}
