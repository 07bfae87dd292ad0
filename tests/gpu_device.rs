//! The library on a GPU, from its doors down: what is loaded where, what is proven of it, and what becomes of failures.
//! The GPU is emulated; its machine is chosen by each test, so they take turns.

mod c_host;

use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use worker::cuda::{CudaContext, CudaError, CudaModel};
use worker::engine::emulated::{self, status, Census, Machine, MemoryKind};
use worker::engine::{Device, DeviceKind, LoadMode, UsageSource};
use worker::error::{Code, Error};
use worker::inference::{LoadOptions, Model};
use worker::model::{GgufFile, Mapping};

/// A machine of the test's own, while it lives.
struct Emulated {
    before: Census,
    _turn: MutexGuard<'static, ()>,
}

impl Emulated {
    fn new(machine: &Machine) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        emulated::reset();
        emulated::set_machine(machine);
        Self { before: emulated::census(), _turn: turn }
    }

    fn assert_nothing_left(&self) {
        let now = emulated::census();
        let alive = |census: &Census| {
            (census.device_blocks, census.device_bytes, census.pinned_blocks, census.streams, census.events)
        };
        assert_eq!(alive(&now), alive(&self.before));
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        emulated::reset();
    }
}

fn small_cache() -> LoadOptions {
    LoadOptions { context_length: 256, kv_budget_bytes: 1 << 20, ..LoadOptions::default() }
}

fn load_on(ordinal: i32) -> Result<Arc<Model>, Error> {
    Model::load(&c_host::tiny_model(), Device::open(ordinal, 0)?, &small_cache(), &mut |_| true)
}

fn text(model: &CudaModel, tokens: u32) -> Result<String, CudaError> {
    let mut result = model.start_inference("Once upon a time", tokens, 0.0, 1)?;
    let mut text = String::new();
    while let Some((piece, _)) = result.next_token()? {
        text += &piece;
    }
    Ok(text)
}

fn tiny_model() -> String {
    c_host::tiny_model().to_str().unwrap().to_owned()
}

#[test]
fn devices_are_counted_described_and_opened_by_number() {
    let _machine = Emulated::new(&Machine { devices: 2, ..Machine::default() });
    assert_eq!(CudaContext::device_count(), 2);
    for ordinal in [0, 1] {
        let device = CudaContext::new(ordinal).unwrap().device().unwrap();
        assert_eq!((device.ordinal, device.kind, device.threads), (ordinal, DeviceKind::Gpu, 0));
        assert_eq!((device.name.as_str(), device.compute_capability), (&*format!("Emulated GPU {ordinal}"), 90));
        assert_eq!(device.total_memory, 1 << 30);
    }
    for ordinal in [2, 999] {
        let error = CudaContext::new(ordinal).unwrap_err();
        assert!(matches!(error, CudaError::InvalidDevice(_)), "{error}");
        assert!(error.detail().contains(&ordinal.to_string()), "{error}");
    }
}

#[test]
fn wrong_counts_give_no_device_rather_than_a_crash() {
    for (devices, count_status) in
        [(0, 0), (-1, 0), (i32::MIN, 0), (3, status::NO_DEVICE), (3, status::INSUFFICIENT_DRIVER)]
    {
        let _machine = Emulated::new(&Machine { devices, count_status, ..Machine::default() });
        assert_eq!(CudaContext::device_count(), 0);
        assert!(matches!(CudaContext::new(0), Err(CudaError::InvalidDevice(_))));
        assert_eq!(Device::open(0, 0).unwrap_err().code, Code::InvalidDevice);
    }
}

#[test]
fn one_open_gpu_serves_every_request_for_it() {
    let machine = Emulated::new(&Machine::default());
    let first = CudaContext::new(0).unwrap();
    let opened = emulated::census();
    let others = [CudaContext::new(0).unwrap(), CudaContext::new(0).unwrap()];
    assert_eq!(emulated::census().streams, opened.streams);
    drop((first, others));
    machine.assert_nothing_left();
}

#[test]
fn a_model_lives_in_the_gpu_s_memory_and_leaves_nothing_there() {
    let machine = Emulated::new(&Machine::default());
    {
        let context = CudaContext::new(0).unwrap();
        let model = context.load_model(&tiny_model()).unwrap();
        let on_gpu = emulated::census();
        assert!(model.vram_usage() >= std::fs::metadata(tiny_model()).unwrap().len() / 2);
        assert!(on_gpu.device_bytes >= model.vram_usage());
        assert!(model.check_vram_residency().unwrap());

        let said = text(&model, 12).unwrap();
        assert!(emulated::census().launches > on_gpu.launches + 12, "the GPU ran nothing");
        let cpu = CudaContext::new(-1).unwrap();
        assert_eq!(said, text(&cpu.load_model(&tiny_model()).unwrap(), 12).unwrap());
    }
    machine.assert_nothing_left();
}

#[test]
fn loading_reports_progress_in_bounded_steps_and_ends_when_told() {
    let machine = Emulated::new(&Machine::default());
    let mut seen = Vec::new();
    for mode in [LoadMode::Map, LoadMode::Copy] {
        seen.clear();
        let options = LoadOptions { mode, ..small_cache() };
        let device = Device::open(0, 0).unwrap();
        drop(
            Model::load(&c_host::tiny_model(), device, &options, &mut |done| {
                seen.push(done);
                true
            })
            .unwrap(),
        );
        assert!(seen.is_sorted() && seen.len() > 10, "{seen:?}");
        assert_eq!(seen.last(), Some(&1.0));
    }
    for stop_at in [0, 1, seen.len() / 2] {
        let mut calls = 0;
        let mut progress = |_| {
            calls += 1;
            calls <= stop_at
        };
        let error = Model::load(&c_host::tiny_model(), Device::open(0, 0).unwrap(), &small_cache(), &mut progress);
        assert_eq!(error.err().map(|error| error.code), Some(Code::Cancelled));
        machine.assert_nothing_left();
    }
}

#[test]
fn too_little_memory_is_told_in_figures_and_the_cpu_is_no_way_out() {
    let short = Machine { memory: 8 << 20, foreign_memory: (8 << 20) - 4096, ..Machine::default() };
    let machine = Emulated::new(&short);
    let context = CudaContext::new(0).unwrap();
    let error = context.load_model(&tiny_model()).unwrap_err();
    assert!(matches!(error, CudaError::OutOfMemory(_)), "{error}");
    for part in ["bytes for model weights", "4096 bytes are free", "in use: total", "KV cache", "0 allocations"] {
        assert!(error.detail().contains(part), "{part}: {error}");
    }
    // And everything is usable, once there is room.
    emulated::set_machine(&Machine::default());
    let model = context.load_model(&tiny_model()).unwrap();
    assert!(!text(&model, 4).unwrap().is_empty());
    drop((model, context));
    machine.assert_nothing_left();
}

#[test]
fn every_request_for_memory_failing_is_an_error_and_the_next_load_works() {
    let machine = Emulated::new(&Machine::default());
    let mut failures = 0;
    loop {
        emulated::fail("memory", failures, status::OUT_OF_MEMORY, true);
        let outcome = load_on(0);
        emulated::fail("", -1, 0, false);
        match outcome {
            Ok(_) => break,
            Err(error) => assert_eq!(error.code, Code::OutOfMemory, "{error}"),
        }
        machine.assert_nothing_left();
        failures += 1;
        assert!(failures < 100);
    }
    assert!(failures >= 4, "{failures}");
}

#[test]
fn memory_of_another_kind_is_a_violation_that_is_named() {
    for kind in [MemoryKind::Managed, MemoryKind::Host, MemoryKind::Unregistered] {
        let _machine = Emulated::new(&Machine::default());
        let model = load_on(0).unwrap();
        assert!(model.check_residency().unwrap().resident);
        let mut named = Vec::new();
        for place in 0.. {
            if !emulated::set_kind_of_block(place, kind) {
                break;
            }
            let report = model.check_residency().unwrap();
            assert!(emulated::set_kind_of_block(place, MemoryKind::Device));
            let Some(violating) = report.violating else { continue };
            assert!(!report.resident && report.violations > 0 && report.violating_bytes > 0);
            assert_eq!(report.checked_bytes - report.resident_bytes, report.violating_bytes);
            named.push(violating);
        }
        assert!(named.iter().any(|name| name == "model weights"), "{named:?}");
        assert!(named.iter().any(|name| name.starts_with("KV cache of ")), "{named:?}");
        assert!(model.check_residency().unwrap().resident);
        // Nothing can move it: repairing reports it still.
        assert!(emulated::set_kind_of_block(0, kind));
        assert!(!model.repair_residency().unwrap().resident);
    }
}

#[test]
fn a_vector_stored_in_half_precision_is_weights_by_its_name() {
    const NAME: &str = "blk.0.attn_norm.weight";
    let machine = Emulated::new(&Machine::default());
    let (path, bytes_as_floats) = with_halves(NAME);
    let load = |progress: &mut dyn FnMut(f32) -> bool| {
        Model::load(&path, Device::open(0, 0).unwrap(), &small_cache(), progress)
    };
    {
        let model = load(&mut |_| true).unwrap();
        assert_eq!(model.memory().weights, load_on(0).unwrap().memory().weights + bytes_as_floats);
        let named = (0..).map_while(|place| {
            emulated::set_kind_of_block(place, MemoryKind::Managed).then(|| {
                let report = model.check_residency().unwrap();
                assert!(emulated::set_kind_of_block(place, MemoryKind::Device));
                (report.violating, report.violating_bytes)
            })
        });
        assert!(named.into_iter().any(|found| found == (Some(format!("{NAME} as floats")), bytes_as_floats)));

        let said = |ordinal| {
            text(&CudaContext::new(ordinal).unwrap().load_model(path.to_str().unwrap()).unwrap(), 12).unwrap()
        };
        assert_eq!(said(0), said(-1));
    }
    // It is allocated when the file's own weights have been copied, which is what progress tells of.
    let error = load(&mut |done| {
        if done > 0.5 {
            emulated::set_kind_of_allocations(MemoryKind::Managed);
        }
        true
    });
    let error = error.err().unwrap();
    assert_eq!(error.code, Code::ResidencyFailed, "{error}");
    assert!(error.detail.contains(&format!("{NAME} as floats, which is not plain memory of this GPU")), "{error}");
    emulated::set_kind_of_allocations(MemoryKind::Device);
    machine.assert_nothing_left();
}

/// The tiny model with one vector of floats stored in half precision, and the bytes that it takes as floats.
fn with_halves(name: &str) -> (std::path::PathBuf, u64) {
    let mut bytes = std::fs::read(c_host::tiny_model()).unwrap();
    let file = GgufFile::parse(Mapping::from_bytes(&bytes).unwrap()).unwrap();
    let range = file.tensors.iter().find(|tensor| tensor.name == name).unwrap().range.clone();
    let halves: Vec<u8> = bytes[range.clone()]
        .chunks_exact(4)
        .flat_map(|value| half::f16::from_f32(f32::from_le_bytes(value.try_into().unwrap())).to_le_bytes())
        .collect();
    bytes[range.start..range.start + halves.len()].copy_from_slice(&halves);
    // Behind the name: the number of dimensions (1), the dimension, the type.
    let entry = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap() + name.len();
    assert_eq!(bytes[entry..entry + 4], 1u32.to_le_bytes());
    assert_eq!(bytes[entry + 12..entry + 16], 0u32.to_le_bytes(), "not stored as floats");
    bytes[entry + 12..entry + 16].copy_from_slice(&1u32.to_le_bytes());
    let path = c_host::scratch("gpu_device").join("halves.gguf");
    std::fs::write(&path, bytes).unwrap();
    (path, range.len() as u64)
}

#[test]
fn a_model_is_refused_where_allocations_are_of_another_kind() {
    let machine = Emulated::new(&Machine::default());
    for kind in [MemoryKind::Managed, MemoryKind::Host] {
        emulated::set_kind_of_allocations(kind);
        let error = load_on(0).err().unwrap();
        assert_eq!(error.code, Code::ResidencyFailed, "{error}");
        assert!(error.detail.contains("model weights, which is not plain memory of this GPU"), "{error}");
        emulated::set_kind_of_allocations(MemoryKind::Device);
        machine.assert_nothing_left();
    }
}

#[test]
fn the_locked_check_fails_with_its_code_and_recovers() {
    let _machine = Emulated::new(&Machine::default());
    let context = CudaContext::new(0).unwrap();
    let model = context.load_model(&tiny_model()).unwrap();
    assert!(emulated::set_kind_of_block(0, MemoryKind::Managed));
    let error = model.check_vram_residency().unwrap_err();
    assert!(matches!(error, CudaError::VramResidencyFailed(_)), "{error}");
    assert!(emulated::set_kind_of_block(0, MemoryKind::Device));
    assert!(model.check_vram_residency().unwrap());
}

#[test]
fn a_lost_device_is_an_error_everywhere_and_another_one_goes_on() {
    let machine = Emulated::new(&Machine { devices: 2, ..Machine::default() });
    for lost in [status::ILLEGAL_ADDRESS, status::LAUNCH_FAILURE, status::UNKNOWN] {
        let (broken, sound) = (CudaContext::new(0).unwrap(), CudaContext::new(1).unwrap());
        let (on_broken, on_sound) =
            (broken.load_model(&tiny_model()).unwrap(), sound.load_model(&tiny_model()).unwrap());
        let expected = text(&on_sound, 12).unwrap();
        emulated::lose_device(0, lost);

        let error = broken.check_device_health().unwrap_err();
        assert!(matches!(error, CudaError::KernelLaunchFailed(_)), "{error}");
        let error = on_broken.check_vram_residency().unwrap_err();
        assert!(matches!(error, CudaError::VramResidencyFailed(_)), "{error}");
        let error = text(&on_broken, 12).unwrap_err();
        assert!(matches!(error, CudaError::KernelLaunchFailed(_)), "{error}");
        assert!(broken.load_model(&tiny_model()).is_err());
        assert!(broken.process_vram_usage() > 0);

        assert!(sound.check_device_health().unwrap() && on_sound.check_vram_residency().unwrap());
        assert_eq!(text(&on_sound, 12).unwrap(), expected);
        drop((on_broken, on_sound, broken, sound));
        emulated::reset();
        emulated::set_machine(&Machine { devices: 2, ..Machine::default() });
        machine.assert_nothing_left();
    }
}

#[test]
fn a_kernel_that_fails_ends_its_session_with_an_error() {
    let _machine = Emulated::new(&Machine::default());
    let context = CudaContext::new(0).unwrap();
    let model = context.load_model(&tiny_model()).unwrap();
    emulated::fail("launch", 100, status::LAUNCH_FAILURE, false);
    let error = text(&model, 50).unwrap_err();
    assert!(matches!(error, CudaError::KernelLaunchFailed(_)), "{error}");
    assert!(error.detail().contains("the device runs nothing more in this process"), "{error}");
}

#[test]
fn memory_use_names_who_counted_the_process_and_what_is_device_wide() {
    let machine = Machine { foreign_memory: 64 << 20, ..Machine::default() };
    let _machine = Emulated::new(&machine);
    let model = load_on(0).unwrap();
    let device = model.device();
    let usage = device.usage().unwrap();
    assert_eq!(usage.source, UsageSource::Nvml);
    assert!(usage.process > model.memory().total());
    assert_eq!(usage.process, device.process_memory());
    assert!(usage.all_processes >= (64 << 20) + model.memory().total());

    emulated::set_machine(&Machine { has_nvml: 0, ..machine });
    let usage = device.usage().unwrap();
    assert_eq!((usage.source, usage.process), (UsageSource::Ledger, device.memory().total()));
}

#[test]
fn a_program_written_against_the_seeds_runs_on_the_gpu() {
    let program = c_host::compile_c(&c_host::root().join("tests/locked/seeds.c"), "seeds", &["-lm"]);
    let said = c_host::must_run(Command::new(&program).arg(tiny_model()).arg("0"));
    assert_eq!(said, "all calls gave what they should\n");
    let output = c_host::output_of(
        Command::new(&program).arg(tiny_model()).arg("0").env("WORKER_EMULATED_GPUS", "0"),
        std::time::Duration::from_secs(60),
    );
    assert!(!output.status.success(), "it ran without a GPU: {output:?}");
}

/// Everything that a card is asked, but what only a card can answer, on the emulated one.
#[test]
fn the_script_for_a_real_card_runs_dry() {
    let folder = bundle();
    let report = dry_run(&folder, &[]);
    assert_eq!((&report["dry_run"], &report["failed"]), (&true.into(), &0.into()), "{report:#}");
    assert_eq!(report["device"]["name"], "Emulated GPU 0");
    let status = |name: &str| {
        let step = report["steps"].as_array().unwrap().iter().find(|step| step["name"] == name);
        step.unwrap_or_else(|| panic!("no step {name}: {report:#}"))["status"].as_str().unwrap().to_owned()
    };
    for name in ["locked functions", "golden llama-q8_0", "golden gpt-oss-mxfp4_moe", "memory", "stress", "timing"] {
        assert_eq!(status(name), "passed");
    }
    for name in ["memory kinds", "compute-sanitizer memcheck", "nvidia-smi"] {
        assert_eq!(status(name), "planned");
    }
    let memory = report["steps"].as_array().unwrap().iter().find(|step| step["name"] == "memory").unwrap();
    let device_memory = &memory["result"]["report"]["models"][0]["device_memory"];
    assert_eq!(device_memory["process_source"], "nvml");
    assert!(device_memory["all_processes_bytes"].as_u64() > Some(0), "{report:#}");

    // Where there is no such device, the same run says so.
    let report = dry_run(&folder, &["--device", "7"]);
    assert_ne!(report["failed"], 0, "{report:#}");
    assert!(report["device"].is_null());
}

fn bundle() -> std::path::PathBuf {
    let folder = c_host::scratch("bundle");
    let script = c_host::root().join("tests/gpu/prepare.sh");
    c_host::must_run(Command::new(script).arg(&folder).arg(c_host::library()));
    // The others are `tests/gpu_goldens.rs`'s.
    for entry in std::fs::read_dir(folder.join("goldens")).unwrap() {
        let path = entry.unwrap().path();
        let kept = ["llama-q8_0.f32", "gpt-oss-mxfp4_moe.f32", "micro-tokens.txt"];
        if !kept.iter().any(|name| path.ends_with(name)) {
            std::fs::remove_file(path).unwrap();
        }
    }
    folder
}

fn dry_run(folder: &std::path::Path, arguments: &[&str]) -> serde_json::Value {
    let mut command = Command::new(folder.join("run.sh"));
    command.args(["--dry-run", "--stress", "2"]).args(arguments);
    let output = c_host::output_of(&mut command, std::time::Duration::from_secs(600));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {output:?}");
    });
    assert_eq!(output.status.success(), report["failed"] == 0, "{report:#}");
    report
}
