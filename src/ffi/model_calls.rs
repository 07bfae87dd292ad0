//! What the functions of devices, models, scores and residency do between their arguments and the layer below.

use std::ffi::{c_char, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde_json::{json, Value};

use super::callbacks::{thrown, HostData};
use super::handles::{model, worker_model_t};
use super::marshal::{
    bytes, invalid, length, options, options_and_unknown, reserved, switch, text, zeroed, ArrayOutput, OutputStruct,
};
use super::objects::registry;
use super::session_types::{
    worker_embed_options_t, worker_score_options_t, WORKER_POOLING_FIRST, WORKER_POOLING_LAST, WORKER_POOLING_MEAN,
    WORKER_POOLING_NONE, WORKER_SCORE_LOGITS, WORKER_SCORE_LOGPROBS,
};
use super::types::*;
use crate::cuda::{devices, CudaModel};
use crate::engine::{self, DeviceKind, KvType, LoadMode, ResidencyPolicy, ResidencyReport};
use crate::error::{Error, Result};
use crate::inference::{LoadOptions, Model, Pooling, ScoreKind};
use crate::model::chat::ChatOptions;
use crate::worker::lifecycle;

/// Describes a device.
pub(super) fn device_info(device: i32) -> Result<worker_device_info_t> {
    let found = devices::open(device, 0)?.information()?;
    let mut info = zeroed::<worker_device_info_t>();
    info.ordinal = found.ordinal;
    info.kind = match found.kind {
        DeviceKind::Cpu => WORKER_DEVICE_CPU,
        DeviceKind::Gpu => WORKER_DEVICE_GPU,
    };
    info.compute_capability = found.compute_capability;
    info.total_memory = found.total_memory;
    info.free_memory = found.free_memory;
    info.threads = found.threads;
    copy_text(&mut info.name, &found.name);
    copy_text(&mut info.kernel_path, &found.kernel_path);
    Ok(info)
}

/// Loads a model, and calls `progress_destroy` whatever happens.
///
/// # Safety
/// As `worker_model_load`'s.
pub(super) unsafe fn load(
    path: *const c_char,
    path_length: usize,
    source: *const worker_model_options_t,
) -> Result<worker_model_t> {
    // SAFETY: as this function's.
    let (options, unknown) = unsafe { options_and_unknown(source) }?;
    let data = HostData::new(options.progress_user_data, options.progress_destroy);
    unknown?;
    // SAFETY: as this function's.
    let path = unsafe { bytes(path, path_length, "path") }?;
    if path.is_empty() || path.contains(&0) {
        return Err(invalid(format!("path {}", if path.is_empty() { "is empty" } else { "has a NUL in it" })));
    }
    let path = PathBuf::from(OsStr::from_bytes(path));
    let ordinal = match options.device_kind {
        WORKER_DEVICE_DEFAULT | WORKER_DEVICE_CPU if options.device_ordinal == 0 => devices::CPU,
        WORKER_DEVICE_DEFAULT | WORKER_DEVICE_CPU => {
            return Err(invalid(format!(
                "device_ordinal: {} is set, but the device is the CPU",
                options.device_ordinal
            )));
        }
        WORKER_DEVICE_GPU => i32::try_from(options.device_ordinal).unwrap_or(i32::MAX),
        other => return Err(unknown_value("device_kind", other)),
    };
    let load = load_options(&options)?;
    lifecycle::admit_new_work()?;
    let device = devices::open(ordinal, options.threads)?;
    let mut threw = false;
    let mut progress = |fraction: f32| match options.progress {
        Some(progress) => {
            // SAFETY: the caller's: it may be called with its user data, here, on the calling thread.
            let answer = unsafe { engine::ask_fraction_contained(progress, data.user_data, fraction) };
            threw |= answer.is_none();
            answer == Some(0)
        }
        None => true,
    };
    let loaded = Model::load(&path, device, &load, &mut progress);
    let model = loaded.map_err(|error| if threw { thrown("progress") } else { error })?;
    registry().insert(CudaModel::new(model))
}

fn load_options(options: &worker_model_options_t) -> Result<LoadOptions> {
    Ok(LoadOptions {
        context_length: options.context_length,
        kv_type: kv_type(options.kv_type)?,
        residency: match options.residency {
            WORKER_RESIDENCY_DEFAULT | WORKER_RESIDENCY_VERIFY => ResidencyPolicy::Verify,
            WORKER_RESIDENCY_OFF => ResidencyPolicy::Off,
            WORKER_RESIDENCY_LOCKED => ResidencyPolicy::Locked,
            other => return Err(unknown_value("residency", other)),
        },
        mode: match options.load_mode {
            WORKER_LOAD_DEFAULT | WORKER_LOAD_MAP => LoadMode::Map,
            WORKER_LOAD_COPY => LoadMode::Copy,
            other => return Err(unknown_value("load_mode", other)),
        },
        kv_budget_bytes: options.kv_budget_bytes,
        maximum_sessions: options.maximum_sessions,
        maximum_waiting: options.maximum_waiting,
    })
}

fn kv_type(value: worker_kv_type_t) -> Result<KvType> {
    match value {
        WORKER_KV_DEFAULT | WORKER_KV_F16 => Ok(KvType::F16),
        WORKER_KV_F32 => Ok(KvType::F32),
        WORKER_KV_Q8_0 => Ok(KvType::Q8_0),
        other => Err(unknown_value("kv_type", other)),
    }
}

/// A model's memory. Only looked at, under the registry's lock: hosts ask for it often.
pub(super) fn memory(handle: worker_model_t, out: &OutputStruct<worker_memory_t>) -> Result<()> {
    let told = registry().with(handle, |model: &CudaModel| {
        // Boxed, for an error within an error is large, and is copied around even where there is none.
        let memory = model.model().map_err(Box::new)?.memory();
        out.fill(|out| {
            out.weights = memory.weights;
            out.kv_cache = memory.kv_cache;
            out.workspace = memory.workspace;
            out.other = memory.other;
            out.total = memory.total();
            out.allocations = memory.allocations;
        });
        Ok(())
    })?;
    told.map_err(|failure: Box<Error>| *failure)
}

/// Text to tokens.
pub(super) fn tokenize(handle: worker_model_t, text: &str, flags: u32) -> Result<Vec<u32>> {
    known_flags(flags, WORKER_TOKENIZE_ADD_SPECIAL | WORKER_TOKENIZE_PARSE_SPECIAL)?;
    let (add, parse) = (flags & WORKER_TOKENIZE_ADD_SPECIAL != 0, flags & WORKER_TOKENIZE_PARSE_SPECIAL != 0);
    Ok(model(handle)?.model()?.tokenizer().encode(text, add, parse))
}

/// Tokens to text.
pub(super) fn detokenize(handle: worker_model_t, tokens: &[u32], flags: u32) -> Result<Vec<u8>> {
    known_flags(flags, WORKER_DETOKENIZE_SPECIAL)?;
    model(handle)?.model()?.tokenizer().decode(tokens, flags & WORKER_DETOKENIZE_SPECIAL != 0)
}

/// Chat messages to a prompt.
///
/// # Safety
/// As `worker_model_apply_chat_template`'s.
pub(super) unsafe fn render_chat(
    handle: worker_model_t,
    messages: *const c_char,
    messages_length: usize,
    source: *const worker_chat_options_t,
) -> Result<Vec<u8>> {
    // SAFETY: as this function's.
    let (options, messages) = unsafe { (options(source)?, text(messages, messages_length, "messages_json")?) };
    // SAFETY: as this function's.
    let (tools, variables) = unsafe {
        (
            optional_text(options.tools_json, options.tools_json_length, "tools_json")?,
            optional_text(options.variables_json, options.variables_json_length, "variables_json")?,
        )
    };
    let chat = ChatOptions {
        add_generation_prompt: !switch(options.no_generation_prompt, "no_generation_prompt")?,
        tools,
        variables,
    };
    Ok(model(handle)?.model()?.render_chat(messages, &chat)?.into_bytes())
}

unsafe fn optional_text(pointer: *const c_char, bytes: u64, name: &str) -> Result<Option<String>> {
    if pointer.is_null() && bytes == 0 {
        return Ok(None);
    }
    // SAFETY: the caller's.
    Ok(Some(unsafe { text(pointer, length(bytes, name)?, name) }?.to_owned()))
}

/// Scores of given tokens.
///
/// # Safety
/// As `worker_model_score`'s.
pub(super) unsafe fn score(
    handle: worker_model_t,
    tokens: &[u32],
    source: *const worker_score_options_t,
    output: ArrayOutput<f32>,
) -> Result<()> {
    // SAFETY: as this function's.
    let options = unsafe { options(source) }?;
    reserved(options.reserved, "reserved")?;
    let kv = kv_type(options.kv_type)?;
    let model = model(handle)?;
    let model = model.model()?;
    if tokens.is_empty() {
        return Err(invalid("tokens: there are none".to_owned()));
    }
    let last = length(options.last, "last")?;
    let (kind, most, width) = match options.kind {
        WORKER_SCORE_LOGITS => (ScoreKind::Logits, tokens.len(), model.vocabulary_size() as usize),
        // Nothing comes before the first token that could make it likely.
        WORKER_SCORE_LOGPROBS => (ScoreKind::LogProbabilities, tokens.len() - 1, 1),
        other => return Err(unknown_value("kind", other)),
    };
    if last > most {
        return Err(invalid(format!("last: {last} is more than the {most} tokens that have scores")));
    }
    let rows = if last == 0 { most } else { last };
    output.check(rows.saturating_mul(width))?;
    if rows == 0 {
        return Ok(());
    }
    output.write_with(|| model.score(tokens, tokens.len() - rows, kind, kv))
}

/// Embeddings of given tokens.
///
/// # Safety
/// As `worker_model_embed`'s.
pub(super) unsafe fn embed(
    handle: worker_model_t,
    tokens: &[u32],
    source: *const worker_embed_options_t,
    output: ArrayOutput<f32>,
) -> Result<()> {
    // SAFETY: as this function's.
    let options = unsafe { options(source) }?;
    reserved(options.reserved, "reserved")?;
    let normalize = switch(options.normalize, "normalize")?;
    let model = model(handle)?;
    let model = model.model()?;
    if tokens.is_empty() {
        return Err(invalid("tokens: there are none".to_owned()));
    }
    let (pooling, rows) = match options.pooling {
        WORKER_POOLING_MEAN => (Pooling::Mean, 1),
        WORKER_POOLING_LAST => (Pooling::Last, 1),
        WORKER_POOLING_FIRST => (Pooling::First, 1),
        WORKER_POOLING_NONE => (Pooling::None, tokens.len()),
        other => return Err(unknown_value("pooling", other)),
    };
    output.check(rows * model.embedding_size() as usize)?;
    output.write_with(|| model.embed(tokens, pooling, normalize))
}

/// Where a model's weights are.
pub(super) fn check_residency(handle: worker_model_t) -> Result<worker_residency_t> {
    Ok(residency(&model(handle)?.model()?.check_residency()?))
}

/// Where a model's weights are after bringing them back.
pub(super) fn repair_residency(handle: worker_model_t) -> Result<worker_residency_t> {
    Ok(residency(&model(handle)?.model()?.repair_residency()?))
}

fn residency(report: &ResidencyReport) -> worker_residency_t {
    let mut out = zeroed::<worker_residency_t>();
    out.resident = u32::from(report.resident);
    out.policy = match report.policy {
        ResidencyPolicy::Off => WORKER_RESIDENCY_OFF,
        ResidencyPolicy::Verify => WORKER_RESIDENCY_VERIFY,
        ResidencyPolicy::Locked => WORKER_RESIDENCY_LOCKED,
    };
    out.checked_bytes = report.checked_bytes;
    out.resident_bytes = report.resident_bytes;
    out.allocations = report.allocations;
    out.violations = report.violations;
    out.violating_bytes = report.violating_bytes;
    copy_text(&mut out.violating, report.violating.as_deref().unwrap_or_default());
    out
}

/// Where all models' weights are, as JSON.
pub(super) fn residency_report() -> Result<Vec<u8>> {
    let mut models = Vec::new();
    let mut resident = true;
    for (handle, model) in registry().all::<CudaModel>() {
        let model = model.model()?;
        let memory = model.memory();
        let mut entry = json!({
            "handle": handle,
            "name": model.information().get("name"),
            "device": model.device().information().map_or(Value::Null, |device| json!({
                "ordinal": device.ordinal,
                "name": device.name,
            })),
            "device_memory": model.device().usage().map_or(Value::Null, |usage| json!({
                "process_bytes": usage.process,
                "process_source": usage.source.name(),
                "all_processes_bytes": usage.all_processes,
            })),
            "memory": {
                "weights": memory.weights,
                "kv_cache": memory.kv_cache,
                "workspace": memory.workspace,
                "other": memory.other,
                "total": memory.total(),
                "allocations": memory.allocations,
            },
        });
        match model.check_residency() {
            Ok(report) => {
                resident &= report.resident;
                entry["resident"] = json!(report.resident);
                entry["policy"] = json!(match report.policy {
                    ResidencyPolicy::Off => "off",
                    ResidencyPolicy::Verify => "verify",
                    ResidencyPolicy::Locked => "locked",
                });
                entry["checked_bytes"] = json!(report.checked_bytes);
                entry["resident_bytes"] = json!(report.resident_bytes);
                entry["allocations"] = json!(report.allocations);
                entry["violations"] = json!(report.violations);
                entry["violating_bytes"] = json!(report.violating_bytes);
                entry["violating"] = json!(report.violating);
            }
            Err(error) => {
                resident = false;
                entry["resident"] = json!(false);
                entry["error"] = json!(error.detail);
            }
        }
        models.push(entry);
    }
    Ok(json!({ "resident": resident, "models": models }).to_string().into_bytes())
}

fn known_flags(flags: u32, known: u32) -> Result<()> {
    if flags & !known == 0 {
        return Ok(());
    }
    Err(invalid(format!("flags: {flags:#x} has unknown ones, known are {known:#x}")))
}

/// An option has a value that is none of its constants.
pub(super) fn unknown_value(name: &str, value: u32) -> crate::error::Error {
    invalid(format!("{name}: {value} is none of its values"))
}

/// Copies as much text as fits, in whole characters, into a zeroed array that keeps a NUL at its end.
fn copy_text(target: &mut [c_char], text: &str) {
    let mut end = text.len().min(target.len() - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (to, from) in target.iter_mut().zip(text[..end].bytes()) {
        *to = from as c_char;
    }
}
