//! Cancelling, closing, deadlines, failures.

use std::time::{Duration, Instant};

use super::super::*;
use super::fake::*;
use crate::inference::session::{Event, Next};

fn end_of(session: &Session) -> EndReason {
    match session.next(Some(Duration::from_secs(10))).unwrap() {
        Next::Event(Event::End { reason, .. }) => reason,
        other => panic!("expected the end, got {other:?}"),
    }
}

#[test]
fn cancelled_while_waiting_for_room() {
    let fixture = Fixture::new(4, 1, 4).slow(200);
    let first = fixture.start(job(prompt(1, 10), 100));
    let second = fixture.start(job(prompt(2, 10), 100));
    second.cancel();
    assert_eq!(end_of(&second), EndReason::Cancelled);
    first.cancel();
    assert_eq!(end_of(&first), EndReason::Cancelled);
    eventually("everything is let go", || fixture.scheduler.activity() == Activity::default());
}

#[test]
fn a_long_prompt_is_cancelled_within_a_step() {
    let fixture = Fixture::new(200, 1, 4).slow(50_000);
    let session = fixture.start(job(prompt(1, 4000), 10));
    eventually("the step runs", || fixture.controls.steps.load(Ordering::Relaxed) == 1);
    let begun = Instant::now();
    session.cancel();
    assert_eq!(end_of(&session), EndReason::Cancelled);
    // The next session's first token needs the engine: the cancelled step would have taken 3.2 seconds.
    fixture.controls.microseconds_per_row.store(0, Ordering::Relaxed);
    let (story, _) = read(&fixture.start(job(prompt(2, 5), 1)));
    assert_eq!(story.tokens.len(), 1);
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}

#[test]
fn cancelling_drops_what_is_unread_and_works_once() {
    let fixture = Fixture::new(40, 2, 2);
    let session = fixture.start(job(prompt(1, 5), 400));
    session.next(None).unwrap();
    eventually("it ran ahead", || session.usage().generated_tokens > 20);
    session.cancel();
    session.cancel();
    session.close();
    assert_eq!(end_of(&session), EndReason::Cancelled);
    assert_eq!(end_of(&session), EndReason::Cancelled);

    // Generated to its end, but not read: the host's word comes first.
    let unread = fixture.start(job(prompt(1, 5), 3));
    eventually("it has ended", || fixture.scheduler.activity() == Activity::default());
    unread.cancel();
    assert_eq!(end_of(&unread), EndReason::Cancelled);

    let done = fixture.start(job(prompt(1, 5), 3));
    let (story, usage) = read(&done);
    done.cancel();
    assert_eq!(end_of(&done), story.reason);
    assert_eq!(done.usage(), usage);
}

#[test]
fn a_step_goes_on_for_those_who_were_not_cancelled() {
    let fixture = Fixture::new(64, 4, 4).slow(300);
    let expected = read(&fixture.start(job(prompt(1, 50), 30))).0;
    let stays = fixture.start(job(prompt(1, 50), 30));
    for seed in 2..8 {
        let goes = fixture.start(job(prompt(seed, 60), 30));
        std::thread::sleep(Duration::from_millis(7));
        goes.cancel();
    }
    assert_eq!(read(&stays).0, expected);
}

#[test]
fn closing_the_scheduler_wakes_everyone() {
    let fixture = Fixture::new(200, 2, 8).slow(50_000);
    let sessions: Vec<Session> = (0..5).map(|seed| fixture.start(job(prompt(seed, 500), 200))).collect();
    std::thread::scope(|scope| {
        let readers: Vec<_> = sessions.iter().map(|session| scope.spawn(|| read(session).0.reason)).collect();
        std::thread::sleep(Duration::from_millis(20));
        let begun = Instant::now();
        std::thread::scope(|closers| {
            closers.spawn(|| fixture.scheduler.close());
            closers.spawn(|| fixture.scheduler.close());
        });
        for reader in readers {
            assert_eq!(reader.join().unwrap(), EndReason::Closed);
        }
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    });
    let error = fixture.scheduler.submit(job(vec![1], 1), 0).err().unwrap();
    assert_eq!((error.code, error.detail.as_str()), (Code::StaleHandle, "the model is closed"));
    assert_eq!(end_of(&sessions[0]), EndReason::Closed);
}

#[test]
fn a_closed_session_wakes_its_reader() {
    let fixture = Fixture::new(20, 2, 2).slow(50_000);
    let session = fixture.start(job(prompt(1, 5), 10));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&session).0.reason);
        std::thread::sleep(Duration::from_millis(10));
        session.close();
        assert_eq!(reader.join().unwrap(), EndReason::Closed);
    });
}

#[test]
fn a_session_outlives_its_scheduler() {
    let session = Fixture::new(20, 2, 2).start(job(prompt(1, 5), 10));
    assert_eq!(end_of(&session), EndReason::Closed);
    session.cancel();

    // Also one that had been generated to its end, if that was not read.
    let fixture = Fixture::new(20, 2, 2);
    let (unread, done) = (fixture.start(job(prompt(1, 5), 3)), fixture.start(job(prompt(2, 5), 3)));
    read(&done);
    eventually("both have ended", || fixture.scheduler.activity() == Activity::default());
    drop(fixture);
    assert_eq!(end_of(&unread), EndReason::Closed);
    assert_eq!(end_of(&done), EndReason::MaximumTokens);
}

#[test]
fn reading_may_time_out_and_loses_nothing() {
    let fixture = Fixture::new(20, 2, 2).slow(20_000);
    let session = fixture.start(job(prompt(1, 20), 3));
    assert!(!session.is_readable());
    assert_eq!(session.next(Some(Duration::ZERO)).unwrap(), Next::TimedOut);
    assert_eq!(session.next(Some(Duration::from_millis(2))).unwrap(), Next::TimedOut);
    assert_eq!(read(&session).0.tokens.len(), 3);
    assert_eq!(session.next(Some(Duration::MAX)).unwrap(), session.next(None).unwrap());
}

#[test]
fn deadlines_end_sessions_that_run_and_that_wait() {
    let fixture = Fixture::new(40, 1, 4).slow(1_000);
    let with_deadline = |milliseconds| {
        let mut job = job(prompt(1, 4), 1000);
        job.deadline = Some(Instant::now() + Duration::from_millis(milliseconds));
        fixture.start(job)
    };
    let running = with_deadline(500);
    let waiting = with_deadline(100);
    let (story, usage) = read(&waiting);
    assert_eq!((story.reason, usage.generated_tokens), (EndReason::Deadline, 0));
    let (story, usage) = read(&running);
    assert_eq!(story.reason, EndReason::Deadline);
    assert!(story.tokens.len() > 3 && story.tokens.len() as u32 == usage.generated_tokens);
}

#[test]
fn a_failing_step_ends_its_sessions_with_the_error_once() {
    let fixture = Fixture::new(40, 2, 4);
    *fixture.controls.fail_with.lock() = Some(Error::new(Code::KernelLaunchFailed, "the test wants it"));
    let session = fixture.start(job(prompt(1, 4), 10));
    let error = loop {
        match session.next(Some(Duration::from_secs(10))) {
            Err(error) => break error,
            Ok(Next::Event(Event::Token { .. })) => {}
            Ok(other) => panic!("expected an error, got {other:?}"),
        }
    };
    assert_eq!((error.code, error.detail.as_str()), (Code::KernelLaunchFailed, "the test wants it"));
    assert_eq!(end_of(&session), EndReason::Error);
    assert_eq!(end_of(&session), EndReason::Error);
    assert_eq!(read(&fixture.start(job(prompt(1, 4), 10))).0.tokens.len(), 10);
}

#[test]
fn a_fault_inside_is_contained() {
    let fixture = Fixture::new(40, 2, 4);
    let expected = read(&fixture.start(job(prompt(1, 40), 10))).0;
    fixture.controls.panic.store(1, Ordering::Relaxed);
    let session = fixture.start(job(prompt(1, 40), 10));
    let error = session.next(Some(Duration::from_secs(10))).unwrap_err();
    assert_eq!(error.code, Code::Panic);
    assert!(error.detail.contains("a fault that the test asked for"), "{}", error.detail);
    assert_eq!(end_of(&session), EndReason::Error);
    assert_eq!(read(&fixture.start(job(prompt(1, 40), 10))).0, expected);
}

#[test]
fn a_waker_hears_of_everything_there_is_to_read() {
    let fixture = Fixture::new(40, 2, 4).slow(20_000);
    let session = fixture.start(job(prompt(1, 10), 5));
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    session.set_waker(Some(Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    })));
    eventually("five tokens and the end", || calls.load(Ordering::Relaxed) >= 6);
    assert!(session.is_readable());
    session.set_waker(None);
    let before = calls.load(Ordering::Relaxed);
    session.cancel();
    assert_eq!(calls.load(Ordering::Relaxed), before);
}
