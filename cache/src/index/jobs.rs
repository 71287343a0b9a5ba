//! What the index knows of jobs, for the journal that keeps them a second time; and of the scrub.

use super::{Index, JOBS, KEY_EPOCH, KEY_JOBS, KEY_SCRUB};
use crate::fault::IndexFault;
use crate::row;
use crate::scrub::ScrubRecord;
use redb::{ReadableTable, TableHandle};

impl Index {
    /// Visits every job's row by key, `None` for a damaged one.
    pub(crate) fn visit_jobs(&self, mut each: impl FnMut(&[u8], Option<&[u8]>)) -> Result<(), IndexFault> {
        self.read(|transaction| {
            for row in transaction.open_table(JOBS)?.iter()? {
                let (key, value) = row?;
                each(key.value(), row::unseal(JOBS.name(), key.value(), value.value()));
            }
            Ok(())
        })
    }

    /// The row of one job.
    pub(crate) fn job(&self, id: &[u8; 16]) -> Result<Option<Vec<u8>>, IndexFault> {
        self.read(|transaction| {
            let row = transaction.open_table(JOBS)?.get(id.as_slice())?;
            Ok(row.and_then(|row| row::unseal(JOBS.name(), id, row.value()).map(<[u8]>::to_vec)))
        })
    }

    /// How far the scrub came, and what it found.
    pub(crate) fn scrubbed(&self) -> Result<ScrubRecord, IndexFault> {
        Ok(self.meta(KEY_SCRUB)?.unwrap_or_default())
    }

    /// The highest epoch that is known of something.
    pub(crate) fn epoch(&self, name: &[u8; 32]) -> Result<u64, IndexFault> {
        Ok(self.meta(&[KEY_EPOCH, name].concat())?.unwrap_or(0))
    }

    /// Number of the last change of a job's row that is in the index.
    pub(crate) fn jobs_sequence(&self) -> Result<u64, IndexFault> {
        Ok(self.meta(KEY_JOBS)?.unwrap_or(0))
    }
}
