//! What of a model file concerns text, read beside the weights.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::Result;
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

/// A thread that reads a file's [`Texts`]: a vocabulary of a hundred thousand tokens takes as long to read as the weights
/// take to map. Dropping it waits for the thread.
///
/// Not a scoped thread: a scope leaves the standard library's record of the host's thread behind for good.
pub(super) struct TextsReader {
    file: Arc<GgufFile>,
    failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Texts>>>,
}

impl TextsReader {
    /// Begins to read.
    pub(super) fn start(file: &Arc<GgufFile>) -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        let read = {
            let (file, failed) = (Arc::clone(file), Arc::clone(&failed));
            move || {
                let texts = Texts::read(&file.metadata);
                failed.store(texts.is_err(), Ordering::Relaxed);
                texts
            }
        };
        // Where no more threads are allowed, `finish` reads.
        let thread = std::thread::Builder::new().name("worker-texts".to_owned()).spawn(read).ok();
        Self { file: Arc::clone(file), failed, thread }
    }

    /// Whether it is known already that the texts cannot be read.
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits for the texts.
    pub(super) fn finish(mut self) -> Result<Texts> {
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => Texts::read(&self.file.metadata),
        }
    }
}

impl Drop for TextsReader {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // What it found, or how it failed, is nobody's concern any more.
            drop(thread.join());
        }
    }
}
