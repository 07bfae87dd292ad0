//! Chat templates: from a list of messages to the text that the model was trained to read, by the model's own Jinja.
//!
//! The template comes with the model file and is not trusted: it reaches nothing outside, its steps and its output are
//! bounded. The length of a string that it builds on the way is bounded only by 100 MB a repetition: Jinja can double a
//! string as often as it likes, and the interpreter has no limit for it.

mod environment;
mod json;
mod messages;

use std::io;

use minijinja::{context, Environment, Value};

use self::environment::Raised;
use super::{Metadata, Tokenizer};
use crate::error::{Code, Error, Result};

/// The chat template of a model, compiled.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    beginning: String,
    end: String,
}

/// How to render.
#[derive(Debug, Clone, Default)]
pub struct ChatOptions {
    /// Whether to end with the beginning of the assistant's next message.
    pub add_generation_prompt: bool,
    /// Tools for the model to call: a JSON array, in the form the model's template expects.
    pub tools: Option<String>,
    /// More variables for the template: a JSON object.
    pub variables: Option<String>,
}

impl ChatTemplate {
    /// The template in a model file, if it has one.
    pub fn from_metadata(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let Some(source) = metadata.string(KEY)? else { return Ok(None) };
        let with_tools = metadata.string(TOOLS_KEY)?;
        let name = |id: Option<u32>| {
            id.map_or(String::new(), |id| String::from_utf8_lossy(tokenizer.token_text(id)).into_owned())
        };
        Self::new(source, with_tools, name(tokenizer.beginning()), name(tokenizer.end())).map(Some)
    }

    /// Compiles a template; `with_tools` is used in its place when there are tools.
    pub fn new(source: &str, with_tools: Option<&str>, beginning: String, end: String) -> Result<Self> {
        let mut environment = environment::environment();
        for (key, source) in [(KEY, Some(source)), (TOOLS_KEY, with_tools)] {
            let Some(source) = source else { continue };
            if source.len() > LONGEST_TEMPLATE {
                return Err(unsupported(key, &format!("{} bytes, at most {LONGEST_TEMPLATE}", source.len())));
            }
            let source = environment::without_generation_tags(source);
            environment.add_template_owned(key, source).map_err(|error| unsupported(key, &described(&error)))?;
        }
        Ok(Self { environment, beginning, end })
    }

    /// The text of a conversation. `messages_json` is an array of objects with a `role` and a `content` (a string, or
    /// parts of type text); whatever else they hold is passed on to the template.
    pub fn render(&self, messages_json: &str, options: &ChatOptions) -> Result<String> {
        let messages = messages::messages(messages_json)?;
        let tools = messages::tools(options.tools.as_deref())?;
        let variables = messages::variables(options.variables.as_deref())?;
        let has_tools = tools.is_some();
        let name = if has_tools && self.environment.get_template(TOOLS_KEY).is_ok() { TOOLS_KEY } else { KEY };
        let template = self.environment.get_template(name).map_err(|error| unsupported(name, &described(&error)))?;
        let context = context! {
            messages => messages,
            tools => tools.map(|tools| Value::from_serialize(&tools)),
            add_generation_prompt => options.add_generation_prompt,
            bos_token => self.beginning,
            eos_token => self.end,
            ..Value::from_serialize(&variables)
        };
        let mut text = Bounded { bytes: Vec::new(), full: false };
        if let Err(error) = template.render_captured_to(context, &mut text) {
            if text.full {
                return Err(unsupported(name, &format!("its text is longer than {LONGEST_TEXT} bytes")));
            }
            return Err(match environment::raised(&error) {
                Some(Raised(message)) => Error::new(
                    Code::InvalidParameter,
                    format!("messages: the model's chat template refuses them: {message}"),
                ),
                None => unsupported(name, &described(&error)),
            });
        }
        String::from_utf8(text.bytes).map_err(|_| unsupported(name, "its text is not UTF-8"))
    }
}

/// A text that does not grow beyond all bounds.
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > LONGEST_TEXT || self.bytes.try_reserve(bytes.len()).is_err() {
            self.full = true;
            return Err(io::Error::other("the text is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The interpreter's words, with those of its causes.
fn described(error: &minijinja::Error) -> String {
    let mut text = match error.line() {
        Some(line) => format!("line {line}: {}", error.kind()),
        None => error.kind().to_string(),
    };
    if let Some(detail) = error.detail() {
        text.push_str(": ");
        text.push_str(detail);
    }
    text
}

fn unsupported(key: &str, why: &str) -> Error {
    Error::new(Code::ModelUnsupported, format!("chat template (key {key:?}): {why}"))
}

const KEY: &str = "tokenizer.chat_template";
/// Some models have a second template for conversations with tools.
const TOOLS_KEY: &str = "tokenizer.chat_template.tool_use";
const LONGEST_TEMPLATE: usize = 1 << 20;
const LONGEST_TEXT: usize = 64 << 20;

#[cfg(test)]
mod tests;
