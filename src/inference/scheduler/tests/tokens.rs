//! What sessions give: the same tokens whatever else runs, text cut where it should be.

use super::super::*;
use super::fake::*;
use crate::inference::request::SamplingOptions;
use crate::inference::sampling::Sampler;
use crate::inference::session::{Event, Next};

/// The tokens of `prompt` continued on a scheduler of its own.
fn alone(prompt: &[u32], count: usize) -> Vec<u32> {
    let (story, usage) = read(&Fixture::new(64, 1, 1).start(job(prompt.to_vec(), count)));
    assert_eq!(usage.cached_tokens, 0);
    assert_eq!(story.tokens.len(), count);
    story.tokens
}

#[test]
fn the_same_tokens_alone_and_among_others() {
    let prompts: Vec<Vec<u32>> =
        [1, 5, 31, 32, 33, 64, 100, 250, 300, 90].iter().zip(0..).map(|(&length, seed)| prompt(seed, length)).collect();
    let expected: Vec<Vec<u32>> = prompts.iter().map(|prompt| alone(prompt, 40)).collect();
    // Rows slow enough that prompts are read in pieces while others decode.
    let fixture = Fixture::new(200, 8, 16).slow(50);
    let sessions: Vec<Session> = prompts.iter().map(|prompt| fixture.start(job(prompt.clone(), 40))).collect();
    for (session, expected) in sessions.iter().zip(&expected) {
        let (story, usage) = read(session);
        assert_eq!(&story.tokens, expected);
        assert_eq!(usage.generated_tokens, 40);
    }
}

#[test]
fn a_prefix_that_is_cached_gives_the_same_tokens_for_less_work() {
    let fixture = Fixture::new(64, 4, 4);
    let beginning = prompt(1, 100);
    let first = read(&fixture.start(job(beginning.clone(), 30)));
    assert_eq!(first.0.tokens, alone(&beginning, 30));
    let rows_before = fixture.controls.prompt_rows.load(Ordering::Relaxed);
    let again = read(&fixture.start(job(beginning.clone(), 30)));
    assert_eq!(again.0, first.0);
    assert_eq!(again.1.cached_tokens, 96);
    assert_eq!(fixture.controls.prompt_rows.load(Ordering::Relaxed) - rows_before, 4);

    let mut longer = beginning.clone();
    longer.extend(prompt(9, 70));
    let (story, usage) = read(&fixture.start(job(longer.clone(), 30)));
    assert_eq!(usage.cached_tokens, 96);
    assert_eq!(story.tokens, alone(&longer, 30));
}

#[test]
fn pages_of_generated_tokens_are_not_another_prompts_prefix() {
    let fixture = Fixture::new(64, 4, 4);
    let beginning = prompt(1, 40);
    let (story, _) = read(&fixture.start(job(beginning.clone(), 100)));
    let mut longer = beginning;
    longer.extend(story.tokens);
    let (story, usage) = read(&fixture.start(job(longer.clone(), 20)));
    assert_eq!(usage.cached_tokens, 32);
    assert_eq!(story.tokens, alone(&longer, 20));
}

#[test]
fn where_the_roles_agree_an_answer_is_part_of_the_next_turns_prefix() {
    let alike = |fixture: Fixture| {
        fixture.controls.roles_agree.store(1, Ordering::Relaxed);
        fixture
    };
    let fixture = alike(Fixture::new(64, 4, 4));
    let beginning = prompt(1, 40);
    let (story, _) = read(&fixture.start(job(beginning.clone(), 100)));
    let mut longer = beginning;
    longer.extend(story.tokens);
    longer.extend(prompt(2, 10));
    let before = fixture.controls.prompt_rows.load(Ordering::Relaxed);
    let (again, usage) = read(&fixture.start(job(longer.clone(), 20)));
    // Of 150 tokens 139 were computed, which fill four pages.
    assert_eq!(usage.cached_tokens, 128);
    assert_eq!(fixture.controls.prompt_rows.load(Ordering::Relaxed) - before, 22);
    assert_eq!(again, read(&alike(Fixture::new(64, 1, 1)).start(job(longer, 20))).0);
}

#[test]
fn sessions_that_give_the_same_answer_share_its_pages() {
    let fixture = Fixture::new(12, 4, 4).slow(50);
    fixture.controls.roles_agree.store(1, Ordering::Relaxed);
    let sessions: Vec<Session> = (0..4).map(|_| fixture.start(job(prompt(1, 5), 90))).collect();
    let stories: Vec<Story> = sessions.iter().map(|session| read(session).0).collect();
    assert!(stories.iter().all(|story| *story == stories[0]));
    // All pages are there again, for one that needs every one of them.
    assert_eq!(read(&fixture.start(job(prompt(2, 200), 185))).0.tokens.len(), 185);
}

#[test]
fn prefixes_survive_their_sessions_only_as_long_as_there_is_room() {
    let fixture = Fixture::new(6, 2, 8);
    let expected: Vec<Vec<u32>> = (0..4).map(|seed| alone(&prompt(seed, 100), 20)).collect();
    for _ in 0..3 {
        for seed in 0..4 {
            let (story, _) = read(&fixture.start(job(prompt(seed, 100), 20)));
            assert_eq!(story.tokens, expected[seed as usize]);
        }
    }
}

#[test]
fn the_first_token_follows_a_prompt_of_one() {
    let (story, usage) = read(&Fixture::new(1, 1, 1).start(job(vec![3], 1)));
    assert_eq!((story.tokens.len(), story.reason), (1, EndReason::MaximumTokens));
    assert_eq!((usage.prompt_tokens, usage.generated_tokens), (1, 1));
    assert!(usage.first_token_seconds >= usage.prefill_seconds && usage.prefill_seconds > 0.0);
}

#[test]
fn the_limit_says_which_one_it_was() {
    let mut limited = job(prompt(0, 30), 3);
    limited.limit_reason = EndReason::ContextFull;
    // 30 + 3 - 1 positions: exactly one page.
    let (story, _) = read(&Fixture::new(1, 1, 1).start(limited));
    assert_eq!((story.tokens.len(), story.reason), (3, EndReason::ContextFull));
}

#[test]
fn the_end_token_ends_the_text_and_is_no_event() {
    let (story, usage) = read(&Fixture::scripted(&[8, 9, 0]).start(job(vec![1], 10)));
    assert_eq!(story, Story { tokens: vec![8, 9], text: "hi".into(), reason: EndReason::EndOfText });
    assert_eq!(usage.generated_tokens, 2);
}

#[test]
fn characters_and_stop_strings_come_whole_or_not_at_all() {
    let snowman = [1, 28, 29, 30, 2, 0];
    let (story, _) = read(&Fixture::scripted(&snowman).start(job(vec![1], 10)));
    assert_eq!(story.text, "a☃b");
    // Cut short in the middle of a character.
    let (story, _) = read(&Fixture::scripted(&snowman).start(job(vec![1], 2)));
    assert_eq!((story.text.as_str(), story.tokens.len()), ("a", 2));

    let session = Fixture::scripted(&[1, 2, 3, 4, 5]);
    let session = session.start(stopping_job(vec![1], 10, &["zz", "cd"]));
    let (story, _) = read(&session);
    assert_eq!(story, Story { tokens: vec![1, 2, 3, 4], text: "ab".into(), reason: EndReason::StopString });
    assert_eq!(session.matched_stop(), Some(1));
}

#[test]
fn text_kept_back_comes_with_the_last_token() {
    // "ab" might begin "abz"; then the text ends, by its end token or by the limit.
    for (script, limit, reason) in
        [(vec![3, 1, 2, 0], 10, EndReason::EndOfText), (vec![3, 1, 2, 4], 3, EndReason::MaximumTokens)]
    {
        let fixture = Fixture::scripted(&script);
        let session = fixture.start(stopping_job(vec![1], limit, &["abz"]));
        let mut pieces = Vec::new();
        while let Next::Event(Event::Token { text, .. }) = session.next(None).unwrap() {
            pieces.push(text);
        }
        assert_eq!(pieces, ["c", "", "ab"]);
        assert_eq!(read(&session).0.reason, reason);
    }
}

#[test]
fn logprobs_come_with_the_tokens_that_ask_for_them() {
    let fixture = Fixture::new(4, 1, 1);
    let mut asking = job(vec![1], 5);
    asking.logprobs = 3;
    let session = fixture.start(asking);
    for _ in 0..5 {
        let Next::Event(Event::Token { id, logprob, top, .. }) = session.next(None).unwrap() else {
            panic!("no token")
        };
        let logprob = logprob.unwrap();
        assert!(logprob < 0.0 && top.len() == 3 && top[0].1 >= logprob);
        assert!(top.iter().all(|(token, value)| *token != id || *value == logprob));
    }
    let Next::Event(Event::Token { logprob, top, .. }) = fixture.start(job(vec![1], 1)).next(None).unwrap() else {
        panic!("no token")
    };
    assert_eq!((logprob, top.len()), (None, 0));
}

/// Allows one letter after the other, and no more than three.
struct Alphabet(u32);

impl TokenConstraint for Alphabet {
    fn allowed(&mut self, _: usize) -> Result<Vec<u32>> {
        Ok(vec![1 << (self.0 + 1)])
    }

    fn accept(&mut self, token: u32) -> Result<()> {
        self.0 = token;
        Ok(())
    }

    fn must_stop(&self) -> bool {
        self.0 == 3
    }
}

#[test]
fn a_constraint_decides_what_may_come_and_when_it_is_complete() {
    let mut constrained = job(vec![20], 10);
    constrained.constraint = Some(Box::new(Alphabet(0)));
    let (story, _) = read(&Fixture::new(4, 1, 1).start(constrained));
    assert_eq!(story, Story { tokens: vec![1, 2, 3], text: "abc".into(), reason: EndReason::ConstraintComplete });
}

#[test]
fn an_engine_that_samples_gives_what_the_host_would_have_chosen() {
    let story = |samples: usize, logprobs: usize, constrained: bool| {
        let fixture = Fixture::new(4, 1, 1);
        fixture.controls.samples.store(samples, Ordering::Relaxed);
        let options = SamplingOptions { frequency_penalty: 1.5, ..SamplingOptions::greedy() };
        let mut job = job(prompt(1, 40), 12);
        job.sampler = Sampler::new(options, 7, &job.prompt);
        job.logprobs = logprobs;
        if constrained {
            job.constraint = Some(Box::new(Alphabet(0)));
        }
        read(&fixture.start(job)).0
    };
    for constrained in [false, true] {
        let expected = story(0, 0, constrained);
        assert_eq!(story(1, 0, constrained), expected);
        // Log-probabilities need the logits: they come to the host.
        assert_eq!(story(1, 2, constrained), expected);
    }
}

#[test]
fn a_session_whose_constraint_forbids_everything_fails_alone_on_a_device_too() {
    struct Nothing;
    impl TokenConstraint for Nothing {
        fn allowed(&mut self, _: usize) -> Result<Vec<u32>> {
            Ok(vec![0])
        }

        fn accept(&mut self, _: u32) -> Result<()> {
            Ok(())
        }

        fn must_stop(&self) -> bool {
            false
        }
    }
    for samples in [0, 1] {
        let fixture = Fixture::new(4, 2, 2);
        fixture.controls.samples.store(samples, Ordering::Relaxed);
        let greedy = |first| {
            let mut job = job(vec![first], 5);
            job.sampler = Sampler::new(SamplingOptions::greedy(), 7, &job.prompt);
            job
        };
        let mut hopeless = greedy(1);
        hopeless.constraint = Some(Box::new(Nothing));
        let (hopeless, other) = (fixture.start(hopeless), fixture.start(greedy(2)));
        assert_eq!(hopeless.next(None).unwrap_err().code, Code::InferenceFailed);
        assert_eq!(read(&other).0.tokens.len(), 5);
    }
}
