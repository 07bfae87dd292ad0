//! Many sessions at once: limits, memory, slow readers, chaos.

use std::time::{Duration, Instant};

use super::super::*;
use super::fake::*;
use crate::inference::session::{Event, Next, MAXIMUM_UNREAD_EVENTS};

#[test]
fn more_sessions_than_allowed_are_turned_away_until_one_has_ended() {
    let fixture = Fixture::new(40, 1, 1).slow(10_000);
    let first = fixture.start(job(prompt(1, 4), 200));
    let _second = fixture.start(job(prompt(2, 4), 200));
    let error = fixture.scheduler.submit(job(prompt(3, 4), 1), 0).err().unwrap();
    assert_eq!(error.code, Code::Busy);
    assert!(error.detail.contains("at most 1 run and 1 wait"), "{}", error.detail);
    // The place of a cancelled session is free at once.
    first.cancel();
    fixture.start(job(prompt(3, 4), 1));
}

#[test]
fn who_read_the_end_may_start_again_at_once() {
    let fixture = Fixture::new(40, 1, 0);
    for seed in 0..300 {
        read(&fixture.start(job(prompt(seed, 4), 2)));
    }
}

#[test]
fn a_reader_who_does_not_read_holds_up_only_himself() {
    let fixture = Fixture::new(200, 2, 2);
    let most = MAXIMUM_UNREAD_EVENTS + 500;
    let slow = fixture.start(job(prompt(1, 10), most));
    eventually("it has run ahead as far as it may", || slow.usage().generated_tokens as usize == MAXIMUM_UNREAD_EVENTS);
    for seed in 2..5 {
        assert_eq!(read(&fixture.start(job(prompt(seed, 10), 50))).0.tokens.len(), 50);
    }
    assert_eq!(slow.usage().generated_tokens as usize, MAXIMUM_UNREAD_EVENTS);
    // Nothing runs, and nothing turns round in vain.
    let steps = fixture.controls.steps.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(fixture.controls.steps.load(Ordering::Relaxed), steps);
    assert_eq!(read(&slow).0.tokens.len(), most);
}

#[test]
fn sessions_wait_for_memory_and_none_fails_for_lack_of_it() {
    // Each needs five of the twelve pages: two at a time.
    let fixture = Fixture::new(12, 16, 64).slow(20);
    let sessions: Vec<Session> = (0..12).map(|seed| fixture.start(job(prompt(seed, 70), 80))).collect();
    assert!(fixture.scheduler.activity().running <= 2);
    for session in &sessions {
        assert_eq!(read(session).0.tokens.len(), 80);
    }
    assert!(sessions[11].usage().queue_seconds > sessions[0].usage().queue_seconds);
}

#[test]
fn what_can_never_fit_is_refused_by_name() {
    let fixture = Fixture::new(2, 2, 2);
    let session = fixture.start(job(prompt(1, 60), 10));
    let error = session.next(Some(Duration::from_secs(5))).unwrap_err();
    assert_eq!(error.code, Code::OutOfMemory);
    assert!(error.detail.contains("69 tokens need more than the 2 pages"), "{}", error.detail);
    assert_eq!(read(&fixture.start(job(prompt(1, 60), 5))).0.tokens.len(), 5);
}

#[test]
fn decoding_goes_on_while_a_long_prompt_is_read() {
    let fixture = Fixture::new(200, 4, 4).slow(300);
    // Teaches the scheduler what a row costs here.
    read(&fixture.start(job(prompt(9, 64), 1)));
    let talker = fixture.start(job(prompt(1, 5), 3000));
    talker.next(None).unwrap();
    let meanwhile = std::thread::scope(|scope| {
        // Read all the while, so that it never waits for its reader.
        scope.spawn(|| while !matches!(talker.next(None).unwrap(), Next::Event(Event::End { .. })) {});
        let long = fixture.start(job(prompt(2, 3000), 1));
        let before = talker.usage().generated_tokens;
        read(&long);
        let meanwhile = talker.usage().generated_tokens - before;
        talker.cancel();
        meanwhile
    });
    // 3000 rows take 0.9 seconds; in steps of at most 128 rows that is at least 24 of them.
    assert!(meanwhile >= 10, "{meanwhile} tokens");
    assert!(fixture.controls.most_rows.load(Ordering::Relaxed) <= 129);
}

#[test]
fn a_long_prompt_never_stalls_others_for_more_than_one_chunk() {
    let fixture = Fixture::new(700, 8, 8).slow(20);
    let talkers: Vec<Session> = (0..3).map(|seed| fixture.start(job(prompt(seed, 5), 4000))).collect();
    for talker in &talkers {
        talker.next(None).unwrap();
    }
    std::thread::scope(|scope| {
        for talker in &talkers {
            scope.spawn(|| while !matches!(talker.next(None).unwrap(), Next::Event(Event::End { .. })) {});
        }
        fixture.controls.history.lock().clear();
        read(&fixture.start(job(prompt(7, 4096), 1)));
        for talker in &talkers {
            talker.cancel();
        }
    });
    let history = fixture.controls.history.lock();
    let with_prompt = history.iter().filter(|(prompt_rows, _)| *prompt_rows > 0).count();
    assert!(with_prompt >= 4096 / 128, "{with_prompt} steps");
    // Every step of the long prompt has a token for each of the others, and is no longer than a chunk.
    for (prompt_rows, decode_rows) in history.iter().filter(|(prompt_rows, _)| *prompt_rows > 0) {
        assert_eq!(*decode_rows, 3);
        assert!(*prompt_rows <= 128, "{prompt_rows} rows");
    }
}

#[test]
fn an_idle_scheduler_takes_no_steps() {
    let fixture = Fixture::new(4, 1, 1);
    read(&fixture.start(job(prompt(1, 4), 4)));
    let steps = fixture.controls.steps.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(fixture.controls.steps.load(Ordering::Relaxed), steps);
}

/// A small random number.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

#[test]
fn chaos_from_eight_threads_leaves_everything_in_order() {
    let fixture = Fixture::new(40, 6, 30).slow(10);
    let expected: Vec<Story> = (0..4).map(|seed| read(&fixture.start(job(prompt(seed, 90), 30))).0).collect();
    let until = Instant::now() + Duration::from_millis(1500);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (fixture, expected) = (&fixture, &expected);
            scope.spawn(move || {
                let mut state = thread;
                while Instant::now() < until {
                    let seed = random(&mut state, 4) as u32;
                    let Ok(session) = fixture.scheduler.submit(job(prompt(seed, 90), 30), 0) else { continue };
                    match random(&mut state, 4) {
                        0 => drop(session),
                        1 => {
                            std::thread::sleep(Duration::from_micros(random(&mut state, 3000)));
                            session.cancel();
                            let reason = read(&session).0.reason;
                            assert!(matches!(reason, EndReason::Cancelled), "{reason:?}");
                        }
                        2 => {
                            let _ = session.next(Some(Duration::from_micros(random(&mut state, 3000)))).unwrap();
                            session.close();
                        }
                        _ => assert_eq!(read(&session).0, expected[seed as usize]),
                    }
                }
            });
        }
    });
    eventually("everyone has left", || fixture.scheduler.activity() == Activity::default());
    assert_eq!(read(&fixture.start(job(prompt(2, 90), 30))).0, expected[2]);
}
