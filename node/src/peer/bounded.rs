//! A map that never grows beyond its bound: the entry that was put in first goes first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A bounded map, for what can be computed again.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    bound: usize,
    values: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, values: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn at(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.values.keys()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.values.values()
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        if self.values.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.bound {
            if let Some(oldest) = self.order.pop_front() {
                self.values.remove(&oldest);
            }
        }
    }

    /// The value of `key`, made when it is not there.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.values.contains_key(&key) {
            let value = make();
            self.put(key.clone(), value);
        }
        self.values.entry(key).or_insert_with(|| unreachable!("was put in above, and the bound is not zero"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_when_the_bound_is_reached() {
        let mut map = Bounded::new(2);
        map.put(1, 'a');
        map.put(2, 'b');
        map.put(1, 'c');
        map.put(3, 'd');
        assert_eq!((map.at(&1), map.at(&2), map.at(&3)), (None, Some(&'b'), Some(&'d')));
    }

    #[test]
    fn an_entry_is_made_once() {
        let mut map = Bounded::new(1);
        *map.entry(1, || 5) += 1;
        assert_eq!(*map.entry(1, || 5), 6);
    }
}
