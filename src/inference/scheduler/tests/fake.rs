//! An engine and a vocabulary for tests.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::*;
use crate::engine::{Output, Role, Row, Sampling};
use crate::inference::request::SamplingOptions;
use crate::inference::sampling::Sampler;
use crate::inference::session::{Event, Next, Usage};
use crate::inference::stop::StopMatcher;

/// Tokens 1 to 26 print letters, 27 a space, 28 to 30 the three bytes of a snowman, 31 nothing; 0 ends the text.
pub const VOCABULARY: usize = 32;

pub struct FakeVocabulary;

impl Vocabulary for FakeVocabulary {
    fn token_bytes(&self, token: u32) -> &[u8] {
        const BYTES: &[u8; 30] = b"abcdefghijklmnopqrstuvwxyz \xe2\x98\x83";
        match token {
            1..=30 => &BYTES[token as usize - 1..token as usize],
            _ => &[],
        }
    }

    fn is_end(&self, token: u32) -> bool {
        token == 0
    }
}

/// What the test can see and set.
#[derive(Default)]
pub struct Controls {
    /// Time that a step takes for each of its rows.
    pub microseconds_per_row: AtomicUsize,
    /// The next step fails with this.
    pub fail_with: Mutex<Option<Error>>,
    /// The next step panics.
    pub panic: AtomicUsize,
    pub steps: AtomicUsize,
    pub prompt_rows: AtomicUsize,
    pub most_rows: AtomicUsize,
    /// Prompt rows and decode rows of every step.
    pub history: Mutex<Vec<(usize, usize)>>,
    /// Not 0: the engine chooses tokens itself.
    pub samples: AtomicUsize,
    /// Not 0: a row gives the same in both roles.
    pub roles_agree: AtomicUsize,
    /// Tokens to give in order of position instead of computed ones; past its end computed ones again.
    pub script: Mutex<Vec<u32>>,
}

pub struct FakeEngine {
    pages: Vec<[Option<(u32, u32, bool)>; PAGE]>,
    controls: Arc<Controls>,
}

impl FakeEngine {
    pub fn new(pages: u32, controls: &Arc<Controls>) -> Self {
        Self { pages: vec![[None; PAGE]; pages as usize], controls: Arc::clone(controls) }
    }

    /// A number that depends on every token up to `row`, and, unless the roles agree, on whether each was a prompt's.
    fn state(&self, row: &Row, table: &[u32]) -> u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for position in 0..=row.position {
            let page = &self.pages[table[position as usize / PAGE] as usize];
            let (token, stored, is_prompt) =
                page[position as usize % PAGE].expect("a position that was never computed");
            assert_eq!(stored, position, "a page of other positions");
            state ^= u64::from(token) << 1 | u64::from(is_prompt || self.roles_agree());
            state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            state ^= state >> 29;
        }
        state
    }

    fn work(&self, rows: usize, cancel: &AtomicU32) -> Result<()> {
        let micros = self.controls.microseconds_per_row.load(Ordering::Relaxed) * rows;
        let until = Instant::now() + Duration::from_micros(micros as u64);
        while Instant::now() < until {
            if cancel.load(Ordering::Acquire) != 0 {
                return Err(Error::new(Code::Cancelled, "cancelled"));
            }
            std::thread::sleep(Duration::from_micros(500).min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }
}

impl Engine for FakeEngine {
    fn vocabulary_size(&self) -> usize {
        VOCABULARY
    }

    fn pages(&self) -> u32 {
        self.pages.len() as u32
    }

    fn samples(&self) -> bool {
        self.controls.samples.load(Ordering::Relaxed) != 0
    }

    fn roles_agree(&self) -> bool {
        self.controls.roles_agree.load(Ordering::Relaxed) != 0
    }

    fn forward(
        &mut self,
        rows: &[Row],
        tables: &[&[u32]],
        samplings: &[Sampling],
        cancel: &AtomicU32,
        outputs: &mut [f32],
    ) -> Result<Vec<Result<u32>>> {
        self.controls.steps.fetch_add(1, Ordering::Relaxed);
        self.controls.most_rows.fetch_max(rows.len(), Ordering::Relaxed);
        let prompt_rows = rows.iter().filter(|row| matches!(row.role, Role::Prompt)).count();
        self.controls.history.lock().push((prompt_rows, rows.len() - prompt_rows));
        assert_eq!(self.controls.panic.swap(0, Ordering::Relaxed), 0, "a fault that the test asked for");
        if let Some(error) = self.controls.fail_with.lock().take() {
            return Err(error);
        }
        self.work(rows.len(), cancel)?;
        let (mut next, mut samplings, mut chosen) = (0, samplings.iter(), Vec::new());
        for row in rows {
            let table = tables[row.sequence as usize];
            let is_prompt = matches!(row.role, Role::Prompt);
            self.controls.prompt_rows.fetch_add(usize::from(is_prompt), Ordering::Relaxed);
            let place = (row.token, row.position, is_prompt);
            self.pages[table[row.position as usize / PAGE] as usize][row.position as usize % PAGE] = Some(place);
            match row.output {
                Output::Logits => {
                    outputs[next..next + VOCABULARY].copy_from_slice(&self.logits(row, table));
                    next += VOCABULARY;
                }
                Output::Token => chosen.push(choose(&self.logits(row, table), samplings.next().expect("a sampling"))),
                Output::None | Output::Hidden => {}
            }
        }
        assert_eq!(next, outputs.len(), "room for other than the rows' outputs");
        assert!(samplings.next().is_none(), "more samplings than rows that ask for tokens");
        Ok(chosen)
    }
}

impl FakeEngine {
    fn logits(&self, row: &Row, table: &[u32]) -> [f32; VOCABULARY] {
        let state = self.state(row, table);
        let mut logits = [0.0; VOCABULARY];
        for (token, logit) in logits.iter_mut().enumerate() {
            let mixed = (state ^ (token as u64) << 32).wrapping_mul(0x94d0_49bb_1331_11eb);
            *logit = (mixed >> 40) as f32 / (1u32 << 22) as f32;
        }
        // The text never ends by chance.
        logits[0] = -50.0;
        if let Some(&token) = self.controls.script.lock().get(row.position as usize) {
            logits[token as usize] = 50.0;
        }
        logits
    }
}

/// A device's choice, as far as the tests need one: the likeliest token that is allowed, less those of the window.
fn choose(logits: &[f32; VOCABULARY], sampling: &Sampling) -> Result<u32> {
    assert_eq!(sampling.temperature, 0.0, "this device knows no draws");
    let allowed = |token: u32| sampling.allowed.as_ref().is_none_or(|words| words[0] >> token & 1 == 1);
    let penalty = |token: u32| sampling.window.iter().find(|entry| entry.token == token).map_or(0, |entry| entry.count);
    (0..VOCABULARY as u32)
        .filter(|&token| allowed(token))
        .map(|token| (token, logits[token as usize] - penalty(token) as f32 * sampling.frequency_penalty))
        .max_by(|left, right| left.1.total_cmp(&right.1).then(right.0.cmp(&left.0)))
        .map(|(token, _)| token)
        .ok_or_else(crate::engine::nothing_allowed)
}

/// A scheduler over an imitated engine.
pub struct Fixture {
    pub scheduler: Scheduler,
    pub controls: Arc<Controls>,
}

impl Fixture {
    pub fn new(pages: u32, running: usize, waiting: usize) -> Self {
        let controls = Arc::new(Controls::default());
        let engine = FakeEngine::new(pages, &controls);
        let limits = Limits { running, waiting };
        let scheduler = Scheduler::start(engine, Arc::new(FakeVocabulary), limits).unwrap();
        Self { scheduler, controls }
    }

    /// One that gives the tokens of `script` after a prompt of one token.
    pub fn scripted(script: &[u32]) -> Self {
        let fixture = Self::new(8, 2, 2);
        *fixture.controls.script.lock() = script.to_vec();
        fixture
    }

    pub fn slow(self, microseconds_per_row: usize) -> Self {
        self.controls.microseconds_per_row.store(microseconds_per_row, Ordering::Relaxed);
        self
    }

    pub fn start(&self, job: Job) -> Session {
        self.scheduler.submit(job, 7).unwrap()
    }
}

/// Tokens that differ from seed to seed.
pub fn prompt(seed: u32, length: usize) -> Vec<u32> {
    (0..length as u32).map(|index| 1 + (seed * 31 + index * 7 + index / 26) % 27).collect()
}

/// A session that draws `maximum_tokens` tokens after `prompt`.
pub fn job(prompt: Vec<u32>, maximum_tokens: usize) -> Job {
    stopping_job(prompt, maximum_tokens, &[])
}

pub fn stopping_job(prompt: Vec<u32>, maximum_tokens: usize, stops: &[&str]) -> Job {
    let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
    Job {
        state: Arc::new(SessionState::new(prompt.len() as u32, Instant::now())),
        sampler: Sampler::new(SamplingOptions::default(), 7, &prompt),
        prompt,
        maximum_tokens,
        limit_reason: EndReason::MaximumTokens,
        stop: StopMatcher::new(&stops),
        constraint: None,
        logprobs: 0,
        deadline: None,
    }
}

/// All that a session gave.
#[derive(Debug, PartialEq)]
pub struct Story {
    pub tokens: Vec<u32>,
    pub text: String,
    pub reason: EndReason,
}

/// Reads a session to its end, which must come within some seconds.
pub fn read(session: &Session) -> (Story, Usage) {
    let (mut tokens, mut text) = (Vec::new(), String::new());
    loop {
        match session.next(Some(Duration::from_secs(20))).unwrap() {
            Next::Event(Event::Token { id, index, text: piece, .. }) => {
                assert_eq!(index as usize, tokens.len());
                tokens.push(id);
                text.push_str(&piece);
            }
            Next::Event(Event::End { reason, usage }) => return (Story { tokens, text, reason }, usage),
            Next::TimedOut => panic!("no event for 20 seconds"),
        }
    }
}

/// Waits until something is so.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
