//! A small JSON Schema validator, straight from the specification's words; a keyword it does not know is an error, so
//! that no schema passes unchecked.

use fancy_regex::Regex;
use serde_json::{Map, Value};

/// Whether `value` fits `schema`.
pub fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    check(schema, schema, value)
}

fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Bool(false) => return Err(format!("nothing is allowed, found {value}")),
        Value::Object(schema) => schema,
        other => return Err(format!("not a schema: {other}")),
    };
    for (keyword, wanted) in schema {
        if !keyword_holds(root, schema, keyword, wanted, value)? {
            return Err(format!("{keyword} {wanted} does not hold for {value}"));
        }
    }
    Ok(())
}

fn keyword_holds(
    root: &Value,
    schema: &Map<String, Value>,
    keyword: &str,
    wanted: &Value,
    value: &Value,
) -> Result<bool, String> {
    let fits = |schema: &Value, value: &Value| check(root, schema, value);
    let count_fitting = || list(wanted).iter().filter(|schema| fits(schema, value).is_ok()).count();
    Ok(match (keyword, value) {
        ("$defs", _) => true,
        ("$ref", _) => {
            let pointer = wanted.as_str().and_then(|target| target.strip_prefix('#')).ok_or("a foreign $ref")?;
            fits(root.pointer(pointer).ok_or("a dangling $ref")?, value).map(|()| true)?
        }
        ("type", _) => match wanted {
            Value::Array(names) => names.iter().any(|name| has_type(name, value)),
            name => has_type(name, value),
        },
        ("enum", _) => list(wanted).contains(value),
        ("const", _) => wanted == value,
        ("anyOf", _) => count_fitting() >= 1,
        ("oneOf", _) => count_fitting() == 1,
        ("allOf", _) => count_fitting() == list(wanted).len(),

        ("minimum", Value::Number(_)) => number(value) >= number(wanted),
        ("maximum", Value::Number(_)) => number(value) <= number(wanted),
        ("exclusiveMinimum", Value::Number(_)) => number(value) > number(wanted),
        ("exclusiveMaximum", Value::Number(_)) => number(value) < number(wanted),
        ("multipleOf", Value::Number(_)) => number(value) % number(wanted) == 0.0,

        ("minLength", Value::String(text)) => text.chars().count() as f64 >= number(wanted),
        ("maxLength", Value::String(text)) => text.chars().count() as f64 <= number(wanted),
        ("pattern", Value::String(text)) => matches(wanted.as_str().unwrap(), text),
        ("format", Value::String(text)) => has_format(wanted.as_str().unwrap(), text)?,

        ("minItems", Value::Array(items)) => items.len() as f64 >= number(wanted),
        ("maxItems", Value::Array(items)) => items.len() as f64 <= number(wanted),
        ("prefixItems", Value::Array(items)) => {
            list(wanted).iter().zip(items).try_for_each(|(schema, item)| fits(schema, item)).map(|()| true)?
        }
        ("items", Value::Array(items)) => {
            let first = schema.get("prefixItems").map_or(0, |prefix| list(prefix).len());
            items.iter().skip(first).try_for_each(|item| fits(wanted, item)).map(|()| true)?
        }

        ("required", Value::Object(fields)) => {
            list(wanted).iter().all(|name| fields.contains_key(name.as_str().unwrap()))
        }
        ("properties", Value::Object(fields)) => {
            let known = wanted.as_object().unwrap();
            fields
                .iter()
                .filter_map(|(name, value)| known.get(name).map(|schema| fits(schema, value)))
                .collect::<Result<(), _>>()
                .map(|()| true)?
        }
        ("patternProperties", Value::Object(fields)) => {
            for (pattern, schema) in wanted.as_object().unwrap() {
                for (_, value) in fields.iter().filter(|(name, _)| matches(pattern, name)) {
                    fits(schema, value)?;
                }
            }
            true
        }
        ("additionalProperties", Value::Object(fields)) => {
            let has = |keyword: &str, known: &dyn Fn(&String) -> bool| {
                schema.get(keyword).and_then(Value::as_object).is_some_and(|entries| entries.keys().any(known))
            };
            for (name, value) in fields {
                let known = has("properties", &|key| key == name)
                    || has("patternProperties", &|pattern| matches(pattern, name));
                if !known {
                    fits(wanted, value)?;
                }
            }
            true
        }

        // Keywords for other types say nothing.
        ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf", _) => true,
        ("minLength" | "maxLength" | "pattern" | "format", _) => true,
        ("minItems" | "maxItems" | "prefixItems" | "items", _) => true,
        ("required" | "properties" | "patternProperties" | "additionalProperties", _) => true,
        _ => return Err(format!("this validator does not know {keyword:?}")),
    })
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_number() && number(value).fract() == 0.0,
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    }
}

fn has_format(name: &str, text: &str) -> Result<bool, String> {
    let date = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])";
    let time = r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)";
    let byte = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)";
    Ok(match name {
        "date" => matches(&format!("^{date}$"), text),
        "time" => matches(&format!("^{time}$"), text),
        "date-time" => matches(&format!("^{date}[Tt]{time}$"), text),
        "uuid" => matches("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", text),
        "ipv4" => matches(&format!(r"^{byte}(\.{byte}){{3}}$"), text),
        _ => return Err(format!("this validator does not know format {name:?}")),
    })
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(text).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}
