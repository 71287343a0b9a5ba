//! Which segments: one bit for each, so that a thousand members of 256 segments are 32 KiB.

/// A set of the segments `0..len` of one content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bits {
    words: Vec<u64>,
    len: u32,
}

impl Bits {
    /// The empty set of `len` segments.
    #[must_use]
    pub fn none(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len }
    }

    /// The full set of `len` segments.
    #[must_use]
    pub fn all(len: u32) -> Self {
        let mut all = Self::none(len);
        (0..len).for_each(|segment| all.insert(segment));
        all
    }

    /// Reads the bytes that [`Self::to_bytes`] writes; `None` for too few or too many, or with a bit beyond the last segment.
    #[must_use]
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Option<Self> {
        let mut bits = Self::none(len);
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        for (place, byte) in bytes.iter().enumerate() {
            bits.words[place / 8] |= u64::from(*byte) << (8 * (place % 8));
        }
        let is_bounded = len.is_multiple_of(64) || bits.words.last().is_none_or(|last| last >> (len % 64) == 0);
        is_bounded.then_some(bits)
    }

    /// The set as bytes: the lowest segment is the lowest bit of the first byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        bytes.take(self.len.div_ceil(8) as usize).collect()
    }

    /// Number of segments that there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no segment is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether every segment is in the set.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() == self.len
    }

    /// Number of segments in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether `segment` is in the set.
    #[must_use]
    pub fn has(&self, segment: u32) -> bool {
        segment < self.len && self.words[(segment / 64) as usize] & (1 << (segment % 64)) != 0
    }

    /// Puts `segment` in; one beyond the last is none.
    pub fn insert(&mut self, segment: u32) {
        if segment < self.len {
            self.words[(segment / 64) as usize] |= 1 << (segment % 64);
        }
    }

    /// Takes `segment` out.
    pub fn remove(&mut self, segment: u32) {
        if segment < self.len {
            self.words[(segment / 64) as usize] &= !(1 << (segment % 64));
        }
    }

    /// The segments in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(place, word)| Ones(*word).map(move |bit| place as u32 * 64 + bit))
    }

    /// The segments that are in `self` and in none of the others, ascending.
    pub fn without<'a>(&'a self, one: &'a Self, other: &'a Self) -> impl Iterator<Item = u32> + 'a {
        let word = |bits: &Self, place: usize| bits.words.get(place).copied().unwrap_or(0);
        self.words.iter().enumerate().flat_map(move |(place, own)| {
            Ones(own & !word(one, place) & !word(other, place)).map(move |bit| place as u32 * 64 + bit)
        })
    }
}

/// The places of the ones in a word, ascending.
struct Ones(u64);

impl Iterator for Ones {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (bit < 64).then_some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_is_what_was_put_in_and_survives_its_bytes(len in 1..300_u32, segments in prop::collection::btree_set(0..300_u32, 0..60)) {
            let mut bits = Bits::none(len);
            segments.iter().for_each(|segment| bits.insert(*segment));
            let wanted: Vec<u32> = segments.iter().copied().filter(|segment| *segment < len).collect();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), wanted.clone());
            prop_assert_eq!(bits.count() as usize, wanted.len());
            prop_assert_eq!(Bits::from_bytes(len, &bits.to_bytes()), Some(bits.clone()));
            prop_assert_eq!(Bits::all(len).without(&bits, &bits).count() as u32, len - bits.count());
        }

        #[test]
        fn no_bytes_name_a_segment_beyond_the_last(len in 1..200_u32, bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            if let Some(bits) = Bits::from_bytes(len, &bytes) {
                prop_assert!(bits.iter().all(|segment| segment < len));
                prop_assert_eq!(bits.to_bytes(), bytes);
            }
        }
    }
}
