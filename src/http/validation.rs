//! The body of `POST /execute`, checked field by field: an answer names every fault at once.

use serde_json::{json, Map, Value};

use crate::inference::{Prompt, SamplingOptions, SessionRequest};

/// A checked request.
#[derive(Debug)]
pub struct Execute {
    /// The client's name for the job.
    pub job_id: String,
    /// What to run.
    pub request: SessionRequest,
}

/// Reads a body; the error is `{"errors": [{field, constraint, message, value?}]}`. The prompt is never echoed.
pub fn read(body: &[u8], vocabulary: u32) -> Result<Execute, Value> {
    let mut fields = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(fields)) => Fields { fields, faults: Vec::new() },
        Ok(_) => return Err(whole("json_object", "the body must be a JSON object")),
        Err(error) => return Err(whole("json", &format!("the body is not JSON: {error}"))),
    };
    let job_id = fields.text("job_id", 1, 256, true);
    let prompt = fields.text("prompt", 1, LONGEST_PROMPT, false);
    let maximum_tokens = fields.whole_number("max_tokens", 1, 2048, 2048);
    let sampling = SamplingOptions {
        temperature: fields.number("temperature", 0.0, 2.0, 1.0),
        top_p: fields.number("top_p", 0.0, 1.0, 1.0),
        min_p: fields.number("min_p", 0.0, 1.0, 0.0),
        repetition_penalty: fields.number("repetition_penalty", 0.01, 2.0, 1.0),
        top_k: u32::try_from(fields.whole_number("top_k", 0, u64::from(vocabulary), 0)).unwrap_or(0),
        ..SamplingOptions::default()
    };
    let seed = fields.seed();
    let stop = fields.stop();
    fields.refuse_the_rest();
    if !fields.faults.is_empty() {
        return Err(json!({ "errors": fields.faults }));
    }
    let mut request = SessionRequest::new(Prompt::Text(prompt), u32::try_from(maximum_tokens).unwrap_or(2048));
    request.sampling = sampling;
    request.seed = seed;
    request.stop = stop;
    Ok(Execute { job_id, request })
}

fn whole(constraint: &str, message: &str) -> Value {
    json!({ "errors": [{ "field": "body", "constraint": constraint, "message": message }] })
}

/// The fields not yet read, and what was wrong with those that were.
struct Fields {
    fields: Map<String, Value>,
    faults: Vec<Value>,
}

impl Fields {
    fn fault(&mut self, field: &str, constraint: &str, message: &str, value: Option<&Value>) {
        let mut fault = json!({ "field": field, "constraint": constraint, "message": format!("{field} {message}") });
        if let Some(value) = value {
            fault["value"] = value.clone();
        }
        self.faults.push(fault);
    }

    /// Characters are Unicode scalar values.
    fn text(&mut self, field: &str, least: usize, most: usize, echo: bool) -> String {
        let range = format!("length({least}..={most})");
        let Some(value) = self.fields.remove(field) else {
            self.fault(field, "required", "is required", None);
            return String::new();
        };
        let echoed = echo.then(|| value.clone());
        let Value::String(text) = value else {
            self.fault(field, "string", "must be a string", echoed.as_ref());
            return String::new();
        };
        let length = text.chars().count();
        if length == 0 {
            self.fault(field, "non_empty", "must not be empty", None);
        } else if !(least..=most).contains(&length) {
            self.fault(field, &range, &format!("must have at most {most} characters, has {length}"), None);
        }
        text
    }

    fn number(&mut self, field: &str, least: f32, most: f32, default: f32) -> f32 {
        let Some(value) = self.fields.remove(field) else { return default };
        #[allow(clippy::cast_possible_truncation)]
        let number = value.as_f64().map_or(f32::NAN, |number| number as f32);
        if (least..=most).contains(&number) {
            return number;
        }
        self.fault(
            field,
            &format!("range({least:?}..={most:?})"),
            &format!("must be a number from {least} to {most}"),
            Some(&value),
        );
        default
    }

    fn whole_number(&mut self, field: &str, least: u64, most: u64, default: u64) -> u64 {
        let Some(value) = self.fields.remove(field) else { return default };
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => number,
            _ => {
                self.fault(
                    field,
                    &format!("range({least}..={most})"),
                    &format!("must be a whole number from {least} to {most}"),
                    Some(&value),
                );
                default
            }
        }
    }

    fn seed(&mut self) -> Option<u64> {
        let value = self.fields.remove("seed").filter(|value| !value.is_null())?;
        let seed = value.as_u64();
        if seed.is_none() {
            self.fault("seed", "u64", "must be a whole number from 0 to 2^64 - 1", Some(&value));
        }
        seed
    }

    fn stop(&mut self) -> Vec<String> {
        let Some(value) = self.fields.remove("stop") else { return Vec::new() };
        let texts: Option<Vec<String>> =
            value.as_array().and_then(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect());
        let Some(texts) = texts else {
            self.fault("stop", "strings", "must be an array of strings", Some(&value));
            return Vec::new();
        };
        if texts.len() > 4 {
            self.fault("stop", "length(0..=4)", "must have at most 4 entries", Some(&value));
        }
        if texts.iter().any(|text| text.is_empty() || text.chars().count() > 100) {
            self.fault("stop", "each_length(1..=100)", "entries must have 1 to 100 characters", Some(&value));
        }
        texts
    }

    fn refuse_the_rest(&mut self) {
        for field in std::mem::take(&mut self.fields).keys() {
            self.fault(field, "unknown", "is not a field of this request", None);
        }
    }
}

const LONGEST_PROMPT: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(body: &str) -> Vec<(String, String)> {
        let errors = read(body.as_bytes(), 100).unwrap_err();
        errors["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fault| {
                (fault["field"].as_str().unwrap().to_owned(), fault["constraint"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let found = faults(
            r#"{"job_id":"","max_tokens":0,"temperature":2.5,"top_k":101,"stop":["a","b","c","d",""],"seed":-1,"colour":1}"#,
        );
        let names: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        for expected in ["job_id", "prompt", "max_tokens", "temperature", "top_k", "stop", "seed", "colour"] {
            assert!(names.contains(&expected), "{expected} in {names:?}");
        }
    }

    #[test]
    fn not_a_number_is_refused_and_the_prompt_is_never_echoed() {
        assert_eq!(faults(r#"{"job_id":"a","prompt":"x","temperature":"NaN"}"#)[0].0, "temperature");
        assert_eq!(faults(r#"{"job_id":"a","prompt":"x","top_p":null}"#)[0].0, "top_p");
        let secret = "s".repeat(LONGEST_PROMPT + 1);
        let errors = read(json!({"job_id": "a", "prompt": secret}).to_string().as_bytes(), 100).unwrap_err();
        assert!(!errors.to_string().contains("sss"));
        assert_eq!(faults("[]")[0].1, "json_object");
        assert_eq!(faults("{")[0].1, "json");
    }

    #[test]
    fn limits_are_inclusive_and_defaults_the_documented_ones() {
        let body = json!({"job_id": "a", "prompt": "é".repeat(LONGEST_PROMPT), "temperature": 2.0, "max_tokens": 2048});
        let execute = read(body.to_string().as_bytes(), 100).unwrap();
        assert_eq!(execute.request.maximum_tokens, 2048);
        assert!((execute.request.sampling.top_p - 1.0).abs() < f32::EPSILON);
        assert_eq!(execute.request.seed, None);
    }
}
