//! What a case expects of an answer; `README.md` beside this file lists the forms.

use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use worker::error::Code;

/// A host's answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Fields(Vec<String>),
    Failure { code: i32, detail: String },
}

impl Answer {
    /// `ok FIELD...` or `error CODE DETAIL`, already split and unescaped.
    pub fn parse(words: &[String]) -> Option<Self> {
        match words {
            [kind, fields @ ..] if kind == "ok" => Some(Self::Fields(fields.to_vec())),
            [kind, code, detail] if kind == "error" => {
                Some(Self::Failure { code: code.parse().ok()?, detail: detail.clone() })
            }
            _ => None,
        }
    }
}

/// Values that earlier steps saved, written `${name}` in later ones.
#[derive(Default)]
pub struct Variables(HashMap<String, String>);

impl Variables {
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    pub fn fill(&self, word: &str) -> String {
        let mut filled = word.to_owned();
        for (name, value) in &self.0 {
            filled = filled.replace(&format!("${{{name}}}"), value);
        }
        assert!(!filled.contains("${"), "{word:?} names what no step saved");
        filled
    }
}

/// Compares, and saves what the step asks to save.
pub fn check(step: &Value, answer: &Answer, variables: &mut Variables, goldens: &Path) -> Result<(), String> {
    match (step.get("error"), answer) {
        (Some(expected), Answer::Failure { code, detail }) => check_failure(step, expected, *code, detail),
        (Some(expected), Answer::Fields(fields)) => Err(format!("answered {fields:?}, {expected} was due")),
        (None, Answer::Failure { code, detail }) => Err(format!("failed with {code}: {detail}")),
        (None, Answer::Fields(fields)) => {
            check_fields(step, fields, variables, goldens)?;
            let names = step.get("save").and_then(Value::as_array).cloned().unwrap_or_default();
            for (name, value) in names.iter().zip(fields) {
                variables.set(name.as_str().ok_or("save: names are strings")?, value);
            }
            Ok(())
        }
    }
}

fn check_failure(step: &Value, expected: &Value, code: i32, detail: &str) -> Result<(), String> {
    let name = Code::from_number(code).map_or("an unpublished code", Code::c_name);
    if Some(name) != expected.as_str() {
        return Err(format!("failed with {name} ({code}): {detail}; {expected} was due"));
    }
    let wanted = step["detail"].as_str().unwrap_or("");
    if !detail.contains(wanted) {
        return Err(format!("the detail {detail:?} does not say {wanted:?}"));
    }
    if detail.is_empty() {
        return Err("the failure has no detail".to_owned());
    }
    Ok(())
}

fn check_fields(step: &Value, fields: &[String], variables: &Variables, goldens: &Path) -> Result<(), String> {
    let Some(expected) = step.get("reply").and_then(Value::as_array) else { return Ok(()) };
    if expected.len() != fields.len() {
        return Err(format!("{} fields were due, {fields:?} came", expected.len()));
    }
    for (form, field) in expected.iter().zip(fields) {
        check_field(form, field, variables, goldens)?;
    }
    Ok(())
}

fn check_field(form: &Value, field: &str, variables: &Variables, goldens: &Path) -> Result<(), String> {
    let holds = match form {
        Value::String(any) if any == "*" => true,
        Value::String(exact) => variables.fill(exact) == field,
        Value::Object(rule) => {
            let mut holds = true;
            for (name, value) in rule {
                holds &= match (name.as_str(), value) {
                    ("contains", Value::String(part)) => field.contains(part.as_str()),
                    ("lacks", Value::String(part)) => !field.contains(part.as_str()),
                    ("not", Value::String(other)) => variables.fill(other) != field,
                    ("one_of", Value::Array(list)) => list.iter().any(|one| one == field),
                    ("lines", Value::Number(count)) => Some(field.trim().lines().count() as u64) == count.as_u64(),
                    ("at_least", Value::Number(least)) => field.parse().ok() >= least.as_f64(),
                    ("at_most", Value::Number(most)) => {
                        field.parse::<f64>().is_ok_and(|number| Some(number) <= most.as_f64())
                    }
                    ("golden", Value::String(file)) => is_golden(field, &goldens.join(file))?,
                    _ => return Err(format!("unknown rule {name}: {value}")),
                };
            }
            holds
        }
        other => return Err(format!("unknown form {other}")),
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{field:?} is not {form}"))
    }
}

/// Whether prompt and continuation together are the golden text.
fn is_golden(field: &str, file: &Path) -> Result<bool, String> {
    let golden = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(golden.strip_prefix("Once upon a time").is_some_and(|continuation| continuation.trim_end() == field.trim_end()))
}
