//! What a worker is started with.
//!
//! Values come, later ones winning, from the defaults, the file that `config_path` names, the JSON given to
//! bootstrap, and the environment: key `log_level` is `WORKER_LOG_LEVEL`, and so on. Unknown keys are errors that
//! name the key; unknown environment variables are not ours to judge.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::engine::{LoadMode, ResidencyPolicy};
use crate::error::{Code, Error, Result};
use crate::telemetry::Level;

/// A worker's settings, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Names this worker in status and logs; made up when not given.
    pub worker_id: String,
    /// Free for the host; "default" when not given.
    pub namespace: String,
    /// Least level of log records.
    pub log_level: Level,
    /// -1 is the CPU, 0... are GPUs.
    pub device: i32,
    /// Threads on the CPU; 0: the cores this process may use.
    pub threads: u32,
    /// A model to load at once.
    pub model: Option<PathBuf>,
    /// Context length in tokens; 0: the model's, within the default limit.
    pub context_length: u32,
    /// Sessions decoding at once; 0: the default.
    pub maximum_sessions: u32,
    /// What is promised about where weights are.
    pub residency: ResidencyPolicy,
    /// Whether weights are used in the file's map or copied.
    pub load_mode: LoadMode,
    /// Seconds between health checks; 0: none.
    pub health_interval_seconds: f64,
    /// Bring evicted weights back when a check finds some.
    pub health_repair: bool,
    /// Refuse new work while unhealthy.
    pub refuse_while_unhealthy: bool,
}

impl Configuration {
    /// Settings from a JSON object (empty text: none), the file it names, and the environment.
    ///
    /// # Errors
    /// `InvalidParameter` naming the key, what was expected and what was found; `InputOutput` when the file cannot be
    /// read.
    pub fn resolve(json: &str) -> Result<Self> {
        Self::resolve_with(json, &|name| std::env::var(name).ok())
    }

    fn resolve_with(json: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let explicit = parse_object("configuration", if json.trim().is_empty() { "{}" } else { json })?;
        let from_environment = environment_values(environment)?;
        let path = [&from_environment, &explicit].into_iter().find_map(|values| values.get("config_path").cloned());
        let mut merged = Map::new();
        if let Some(path) = path.filter(|path| !path.is_null()) {
            let path = path.as_str().ok_or_else(|| wrong("config_path", "a string", &path))?;
            merged.extend(read_file(Path::new(path))?);
        }
        merged.extend(explicit);
        merged.extend(from_environment);
        Self::check(merged)
    }

    fn check(values: Map<String, Value>) -> Result<Self> {
        let given: Given = serde_json::from_value(Value::Object(values))
            .map_err(|error| Error::new(Code::InvalidParameter, format!("configuration: {error}")))?;
        let interval = given.health_interval_seconds.unwrap_or(DEFAULT_HEALTH_INTERVAL);
        if !(0.0..=86_400.0).contains(&interval) {
            return Err(wrong("health_interval_seconds", "0 to 86400", &Value::from(interval)));
        }
        let device = given.device.unwrap_or(-1);
        if device < -1 {
            return Err(wrong("device", "-1 (the CPU) or a GPU's number from 0", &Value::from(device)));
        }
        let worker_id = given.worker_id.unwrap_or_else(made_up_id);
        if worker_id.is_empty() || worker_id.len() > LONGEST_NAME {
            return Err(wrong("worker_id", "1 to 128 bytes", &Value::from(worker_id)));
        }
        Ok(Self {
            worker_id,
            namespace: given.namespace.unwrap_or_else(|| "default".to_owned()),
            log_level: given.log_level.as_deref().map_or(Ok(Level::Info), Level::parse)?,
            device,
            threads: given.threads.unwrap_or(0),
            model: given.model.map(PathBuf::from),
            context_length: given.context_length.unwrap_or(0),
            maximum_sessions: given.maximum_sessions.unwrap_or(0),
            residency: parse_residency(given.residency.as_deref().unwrap_or("verify"))?,
            load_mode: parse_load_mode(given.load_mode.as_deref().unwrap_or("map"))?,
            health_interval_seconds: interval,
            health_repair: given.health_repair.unwrap_or(false),
            refuse_while_unhealthy: given.refuse_while_unhealthy.unwrap_or(false),
        })
    }
}

/// The keys as a host writes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    worker_id: Option<String>,
    namespace: Option<String>,
    #[serde(rename = "config_path")]
    _config_path: Option<String>,
    log_level: Option<String>,
    device: Option<i32>,
    threads: Option<u32>,
    model: Option<String>,
    context_length: Option<u32>,
    maximum_sessions: Option<u32>,
    residency: Option<String>,
    load_mode: Option<String>,
    health_interval_seconds: Option<f64>,
    health_repair: Option<bool>,
    refuse_while_unhealthy: Option<bool>,
}

/// Every key, and how its environment variable is read.
const KEYS: [(&str, Kind); 14] = [
    ("worker_id", Kind::Text),
    ("namespace", Kind::Text),
    ("config_path", Kind::Text),
    ("log_level", Kind::Text),
    ("device", Kind::Json),
    ("threads", Kind::Json),
    ("model", Kind::Text),
    ("context_length", Kind::Json),
    ("maximum_sessions", Kind::Json),
    ("residency", Kind::Text),
    ("load_mode", Kind::Text),
    ("health_interval_seconds", Kind::Json),
    ("health_repair", Kind::Json),
    ("refuse_while_unhealthy", Kind::Json),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Json,
}

fn environment_values(environment: &dyn Fn(&str) -> Option<String>) -> Result<Map<String, Value>> {
    let mut values = Map::new();
    for (key, kind) in KEYS {
        let variable = match key {
            "worker_id" => "WORKER_ID".to_owned(),
            key => format!("WORKER_{}", key.to_uppercase()),
        };
        let Some(text) = environment(&variable).filter(|text| !text.is_empty()) else { continue };
        let value = match kind {
            Kind::Text => Value::from(text),
            Kind::Json => serde_json::from_str(&text).map_err(|_| {
                Error::new(
                    Code::InvalidParameter,
                    format!("{variable}: expected a number, true or false, found {text:?}"),
                )
            })?,
        };
        values.insert(key.to_owned(), value);
    }
    Ok(values)
}

fn read_file(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::new(Code::InputOutput, format!("config_path {}: {error}", path.display())))?;
    parse_object(&format!("config_path {}", path.display()), &text)
}

fn parse_object(what: &str, text: &str) -> Result<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(other) => Err(wrong(what, "a JSON object", &other)),
        Err(error) => Err(Error::new(Code::InvalidParameter, format!("{what}: {error}"))),
    }
}

fn parse_residency(name: &str) -> Result<ResidencyPolicy> {
    match name {
        "off" => Ok(ResidencyPolicy::Off),
        "verify" => Ok(ResidencyPolicy::Verify),
        "locked" => Ok(ResidencyPolicy::Locked),
        other => Err(wrong("residency", "off, verify or locked", &Value::from(other))),
    }
}

fn parse_load_mode(name: &str) -> Result<LoadMode> {
    match name {
        "map" => Ok(LoadMode::Map),
        "copy" => Ok(LoadMode::Copy),
        other => Err(wrong("load_mode", "map or copy", &Value::from(other))),
    }
}

fn made_up_id() -> String {
    use std::hash::{BuildHasher, Hasher};
    // RandomState is seeded by the operating system.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("worker-{random:016x}")
}

fn wrong(key: &str, expected: &str, found: &Value) -> Error {
    Error::new(Code::InvalidParameter, format!("{key}: expected {expected}, found {found}"))
}

const DEFAULT_HEALTH_INTERVAL: f64 = 60.0;
const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(json: &str, environment: &[(&str, &str)]) -> Result<Configuration> {
        Configuration::resolve_with(json, &|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let configuration = resolve("", &[]).unwrap();
        assert_eq!(configuration.namespace, "default");
        assert_eq!(configuration.log_level, Level::Info);
        assert_eq!(configuration.device, -1);
        assert!((configuration.health_interval_seconds - 60.0).abs() < f64::EPSILON);
        assert!(configuration.worker_id.starts_with("worker-"));
        assert_ne!(resolve("{}", &[]).unwrap().worker_id, configuration.worker_id);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = resolve(r#"{"log_levle": "info"}"#, &[]).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter);
        assert!(error.detail.contains("log_levle"), "{error}");
    }

    #[test]
    fn the_environment_wins_over_json_and_json_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, r#"{"namespace": "file", "threads": 3, "context_length": 77}"#).unwrap();
        let json = serde_json::json!({"config_path": file.path(), "namespace": "json", "threads": 2}).to_string();
        let configuration = resolve(&json, &[("WORKER_NAMESPACE", "environment")]).unwrap();
        assert_eq!(configuration.namespace, "environment");
        assert_eq!(configuration.threads, 2);
        assert_eq!(configuration.context_length, 77);
    }

    #[test]
    fn bad_values_name_the_key_and_what_was_expected() {
        for (json, key) in [
            (r#"{"log_level": "loud"}"#, "log_level"),
            (r#"{"device": -2}"#, "device"),
            (r#"{"residency": "maybe"}"#, "residency"),
            (r#"{"load_mode": "teleport"}"#, "load_mode"),
            (r#"{"health_interval_seconds": -1}"#, "health_interval_seconds"),
            (r#"{"worker_id": ""}"#, "worker_id"),
            (r#"{"config_path": 3}"#, "config_path"),
            ("[]", "configuration"),
            ("{", "configuration"),
        ] {
            let error = resolve(json, &[]).unwrap_err();
            assert_eq!(error.code, Code::InvalidParameter, "{json}");
            assert!(error.detail.contains(key), "{json}: {error}");
        }
        assert!(resolve("", &[("WORKER_DEVICE", "gpu")]).unwrap_err().detail.contains("WORKER_DEVICE"));
        assert_eq!(resolve(r#"{"config_path": "/nowhere/at/all"}"#, &[]).unwrap_err().code, Code::InputOutput);
    }
}
