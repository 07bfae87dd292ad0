//! The loop that both kinds of tokenizer share: neighbours in a row of symbols merge, the best pair first.

use std::collections::BinaryHeap;

/// Says what merges, and how early.
pub(super) trait Merger {
    /// How early a pair merges: the lowest first, and of equals the leftmost.
    type Priority: Ord + Copy;

    /// What two neighbours merge to, if they do.
    fn merge(&mut self, left: &Symbol, right: &Symbol) -> Option<(Self::Priority, u32)>;
}

/// A symbol of the row: a piece of text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    /// Its number, in the numbering of the merger.
    pub(super) number: u32,
    /// Where its text starts, in bytes.
    pub(super) start: usize,
    /// Bytes of text; 0 once it has become part of its left neighbour.
    pub(super) length: u32,
    previous: u32,
    next: u32,
}

impl Symbol {
    /// Its text, in the text of the row.
    pub(super) fn text<'a>(&self, row: &'a [u8]) -> &'a [u8] {
        &row[self.start..self.start + self.length as usize]
    }
}

/// A row of symbols, reused from word to word.
pub(super) struct Row<P> {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Candidate<P>>,
}

#[derive(PartialEq, Eq)]
struct Candidate<P> {
    priority: P,
    left: u32,
    right: u32,
    merged: u32,
    /// Bytes of both together: whether neither has changed since.
    length: u32,
}

impl<P: Ord> Ord for Candidate<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Reversed: the heap gives its greatest first.
        other.priority.cmp(&self.priority).then_with(|| other.left.cmp(&self.left))
    }
}

impl<P: Ord> PartialOrd for Candidate<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: Ord + Copy> Row<P> {
    pub(super) fn new() -> Self {
        Self { symbols: Vec::new(), candidates: BinaryHeap::new() }
    }

    /// Empties the row.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.candidates.clear();
    }

    /// Puts a symbol of `length` bytes (not 0) at the end.
    pub(super) fn push(&mut self, number: u32, length: u32) {
        let index = self.symbols.len() as u32;
        let (previous, start) = match self.symbols.last_mut() {
            None => (NONE, 0),
            Some(last) => {
                last.next = index;
                (index - 1, last.start + last.length as usize)
            }
        };
        self.symbols.push(Symbol { number, start, length, previous, next: NONE });
    }

    /// Merges until nothing merges any more.
    pub(super) fn merge(&mut self, merger: &mut impl Merger<Priority = P>) {
        for right in 1..self.symbols.len() as u32 {
            self.consider(merger, right - 1, right);
        }
        while let Some(candidate) = self.candidates.pop() {
            let (left, right) = (self.symbols[candidate.left as usize], self.symbols[candidate.right as usize]);
            if left.length == 0 || right.length == 0 || left.length + right.length != candidate.length {
                continue;
            }
            self.symbols[candidate.right as usize].length = 0;
            if right.next != NONE {
                self.symbols[right.next as usize].previous = candidate.left;
            }
            let merged = &mut self.symbols[candidate.left as usize];
            merged.number = candidate.merged;
            merged.length = candidate.length;
            merged.next = right.next;
            self.consider(merger, left.previous, candidate.left);
            self.consider(merger, candidate.left, right.next);
        }
    }

    /// The symbols that are left, in order.
    pub(super) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|symbol| symbol.length != 0)
    }

    fn consider(&mut self, merger: &mut impl Merger<Priority = P>, left: u32, right: u32) {
        if left == NONE || right == NONE {
            return;
        }
        let (first, second) = (&self.symbols[left as usize], &self.symbols[right as usize]);
        if let Some((priority, merged)) = merger.merge(first, second) {
            let length = first.length + second.length;
            self.candidates.push(Candidate { priority, left, right, merged, length });
        }
    }
}

const NONE: u32 = u32::MAX;
