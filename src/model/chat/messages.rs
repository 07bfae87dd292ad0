//! Checks what the host passes for a template to render.

use serde_json::{Map, Value};

use crate::error::{Code, Error, Result};

/// The messages, with content in parts made one string.
pub(super) fn messages(json: &str) -> Result<Vec<Value>> {
    let messages: Value = parse("messages", json)?;
    let Value::Array(mut messages) = messages else {
        return Err(refuse(format!("messages: expected an array, found {}", kind(&messages))));
    };
    for (index, message) in messages.iter_mut().enumerate() {
        let place = format!("messages[{index}]");
        let Value::Object(fields) = message else {
            return Err(refuse(format!("{place}: expected an object, found {}", kind(message))));
        };
        match fields.get("role") {
            Some(Value::String(_)) => {}
            Some(found) => return Err(refuse(format!("{place}.role: expected a string, found {}", kind(found)))),
            None => return Err(refuse(format!("{place}.role is missing"))),
        }
        // A message that calls tools need not say anything.
        let calls = fields.get("tool_calls").is_some_and(|calls| !calls.is_null());
        match fields.get_mut("content") {
            Some(Value::String(_)) => {}
            Some(Value::Null) | None if calls => {}
            Some(content @ Value::Array(_)) => *content = Value::String(joined(content, &place)?),
            Some(found) => {
                let found = kind(found);
                return Err(refuse(format!("{place}.content: expected a string or an array of parts, found {found}")));
            }
            None => return Err(refuse(format!("{place}.content is missing"))),
        }
    }
    Ok(messages)
}

/// The tools, if there are any.
pub(super) fn tools(json: Option<&str>) -> Result<Option<Vec<Value>>> {
    let Some(json) = json else { return Ok(None) };
    match parse("tools", json)? {
        Value::Null => Ok(None),
        Value::Array(tools) => Ok(Some(tools).filter(|tools| !tools.is_empty())),
        found => Err(refuse(format!("tools: expected an array, found {}", kind(&found)))),
    }
}

/// The host's own variables.
pub(super) fn variables(json: Option<&str>) -> Result<Map<String, Value>> {
    let Some(json) = json else { return Ok(Map::new()) };
    match parse("variables", json)? {
        Value::Object(variables) => Ok(variables),
        found => Err(refuse(format!("variables: expected an object, found {}", kind(&found)))),
    }
}

/// Parts of type text, line by line, as most templates know only strings.
fn joined(content: &Value, place: &str) -> Result<String> {
    let mut text = String::new();
    for (index, part) in content.as_array().into_iter().flatten().enumerate() {
        let place = format!("{place}.content[{index}]");
        let Some(fields) = part.as_object() else {
            return Err(refuse(format!("{place}: expected an object, found {}", kind(part))));
        };
        match fields.get("type") {
            Some(Value::String(name)) if name == "text" => {}
            Some(Value::String(name)) => {
                return Err(refuse(format!("{place}.type: expected \"text\", found {name:?}")))
            }
            Some(found) => return Err(refuse(format!("{place}.type: expected \"text\", found {}", kind(found)))),
            None => return Err(refuse(format!("{place}.type is missing"))),
        }
        let Some(Value::String(part)) = fields.get("text") else {
            return Err(refuse(format!("{place}.text: expected a string")));
        };
        if index > 0 {
            text.push('\n');
        }
        text.push_str(part);
    }
    Ok(text)
}

fn parse(what: &str, json: &str) -> Result<Value> {
    serde_json::from_str(json).map_err(|error| refuse(format!("{what}: not JSON: {error}")))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn refuse(detail: String) -> Error {
    Error::new(Code::InvalidParameter, detail)
}
