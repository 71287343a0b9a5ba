//! The answer to "who signed for these blocks?": hashes and statements, and no bytes.
//!
//! It is asked where one statement is not enough. A member gives its own word about what it fetched from the origin, and
//! passes on those of others; the asker compares them before a byte is sent.

use super::sealed::Layout;
use super::words::{Said, Words};
use super::{FrameError, MAX_HASHES, Unsendable, kind};
use crate::cursor::Cursor;
use crate::statement::{Claim, EndorsedStatement};
use eddy_content::tree::BlockHash;

/// Statements in one [`Vouched`]: each costs the asker about 0.1 ms.
pub const MAX_VOUCHED: usize = 64;

/// Who signed for blocks of an entity, as far as a member knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vouched {
    /// The block that the first of `hashes` belongs to.
    pub hashes_from: u32,
    /// Hashes of consecutive blocks, of all that `statements` speak of; of those between them that nobody speaks of, anything.
    pub hashes: Vec<BlockHash>,
    /// The statements; none when the member knows of none, or may not say.
    pub statements: Vec<EndorsedStatement>,
}

impl Vouched {
    /// Each statement with its hashes.
    pub fn claims(self) -> impl Iterator<Item = Claim> {
        let Self { hashes_from, hashes, statements } = self;
        statements.into_iter().filter_map(move |endorsed| {
            let run = endorsed.signed.statement.blocks();
            let from = run.start.checked_sub(hashes_from)? as usize;
            let hashes = hashes.get(from..from + run.len())?.to_vec();
            Some(Claim { endorsed, hashes })
        })
    }

    /// Puts claims together that agree with each other; the last ones are left out when they are too many.
    #[must_use]
    pub fn of(claims: Vec<Claim>) -> Self {
        let mut vouched = Self::default();
        for claim in claims.into_iter().take(MAX_VOUCHED) {
            vouched.add(claim);
        }
        vouched
    }

    fn add(&mut self, claim: Claim) {
        let run = claim.blocks();
        if self.hashes.is_empty() {
            self.hashes_from = run.start;
        }
        let end = self.hashes_from.saturating_add(self.hashes.len() as u32);
        let (from, to) = (self.hashes_from.min(run.start), end.max(run.end));
        if (to - from) as usize > MAX_HASHES {
            return;
        }
        let before = vec![BlockHash([0; 32]); (self.hashes_from - from) as usize];
        self.hashes.splice(0..0, before);
        self.hashes.resize((to - from) as usize, BlockHash([0; 32]));
        self.hashes_from = from;
        let at = (run.start - from) as usize;
        self.hashes[at..at + claim.hashes.len()].copy_from_slice(&claim.hashes);
        self.statements.push(claim.endorsed);
    }

    fn is_complete(&self) -> bool {
        let end = self.hashes_from.checked_add(self.hashes.len() as u32);
        let has_all = |endorsed: &EndorsedStatement| {
            let run = endorsed.signed.statement.blocks();
            self.hashes_from <= run.start && end.is_some_and(|end| run.end <= end)
        };
        self.statements.iter().all(has_all)
    }

    fn words(&self) -> Words<'_> {
        Words { hashes_from: self.hashes_from, hashes: &self.hashes, statements: &self.statements }
    }
}

impl Layout for Vouched {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        self.words().check(MAX_VOUCHED)?;
        if !self.is_complete() {
            return Err(Unsendable::TooMany { field: "blocks without a hash" });
        }
        out.push(kind::VOUCHED);
        self.words().write(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        match cursor.u8()? {
            kind::VOUCHED => {}
            found => return Err(FrameError::Kind { found }),
        }
        let Said { hashes_from, hashes, statements } = Said::read(cursor, MAX_VOUCHED)?;
        let vouched = Self { hashes_from, hashes, statements };
        if vouched.is_complete() { Ok(vouched) } else { Err(FrameError::Field { field: "hashes" }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{decode_frame, encode_frame};
    use crate::statement::tests::{endorsed, hashes, key, said};
    use eddy_content::tree::run_hash;
    use proptest::prelude::*;

    fn claim(first: u32, count: u32) -> Claim {
        let hashes = hashes(first, count);
        let mut statement = said();
        (statement.first_block, statement.count, statement.length) = (first, count, 1 << 30);
        statement.run = run_hash(first, &hashes);
        let endorsed = EndorsedStatement { signed: statement.sign(&key()), certificate: vec![0x30; 40] };
        Claim { endorsed, hashes }
    }

    #[test]
    fn its_bytes_are_as_reviewed() {
        let vouched = Vouched::of(vec![Claim { endorsed: endorsed(), hashes: hashes(3, 4) }]);
        let bytes = encode_frame(&vouched).expect("fits");
        let lines: Vec<String> = bytes.chunks(32).map(|line| data_encoding::HEXLOWER.encode(line)).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_statement_without_its_hashes_is_refused() {
        let mut vouched = Vouched::of(vec![claim(3, 4)]);
        vouched.hashes.pop();
        assert!(encode_frame(&vouched).is_err());
        let whole = encode_frame(&Vouched::of(vec![claim(3, 4)])).expect("fits");
        let mut moved = whole.clone();
        moved[6] = 4;
        assert_eq!(decode_frame::<Vouched>(&moved), Err(FrameError::Field { field: "hashes" }));
        for end in 0..whole.len() {
            assert!(decode_frame::<Vouched>(&whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn the_most_that_is_said_fits_one_frame() {
        let mut claims: Vec<Claim> = (0..300).map(|block| claim(block, 1)).collect();
        claims.iter_mut().for_each(|claim| claim.endorsed.certificate = vec![0x30; 2048]);
        let vouched = Vouched::of(claims);
        assert_eq!(vouched.statements.len(), MAX_VOUCHED);
        assert!(encode_frame(&vouched).is_ok());
    }

    proptest! {
        #[test]
        fn claims_survive_the_wire(runs in proptest::collection::vec((0u32..900, 1u32..200), 0..12)) {
            let claims: Vec<Claim> = runs.into_iter().map(|(first, count)| claim(first, count)).collect();
            let vouched = Vouched::of(claims.clone());
            let read = decode_frame::<Vouched>(&encode_frame(&vouched).expect("fits")).expect("is one");
            prop_assert_eq!(&read, &vouched);
            for said in read.claims() {
                prop_assert_eq!(said.check(), Ok(()));
                prop_assert!(claims.contains(&said));
            }
        }

        #[test]
        fn foreign_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let payload: Vec<u8> = std::iter::once(kind::VOUCHED).chain(payload).collect();
            let mut bytes = vec![1];
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&payload);
            if let Ok(vouched) = decode_frame::<Vouched>(&bytes) {
                prop_assert_eq!(encode_frame(&vouched).expect("was one"), bytes);
            }
        }
    }
}
