//! The files of a job that move side by side.

use super::Job;
use crate::file::{File, Surroundings};
use crate::job::spec::Patience;
use crate::outbox::Outbox;
use crate::port::{Failure, FailureClass, FileRef};
use eddy_content::{BlockSet, EntityId};
use rand::rngs::SmallRng;
use std::time::Duration;

/// Files of one job that move side by side.
const FILES_AT_ONCE: usize = 8;

/// Which of the files that move are brought on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Movers {
    /// All of them.
    All,
    /// One, and those that get its place.
    One(u32),
}

/// What one file's shell found out about a version that others may want too.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News<'a> {
    /// Blocks are durable.
    Durable(&'a BlockSet),
    /// Blocks are held no more.
    Lost(&'a BlockSet),
    /// Blocks are held no more, and only the origin is believed about them.
    Doubted(&'a BlockSet),
}

impl Job {
    /// Brings files on that move side by side; those that are staged or failed make room for the next.
    pub(crate) fn advance_files(&mut self, movers: Movers, s: &mut Surroundings<'_>) {
        let mut begun = self.next_file;
        self.choose_movers();
        loop {
            let chosen = self.next_file;
            let files = &mut self.body.at_hand_mut().files;
            for at in &self.moving {
                let file = &mut files[*at as usize];
                match movers {
                    Movers::One(one) if *at != one && (*at as usize) < begun => continue,
                    _ => file.advance(s),
                }
                #[cfg(test)]
                {
                    self.looks += 1;
                }
            }
            self.choose_movers();
            if self.next_file == chosen {
                return;
            }
            begun = chosen;
        }
    }

    fn choose_movers(&mut self) {
        let Self { body, moving, failed, next_file, .. } = self;
        let files = &body.at_hand().files;
        moving.retain(|index| match &files[*index as usize] {
            file if file.is_staged() || file.is_satisfied() => false,
            file if file.failure().is_some() => {
                failed.push(*index);
                false
            }
            _ => true,
        });
        while moving.len() < FILES_AT_ONCE && *next_file < files.len() {
            if !files[*next_file].is_staged() {
                moving.push(*next_file as u32);
            }
            *next_file += 1;
        }
    }

    /// Files that are moving, as of the last look.
    pub(crate) fn movers(&self) -> impl Iterator<Item = &File> {
        self.moving.iter().filter_map(|index| self.files().get(*index as usize))
    }

    /// Tells every moving file but `teller`, which knows, of blocks of a version that are durable, or no longer; whether
    /// that concerned one.
    pub(crate) fn tell_movers(
        &mut self,
        teller: FileRef,
        entity: EntityId,
        news: News<'_>,
        (out, rng): (&mut Outbox, &mut SmallRng),
    ) -> bool {
        let mut is_concerned = false;
        let mut has_progress = false;
        let files = &mut self.body.at_hand_mut().files;
        for index in &self.moving {
            let file = &mut files[*index as usize];
            if file.entity_id() != Some(entity) || teller == (FileRef { job: self.id, file: *index }) {
                continue;
            }
            let progress = file.progress();
            match news {
                News::Durable(blocks) => file.on_committed(entity, blocks, (out, rng)),
                News::Doubted(blocks) => file.on_doubted(entity, blocks),
                News::Lost(blocks) => file.on_lost(blocks),
            }
            is_concerned = true;
            has_progress |= file.progress() > progress;
        }
        if has_progress {
            self.on_progress();
        }
        is_concerned
    }

    /// What ends the turn now: a fault that no other file can pass by, or any when no file can move.
    pub(crate) fn stopper(&self) -> Option<(u32, &Failure)> {
        let files = self.files();
        let failures = self.failed.iter().filter_map(|index| Some((*index, files[*index as usize].failure()?)));
        let worst = failures.min_by_key(|(_, failure)| (failure.class != FailureClass::Fatal, failure.retry_after))?;
        let is_whole_job = match worst.1.class {
            FailureClass::Fatal | FailureClass::Disk | FailureClass::Destination => true,
            FailureClass::Unreachable => self.is_hopeless(worst.1.class),
            FailureClass::Transient => false,
        };
        (is_whole_job || self.moving.is_empty()).then_some(worst)
    }

    /// Whether a fault of this class is not worth waiting out.
    pub(crate) fn is_hopeless(&self, class: FailureClass) -> bool {
        match class {
            _ if self.is_asked_once() => true,
            FailureClass::Fatal => true,
            // Whoever watches wants to know at once that nothing will come, unless they have said for how long they wait.
            FailureClass::Unreachable => {
                let has_said = self.spec().terms.give_up_after.is_some();
                self.spec().patience == Patience::Watching && self.progress == 0 && !has_said
            }
            FailureClass::Transient | FailureClass::Disk | FailureClass::Destination => false,
        }
    }

    /// Whether some file has all that was asked for on demand and is not whole.
    pub(crate) fn is_satisfied(&self) -> bool {
        self.files().iter().any(File::is_satisfied)
    }

    /// Whether every file stands beside its destination, or has what was asked for.
    pub(crate) fn is_whole(&self) -> bool {
        self.moving.is_empty() && self.failed.is_empty() && self.next_file == self.count
    }

    /// Lets every file read from the origin as one of a job with a limit does.
    pub(crate) fn slow_down(&mut self, now: Duration, out: &mut Outbox) {
        // Files behind have not begun.
        if self.next_file > 0 {
            for file in &mut self.body.at_hand_mut().files[..self.next_file] {
                file.slow_down(now, out);
            }
        }
    }

    /// Ends the turn of every file; what is durable stays.
    pub(crate) fn pause_files(&mut self, out: &mut Outbox) {
        // Files behind have not begun.
        if self.next_file > 0 {
            for file in &mut self.body.at_hand_mut().files[..self.next_file] {
                file.pause(out);
            }
        }
        self.forget_movers();
    }

    /// The next turn begins with the first file.
    fn forget_movers(&mut self) {
        self.moving.clear();
        self.failed.clear();
        self.next_file = 0;
    }

    /// Delivers the files that are staged, and drops the others.
    pub(crate) fn publish_files(&mut self, out: &mut Outbox) {
        let mut publishing = 0;
        for file in self.files_mut() {
            if file.is_staged() {
                publishing += usize::from(file.publish(out));
            } else {
                file.discard(out);
            }
        }
        self.publishing = publishing;
        self.forget_movers();
    }
}
