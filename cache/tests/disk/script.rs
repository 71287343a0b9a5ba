//! One short life of a store that does a bit of everything, for the sweeps over every single operation of it.

use crate::entities::TIGHT;
use crate::world::{From, Step};
use eddy_cache::Pin;

/// The steps. Under [`crate::entities::TIGHT`] something has to be evicted on the way.
pub(crate) fn script() -> Vec<Step> {
    let write = |tag, blocks, from| Step::Write { tag, blocks, from };
    vec![
        Step::PutJob(1, 1),
        Step::Secret,
        write(6, 0..2, From::Origin),
        Step::Commit(6),
        write(6, 1..3, From::Peer),
        Step::Statements { tag: 6, count: 2 },
        Step::Commit(6),
        Step::PutJob(1, 2),
        Step::Record(6),
        Step::LetGo(6),
        Step::Pin(6, Pin::Pinned),
        Step::Verify(6),
        write(2, 0..1, From::Origin),
        Step::Commit(2),
        Step::LetGo(2),
        Step::Admit(0),
        Step::Remove(2),
        write(7, 0..6, From::Origin),
        Step::Commit(7),
        Step::Reopen,
        Step::Admit(6),
        Step::Read { tag: 6, blocks: 0..3 },
        Step::LetGo(6),
        write(5, 0..2, From::Peer),
        Step::Commit(5),
        Step::LetGo(5),
        Step::PutJob(2, 3),
        Step::RemoveJob(1),
        Step::Scrub,
        Step::Pin(6, Pin::Free),
        Step::Limit(400 * 1024),
        Step::Limit(TIGHT),
        write(4, 0..1, From::Liar),
        Step::Ask,
        Step::Clear,
        write(1, 0..1, From::Origin),
        Step::Commit(1),
        Step::PutJob(2, 4),
        Step::Reopen,
    ]
}

/// What must be possible afterwards, whatever happened.
pub(crate) fn afterwards() -> Vec<Step> {
    vec![
        Step::PutJob(5, 50),
        Step::Write { tag: 3, blocks: 0..1, from: From::Origin },
        Step::Commit(3),
        Step::LetGo(3),
        Step::Write { tag: 7, blocks: 2..6, from: From::Peer },
        Step::Commit(7),
        Step::Read { tag: 7, blocks: 0..6 },
        Step::Remove(3),
        Step::Remove(5),
        Step::Admit(5),
        Step::Remove(5),
        Step::Admit(5),
        Step::Ask,
    ]
}
