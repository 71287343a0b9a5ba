//! Everything that a store says when it is asked everything: so that two stores can be told apart.

use crate::entities::{TAGS, account, entity, key};
use crate::truth::read_all;
use eddy_cache::{LedgerRow, RecoveryReport, Store, StoreError};
use std::collections::BTreeMap;

/// What a store said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answers {
    /// Facts by what they are of. A fact that is sealed is there as it was, or not at all.
    pub(crate) facts: BTreeMap<String, String>,
    /// What it found wrong by itself, and reported.
    pub(crate) reported: Vec<String>,
}

impl Answers {
    /// Asks everything and reads everything; a wrong byte is a panic.
    pub(crate) fn of(store: &Store) -> Result<Self, StoreError> {
        let mut answers = Self::default();
        answers.take_report(store.recovery());
        for record in store.list(None, 1000)? {
            answers.say(
                format!("record {}", record.id()),
                format!("{:?} {:?} {}", record.entity, record.privacy, record.generation),
            );
        }
        for tag in 0..TAGS {
            answers.ask_entity(store, tag)?;
        }
        for (id, row) in store.jobs()? {
            answers.say(format!("job {}", id[0]), format!("{row:?}"));
        }
        for row in store.ledger()? {
            match row {
                LedgerRow::File { account, balance, name } => {
                    answers.say(format!("balance {account:?}"), format!("{balance:?}"));
                    name.into_iter().for_each(|name| answers.say(format!("name {account:?}"), name));
                }
                LedgerRow::Peer { node, flow } => answers.say(format!("peer {}", node[0]), format!("{flow:?}")),
            }
        }
        for tag in 0..TAGS {
            // What has no row is all zeros, and is said of whatever was lost.
            let balance = store.balance(account(tag))?;
            if balance != eddy_cache::Balance::default() {
                answers.say(format!("one balance {tag}"), format!("{balance:?}"));
            }
        }
        Ok(answers)
    }

    fn say(&mut self, of: String, what: String) {
        self.facts.insert(of, what);
    }

    fn take_report(&mut self, report: &RecoveryReport) {
        let counts = [("dangling", report.dangling), ("damaged rows", report.damaged_rows)];
        let mut found: Vec<String> =
            counts.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect();
        found.extend(report.index_moved_to.as_ref().map(|_| "index moved aside".to_owned()));
        self.reported = found;
    }

    fn ask_entity(&mut self, store: &Store, tag: u64) -> Result<(), StoreError> {
        let new = entity(tag);
        let id = new.entity.id();
        if let Some(found) = store.by_lookup(&new.entity.lookup_key(&key()))? {
            assert_eq!(found.id(), id, "a peer gets what it asks for");
            self.say(format!("lookup {tag}"), id.to_string());
        }
        if let Some(latest) = store.latest(&new.requested_url)? {
            assert_eq!(latest.id(), id, "a URL leads to its entity");
            self.say(format!("latest {tag}"), id.to_string());
        }
        let Some(handle) = store.find(&id)? else { return Ok(()) };
        for block in read_all(&handle, tag) {
            self.reported.push(format!("block {block} of {tag} is corrupt"));
        }
        self.say(format!("entity {tag}"), format!("{:?}", handle.entity()));
        for block in handle.held().runs().flatten() {
            self.say(format!("held {tag} {block}"), String::new());
        }
        for block in handle.fetched_here().runs().flatten() {
            self.say(format!("here {tag} {block}"), String::new());
        }
        for statement in handle.statements(0..u32::MAX) {
            self.say(format!("statement {tag} {}", statement.first_block), format!("{statement:?}"));
        }
        Ok(())
    }

    /// What these say otherwise than `before`, or beyond it.
    pub(crate) fn contradictions(&self, before: &Self) -> Vec<String> {
        let differs = |(of, what): &(&String, &String)| before.facts.get(*of) != Some(*what);
        self.facts.iter().filter(differs).map(|(of, what)| format!("{of}: {what}")).collect()
    }
}
