//! The few tokens near a filter's limit, which are looked at one by one.

use super::blocks::{on_each_block, BlockWork, BLOCK};
use super::distribution::Candidate;
use super::exponential::{mass, MassSum, Weights, MOST_EXCESS};
use super::filters::{fewest_reaching, Ranked};
use super::shares::Order;
use crate::engine::{with_wide_vectors, Lanes, WideWork, LANES};

/// Tokens found block by block, in rising order.
pub(super) struct Open {
    /// Theirs, and room.
    logits: Vec<f32>,
    count: usize,
    blocks: Vec<OpenBlock>,
}

/// Those of one block.
#[derive(Clone, Copy, Default)]
pub(super) struct OpenBlock {
    count: u16,
    /// One bit for each token of the block.
    bits: [u16; BLOCK / LANES],
}

impl OpenBlock {
    /// Adds those of the block's lanes of this number that `mask` has a one for. `logits` is room for a block's and lanes more.
    #[inline(always)]
    pub(super) fn add<L: Lanes>(&mut self, number: usize, lanes: L, mask: L::Mask, logits: &mut [f32]) {
        self.bits[number] = L::bits(mask);
        if let Some(room) = logits[self.count as usize..].first_chunk_mut() {
            self.count += lanes.pack(mask, room) as u16;
        }
    }
}

impl Open {
    /// None yet of so many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        Self { logits: vec![0.0; FIRST_ROOM], count: 0, blocks: Vec::with_capacity(blocks) }
    }

    /// Room for the logits of the next block.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [f32] {
        if self.logits.len() < self.count + BLOCK + LANES {
            self.logits.resize(2 * self.logits.len(), 0.0);
        }
        &mut self.logits[self.count..]
    }

    /// Takes in the next block, whose logits were written to the room.
    #[inline(always)]
    pub(super) fn push(&mut self, block: OpenBlock) {
        self.count += usize::from(block.count);
        self.blocks.push(block);
    }

    fn logits(&self) -> &[f32] {
        &self.logits[..self.count]
    }

    /// The token of each of these `places`, which rise.
    fn tokens<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = u32> + 'a {
        let mut blocks = self.blocks.iter().zip(0u32..);
        // The last block that was taken, and the places of its first token and after its last.
        let (mut block, mut start, mut end) = ((&OpenBlock { count: 0, bits: [0; BLOCK / LANES] }, 0), 0, 0);
        places.iter().map(move |&place| {
            while place >= end {
                let Some(next) = blocks.next() else { break };
                (block, start, end) = (next, end, end + usize::from(next.0.count));
            }
            let (OpenBlock { bits, .. }, number) = block;
            let is_open = |token: &u32| bits[*token as usize / LANES] >> (token % LANES as u32) & 1 == 1;
            number * BLOCK as u32 + (0..BLOCK as u32).filter(is_open).nth(place - start).unwrap_or(0)
        })
    }

    /// The first ones by an order at which their masses, and those `before` all of them, reach `target`; `None` where they do
    /// not, or what is before does. `maximum` is the likeliest token's logit; ranks mostly go from `least` to `most`.
    pub(super) fn reaching(
        &self,
        order: impl Order,
        maximum: f32,
        (least, most): (f64, f64),
        (before, target): (u64, u64),
    ) -> Option<Reached> {
        if before >= target {
            return None;
        }
        let mut placing = Placing::new(order, maximum, (least, most), self.count);
        on_each_block(self.logits(), &mut placing);
        let Placing { sums, buckets, weights, .. } = placing;
        let mut reached = before;
        let bucket = sums.iter().position(|&mass| {
            reached += mass;
            reached >= target
        })?;

        let places = places_of(bucket as f32, &buckets[..self.count]);
        let ranked = places.iter().zip(self.tokens(&places)).map(|(&place, token)| {
            let logit = self.logits[place];
            Ranked { rank: order.rank(logit), mass: mass(weights[place]), candidate: Candidate { token, logit } }
        });
        let mut ranked: Vec<Ranked> = ranked.collect();
        let count = fewest_reaching(&mut ranked, target - (reached - sums[bucket]));
        ranked.truncate(count);
        let last = ranked.last()?.candidate;
        Some(Reached { last, ranked, bucket: bucket as f32, buckets, weights })
    }
}

/// The first open tokens.
pub(super) struct Reached {
    pub(super) last: Candidate,
    /// Those of the buckets before this one.
    bucket: f32,
    /// And these ones of it.
    ranked: Vec<Ranked>,
    /// Of all open tokens, and of what fills their last block up.
    buckets: Vec<f32>,
    weights: Vec<f32>,
}

impl Reached {
    /// Adds their masses to those of their blocks; gives the largest of their logits.
    pub(super) fn add_to(&self, masses: &mut [u64], open: &Open) -> f32 {
        let mut largest = with_wide_vectors(Adding { reached: self, open, masses });
        for ranked in &self.ranked {
            masses[ranked.candidate.token as usize / BLOCK] += ranked.mass;
            largest = largest.max(ranked.candidate.logit);
        }
        largest
    }
}

struct Adding<'a> {
    reached: &'a Reached,
    open: &'a Open,
    masses: &'a mut [u64],
}

impl WideWork for Adding<'_> {
    type Answer = f32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> f32 {
        let Self { reached: Reached { bucket, buckets, weights, .. }, open, masses } = self;
        let mut numbers = [0.0; LANES];
        for (number, lane) in numbers.iter_mut().zip(0u8..) {
            *number = f32::from(lane);
        }
        let (numbers, bucket) = (L::load(&numbers), L::splat(*bucket));
        let mut largest = L::splat(f32::NEG_INFINITY);
        let mut start = 0;
        for (sum, block) in masses.iter_mut().zip(&open.blocks) {
            let end = start + usize::from(block.count);
            let mut own = MassSum::<L>::new();
            while start < end {
                let lanes = |of: &[f32]| of[start..].first_chunk().map_or(L::splat(0.0), |lanes| L::load(lanes));
                let is_own = numbers.below(L::splat((end - start) as f32));
                let is_first = L::both(is_own, lanes(buckets).below(bucket));
                own.add_where(lanes(weights), is_first);
                largest = largest.or_larger(lanes(&open.logits).or_negative_infinity(is_first));
                start += LANES;
            }
            *sum += own.total() as u64;
            start = end;
        }
        largest.largest()
    }
}

/// Puts tokens in buckets by their ranks.
struct Placing<By> {
    order: By,
    maximum: f32,
    /// The least rank, and buckets per unit of rank.
    least: f64,
    scale: f64,
    weights: Vec<f32>,
    buckets: Vec<f32>,
    own: Weights,
    sums: [u64; LAST_BUCKET + 1],
}

impl<By: Order> Placing<By> {
    fn new(order: By, maximum: f32, (least, most): (f64, f64), count: usize) -> Self {
        let most = most.min(least + 2.0 * f64::from(MOST_EXCESS));
        let scale = if most > least { LAST_BUCKET as f64 / (most - least) } else { 0.0 };
        let room = count + BLOCK;
        let (weights, buckets) = (Vec::with_capacity(room), Vec::with_capacity(room));
        Self { order, maximum, least, scale, weights, buckets, own: Weights::new(), sums: [0; LAST_BUCKET + 1] }
    }
}

impl<By: Order> BlockWork for Placing<By> {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, _: usize, block: &[f32; BLOCK]) {
        const ROUND: f64 = (1u64 << 52) as f64;
        let rounded = block.map(|logit| {
            let place = (self.order.rank(logit) - self.least) * self.scale;
            let place = if place > 0.0 { place } else { 0.0 };
            (if place < LAST_BUCKET as f64 { place } else { LAST_BUCKET as f64 }) + ROUND
        });
        let weights = self.own.of::<L>(block, self.maximum);
        let masses = weights.map(mass);
        for (rounded, mass) in rounded.iter().zip(masses) {
            self.sums[rounded.to_bits() as usize & LAST_BUCKET] += mass;
        }
        self.weights.extend_from_slice(weights);
        self.buckets.extend_from_slice(&rounded.map(|rounded| (rounded - ROUND) as f32));
    }
}

/// Where `buckets` has this one.
fn places_of(bucket: f32, buckets: &[f32]) -> Vec<usize> {
    let mut places = Vec::new();
    for (part, buckets) in buckets.chunks(64).enumerate() {
        // Few have it; this much is seen at once.
        if buckets.iter().fold(false, |any, other| any | (*other == bucket)) {
            let own = buckets.iter().enumerate().filter(|(_, other)| **other == bucket);
            places.extend(own.map(|(place, _)| part * 64 + place));
        }
    }
    places
}

const LAST_BUCKET: usize = 1023;
const FIRST_ROOM: usize = 4096;
