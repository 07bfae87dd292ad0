//! What of a model file concerns text, read beside the weights.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::error::Result;
use crate::model::beside::Beside;
use crate::model::chat::ChatTemplate;
use crate::model::{GgufFile, Metadata, Tokenizer};

/// A model's tokenizer and chat template.
pub(super) struct Texts {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) chat_template: Result<Option<ChatTemplate>>,
}

impl Texts {
    fn read(metadata: &Metadata) -> Result<Self> {
        let tokenizer = Arc::new(Tokenizer::from_metadata(metadata)?);
        // A template that cannot be read is no reason not to load: only who chats will miss it.
        let chat_template = ChatTemplate::from_metadata(metadata, &tokenizer);
        Ok(Self { tokenizer, chat_template })
    }
}

/// Reads a file's [`Texts`] on a thread of its own: a vocabulary of a hundred thousand tokens takes as long to read as the
/// weights take to map. Dropping it waits for the thread.
pub(super) struct TextsReader {
    failed: Arc<AtomicBool>,
    reading: Beside<Result<Texts>>,
}

impl TextsReader {
    /// Begins to read.
    pub(super) fn start(file: &Arc<GgufFile>) -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        let reading = {
            let (file, failed) = (Arc::clone(file), Arc::clone(&failed));
            Beside::start("worker-texts", move || {
                let texts = Texts::read(&file.metadata);
                failed.store(texts.is_err(), Ordering::Relaxed);
                texts
            })
        };
        Self { failed, reading }
    }

    /// Whether it is known already that the texts cannot be read.
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits for the texts.
    pub(super) fn finish(self) -> Result<Texts> {
        self.reading.finish()
    }
}
