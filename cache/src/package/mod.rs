//! Signed packages: entities with their hashes, statements and data in one stream, to carry a cache to where no network
//! goes.
//!
//! A package is checked like any peer. One signature covers its head; the head has a hash for every entity's description,
//! the description one for every piece of block hashes, the block hashes speak of the data. So each byte is verified
//! before it is stored, in one pass over a stream, in bounded memory. What a package brings is never "fetched here": this
//! node signs none of it, and passes it on with the statements that came along.
//!
//! Imported bytes came neither from an origin nor from a peer and are in no column of the ledger; a job that finds them
//! here has them from the cache.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`format`] | how does a package stand in its stream, and what is refused? |
//! | [`export`] | what goes out? |
//! | [`import`] | what comes in? |

mod export;
mod format;
mod import;

use crate::Store;
use crate::fault::StoreError;
use crate::row::Privacy;
use eddy_content::{Entity, EntityId};
use import::Taking;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Entities of one package at most.
pub const MAX_ENTITIES: usize = 1 << 16;

/// What was written into a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportOutcome {
    /// Entities that are in it.
    pub entities: u64,
    /// Blocks of them.
    pub blocks: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// What was asked for and is not in it, with the reason.
    pub left_out: Vec<(EntityId, NotExported)>,
}

/// Why an entity, or part of it, is not in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotExported {
    /// It is not in the cache.
    NotHere,
    /// Nothing of it is held.
    NothingHeld,
    /// It is private, and was not asked for as such.
    Private,
    /// It changed or went while the package was written.
    Changed,
    /// Some of its blocks turned out to be corrupt or could not be read; the others are in the package.
    Unreadable,
    /// Its description would be longer than a package takes.
    TooLarge,
}

impl fmt::Display for NotExported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHere => "not in the cache",
            Self::NothingHeld => "nothing of it is held",
            Self::Private => "private",
            Self::Changed => "it changed while the package was written",
            Self::Unreadable => "some blocks could not be read",
            Self::TooLarge => "too large for a package",
        })
    }
}

/// What was taken in from a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportOutcome {
    /// Entities of which something was in the package and is here now.
    pub entities: u64,
    /// Blocks that are held now and were not before.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Blocks that were held before.
    pub known_blocks: u64,
    /// Statements that were new.
    pub statements: u64,
    /// Entities that were not taken in, with the reason.
    pub left_out: Vec<(EntityId, NotImported)>,
    /// All entities that the package has, as far as it was read.
    pub packed: Vec<PackedEntity>,
}

/// An entity of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedEntity {
    /// The version.
    pub entity: Entity,
    /// Whether peers may have it.
    pub privacy: Privacy,
    /// Bytes of it that the package has.
    pub bytes: u64,
}

/// Why an entity of a package was not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotImported {
    /// It does not fit under quota and reserve; in words.
    NoRoom(String),
}

impl fmt::Display for NotImported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom(reason) => f.write_str(reason),
        }
    }
}

/// A place in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackagePlace {
    /// The head, before all entities.
    Head,
    /// The description of an entity, by its number in the package.
    Description(u32),
    /// The statements of an entity.
    Statements(u32),
    /// A block, or the hash of it.
    Block {
        /// The entity's number in the package.
        entity: u32,
        /// The block, or the first of those whose hashes are meant.
        block: u32,
    },
    /// The end mark.
    End,
}

impl fmt::Display for PackagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("its head"),
            Self::Description(entity) => write!(f, "the description of entity {entity}"),
            Self::Statements(entity) => write!(f, "the statements of entity {entity}"),
            Self::Block { entity, block } => write!(f, "block {block} of entity {entity}"),
            Self::End => f.write_str("its end"),
        }
    }
}

/// Why a package was not written or not read to its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PackageError {
    /// The stream does not begin like a package. The user's mistake.
    #[error("this is not a package of eddy")]
    NotAPackage,
    /// Nobody who is trusted signed it: nothing of it was stored.
    #[error("the package is not signed by anyone who is trusted: nothing was taken in")]
    Untrusted,
    /// The stream ends too early. What came before is stored and valid; the whole package can be read again.
    #[error("the package is cut: it ends at byte {at}, in {place}; what came before it is taken in")]
    Cut {
        /// Bytes that could be read.
        at: u64,
        /// What is incomplete.
        place: PackagePlace,
    },
    /// Bytes are not what the signed head promises. What came before is stored and valid.
    #[error("the package is damaged or forged before byte {at}, in {place}; what came before it is taken in")]
    Damaged {
        /// Bytes that were read.
        at: u64,
        /// What is wrong.
        place: PackagePlace,
    },
    /// More was asked for than one package takes.
    #[error("{entities} entities are more than one package takes: at most {MAX_ENTITIES}")]
    TooMany {
        /// How many.
        entities: usize,
    },
    /// The stream refused.
    #[error("cannot {operation} the package: {source}")]
    Stream {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether content that must not be shared with peers goes into a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateContent {
    /// It stays here.
    LeaveOut,
    /// It goes along, because whoever asked for it said so.
    Include,
}

impl Store {
    /// Writes what is held of these entities into a package, signed by `sign`; private ones stay here.
    pub fn export(
        &self,
        ids: &[EntityId],
        into: &mut dyn Write,
        sign: &dyn Fn(&[u8]) -> Vec<u8>,
    ) -> Result<ExportOutcome, PackageError> {
        export::export(self, ids, PrivateContent::LeaveOut, into, sign)
    }

    /// As [`Store::export`], private ones included: the package then says who may have what, and must be kept accordingly.
    pub fn export_private_too(
        &self,
        ids: &[EntityId],
        into: &mut dyn Write,
        sign: &dyn Fn(&[u8]) -> Vec<u8>,
    ) -> Result<ExportOutcome, PackageError> {
        export::export(self, ids, PrivateContent::Include, into, sign)
    }

    /// Takes in what a package has that `trust` finds well signed: `trust(signed, signature)`.
    ///
    /// Every block is verified before it is stored. An entity that does not fit is left out, the others come in. May be
    /// repeated, also after it was cut short: what is here already is not written again. An entity that is here keeps its
    /// privacy; one that comes in has that of the package.
    pub fn import(
        &self,
        from: &mut dyn Read,
        trust: &dyn Fn(&[u8], &[u8]) -> bool,
    ) -> Result<ImportOutcome, PackageError> {
        import::import(self, from, trust, Taking::Store)
    }

    /// Reads a package as [`Store::import`] does, verifies all of it and stores nothing; gives what it has.
    pub fn look_into(
        &self,
        from: &mut dyn Read,
        trust: &dyn Fn(&[u8], &[u8]) -> bool,
    ) -> Result<Vec<PackedEntity>, PackageError> {
        Ok(import::import(self, from, trust, Taking::Look)?.packed)
    }
}
