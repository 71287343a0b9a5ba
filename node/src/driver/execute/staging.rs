//! What is held is staged beside its destination.

use super::gate::witnesses;
use super::{Executor, not_open};
use crate::deliver::{StageError, StageOrder};
use crate::driver::account::settle_account;
use eddy_content::digest::ExpectedDigest;
use eddy_engine::job::portion::Stretches;
use eddy_engine::port::StagedFile;
use eddy_engine::{Engine, FileRef, Input};

impl Executor {
    pub(super) fn stage(
        &mut self,
        engine: &Engine,
        file: FileRef,
        stretches: Option<Stretches>,
        digests: Vec<ExpectedDigest>,
    ) {
        let (Some(open), Some(destination)) = (self.open.get(&file).cloned(), self.destination(engine, file)) else {
            // The engine awaits an answer to everything that it asks for.
            self.answer(move || Input::Staged { file, result: Err(not_open()) });
            return;
        };
        // What is delivered may be the digest's; what else is in its blocks is not.
        let of_whole = if stretches.is_none() { digests.as_slice() } else { &[] };
        let (store, gate) = (self.store.clone(), self.gate(&open.entity.entity().url, of_whole));
        let judges = self.peers.clone();
        self.answer(move || {
            if let Some(blocks) = gate.and_then(|gate| gate.close(&open.entity)) {
                return Input::Damaged { file, blocks };
            }
            let order = StageOrder { digests: &digests, last_modified: open.last_modified, room: &open.room };
            let (staged, length) = match &stretches {
                None => (destination.stage(&open.entity, open.take_part(), &order), open.entity.geometry().length()),
                Some(stretches) => (destination.stage_ranges(&open.entity, stretches, &order), stretches.length()),
            };
            match staged {
                Ok(root) => {
                    let balance = settle_account(&store, open.account(), length);
                    let wasted = balance.origin.wasted.total() + balance.peers.wasted.total();
                    let (origin, peers) = (balance.origin.used, balance.peers.used);
                    let audited = balance.audited;
                    let witnesses = witnesses(judges.as_ref(), &open.entity);
                    let staged = StagedFile { length, root, origin, peers, wasted, audited, witnesses };
                    Input::Staged { file, result: Ok(staged) }
                }
                Err(StageError::Damaged(blocks)) => Input::Damaged { file, blocks },
                Err(StageError::Failed(failure)) => Input::Staged { file, result: Err(failure) },
            }
        });
    }
}
