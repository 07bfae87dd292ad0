//! Schemas, each with a text that fits and one that does not.

/// (schema, fits, does not fit)
pub const SCHEMAS: &[(&str, &str, &str)] = &[
    (r#"{"type": "boolean"}"#, "true", "1"),
    (r#"{"type": "null"}"#, "null", "nul"),
    (r#"{"type": "string", "minLength": 2, "maxLength": 5}"#, r#""abc""#, r#""abcdef""#),
    (r#"{"type": "integer"}"#, "-12", "1.5"),
    (r#"{"type": "integer", "minimum": 5, "maximum": 120}"#, "120", "121"),
    (r#"{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}"#, "0.25", "1.0"),
    (r#"{"type": "number", "minimum": -2.5, "maximum": 2.5}"#, "-2.5", "2.6"),
    (r#"{"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 50}"#, "35", "36"),
    (r#"{"enum": ["red", "green", 3, null, true]}"#, r#""green""#, r#""blue""#),
    (r#"{"const": {"a": [1, "x"]}}"#, r#"{"a":[1,"x"]}"#, r#"{"a":[1,"y"]}"#),
    (r#"{"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3}"#, "[true, false]", "[true]"),
    (
        r#"{"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": false, "minItems": 2}"#,
        "[1,true]",
        "[true,1]",
    ),
    (r#"{"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 0}"#, "[]", r#"["a"]"#),
    (
        r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 150}}, "required": ["name", "age"], "additionalProperties": false}"#,
        r#"{"name": "Ada", "age": 36}"#,
        r#"{"name": "Ada"}"#,
    ),
    (
        r#"{"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}, "b": {"type": "boolean"}, "c": {"type": "null"}}, "additionalProperties": false}"#,
        r#"{"a":1,"c":null}"#,
        r#"{"d":1}"#,
    ),
    (
        r#"{"type": "object", "properties": {"known": {"type": "boolean"}}, "required": ["known"], "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 99}}"#,
        r#"{"known":true,"x":7}"#,
        r#"{"known":true,"x":"y"}"#,
    ),
    (
        r#"{"type": "object", "properties": {"point": {"type": "object", "properties": {"x": {"type": "number", "minimum": 0, "maximum": 1}, "y": {"type": "number", "minimum": 0, "maximum": 1}}, "required": ["x", "y"], "additionalProperties": false}, "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 3}}, "required": ["point", "tags"], "additionalProperties": false}"#,
        r#"{"point":{"x":0.5,"y":1},"tags":["a","b"]}"#,
        r#"{"point":{"x":0.5},"tags":[]}"#,
    ),
    (r#"{"anyOf": [{"type": "boolean"}, {"type": "string", "maxLength": 3}]}"#, r#""ab""#, "12"),
    (
        r#"{"oneOf": [{"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["kind", "lives"], "additionalProperties": false}, {"type": "object", "properties": {"kind": {"const": "dog"}, "good": {"type": "boolean"}}, "required": ["kind", "good"], "additionalProperties": false}]}"#,
        r#"{"kind":"dog","good":true}"#,
        r#"{"kind":"cat","good":true}"#,
    ),
    (
        r#"{"oneOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"type": "boolean"}, {"type": "null"}]}"#,
        "null",
        r#""x""#,
    ),
    (r#"{"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 7}]}"#, "5", "8"),
    (
        r##"{"$defs": {"leaf": {"type": "integer", "minimum": 0, "maximum": 9}}, "type": "array", "items": {"$ref": "#/$defs/leaf"}, "maxItems": 4}"##,
        "[1,2]",
        "[10]",
    ),
    (
        r##"{"$defs": {"node": {"type": "object", "properties": {"value": {"type": "boolean"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["value", "next"], "additionalProperties": false}}, "$ref": "#/$defs/node"}"##,
        r#"{"value":true,"next":{"value":false,"next":null}}"#,
        r#"{"value":true,"next":{}}"#,
    ),
    (r#"{"type": "string", "pattern": "^[a-z]{2,4}-[0-9]+$"}"#, r#""abc-17""#, r#""abc17""#),
    (r#"{"type": "string", "pattern": "^(\\(\\d{3}\\))?\\d{3}-\\d{4}$"}"#, r#""(555)123-4567""#, r#""555 1234""#),
    (r#"{"type": "string", "format": "date"}"#, r#""2024-02-29""#, r#""2024-13-01""#),
    (r#"{"type": "string", "format": "date-time"}"#, r#""2024-01-31T23:59:59Z""#, r#""2024-01-31""#),
    (r#"{"type": "string", "format": "time"}"#, r#""12:30:00+01:00""#, r#""12:30""#),
    (r#"{"type": "string", "format": "uuid"}"#, r#""123e4567-e89b-12d3-a456-426614174000""#, r#""123e4567""#),
    (r#"{"type": "string", "format": "ipv4"}"#, r#""192.168.0.1""#, r#""192.168.0.256""#),
    (r#"{"enum": ["Größe", "日本", "🦙", "a\"b\\c\n"]}"#, r#""日本""#, r#""日""#),
    (
        r#"{"type": "object", "properties": {"ключ": {"type": "string", "enum": ["да", "нет"]}, "quote\"d": {"type": "boolean"}}, "required": ["ключ", "quote\"d"], "additionalProperties": false}"#,
        r#"{"ключ":"да","quote\"d":false}"#,
        r#"{"ключ":"может","quote\"d":false}"#,
    ),
    (r#"{"type": ["integer", "null"], "minimum": 10, "maximum": 20}"#, "null", "9"),
    (
        r#"{"type": "array", "items": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1}, "minItems": 2, "maxItems": 2}, "minItems": 1, "maxItems": 3}"#,
        "[[0,1],[1,1]]",
        "[[0,1,1]]",
    ),
    (
        r#"{"type": "object", "patternProperties": {"^x_[a-z]$": {"type": "boolean"}}, "additionalProperties": false}"#,
        r#"{"x_a":true}"#,
        r#"{"y":true}"#,
    ),
    (
        r#"{"type": "object", "properties": {"name": {"const": "get_weather"}, "arguments": {"type": "object", "properties": {"city": {"type": "string", "minLength": 1, "maxLength": 6}, "unit": {"enum": ["celsius", "fahrenheit"]}}, "required": ["city"], "additionalProperties": false}}, "required": ["name", "arguments"], "additionalProperties": false}"#,
        r#"{"name": "get_weather", "arguments": {"city": "Oslo", "unit": "celsius"}}"#,
        r#"{"name": "get_weather", "arguments": {"unit": "celsius"}}"#,
    ),
];
