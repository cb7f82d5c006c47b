//! Maps and sets, by one instance of the standard library's hash table.
//!
//! An instance for another type of key or value adds about 2.5 kB to a program. This one has the
//! indices of entries by their hash, and compares keys through a pointer. As a side effect, the
//! order of a map is that of insertion.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, DefaultHasher, Hash, Hasher};

/// A map in the order of insertion.
#[derive(Clone, Debug)]
pub(crate) struct Map<K, V> {
    entries: Vec<(K, V)>,
    places: Places,
}

/// The indices of the entries of a map, by the hash of their key.
#[derive(Clone, Debug, Default)]
struct Places {
    /// For each hash, the index of the entry that was added last.
    by_hash: HashMap<u64, usize>,
    /// For each entry, the index of the one before it that has the same hash.
    previous: Vec<Option<usize>>,
}

impl Places {
    #[inline(never)]
    fn hash(&self, key: &dyn Fn(&mut DefaultHasher)) -> u64 {
        let mut hasher = self.by_hash.hasher().build_hasher();
        key(&mut hasher);
        hasher.finish()
    }

    #[inline(never)]
    fn find(&self, hash: u64, is_it: &dyn Fn(usize) -> bool) -> Option<usize> {
        let mut place = self.by_hash.get(&hash).copied();
        while let Some(at) = place {
            if is_it(at) {
                break;
            }
            place = self.previous[at];
        }
        place
    }

    #[inline(never)]
    fn add(&mut self, hash: u64) {
        let previous = self.by_hash.insert(hash, self.previous.len());
        self.previous.push(previous);
    }
}

impl<K: Hash + Eq, V> Map<K, V> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[inline(never)]
    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.places.hash(&|hasher| key.hash(hasher))
    }

    #[inline(never)]
    fn place<Q: Eq + ?Sized>(&self, hash: u64, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        let is_it = |at: usize| self.entries[at].0.borrow() == key;
        self.places.find(hash, &is_it)
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if self.entries.is_empty() {
            return None;
        }
        let place = self.place(self.hash(key), key)?;
        Some(&self.entries[place].1)
    }

    pub(crate) fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(self.hash(key), key)?;
        Some(&mut self.entries[place].1)
    }

    pub(crate) fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Returns the value of a key, and inserts it first if there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let hash = self.hash(&key);
        let place = match self.place(hash, &key) {
            Some(place) => place,
            None => self.add(hash, key, value()),
        };
        &mut self.entries[place].1
    }

    pub(crate) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.get_or_insert_with(key, V::default)
    }

    #[inline(never)]
    fn add(&mut self, hash: u64, key: K, value: V) -> usize {
        self.places.add(hash);
        self.entries.push((key, value));
        self.entries.len() - 1
    }

    /// Sets the value of a key, and returns the one that it had.
    #[inline(never)]
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hash(&key);
        if let Some(place) = self.place(hash, &key) {
            return Some(std::mem::replace(&mut self.entries[place].1, value));
        }
        self.add(hash, key, value);
        None
    }
}

impl<K, V> Map<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        self.entries.into_iter().map(|(_, value)| value)
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            places: Places::default(),
        }
    }
}

impl<K: Hash + Eq, V> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Hash + Eq, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut new = Self::default();
        new.extend(entries);
        new
    }
}

impl<K, V> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K: Hash + Eq, V, const N: usize> From<[(K, V); N]> for Map<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

/// A set in the order of insertion.
#[derive(Clone, Debug)]
pub(crate) struct Set<K>(Map<K, ()>);

impl<K: Hash + Eq> Set<K> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn contains<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Returns `true` if the set did not have the key.
    pub(crate) fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&K) -> bool) {
        let keys = std::mem::take(self).into_iter();
        self.extend(keys.filter(|key| is_kept(key)));
    }
}

impl<K> Set<K> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> + Clone {
        self.0.entries.iter().map(|(key, ())| key)
    }
}

impl<K> Default for Set<K> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<K: Hash + Eq> Extend<K> for Set<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        for key in keys {
            self.insert(key);
        }
    }
}

impl<K: Hash + Eq> FromIterator<K> for Set<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut new = Self::default();
        new.extend(keys);
        new
    }
}

impl<K> IntoIterator for Set<K> {
    type Item = K;
    type IntoIter = std::iter::Map<std::vec::IntoIter<(K, ())>, fn((K, ())) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.entries.into_iter().map(|(key, ())| key)
    }
}

impl<K: Hash + Eq, const N: usize> From<[K; N]> for Set<K> {
    fn from(keys: [K; N]) -> Self {
        keys.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{Hash, Hasher};

    use proptest::prelude::*;

    use super::{Map, Set};

    /// A key of which many have the same hash.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Colliding(u8);

    impl Hash for Colliding {
        fn hash<H: Hasher>(&self, state: &mut H) {
            (self.0 % 4).hash(state);
        }
    }

    proptest! {
        #[test]
        fn map_agrees_with_std(
            entries in prop::collection::vec((0..40u8, any::<u8>()), 0..100),
            is_kept in any::<u8>(),
        ) {
            let mut map = Map::new();
            let mut expected = HashMap::new();
            for (key, value) in &entries {
                prop_assert_eq!(map.insert(Colliding(*key), *value), expected.insert(*key, *value));
            }
            for key in 0..40 {
                prop_assert_eq!(map.get(&Colliding(key)), expected.get(&key));
                let [own, std] = [
                    *map.get_or_insert_with(Colliding(key), || key),
                    *expected.entry(key).or_insert(key),
                ];
                prop_assert_eq!(own, std);
            }
            prop_assert_eq!((map.len(), map.is_empty()), (expected.len(), false));

            let mut set: Set<Colliding> = entries.iter().map(|(key, _)| Colliding(*key)).collect();
            set.retain(|key| key.0 < is_kept);
            for key in 0..40 {
                let is_in = entries.iter().any(|(one, _)| *one == key) && key < is_kept;
                prop_assert_eq!(set.contains(&Colliding(key)), is_in);
            }
        }
    }
}
