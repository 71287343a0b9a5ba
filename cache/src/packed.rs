//! A block set as bytes of bounded size: runs while there are few of them, a bitmap when there are many.

use eddy_content::BlockSet;
use std::ops::Range;

/// Blocks that one row of the index speaks of: 64 GiB of an entity, a bitmap of 128 KiB at worst (C-09: values < 1 MiB).
pub(crate) const CHUNK_BLOCKS: u32 = 1 << 20;

const RUNS: u8 = 0;
const BITMAP: u8 = 1;

/// The chunk that holds `block`.
pub(crate) fn chunk_of(block: u32) -> u32 {
    block / CHUNK_BLOCKS
}

/// The blocks of a chunk.
pub(crate) fn blocks_of(chunk: u32) -> Range<u32> {
    let start = chunk.saturating_mul(CHUNK_BLOCKS);
    start..start.saturating_add(CHUNK_BLOCKS)
}

/// The chunks that `set` touches, ascending.
pub(crate) fn chunks_of(set: &BlockSet) -> Vec<u32> {
    let mut chunks = Vec::new();
    for run in set.runs() {
        for chunk in chunk_of(run.start)..=chunk_of(run.end - 1) {
            if chunks.last() != Some(&chunk) {
                chunks.push(chunk);
            }
        }
    }
    chunks
}

/// Encodes the part of `set` that lies in `chunk`.
pub(crate) fn encode(set: &BlockSet, chunk: u32) -> Vec<u8> {
    let within = blocks_of(chunk);
    let part = set.intersection(&BlockSet::from_run(within.clone()));
    let bitmap_len = (CHUNK_BLOCKS / 8) as usize;
    if part.run_count() * 8 <= bitmap_len {
        let mut out = vec![RUNS];
        for run in part.runs() {
            out.extend_from_slice(&(run.start - within.start).to_le_bytes());
            out.extend_from_slice(&(run.end - within.start).to_le_bytes());
        }
        return out;
    }
    let mut out = vec![0; 1 + bitmap_len];
    out[0] = BITMAP;
    for block in part.runs().flatten() {
        let bit = block - within.start;
        out[1 + (bit / 8) as usize] |= 1 << (bit % 8);
    }
    out
}

/// Decodes what [`encode`] made of `chunk`; `None` when the bytes are no such thing.
pub(crate) fn decode(bytes: &[u8], chunk: u32) -> Option<BlockSet> {
    let within = blocks_of(chunk);
    let (kind, body) = bytes.split_first()?;
    match *kind {
        RUNS => {
            let (pairs, []) = body.as_chunks::<8>() else { return None };
            let run = |pair: &[u8; 8]| {
                let [a, b, c, d, e, f, g, h] = *pair;
                let (start, end) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
                (start < end && end <= CHUNK_BLOCKS).then(|| within.start + start..within.start.saturating_add(end))
            };
            pairs.iter().map(run).collect()
        }
        BITMAP if body.len() == (CHUNK_BLOCKS / 8) as usize => Some(runs_of_bits(body, within.start).collect()),
        _ => None,
    }
}

/// The runs of set bits, so that a dense bitmap does not become a million insertions.
fn runs_of_bits(bits: &[u8], first: u32) -> impl Iterator<Item = Range<u32>> + '_ {
    let is_set = move |bit: u32| bits.get((bit / 8) as usize).is_some_and(|byte| byte & (1 << (bit % 8)) != 0);
    let count = (bits.len() * 8) as u32;
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < count && !is_set(at) {
            at += 1;
        }
        let start = at;
        while at < count && is_set(at) {
            at += 1;
        }
        (start < at).then_some(first + start..first + at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_survives_its_encoding(runs in prop::collection::vec((0u32..3 * CHUNK_BLOCKS, 1u32..5000), 0..40)) {
            let set: BlockSet = runs.into_iter().map(|(start, len)| start..start + len).collect();
            let mut back = BlockSet::new();
            for chunk in chunks_of(&set) {
                back.union_with(&decode(&encode(&set, chunk), chunk).expect("own encoding"));
            }
            prop_assert_eq!(back, set);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), chunk in 0u32..4096) {
            let _ = decode(&bytes, chunk);
        }
    }

    #[test]
    fn the_worst_set_fits_a_row() {
        let every_second: BlockSet = (0..CHUNK_BLOCKS / 16).map(|i| i * 16..i * 16 + 1).collect();
        let bytes = encode(&every_second, 0);
        assert!(bytes.len() <= 1 + (CHUNK_BLOCKS / 8) as usize);
        assert_eq!(decode(&bytes, 0), Some(every_second));
    }
}
