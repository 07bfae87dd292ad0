//! Constrained generation: text that must match a schema, an expression or a grammar.

/// What generated text must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConstraintSource {
    /// A JSON schema.
    JsonSchema(String),
    /// A regular expression.
    Regex(String),
    /// A Lark grammar.
    Lark(String),
}
