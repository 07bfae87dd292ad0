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
