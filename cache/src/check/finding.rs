//! What a check finds: on what, how bad, and what helps.

use serde::Serialize;
use std::fmt;

/// Findings that are kept; more are counted.
const MAX_FINDINGS: usize = 10_000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// In nobody's way; a crash may leave it, and the next start clears it away.
    Untidy,
    /// Something is not as it should be; nothing wrong is given out, and what was lost can be had again.
    Damaged,
    /// Something that was acknowledged is not there.
    Lost,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// The index as a whole.
    Index,
    /// A row of a table of the index, by its key in hexadecimal digits.
    Row {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
    },
    /// The job journal.
    Journal,
    /// An entity, by its local name.
    Entity(String),
    /// A block of an entity.
    Block {
        /// The entity.
        entity: String,
        /// The block.
        block: u32,
    },
    /// A file or directory, below the cache's own.
    File(String),
    /// A row of the ledger.
    Account(String),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("the index"),
            Self::Row { table, key } => write!(f, "row {key} of {table}"),
            Self::Journal => f.write_str("the job journal"),
            Self::Entity(id) => write!(f, "entity {id}"),
            Self::Block { entity, block } => write!(f, "block {block} of entity {entity}"),
            Self::File(path) => write!(f, "{path}"),
            Self::Account(account) => write!(f, "ledger row {account}"),
        }
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub object: Object,
    /// What is wrong.
    pub what: String,
    /// What helps.
    pub remedy: &'static str,
    /// Whether a repair mends it.
    pub is_fixable: bool,
    /// Whether the repair that was ordered mended it.
    pub is_fixed: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Untidy => "untidy",
            Severity::Damaged => "damaged",
            Severity::Lost => "lost",
        };
        write!(f, "{severity}: {}: {}", self.object, self.what)?;
        if self.is_fixed { f.write_str(" (mended)") } else { write!(f, " ({})", self.remedy) }
    }
}

/// What a check saw and found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CheckReport {
    /// What is not as it should be, the worst first.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub omitted: u64,
    /// Entities that are here.
    pub entities: u64,
    /// Held blocks that were hashed; none by a quick check.
    pub hashed_blocks: u64,
    /// Bytes of them.
    pub hashed_bytes: u64,
    /// Jobs that are here.
    pub jobs: u64,
    /// Files in quarantine.
    pub quarantined: u64,
}

impl CheckReport {
    /// Whether nothing is left that is worse than untidy.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.omitted == 0 && self.findings.iter().all(|f| f.is_fixed || f.severity == Severity::Untidy)
    }

    pub(super) fn add(&mut self, severity: Severity, object: Object, what: impl Into<String>, remedy: Remedy) {
        if self.findings.len() >= MAX_FINDINGS {
            self.omitted += 1;
            return;
        }
        let (remedy, is_fixable) = match remedy {
            Remedy::Repair(text) => (text, true),
            Remedy::Hand(text) => (text, false),
        };
        self.findings.push(Finding { severity, object, what: what.into(), remedy, is_fixable, is_fixed: false });
    }

    /// What this check found, with what another one after a repair no longer finds marked as mended.
    pub(super) fn compared_with(self, mut after: Self) -> Self {
        let is_left = |finding: &Finding| after.findings.iter().any(|left| left.object == finding.object);
        let mended: Vec<Finding> = self.findings.into_iter().filter(|finding| !is_left(finding)).collect();
        after.findings.extend(mended.into_iter().map(|finding| Finding { is_fixed: true, ..finding }));
        after
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if self.omitted > 0 {
            writeln!(f, "and {} more", self.omitted)?;
        }
        write!(
            f,
            "{} entities, {} blocks hashed, {} jobs, {} files in quarantine",
            self.entities, self.hashed_blocks, self.jobs, self.quarantined
        )
    }
}

/// What helps, and whether a repair does it.
pub(super) enum Remedy {
    Repair(&'static str),
    Hand(&'static str),
}
