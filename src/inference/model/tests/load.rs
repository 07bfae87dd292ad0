//! The real engine under many hands at once.

use super::*;
use std::time::Instant;

#[test]
fn cancelling_works_at_every_stage() {
    let model = load_with(&LoadOptions { maximum_sessions: 1, ..LoadOptions::default() });
    let running = model.start(drawing_request("Once upon a time", 1, 400)).unwrap();
    let waiting = model.start(drawing_request("Once upon a time", 2, 400)).unwrap();
    waiting.cancel();
    assert_eq!(read(&waiting).2, EndReason::Cancelled);
    running.next(None).unwrap();
    running.cancel();
    assert_eq!(read(&running).2, EndReason::Cancelled);
    // While its prompt is being read.
    let long = SessionRequest::new(Prompt::Tokens(vec![400; 500]), 5);
    let session = model.start(long.clone()).unwrap();
    session.cancel();
    assert_eq!(read(&session).2, EndReason::Cancelled);
    let (tokens, _, reason, _) = read(&model.start(long).unwrap());
    assert_eq!((tokens.len(), reason), (5, EndReason::MaximumTokens));
}

#[test]
fn loading_a_copy_tells_how_far_it_is_while_the_file_is_read_and_stops_there() {
    // A model with a hole behind it: several pieces to read, of which the last take no disk.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(stories("q8_0"), file.path()).unwrap();
    file.as_file().set_len(70 << 20).unwrap();
    let options = LoadOptions { mode: LoadMode::Copy, ..LoadOptions::default() };
    let load = |progress: &mut dyn FnMut(f32) -> bool| {
        Model::load(file.path(), Device::open(-1, 2).unwrap(), &options, progress)
    };
    let mut heard = Vec::new();
    let model = load(&mut |part| {
        heard.push(part);
        true
    })
    .unwrap();
    assert_eq!(read(&model.start(text_request("Once", 3)).unwrap()).0.len(), 3);
    assert!(heard.is_sorted() && heard.first() == Some(&0.0) && heard.last() == Some(&1.0), "{heard:?}");
    let while_reading = heard.iter().filter(|part| **part > 0.0 && **part < 0.9).count();
    assert_eq!(while_reading, 4, "of five pieces the last ends at nine tenths: {heard:?}");

    let mut last = 0.0;
    let stopped = load(&mut |part| {
        last = part;
        part < 0.3
    });
    assert_eq!(stopped.err().map(|error| error.code), Some(Code::Cancelled));
    assert!((0.3..0.9).contains(&last), "it went on to {last}");
}

#[test]
fn a_slow_reader_holds_nobody_up() {
    let model = load();
    let unread = model.start(drawing_request("Once", 1, 450)).unwrap();
    for seed in 0..3 {
        assert_eq!(read(&model.start(drawing_request("Lily", seed, 20)).unwrap()).0.len(), 20);
    }
    assert_eq!(read(&unread).0.len(), 450);
}

#[test]
fn too_many_sessions_are_turned_away() {
    let model = load_with(&LoadOptions { maximum_sessions: 1, maximum_waiting: 1, ..LoadOptions::default() });
    // Nothing runs for now.
    let turn = model.turn.lock();
    let _first = model.start(drawing_request("Once", 1, 400)).unwrap();
    let _second = model.start(drawing_request("Once", 1, 400)).unwrap();
    let error = model.start(drawing_request("Once", 1, 400)).err().unwrap();
    assert_eq!(error.code, Code::Busy);
    assert_eq!(model.activity().running + model.activity().waiting, 2);
    drop(turn);
}

#[test]
fn eight_threads_start_cancel_and_close_as_they_like() {
    let model = load_with(&LoadOptions { maximum_sessions: 6, kv_budget_bytes: 1 << 20, ..LoadOptions::default() });
    let text = "One day, a little boy named Tim went to the park with his mom. ".repeat(2);
    let request = |seed: u64| drawing_request(&text[..40 + seed as usize * 20], seed, 25);
    let expected: Vec<Vec<u32>> = (0..4).map(|seed| read(&model.start(request(seed)).unwrap()).0).collect();
    let until = Instant::now() + Duration::from_secs(2);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (model, expected, request) = (&model, &expected, &request);
            scope.spawn(move || {
                for turn in 0.. {
                    if Instant::now() >= until {
                        break;
                    }
                    let seed = rng::below(thread, 2 * turn, 4);
                    let session = model.start(request(seed)).unwrap();
                    let number = rng::below(thread, 2 * turn + 1, 40_000);
                    let pause = Duration::from_micros(number / 4);
                    match number % 4 {
                        0 => drop(session),
                        1 => {
                            std::thread::sleep(pause);
                            session.cancel();
                            assert_eq!(read(&session).2, EndReason::Cancelled);
                        }
                        2 => {
                            session.next(Some(pause)).unwrap();
                            session.close();
                            assert_eq!(read(&session).2, EndReason::Closed);
                        }
                        _ => assert_eq!(read(&session).0, expected[seed as usize]),
                    }
                }
            });
        }
    });
}
