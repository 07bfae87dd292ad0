//! Many hands at once on one model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use worker::ffi::session_types::*;

use crate::host::{bootstrap, last_error, start_code, stories, try_start, Turn};

const PROMPTS: [&str; 6] = [
    "Once upon a time",
    "Lily and Tom",
    "The dog",
    "One day a girl named",
    "In the garden there was",
    "Once upon a time",
];
const TOKENS: u32 = 60;
/// How much more memory may be resident at the end than once everything is warm, whatever the time between.
const MOST_GROWTH: usize = 8 << 20;

/// How long the load lasts: `WORKER_STRESS_SECONDS`, or a little while.
fn duration() -> Duration {
    let seconds = std::env::var("WORKER_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    Duration::from_secs(seconds)
}

/// A small generator of numbers, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn sixty_four_sessions_from_sixteen_threads_give_what_each_gives_alone() {
    let _turn = Turn::take();
    let model = bootstrap(&stories(r#""maximum_sessions": 64"#)).1.model;
    let case = |number: u64| (PROMPTS[number as usize % PROMPTS.len()], number % 9);
    let alone: Vec<Vec<u32>> = (0..54)
        .map(|number| {
            let (prompt, seed) = case(number);
            try_start(model, prompt, TOKENS, seed).unwrap().read_all().0
        })
        .collect();
    let finished = AtomicUsize::new(0);
    let begun = Instant::now();
    let until = begun + duration();
    let resident_at_first = resident_bytes();
    let mut resident_when_warm = 0;
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            let (alone, finished) = (&alone, &finished);
            scope.spawn(move || {
                let mut random = Random(thread + 1);
                while Instant::now() < until {
                    one_round(model, &mut random, alone, &case, finished);
                }
            });
        }
        std::thread::sleep(duration() / 4);
        resident_when_warm = resident_bytes();
    });
    let (finished, resident) = (finished.load(Ordering::Relaxed), resident_bytes());
    eprintln!(
        "{finished} sessions ended well in {:.0} s; resident: {} KiB at first, {} KiB after a quarter, {} KiB at the end",
        begun.elapsed().as_secs_f64(),
        resident_at_first >> 10,
        resident_when_warm >> 10,
        resident >> 10
    );
    assert!(finished > 16, "{finished}");
    let grown = resident.saturating_sub(resident_when_warm);
    assert!(grown < MOST_GROWTH, "{grown} bytes more are resident at the end than after a quarter of the load");
    assert_eq!(worker::ffi::lifecycle::worker_stop(), 0);
}

/// Four sessions side by side, read in turns; some are cancelled, some read slowly, some closed unread.
fn one_round<'a>(
    model: u64,
    random: &mut Random,
    alone: &[Vec<u32>],
    case: &impl Fn(u64) -> (&'a str, u64),
    finished: &AtomicUsize,
) {
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let number = random.below(54);
        let (prompt, seed) = case(number);
        match try_start(model, prompt, TOKENS, seed) {
            Ok(session) => sessions.push((number as usize, session, Vec::new(), random.below(8))),
            Err(140) => std::thread::sleep(Duration::from_millis(1)),
            Err(code) => panic!("{code}: {}", last_error()),
        }
    }
    assert_ne!(start_code(random.below(u64::MAX >> 33) << 24), 0, "a forged handle");
    while !sessions.is_empty() {
        let place = random.below(sessions.len() as u64) as usize;
        let (number, session, tokens, fate) = &mut sessions[place];
        let event = session.next(60_000).unwrap_or_else(|code| panic!("{code}: {}", last_error()));
        if event.kind == WORKER_EVENT_END {
            let expected = &alone[*number];
            if event.end_reason == WORKER_END_MAXIMUM_TOKENS {
                assert_eq!(tokens, expected, "case {number}");
                finished.fetch_add(1, Ordering::Relaxed);
            } else {
                assert_eq!(event.end_reason, WORKER_END_CANCELLED);
                assert_eq!(tokens[..], expected[..tokens.len()], "case {number}, cancelled");
            }
            sessions.swap_remove(place);
            continue;
        }
        tokens.push(event.token);
        match (*fate, tokens.len()) {
            (0, 9) => session.cancel(),
            (1, 5) => std::thread::sleep(Duration::from_millis(20)),
            (2, 3) => drop(sessions.swap_remove(place)),
            _ => {}
        }
    }
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
