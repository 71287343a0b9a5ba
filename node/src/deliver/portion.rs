//! Ranges of an entity, copied one behind the other into the staged file (F-56).

use super::{Destination, StageError, StageOrder, damage, pieces, refusal};
use eddy_cache::EntityHandle;
use eddy_content::digest::DigestCheck;
use eddy_content::{BlockSet, Root};
use eddy_engine::job::portion::{Stretches, touched};
use eddy_wire::catalogue::ErrorCode;
use std::fs::File;
use std::io::Write as _;

impl Destination {
    /// Puts these bytes of the entity beside the destination, hashing every block on its way out; digests are those of what is written.
    ///
    /// What fails leaves nothing behind. Before that the cache gives way.
    pub fn stage_ranges(
        &self,
        entity: &EntityHandle,
        stretches: &Stretches,
        order: &StageOrder<'_>,
    ) -> Result<Root, StageError> {
        match self.stage_ranges_once(entity, stretches, order) {
            Err(StageError::Failed(failure))
                if Self::is_out_of_room(&failure) && self.gives_way(order.room, stretches.length()) =>
            {
                self.stage_ranges_once(entity, stretches, order)
            }
            other => other,
        }
    }

    fn stage_ranges_once(
        &self,
        entity: &EntityHandle,
        stretches: &Stretches,
        order: &StageOrder<'_>,
    ) -> Result<Root, StageError> {
        let mut file = self.create_part()?;
        let written = self.write_ranges(entity, &mut file, stretches, order);
        if written.is_err() {
            self.discard();
        }
        written
    }

    fn write_ranges(
        &self,
        entity: &EntityHandle,
        file: &mut File,
        stretches: &Stretches,
        order: &StageOrder<'_>,
    ) -> Result<Root, StageError> {
        let geometry = entity.geometry();
        let (mut check, mut hasher) = (DigestCheck::beside_root(order.digests), blake3::Hasher::new());
        let mut reader = entity.reader();
        for stretch in stretches.iter() {
            for blocks in pieces(touched(geometry, &stretch)) {
                let place = geometry.bytes_of(blocks.clone());
                let bytes = match reader.read(blocks.clone()) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        let all: BlockSet = stretches.blocks(geometry);
                        return Err(damage(entity, &all, &error, order.room));
                    }
                };
                let (start, end) = (stretch.start.max(place.start), stretch.end.min(place.end));
                let wanted = &bytes[(start - place.start) as usize..(end - place.start) as usize];
                check.update(wanted);
                hasher.update(wanted);
                file.write_all(wanted).map_err(|e| self.disk_failure("write", &e))?;
            }
        }
        let root = Root(*hasher.finalize().as_bytes());
        check.verify_with_root(root).map_err(|e| refusal(ErrorCode::DigestMismatch, e.to_string()))?;
        self.seal(file, order.last_modified)?;
        Ok(root)
    }
}
