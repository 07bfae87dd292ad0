//! A llama model of one layer, made by hand, through the engine and back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use super::*;
use crate::error::{Code, Error, Result};

const VOCABULARY: u32 = 48;
const WIDTH: u32 = 32;

/// Bytes on the heap, aligned as floats need it.
struct Floats(Vec<f32>);

impl Backing for Floats {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the vector's own memory, seen as the bytes it is made of.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 4) }
    }
}

struct Tiny {
    description: ModelDescription,
    tensors: Vec<TensorSource>,
    backing: Arc<Floats>,
}

impl Tiny {
    fn new() -> Self {
        let description = ModelDescription {
            vocabulary: VOCABULARY,
            width: WIDTH,
            layers: 1,
            heads: 2,
            kv_heads: 1,
            head_size: 16,
            value_size: 16,
            feed_forward: 64,
            context_length: 256,
            gated: true,
            rotary: Rotary::Adjacent,
            rotary_size: 16,
            norm_epsilon: 1e-5,
            rotary_base: 10000.0,
            ..ModelDescription::default()
        };
        let shapes = [
            (TensorRole::TokenEmbedding, None, "token_embd.weight", [32, 48]),
            (TensorRole::OutputNorm, None, "output_norm.weight", [32, 1]),
            (TensorRole::Output, None, "output.weight", [32, 48]),
            (TensorRole::AttentionNorm, Some(0), "blk.0.attn_norm.weight", [32, 1]),
            (TensorRole::Query, Some(0), "blk.0.attn_q.weight", [32, 32]),
            (TensorRole::Key, Some(0), "blk.0.attn_k.weight", [32, 16]),
            (TensorRole::Value, Some(0), "blk.0.attn_v.weight", [32, 16]),
            (TensorRole::AttentionOutput, Some(0), "blk.0.attn_output.weight", [32, 32]),
            (TensorRole::FeedForwardNorm, Some(0), "blk.0.ffn_norm.weight", [32, 1]),
            (TensorRole::Gate, Some(0), "blk.0.ffn_gate.weight", [32, 64]),
            (TensorRole::Up, Some(0), "blk.0.ffn_up.weight", [32, 64]),
            (TensorRole::Down, Some(0), "blk.0.ffn_down.weight", [64, 32]),
        ];
        let mut values = Vec::new();
        let mut state = 12345_u32;
        let tensors = shapes
            .map(|(role, layer, name, [columns, rows])| {
                let begin = values.len() * 4;
                values.extend((0..columns * rows).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 24) as f32 * 0.8 - 0.4
                }));
                let range = begin..values.len() * 4;
                TensorSource {
                    role,
                    layer,
                    name: name.to_owned(),
                    kind: TensorType::F32,
                    shape: [columns, rows, 1, 1],
                    range,
                }
            })
            .to_vec();
        Self { description, tensors, backing: Arc::new(Floats(values)) }
    }

    fn load_with(&self, device: &Arc<Device>, mode: LoadMode, residency: ResidencyPolicy) -> Result<Arc<Weights>> {
        let backing = Arc::clone(&self.backing) as Arc<dyn Backing>;
        Weights::load(device, &self.description, &self.tensors, backing, mode, residency, &mut |_, _| true)
            .map(Arc::new)
    }

    fn load(&self, device: &Arc<Device>) -> Result<Arc<Weights>> {
        self.load_with(device, LoadMode::Map, ResidencyPolicy::Verify)
    }

    fn refused(&self) -> Error {
        self.load(&cpu()).unwrap_err()
    }
}

fn cpu() -> Arc<Device> {
    Device::open(-1, 2).unwrap()
}

/// Prompt rows of one sequence, logits of each.
fn prompt(tokens: &[u32]) -> Vec<Row> {
    tokens
        .iter()
        .zip(0..)
        .map(|(token, position)| Row {
            token: *token,
            position,
            sequence: 0,
            role: Role::Prompt,
            output: Output::Logits,
        })
        .collect()
}

fn logits(weights: &Arc<Weights>, rows: &[Row], pages: &[u32]) -> Vec<f32> {
    let cache = KvCache::new(weights, 8, KvType::F32).unwrap();
    let mut outputs = vec![f32::NAN; rows.len() * VOCABULARY as usize];
    weights.forward(&cache, rows, &[pages], &AtomicU32::new(0), &mut outputs).unwrap();
    assert!(outputs.iter().all(|value| value.is_finite()));
    outputs
}

/// Relative to the largest, since these logits are about one.
fn assert_close(left: &[f32], right: &[f64]) {
    let scale = right.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    for (left, right) in left.iter().zip(right) {
        assert!((f64::from(*left) - right).abs() < 1e-5 * scale, "{left} and {right}");
    }
}

#[test]
fn the_cpu_opens_and_says_what_it_is() {
    let device = cpu();
    let information = device.information().unwrap();
    assert_eq!((information.ordinal, information.kind, information.threads), (-1, DeviceKind::Cpu, 2));
    assert_eq!(information.compute_capability, 0);
    assert!(!information.name.is_empty() && !information.kernel_path.is_empty());
    assert!(information.free_memory > 0 && information.free_memory <= information.total_memory);
    assert!(device.process_memory() > 1 << 20);
    assert_eq!(device.memory(), MemoryUse::default());
    device.check_health().unwrap();
    assert_eq!(device.memory().allocations, 0);
}

#[test]
fn a_gpu_that_is_not_there_is_refused_with_advice() {
    let ordinal = i32::try_from(Device::gpu_count()).unwrap();
    let error = Device::open(ordinal, 0).unwrap_err();
    assert_eq!(error.code, Code::InvalidDevice);
    assert!(error.detail.contains(&format!("no GPU {ordinal}")) && error.detail.contains("-1 is the CPU"), "{error}");
    assert_eq!(Device::open(-2, 0).unwrap_err().code, Code::InvalidDevice);
    assert_eq!(Device::open(-1, 100_000).unwrap_err().code, Code::InvalidParameter);
}

#[test]
fn a_model_computes_what_the_formulas_say() {
    let tiny = Tiny::new();
    let weights = tiny.load(&cpu()).unwrap();
    let tokens = [5, 17, 40, 3];
    let found = logits(&weights, &prompt(&tokens), &[0]);
    assert_close(&found, &reference::logits(&tiny, &tokens));
}

#[test]
fn results_depend_on_nothing_but_the_sequence() {
    let tiny = Tiny::new();
    let tokens: Vec<u32> = (0..70).map(|index| index * 7 % VOCABULARY).collect();
    let rows = prompt(&tokens);
    let weights = tiny.load(&cpu()).unwrap();
    let expected = logits(&weights, &rows, &[0, 1, 2]);
    assert_eq!(logits(&weights, &rows, &[0, 1, 2]), expected, "again");
    assert_eq!(logits(&weights, &rows, &[6, 0, 3]), expected, "in other pages");
    for threads in [1, 3] {
        let weights = tiny.load(&Device::open(-1, threads).unwrap()).unwrap();
        assert_eq!(logits(&weights, &rows, &[0, 1, 2]), expected, "with {threads} threads");
    }
    for mode in [LoadMode::Map, LoadMode::Copy] {
        let weights = tiny.load_with(&cpu(), mode, ResidencyPolicy::Off).unwrap();
        assert_eq!(logits(&weights, &rows, &[0, 1, 2]), expected, "loaded by {mode:?}");
    }

    // In chunks, with another sequence's rows between.
    let cache = KvCache::new(&weights, 8, KvType::F32).unwrap();
    let mut found = Vec::new();
    for (chunk, start) in rows.chunks(13).zip((0..).step_by(13)) {
        let mut mixed = Vec::new();
        for (row, index) in chunk.iter().zip(0..) {
            mixed.push(*row);
            mixed.push(Row {
                sequence: 1,
                position: start + index,
                token: 9,
                role: Role::Decode,
                output: Output::None,
            });
        }
        let mut outputs = vec![0.0; chunk.len() * VOCABULARY as usize];
        weights.forward(&cache, &mixed, &[&[0, 1, 2], &[5, 4, 7]], &AtomicU32::new(0), &mut outputs).unwrap();
        found.extend(outputs);
    }
    assert_eq!(found, expected, "in chunks among others");
}

#[test]
fn a_copied_page_continues_as_its_original() {
    let tiny = Tiny::new();
    let weights = tiny.load(&cpu()).unwrap();
    let cache = KvCache::new(&weights, 4, KvType::F16).unwrap();
    let run = |rows: &[Row], pages: &[u32]| {
        let mut outputs = vec![0.0; rows.len() * VOCABULARY as usize];
        weights.forward(&cache, rows, &[pages], &AtomicU32::new(0), &mut outputs).unwrap();
        outputs
    };
    run(&prompt(&[1, 2, 3, 4]), &[2]);
    cache.copy_page(2, 0).unwrap();
    let next = [Row { token: 7, position: 4, sequence: 0, role: Role::Decode, output: Output::Logits }];
    assert_eq!(run(&next, &[0]), run(&next, &[2]));
    for (from, to) in [(4, 0), (0, 4)] {
        assert_eq!(cache.copy_page(from, to).unwrap_err().code, Code::InvalidParameter);
    }
}

#[test]
fn memory_adds_up_by_purpose_and_is_given_back() {
    let tiny = Tiny::new();
    let device = cpu();
    let bytes = tiny.backing.bytes().len() as u64;
    let weights = tiny.load(&device).unwrap();
    assert_eq!(weights.memory().weights, bytes);
    assert_eq!(weights.memory().kv_cache, 0);

    let page = KvCache::page_bytes(&weights, KvType::F32);
    assert_eq!(page, 2 * 32 * 16 * 4);
    assert_eq!(KvCache::page_bytes(&weights, KvType::F16), page / 2);
    let cache = KvCache::new(&weights, 8, KvType::F32).unwrap();
    assert_eq!((weights.memory().kv_cache, cache.pages()), (8 * page, 8));

    let mut outputs = vec![0.0; 4 * VOCABULARY as usize];
    weights.forward(&cache, &prompt(&[1, 2, 3, 4]), &[&[0]], &AtomicU32::new(0), &mut outputs).unwrap();
    let memory = weights.memory();
    assert!(memory.workspace > 0);
    assert_eq!(memory.total(), bytes + 8 * page + memory.workspace + memory.other);
    assert_eq!(device.memory(), memory);

    let copied = tiny.load_with(&device, LoadMode::Copy, ResidencyPolicy::Verify).unwrap();
    assert!(copied.memory().weights >= bytes);
    assert_eq!(device.memory().weights, bytes + copied.memory().weights);
    drop((cache, weights, copied));
    assert_eq!(device.memory(), MemoryUse::default());
}

#[test]
fn weights_are_resident_under_every_policy() {
    let tiny = Tiny::new();
    for mode in [LoadMode::Map, LoadMode::Copy] {
        for policy in [ResidencyPolicy::Off, ResidencyPolicy::Verify, ResidencyPolicy::Locked] {
            let weights = tiny.load_with(&cpu(), mode, policy).unwrap();
            for report in [weights.check_residency().unwrap(), weights.repair_residency().unwrap()] {
                assert!(report.resident, "{report:?}");
                assert_eq!(report.policy, policy);
                assert_eq!(report.checked_bytes, tiny.backing.bytes().len() as u64);
                assert_eq!(report.resident_bytes, report.checked_bytes);
                assert_eq!((report.allocations, report.violations, report.violating), (12, 0, None));
            }
        }
    }
}

#[test]
fn loading_reports_progress_and_can_be_cancelled() {
    let tiny = Tiny::new();
    let device = cpu();
    for mode in [LoadMode::Map, LoadMode::Copy] {
        let load = |progress: &mut dyn FnMut(u64, u64) -> bool| {
            let backing = Arc::clone(&tiny.backing) as Arc<dyn Backing>;
            Weights::load(&device, &tiny.description, &tiny.tensors, backing, mode, ResidencyPolicy::Off, progress)
        };
        let mut seen = Vec::new();
        load(&mut |done, total| {
            seen.push((done, total));
            true
        })
        .unwrap();
        let total = tiny.backing.bytes().len() as u64;
        assert_eq!(seen.first(), Some(&(0, total)));
        assert_eq!(seen.last(), Some(&(total, total)));
        assert!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0));

        assert_eq!(load(&mut |done, _| done == 0).unwrap_err().code, Code::Cancelled);
        let panicked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| load(&mut |_, _| panic!("in progress"))));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"in progress"));
        assert_eq!(device.memory(), MemoryUse::default());
    }
}

#[test]
fn a_cancelled_pass_says_so_and_the_next_one_works() {
    let tiny = Tiny::new();
    let weights = tiny.load(&cpu()).unwrap();
    let cache = KvCache::new(&weights, 1, KvType::F32).unwrap();
    let rows = prompt(&[1, 2]);
    let mut outputs = vec![0.0; 2 * VOCABULARY as usize];
    let cancel = AtomicU32::new(1);
    let error = weights.forward(&cache, &rows, &[&[0]], &cancel, &mut outputs).unwrap_err();
    assert_eq!(error.code, Code::Cancelled);
    cancel.store(0, Ordering::Release);
    weights.forward(&cache, &rows, &[&[0]], &cancel, &mut outputs).unwrap();
    assert_eq!(outputs, logits(&weights, &rows, &[0]));
}

#[test]
fn hidden_states_and_rows_without_output_take_their_room() {
    let tiny = Tiny::new();
    let weights = tiny.load(&cpu()).unwrap();
    let cache = KvCache::new(&weights, 1, KvType::F32).unwrap();
    let mut rows = prompt(&[1, 2, 3]);
    rows[0].output = Output::None;
    rows[1].output = Output::Hidden;
    let floats: usize = rows.iter().map(|row| row.output.floats(&weights)).sum();
    assert_eq!(floats, (WIDTH + VOCABULARY) as usize);
    let mut outputs = vec![f32::NAN; floats];
    weights.forward(&cache, &rows, &[&[0]], &AtomicU32::new(0), &mut outputs).unwrap();
    assert!(outputs.iter().all(|value| value.is_finite()));
    let all = logits(&weights, &prompt(&[1, 2, 3]), &[0]);
    assert_eq!(outputs[WIDTH as usize..], all[2 * VOCABULARY as usize..]);
}

#[test]
fn bad_tables_are_refused_by_name() {
    let spoilt = |spoil: &dyn Fn(&mut Tiny)| {
        let mut tiny = Tiny::new();
        spoil(&mut tiny);
        tiny.refused()
    };
    type Spoil<'a> = (&'a str, &'a dyn Fn(&mut Tiny));
    let load_failures: [Spoil; 6] = [
        ("blk.0.attn_q.weight", &|tiny| tiny.tensors[4].shape = [32, 31, 1, 1]),
        ("blk.0.attn_k.weight", &|tiny| tiny.tensors[5].range.end -= 4),
        ("blk.0.ffn_down.weight", &|tiny| tiny.tensors[11].shape = [32, 64, 1, 1]),
        ("blk.0.attn_v.weight", &|tiny| tiny.tensors[6].range = 1 << 40..1 << 41),
        ("blk.0.ffn_up.weight", &|tiny| tiny.tensors[10].range = 0..0),
        ("output_norm.weight", &|tiny| tiny.tensors[1].shape = [u64::MAX, u64::MAX, 4, 4]),
    ];
    for (name, spoil) in load_failures {
        let error = spoilt(spoil);
        assert_eq!(error.code, Code::ModelLoadFailed, "{error}");
        assert!(error.detail.contains(name), "{error}");
    }
    // Without an output matrix, the embedding serves.
    for missing in (0..12).filter(|index| *index != 2) {
        let error = spoilt(&|tiny| {
            tiny.tensors.remove(missing);
        });
        assert_eq!(error.code, Code::ModelLoadFailed, "{missing}: {error}");
    }
    let error = spoilt(&|tiny| tiny.tensors[4].kind = TensorType(4));
    assert_eq!(error.code, Code::ModelUnsupported, "{error}");
    assert!(error.detail.contains("blk.0.attn_q.weight") && error.detail.contains("Q8_0"), "{error}");
    let error = spoilt(&|tiny| tiny.description.heads = 0);
    assert!(matches!(error.code, Code::ModelLoadFailed | Code::ModelUnsupported), "{error}");
}

#[test]
fn bad_batches_are_refused() {
    let tiny = Tiny::new();
    let weights = tiny.load(&cpu()).unwrap();
    let cache = KvCache::new(&weights, 2, KvType::F16).unwrap();
    let run = |row: Row, pages: &[&[u32]], room: usize| {
        let mut outputs = vec![0.0; room];
        weights.forward(&cache, &[row], pages, &AtomicU32::new(0), &mut outputs).map_err(|error| error.code)
    };
    let good = prompt(&[1])[0];
    let room = VOCABULARY as usize;
    assert_eq!(run(good, &[&[0]], room), Ok(()));
    let refused = Err(Code::InvalidParameter);
    assert_eq!(run(Row { token: VOCABULARY, ..good }, &[&[0]], room), refused);
    assert_eq!(run(Row { position: 32, ..good }, &[&[0]], room), refused);
    assert_eq!(run(Row { sequence: 1, ..good }, &[&[0]], room), refused);
    assert_eq!(run(good, &[&[2]], room), refused);
    assert_eq!(run(good, &[&[]], room), refused);
    assert_eq!(run(good, &[], room), refused);
    assert_eq!(run(good, &[&[0]], room - 1), refused);

    let other = tiny.load(weights.device()).unwrap();
    let mut outputs = vec![0.0; room];
    let foreign = other.forward(&cache, &[good], &[&[0]], &AtomicU32::new(0), &mut outputs);
    assert_eq!(foreign.unwrap_err().code, Code::InvalidParameter);
    assert_eq!(KvCache::new(&weights, 0, KvType::F16).unwrap_err().code, Code::InvalidParameter);
    assert_eq!(KvCache::new(&weights, 1, KvType::Q8_0).unwrap_err().code, Code::InvalidParameter, "heads of 16");
    assert_eq!(KvCache::new(&weights, u32::MAX, KvType::F32).unwrap_err().code, Code::OutOfMemory);
}

/// The same model in plain double arithmetic.
mod reference {
    use super::{Tiny, VOCABULARY, WIDTH};

    pub fn logits(tiny: &Tiny, tokens: &[u32]) -> Vec<f64> {
        let tensor = |index: usize| -> Vec<f64> {
            let range = &tiny.tensors[index].range;
            tiny.backing.0[range.start / 4..range.end / 4].iter().map(|value| f64::from(*value)).collect()
        };
        let width = WIDTH as usize;
        let (mut keys, mut values, mut logits) = (Vec::new(), Vec::new(), Vec::new());
        for (position, token) in tokens.iter().enumerate() {
            let mut state = tensor(0)[*token as usize * width..][..width].to_vec();
            let normed = norm(&state, &tensor(3));
            let query = turn(&times(&tensor(4), &normed), position);
            keys.push(turn(&times(&tensor(5), &normed), position));
            values.push(times(&tensor(6), &normed));
            let mut attended = Vec::new();
            for head in query.chunks(16) {
                let scores: Vec<f64> = keys.iter().map(|key| (dot(head, key) / 4.0).exp()).collect();
                let sum: f64 = scores.iter().sum();
                for index in 0..16 {
                    attended.push(scores.iter().zip(&values).map(|(score, value)| score / sum * value[index]).sum());
                }
            }
            add(&mut state, &times(&tensor(7), &attended));
            let normed = norm(&state, &tensor(8));
            let up = times(&tensor(10), &normed);
            let middle: Vec<f64> = times(&tensor(9), &normed)
                .iter()
                .zip(&up)
                .map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up)
                .collect();
            add(&mut state, &times(&tensor(11), &middle));
            logits.extend(times(&tensor(2), &norm(&state, &tensor(1))));
        }
        assert_eq!(logits.len(), tokens.len() * VOCABULARY as usize);
        logits
    }

    fn dot(left: &[f64], right: &[f64]) -> f64 {
        left.iter().zip(right).map(|(left, right)| left * right).sum()
    }

    fn times(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
        matrix.chunks(vector.len()).map(|row| dot(row, vector)).collect()
    }

    fn add(state: &mut [f64], what: &[f64]) {
        state.iter_mut().zip(what).for_each(|(state, what)| *state += what);
    }

    fn norm(state: &[f64], scale: &[f64]) -> Vec<f64> {
        let root = (dot(state, state) / state.len() as f64 + 1e-5).sqrt();
        state.iter().zip(scale).map(|(value, scale)| value / root * scale).collect()
    }

    fn turn(heads: &[f64], position: usize) -> Vec<f64> {
        let mut turned = heads.to_vec();
        for head in turned.chunks_mut(16) {
            for (pair, values) in head.chunks_mut(2).enumerate() {
                let angle = position as f64 * 10000_f64.powf(-(2.0 * pair as f64) / 16.0);
                let (sine, cosine) = angle.sin_cos();
                let (x, y) = (values[0], values[1]);
                values[0] = x * cosine - y * sine;
                values[1] = x * sine + y * cosine;
            }
        }
        turned
    }
}
