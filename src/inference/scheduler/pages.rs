//! Who has which pages of the KV cache.
//!
//! A session is let in only when the most pages it can ever need are there, so no session ever fails or waits for
//! memory midway. Pages are handed out as they are needed; the rest is promised. Pages of old prompts that nobody uses
//! count as there: they are evicted when the free ones run out.

use std::ops::Range;

use super::prefix::{PageTokens, PrefixCache, PrefixId, ROOT};
use super::PAGE;

/// The pages of one KV cache.
pub struct KvPages {
    /// Pages that were used and given back.
    free: Vec<u32>,
    /// Pages that were never used: a cache that is never full never touches its upper memory.
    fresh: Range<u32>,
    cache: PrefixCache,
    /// Pages promised to sessions and not handed out yet; never more than are free or idle.
    promised: usize,
}

/// The pages of one session. Give it back with [`KvPages::release`].
pub struct Lease {
    table: Vec<u32>,
    /// The first pages of the table are the prefix cache's.
    prefix: Vec<PrefixId>,
    promised: usize,
}

impl Lease {
    /// The pages in the order of positions.
    pub fn table(&self) -> &[u32] {
        &self.table
    }

    /// How many tokens the pages have room for.
    pub fn capacity(&self) -> usize {
        self.table.len() * PAGE
    }
}

impl KvPages {
    /// `count` free pages.
    pub fn new(count: u32) -> Self {
        Self { free: Vec::new(), fresh: 0..count, cache: PrefixCache::new(), promised: 0 }
    }

    /// How many pages a session of `tokens` positions needs.
    pub fn needed(tokens: usize) -> usize {
        tokens.div_ceil(PAGE)
    }

    /// Pages that are promised to nobody.
    pub fn available(&self) -> usize {
        self.free.len() + self.fresh.len() + self.cache.idle_pages() - self.promised
    }

    /// Lets a session of at most `tokens` positions in that begins with `prompt`, if there is room. The lease begins with
    /// the pages of the prompt that are cached, but for the one with its last token, which must run to give logits.
    pub fn admit(&mut self, prompt: &[u32], tokens: usize) -> Option<Lease> {
        let prefix = self.cached_prefix(prompt);
        let revived = prefix.iter().filter(|id| self.cache.is_idle(**id)).count();
        let promised = Self::needed(tokens).saturating_sub(prefix.len());
        if promised + revived > self.available() {
            return None;
        }
        prefix.iter().for_each(|id| self.cache.hold(*id));
        self.promised += promised;
        let table = prefix.iter().filter_map(|id| self.cache.page(*id)).collect();
        Some(Lease { table, prefix, promised })
    }

    /// Hands out the session's next page; `None` beyond what was promised.
    pub fn grow(&mut self, lease: &mut Lease) -> Option<()> {
        lease.promised = lease.promised.checked_sub(1)?;
        self.promised -= 1;
        let page = self.free.pop().or_else(|| self.fresh.next()).or_else(|| self.cache.evict())?;
        lease.table.push(page);
        Some(())
    }

    /// Offers the session's full pages to later sessions; `computed` are its tokens, from the first, whose pages any
    /// prompt that begins with them would make.
    pub fn publish(&mut self, lease: &mut Lease, computed: &[u32]) {
        let full = computed.as_chunks::<PAGE>().0;
        for tokens in full.iter().skip(lease.prefix.len()) {
            let previous = lease.prefix.last().copied().unwrap_or(ROOT);
            let place = lease.prefix.len();
            let page = lease.table[place];
            let id = match self.cache.find(previous, tokens) {
                // Another session computed the same at the same time: the same bits, so one copy is enough.
                Some(id) => {
                    self.cache.hold(id);
                    self.free.push(page);
                    lease.table[place] = self.cache.page(id).unwrap_or(page);
                    id
                }
                None => self.cache.insert(previous, *tokens, page),
            };
            lease.prefix.push(id);
        }
    }

    /// Takes a session's pages back.
    pub fn release(&mut self, lease: Lease) {
        self.promised -= lease.promised;
        self.free.extend(lease.table[lease.prefix.len()..].iter().rev());
        self.cache.let_go(&lease.prefix);
    }

    fn cached_prefix(&self, prompt: &[u32]) -> Vec<PrefixId> {
        let mut prefix = Vec::new();
        let mut previous = ROOT;
        let reusable: &[PageTokens] = prompt[..prompt.len().saturating_sub(1)].as_chunks::<PAGE>().0;
        for tokens in reusable {
            let Some(id) = self.cache.find(previous, tokens) else { break };
            prefix.push(id);
            previous = id;
        }
        prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prompt(seed: u32, pages: usize) -> Vec<u32> {
        (0..(pages * PAGE) as u32).map(|index| seed * 1000 + index).collect()
    }

    /// Runs a session of `prompt` and `more` tokens to its end, offering its pages.
    fn run(pages: &mut KvPages, prompt: &[u32], more: usize) -> usize {
        let mut lease = pages.admit(prompt, prompt.len() + more).unwrap();
        let cached = lease.capacity();
        while lease.capacity() < prompt.len() + more {
            pages.grow(&mut lease).unwrap();
        }
        assert!(pages.grow(&mut lease).is_none());
        pages.publish(&mut lease, prompt);
        pages.release(lease);
        cached
    }

    #[test]
    fn a_prompts_full_pages_are_found_again_but_for_the_last_token() {
        let mut pages = KvPages::new(10);
        let first = prompt(1, 3);
        assert_eq!(run(&mut pages, &first, 1), 0);
        assert_eq!(run(&mut pages, &first, 1), 2 * PAGE);
        let mut longer = first.clone();
        longer.push(7);
        assert_eq!(run(&mut pages, &longer, 1), 3 * PAGE);
        let mut other = first.clone();
        other[PAGE] += 1;
        assert_eq!(run(&mut pages, &other, 1), PAGE);
        // The same tokens after other ones are another page.
        let mut shifted = prompt(2, 1);
        shifted.extend(&first);
        assert_eq!(run(&mut pages, &shifted, 1), 0);
        assert_eq!(pages.available(), 10);
    }

    #[test]
    fn nobody_is_let_in_without_room_to_the_end() {
        let mut pages = KvPages::new(4);
        let tokens = prompt(1, 1);
        let lease = pages.admit(&tokens, 3 * PAGE).unwrap();
        assert!(pages.admit(&prompt(2, 1), PAGE + 1).is_none());
        let small = pages.admit(&prompt(2, 1), PAGE).unwrap();
        assert_eq!(pages.available(), 0);
        pages.release(lease);
        pages.release(small);
        assert_eq!(pages.available(), 4);
    }

    #[test]
    fn cached_pages_in_use_are_shared_and_never_evicted() {
        let mut pages = KvPages::new(4);
        let tokens = prompt(1, 2);
        run(&mut pages, &tokens, 1);
        let mut longer = tokens.clone();
        longer.push(1);
        let first = pages.admit(&longer, 3 * PAGE).unwrap();
        let second = pages.admit(&longer, 3 * PAGE).unwrap();
        assert_eq!(first.table(), second.table());
        assert_eq!(pages.available(), 0);
        assert!(pages.admit(&prompt(2, 1), 1).is_none());
        pages.release(first);
        pages.release(second);
        // All four are there for someone else, who evicts them.
        run(&mut pages, &prompt(3, 4), 0);
        assert_eq!(run(&mut pages, &longer, 1), 0);
    }

    #[test]
    fn sessions_that_computed_the_same_end_up_with_one_copy() {
        let mut pages = KvPages::new(6);
        let tokens = prompt(1, 2);
        let mut leases: Vec<Lease> = (0..2).map(|_| pages.admit(&tokens, tokens.len()).unwrap()).collect();
        for lease in &mut leases {
            pages.grow(lease).unwrap();
            pages.grow(lease).unwrap();
        }
        assert_ne!(leases[0].table(), leases[1].table());
        pages.publish(&mut leases[0], &tokens);
        pages.publish(&mut leases[1], &tokens);
        assert_eq!(leases[0].table(), leases[1].table());
        assert_eq!(pages.available(), 4);
        leases.into_iter().for_each(|lease| pages.release(lease));
        assert_eq!(pages.available(), 6);
    }

    #[test]
    fn the_longest_unused_pages_go_first_and_the_end_of_a_prompt_before_its_beginning() {
        let mut pages = KvPages::new(6);
        run(&mut pages, &prompt(1, 3), 0);
        run(&mut pages, &prompt(2, 3), 0);
        run(&mut pages, &prompt(3, 2), 0);
        let mut again = |seed| {
            let mut tokens = prompt(seed, 3);
            tokens.push(0);
            let lease = pages.admit(&tokens, tokens.len()).map(|lease| (lease.capacity(), lease));
            let (cached, lease) = lease.unwrap();
            pages.release(lease);
            cached
        };
        assert_eq!(again(1), PAGE);
        assert_eq!(again(2), 3 * PAGE);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pages_are_never_lost_nor_given_twice(
            steps in proptest::collection::vec((0u8..4, 0usize..6, 1usize..4, 0usize..40), 1..80)
        ) {
            const TOTAL: u32 = 12;
            let mut pages = KvPages::new(TOTAL);
            let mut leases: Vec<(Lease, Vec<u32>, usize)> = Vec::new();
            for (action, which, length, more) in steps {
                match action {
                    0 | 1 => {
                        let tokens = prompt((which % 3) as u32, length);
                        let total = tokens.len() + more;
                        if let Some(lease) = pages.admit(&tokens, total) {
                            leases.push((lease, tokens, total));
                        }
                    }
                    2 if !leases.is_empty() => {
                        let index = which % leases.len();
                        let (lease, tokens, total) = &mut leases[index];
                        while lease.capacity() < *total {
                            prop_assert!(pages.grow(lease).is_some(), "a promised page was not there");
                        }
                        pages.publish(lease, tokens);
                    }
                    3 if !leases.is_empty() => {
                        let index = which % leases.len();
                        pages.release(leases.swap_remove(index).0);
                    }
                    _ => {}
                }
                let mut private = std::collections::HashSet::new();
                for (lease, _, _) in &leases {
                    for page in &lease.table[lease.prefix.len()..] {
                        prop_assert!(private.insert(*page), "page {} has two owners", page);
                    }
                }
                for (lease, _, _) in &leases {
                    prop_assert!(lease.table[..lease.prefix.len()].iter().all(|page| !private.contains(page)));
                }
            }
            for (lease, _, _) in leases {
                pages.release(lease);
            }
            prop_assert_eq!(pages.available(), TOTAL as usize);
        }
    }
}
