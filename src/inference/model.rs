//! A loaded model: its weights on a device, its tokenizer, and the scheduler that runs its sessions.

mod capacity;
mod texts;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Instant;

use once_cell::sync::OnceCell;
use parking_lot::FairMutex;

use self::capacity::{context_of, kv_size, or_default, weight_bytes_per_token};
use self::texts::{Texts, TextsReader};
use super::constraint::{Constraint, ConstraintFactory};
use super::embed::Pooling;
use super::evaluation::{check_tokens, Evaluation};
use super::live;
use super::request::{Prompt, SessionRequest};
use super::sampling::{rng, Sampler};
use super::scheduler::{Activity, Engine, Job, Limits, Scheduler, TokenConstraint, Vocabulary};
use super::score::ScoreKind;
use super::session::{EndReason, Session, SessionState};
use super::stop::StopMatcher;
use crate::engine::{
    Backing, Device, DeviceKind, KvCache, KvType, LoadMode, MemoryUse, ResidencyPolicy, ResidencyReport, Row, Sampling,
    Weights,
};
use crate::error::{Code, Error, Result};
use crate::event;
use crate::model::chat::{ChatOptions, ChatTemplate};
use crate::model::{self, GgufFile, Tokenizer};

/// How a model is loaded; the default of every field is its zero.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The most tokens of a session, prompt and answer together; never more than the model was trained for.
    /// 0: that, but at most [`DEFAULT_CONTEXT`].
    pub context_length: u32,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// What is done to keep the weights in memory.
    pub residency: ResidencyPolicy,
    /// Whether the file is mapped or copied.
    pub mode: LoadMode,
    /// Memory for keys and values, which all sessions share, in bytes; 0: enough for [`DEFAULT_CONTEXTS`] full contexts.
    /// On the CPU the memory is taken as it is needed.
    pub kv_budget_bytes: u64,
    /// How many sessions run together; 0: [`DEFAULT_SESSIONS`].
    pub maximum_sessions: u32,
    /// How many more may wait; 0: [`DEFAULT_WAITING`].
    pub maximum_waiting: u32,
}

/// Longest context where the host leaves it open.
pub const DEFAULT_CONTEXT: u32 = 4096;
/// Full contexts that the KV cache holds where the host leaves it open.
pub const DEFAULT_CONTEXTS: u32 = 4;
/// Sessions that run together where the host leaves it open.
pub const DEFAULT_SESSIONS: u32 = 32;
/// Sessions that may wait where the host leaves it open.
pub const DEFAULT_WAITING: u32 = 256;

/// A model, ready for sessions. Every method may be called from any thread at any time; dropping it closes it.
pub struct Model {
    // First, so that its thread has ended before anything else goes.
    scheduler: Scheduler,
    weights: Arc<Weights>,
    device: Arc<Device>,
    name: String,
    weight_bytes_per_token: u64,
    tokenizer: Arc<Tokenizer>,
    chat_template: Result<Option<ChatTemplate>>,
    information: serde_json::Value,
    constraints: OnceCell<ConstraintFactory>,
    context_length: u32,
    load_seconds: f64,
    /// Whose turn it is to use the engine.
    turn: Arc<FairMutex<()>>,
    /// Not zero once the model is closed: evaluations stop.
    closed: AtomicU32,
}

impl Model {
    /// Loads the GGUF file at `path` onto `device`. `progress` gets the part that is done, from 0 to 1, on this thread,
    /// and cancels by returning false (`Code::Cancelled`).
    pub fn load(
        path: &Path,
        device: Arc<Device>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(f32) -> bool,
    ) -> Result<Arc<Self>> {
        let started = Instant::now();
        report(progress, 0.0)?;
        // Of a copied file the reading is what takes time, and on a GPU what comes after it too.
        let read_part = match options.mode {
            LoadMode::Map => 0.0,
            LoadMode::Copy if device.information()?.kind == DeviceKind::Cpu => 0.9,
            LoadMode::Copy => 0.5,
        };
        let part = |done: u64, total: u64| done as f32 / total.max(1) as f32;
        let file = GgufFile::open_watched(path, file_mode(options.mode), &mut |done, total| {
            progress(part(done, total) * read_part)
        })?;
        let (description, mut tensors) = model::describe(&file)?;
        model::choose_rotary_factors(&description, &mut tensors, context_of(options, description.context_length));
        let information = model::information(&file);
        let name = display_name(&information, path);
        let weight_bytes_per_token = weight_bytes_per_token(&description, &tensors);
        let mut reported = 0;
        let backing: Arc<dyn Backing> = file.mapping.clone();
        let file = Arc::new(file);
        let reading = TextsReader::start(&file);
        // A copied file is memory of our own already; the engine need not copy it again.
        let weights = Weights::load(
            &device,
            &description,
            &tensors,
            backing,
            LoadMode::Map,
            options.residency,
            &mut |done, total| {
                log_progress(&name, &mut reported, done, total);
                progress(read_part + part(done, total) * (1.0 - read_part)) && !reading.failed()
            },
        );
        let Texts { tokenizer, chat_template } = reading.finish()?;
        let weights = weights?;
        drop(file);
        let weights = Arc::new(weights);
        let (pages, context_length) =
            kv_size(options, description.context_length, KvCache::page_bytes(&weights, options.kv_type))?;
        let cache = KvCache::new(&weights, pages, options.kv_type)?;
        let turn = Arc::new(FairMutex::new(()));
        let roles_agree = weights.roles_agree(options.kv_type);
        let engine = WeightsEngine { weights: Arc::clone(&weights), cache, roles_agree, turn: Arc::clone(&turn) };
        let limits = Limits {
            running: or_default(options.maximum_sessions, DEFAULT_SESSIONS) as usize,
            waiting: or_default(options.maximum_waiting, DEFAULT_WAITING) as usize,
        };
        let scheduler = Scheduler::start(engine, Arc::clone(&tokenizer) as Arc<dyn Vocabulary>, limits)?;
        report(progress, 1.0)?;
        let model = Arc::new(Self {
            scheduler,
            weights,
            device,
            name,
            weight_bytes_per_token,
            tokenizer,
            chat_template,
            information,
            constraints: OnceCell::new(),
            context_length,
            load_seconds: started.elapsed().as_secs_f64(),
            turn,
            closed: AtomicU32::new(0),
        });
        live::add(&model);
        event!(
            Info,
            "model_loaded",
            "Model loaded",
            model = model.name.as_str(),
            weight_bytes = model.memory().weights,
            duration_ms = (model.load_seconds * 1e3) as u64
        );
        Ok(model)
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The model's chat template, if the file has one that can be read.
    #[must_use]
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref().ok().and_then(Option::as_ref)
    }

    /// The text of a chat as the model was trained to read it; `messages` is a JSON array of objects with a `role` and a
    /// `content`.
    pub fn render_chat(&self, messages: &str, options: &ChatOptions) -> Result<String> {
        match &self.chat_template {
            Ok(Some(template)) => template.render(messages, options),
            Ok(None) => Err(Error::new(
                Code::ModelUnsupported,
                "the model file has no chat template; give the prompt as text or tokens",
            )),
            Err(error) => Err(error.clone()),
        }
    }

    /// What the file says about the model.
    #[must_use]
    pub fn information(&self) -> &serde_json::Value {
        &self.information
    }

    /// The most tokens of a session, prompt and answer together.
    #[must_use]
    pub fn context_length(&self) -> u32 {
        self.context_length
    }

    /// How many logits there are.
    #[must_use]
    pub fn vocabulary_size(&self) -> u32 {
        self.weights.description().vocabulary
    }

    /// How many numbers an embedding has.
    #[must_use]
    pub fn embedding_size(&self) -> u32 {
        self.weights.description().width
    }

    /// The model's name: its file's own, or the file's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of weights that decoding one token reads: all but the rows of the embedding table and the experts that are
    /// not used. With the memory's bandwidth it bounds how fast one session can decode.
    #[must_use]
    pub fn weight_bytes_per_token(&self) -> u64 {
        self.weight_bytes_per_token
    }

    /// What the model holds on its device.
    #[must_use]
    #[inline]
    pub fn memory(&self) -> MemoryUse {
        self.weights.memory()
    }

    /// Looks whether every weight is where it was put.
    pub fn check_residency(&self) -> Result<ResidencyReport> {
        self.weights.check_residency()
    }

    /// Brings back what has left, then checks.
    pub fn repair_residency(&self) -> Result<ResidencyReport> {
        self.weights.repair_residency()
    }

    /// Where the model is loaded.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// How long loading took.
    #[must_use]
    pub fn load_seconds(&self) -> f64 {
        self.load_seconds
    }

    /// Sessions that run and wait at this moment.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.scheduler.activity()
    }

    /// Pages of the KV cache that are in use or promised, and how many there are.
    #[must_use]
    pub fn kv_pages(&self) -> (usize, usize) {
        self.scheduler.kv_pages()
    }

    /// Starts a session; returns when it is queued. `Code::Busy` when the queue is full.
    pub fn start(self: &Arc<Self>, request: SessionRequest) -> Result<Arc<Session>> {
        let started = Instant::now();
        request.validate(self.vocabulary_size())?;
        let prompt = self.prompt_tokens(&request.prompt)?;
        let room = self.context_length as usize - prompt.len();
        let wanted = match request.maximum_tokens {
            0 => usize::MAX,
            wanted => wanted as usize,
        };
        let mut sampling = request.sampling;
        if request.ignore_end {
            let ends = self.tokenizer.ends_of_generation();
            sampling.logit_bias.extend(ends.iter().map(|&token| (token, f32::NEG_INFINITY)));
        }
        let constraint: Option<Box<dyn TokenConstraint>> = match &request.constraint {
            None => None,
            Some(source) => {
                let factory = self.constraints.get_or_try_init(|| ConstraintFactory::new(&self.tokenizer))?;
                Some(Box::new(factory.constraint(source)?))
            }
        };
        let seed = request.seed.unwrap_or_else(rng::generate_seed);
        let job = Job {
            state: Arc::new(SessionState::new(prompt.len() as u32, started)),
            maximum_tokens: wanted.min(room),
            limit_reason: if wanted <= room { EndReason::MaximumTokens } else { EndReason::ContextFull },
            sampler: Sampler::new(sampling, seed, &prompt),
            prompt,
            stop: StopMatcher::new(&request.stop),
            constraint,
            logprobs: request.logprobs as usize,
            deadline: request.deadline.and_then(|deadline| started.checked_add(deadline)),
        };
        Ok(Arc::new(self.scheduler.submit(job, seed)?))
    }

    /// The tokens of a prompt, in a number that leaves room for an answer.
    pub fn prompt_tokens(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let tokens = match prompt {
            Prompt::Tokens(tokens) => tokens.clone(),
            Prompt::Text(text) => self.text_tokens(text),
            Prompt::Chat(messages) => {
                let options = ChatOptions { add_generation_prompt: true, ..ChatOptions::default() };
                self.text_tokens(&self.render_chat(messages, &options)?)
            }
        };
        if tokens.is_empty() {
            return Err(Error::new(Code::InvalidParameter, "prompt: it has no tokens"));
        }
        check_tokens("prompt", &tokens, self.vocabulary_size())?;
        if tokens.len() >= self.context_length as usize {
            return Err(Error::new(
                Code::InvalidParameter,
                format!(
                    "prompt: {} tokens leave no room for an answer in the context of {}",
                    tokens.len(),
                    self.context_length
                ),
            ));
        }
        Ok(tokens)
    }

    /// Scores given tokens from position `first` on; see [`ScoreKind`]. Sessions go on meanwhile.
    pub fn score(&self, tokens: &[u32], first: usize, kind: ScoreKind, kv: KvType) -> Result<Vec<f32>> {
        self.while_open(|| super::score::score(&self.evaluation(kv), tokens, first, kind))
    }

    /// The embedding of given tokens; `normalise` scales each vector to length 1. Sessions go on meanwhile.
    pub fn embed(&self, tokens: &[u32], pooling: Pooling, normalise: bool) -> Result<Vec<f32>> {
        self.while_open(|| super::embed::embed(&self.evaluation(KvType::F16), tokens, pooling, normalise))
    }

    /// Ends every session and the scheduler's thread; returns when they have ended. May be called again.
    pub fn close(&self) {
        self.closed.store(1, Ordering::Release);
        self.scheduler.close();
    }

    fn text_tokens(&self, text: &str) -> Vec<u32> {
        let mut tokens = self.tokenizer.encode(text, true, true);
        // Rendered chats, and texts written for other programs, often bring the beginning token along.
        if tokens.len() > 1 && tokens[0] == tokens[1] && self.tokenizer.beginning() == Some(tokens[0]) {
            tokens.remove(0);
        }
        tokens
    }

    fn evaluation(&self, kv_type: KvType) -> Evaluation<'_> {
        Evaluation { weights: &self.weights, turn: &self.turn, cancel: &self.closed, kv_type }
    }

    fn while_open(&self, evaluate: impl FnOnce() -> Result<Vec<f32>>) -> Result<Vec<f32>> {
        let closed = || Error::new(Code::StaleHandle, "the model is closed");
        if self.closed.load(Ordering::Acquire) != 0 {
            return Err(closed());
        }
        evaluate().map_err(|error| if error.code == Code::Cancelled { closed() } else { error })
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.close();
        event!(Info, "resource_cleanup", "Model unloaded", model = self.name.as_str());
    }
}

fn display_name(information: &serde_json::Value, path: &Path) -> String {
    let own = information.get("name").and_then(serde_json::Value::as_str).filter(|name| !name.is_empty());
    own.map_or_else(
        || path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
        str::to_owned,
    )
}

/// A record at every quarter.
fn log_progress(model: &str, reported: &mut u64, done: u64, total: u64) {
    let percent = done * 100 / total.max(1) / 25 * 25;
    if percent > *reported {
        *reported = percent;
        event!(Info, "model_load_progress", "Loading", model = model, percent = percent, vram_bytes = done);
    }
}

/// The engine as the scheduler sees it.
struct WeightsEngine {
    weights: Arc<Weights>,
    cache: KvCache,
    roles_agree: bool,
    turn: Arc<FairMutex<()>>,
}

impl Engine for WeightsEngine {
    fn vocabulary_size(&self) -> usize {
        self.weights.description().vocabulary as usize
    }

    fn pages(&self) -> u32 {
        self.cache.pages()
    }

    fn samples(&self) -> bool {
        self.weights.samples()
    }

    fn roles_agree(&self) -> bool {
        self.roles_agree
    }

    fn forward(
        &mut self,
        rows: &[Row],
        page_tables: &[&[u32]],
        samplings: &[Sampling],
        cancel: &AtomicU32,
        outputs: &mut [f32],
    ) -> Result<Vec<Result<u32>>> {
        let _turn = self.turn.lock();
        self.weights.forward_and_sample(&self.cache, rows, page_tables, samplings, cancel, outputs)
    }
}

impl Vocabulary for Tokenizer {
    fn token_bytes(&self, token: u32) -> &[u8] {
        self.token_bytes(token)
    }

    fn is_end(&self, token: u32) -> bool {
        self.is_end_of_generation(token)
    }
}

impl TokenConstraint for Constraint {
    fn allowed(&mut self, tokens: usize) -> Result<Vec<u32>> {
        self.allowed(tokens)
    }

    fn accept(&mut self, token: u32) -> Result<()> {
        self.accept(token)
    }

    fn must_stop(&self) -> bool {
        self.must_stop()
    }
}

fn report(progress: &mut dyn FnMut(f32) -> bool, part: f32) -> Result<()> {
    if progress(part) {
        return Ok(());
    }
    Err(Error::new(Code::Cancelled, "the progress callback asked to stop loading"))
}

fn file_mode(mode: LoadMode) -> model::LoadMode {
    match mode {
        LoadMode::Map => model::LoadMode::Map,
        LoadMode::Copy => model::LoadMode::Copy,
    }
}

#[cfg(test)]
mod tests;
