//! Pages of prompts that were computed before, found again by what they hold.
//!
//! A page belongs to the page before it: its keys and values depend on everything that went before. So a cached page is
//! known by its predecessor and its own tokens, compared in full; a prefix is a walk from page to page. Pages of
//! decode rows come here only where prompt rows would give the same bits: a prompt's pages must not depend on whether an
//! earlier session's answer was found.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::PAGE;

/// Names a cached page; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrefixId(u64);

/// Before the first page of every prompt.
pub const ROOT: PrefixId = PrefixId(0);

/// The tokens of a full page.
pub type PageTokens = [u32; PAGE];

/// Cached pages, and which of them nobody uses at the moment.
pub struct PrefixCache {
    entries: HashMap<PrefixId, Entry>,
    successors: HashMap<(PrefixId, PageTokens), PrefixId>,
    /// Unused pages: longest unused first, and of those given back together the last of the prompt first, so that a
    /// page never goes before those that build on it.
    idle: BTreeSet<(u64, Reverse<u32>, PrefixId)>,
    clock: u64,
    last_id: u64,
}

struct Entry {
    key: (PrefixId, PageTokens),
    page: u32,
    depth: u32,
    users: u32,
    idle_since: u64,
}

impl PrefixCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self { entries: HashMap::new(), successors: HashMap::new(), idle: BTreeSet::new(), clock: 0, last_id: 0 }
    }

    /// The cached page that holds `tokens` after `previous`.
    pub fn find(&self, previous: PrefixId, tokens: &PageTokens) -> Option<PrefixId> {
        self.successors.get(&(previous, *tokens)).copied()
    }

    /// Where the cached page lies in the KV cache.
    pub fn page(&self, id: PrefixId) -> Option<u32> {
        self.entries.get(&id).map(|entry| entry.page)
    }

    /// Whether nobody uses the page.
    pub fn is_idle(&self, id: PrefixId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.users == 0)
    }

    /// How many pages nobody uses.
    pub fn idle_pages(&self) -> usize {
        self.idle.len()
    }

    /// Keeps the page from being evicted, until it is let go as often.
    pub fn hold(&mut self, id: PrefixId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.users == 0 {
            self.idle.remove(&(entry.idle_since, Reverse(entry.depth), id));
        }
        entry.users += 1;
    }

    /// Lets the pages of one prompt go.
    pub fn let_go(&mut self, ids: &[PrefixId]) {
        self.clock += 1;
        for id in ids {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            entry.users -= 1;
            if entry.users == 0 {
                entry.idle_since = self.clock;
                self.idle.insert((self.clock, Reverse(entry.depth), *id));
            }
        }
    }

    /// Takes over `page`, which holds `tokens` after `previous`, held once. They must not be cached yet.
    pub fn insert(&mut self, previous: PrefixId, tokens: PageTokens, page: u32) -> PrefixId {
        self.last_id += 1;
        let id = PrefixId(self.last_id);
        let depth = self.entries.get(&previous).map_or(0, |entry| entry.depth + 1);
        let key = (previous, tokens);
        self.successors.insert(key, id);
        self.entries.insert(id, Entry { key, page, depth, users: 1, idle_since: 0 });
        id
    }

    /// Gives up the page that was unused longest.
    pub fn evict(&mut self) -> Option<u32> {
        let (_, _, id) = self.idle.pop_first()?;
        let entry = self.entries.remove(&id)?;
        self.successors.remove(&entry.key);
        Some(entry.page)
    }
}
