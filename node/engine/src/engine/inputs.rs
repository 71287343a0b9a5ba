//! Inputs: what happened outside, handed to the file that it concerns.

use super::Engine;
use crate::job::live::{Job, News};
use crate::job::spec::JobId;
use crate::job::terms::Presence;
use crate::port::{Effect, FileRef, Input, Notice, Now};
use crate::retry;
use crate::sessions::Sessions;

impl Engine {
    /// Handles what happened outside.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.begin(now);
        match input {
            Input::NetworkUp => self.on_network_up(now),
            Input::PeerUp(peer) => {
                if !self.peers.contains(&peer) {
                    self.peers.push(peer);
                }
                self.advance_all(now);
            }
            Input::PeerPlain(peer) => {
                if self.peers.contains(&peer) {
                    self.plain.insert(peer);
                }
            }
            Input::PeerDown(peer) => {
                self.plain.remove(&peer);
                self.peers.retain(|known| *known != peer);
                for id in self.running() {
                    let Some(job) = self.roster.get_mut(id) else { continue };
                    job.files_mut().iter_mut().for_each(|file| file.on_peer_down(peer));
                }
                self.advance_all(now);
            }
            Input::Probed { job, result } => self.on_probed(now, job, result),
            Input::Sessions(sessions) => self.on_sessions(sessions),
            other => {
                self.tell_companions(now, &other);
                if let Some(at) = self.handle_for_file(now, other) {
                    self.advance_one(now, at);
                }
            }
        }
        self.schedule(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.run(now);
    }

    /// A way to the outside has come up: whoever waits for origins tries again at once, whatever stopped it (F-27).
    fn on_network_up(&mut self, now: Now) {
        self.roster.queue_mut().open_all();
        let sleepers: Vec<JobId> = self.roster.sleepers().collect();
        for id in sleepers {
            let Some(job) = self.roster.get_mut(id).filter(|job| job.condition.is_none()) else { continue };
            // All at once would be a herd: each within a moment of its own.
            let wake = now.mono + retry::wake_delay(&mut self.rng);
            job.retry_at = job.retry_at.map(|at| at.min(wake));
            self.roster.settle(id);
        }
    }

    /// Others are logged on: whoever was waited for goes on, whoever has left is waited for (F-82).
    fn on_sessions(&mut self, sessions: Sessions) {
        if *self.roster.sessions() == sessions {
            return;
        }
        self.roster.set_sessions(sessions);
        let tied = |job: &&Job| job.presence() == Presence::WhileLoggedOn && !job.state().is_final();
        let tied: Vec<JobId> = self.roster.jobs().filter(tied).map(Job::id).collect();
        for id in tied {
            self.heed_sessions(id);
            self.notices.push_back(Notice::JobChanged(id));
        }
    }

    /// Takes the turn from a job whose owner is away, or has it queue if the owner is there.
    pub(super) fn heed_sessions(&mut self, id: JobId) {
        let Some(job) = self.roster.get(id) else { return };
        // What is whole is put in place whoever is there.
        if job.state().is_active() && !job.is_completing() && !self.roster.admits(job) {
            self.preempt(id);
        } else {
            self.roster.settle(id);
        }
    }

    /// Wants to know who is logged on, as soon as a job depends on it.
    pub(super) fn attend_sessions(&mut self, id: JobId) {
        let is_tied = self.roster.get(id).is_some_and(|job| job.presence() == Presence::WhileLoggedOn);
        if is_tied && !std::mem::replace(&mut self.attends, true) {
            self.out.push(Effect::WatchSessions);
        }
    }

    /// What is durable, or damaged, is so for every job that wants the same version.
    fn tell_companions(&mut self, now: Now, input: &Input) {
        let (file, entity, news) = match input {
            Input::Committed { file, entity, blocks } => (file, *entity, News::Durable(blocks)),
            Input::Doubted { file, entity, blocks } => (file, *entity, News::Doubted(blocks)),
            Input::Damaged { file, blocks } => {
                let teller = self.roster.get(file.job).and_then(|job| job.files().get(file.file as usize));
                let Some(entity) = teller.and_then(|file| file.entity_id()) else { return };
                (file, entity, News::Lost(blocks))
            }
            _ => return,
        };
        for id in self.running() {
            let Some(job) = self.roster.get_mut(id) else { continue };
            if job.tell_movers(*file, entity, news, (&mut self.out, &mut self.rng)) {
                self.advance(now, id);
            }
        }
    }

    /// Hands an input to its file, which may go on with it.
    fn handle_for_file(&mut self, now: Now, input: Input) -> Option<FileRef> {
        let at = self.file_of(&input)?;
        let ended = match &input {
            Input::Ended { fetch, .. } => Some(*fetch),
            _ => None,
        };
        let touched = self.hand_in(now, at, input);
        if let Some(fetch) = ended {
            self.out.forget(fetch);
        }
        touched
    }

    fn hand_in(&mut self, now: Now, at: FileRef, input: Input) -> Option<FileRef> {
        let (job, mut s) = self.surroundings(now, at.job)?;
        let is_notable = !matches!(input, Input::Holds { .. } | Input::Committed { .. } | Input::Moves { .. });
        let file = job.file_mut(at.file)?;
        let progress = file.progress();
        let (mut received, mut is_published) = (0, false);
        match input {
            Input::Prepared { result, .. } => file.on_prepared(result),
            Input::Contacted { fetch, result } => file.on_contacted(fetch, result, &mut s),
            Input::Opened { result, .. } => file.on_opened(result, &mut s),
            Input::Holds { entity, peer, blocks, .. } => file.on_holds(entity, peer, blocks),
            Input::Received { fetch, bytes } => {
                received = bytes;
                file.on_received(now.mono, fetch, bytes);
            }
            Input::Committed { entity, blocks, .. } => file.on_committed(entity, &blocks, (s.out, s.rng)),
            Input::Doubted { entity, blocks, .. } => file.on_doubted(entity, &blocks),
            Input::Ended { fetch, outcome } => file.on_ended(fetch, outcome, &mut s),
            Input::Damaged { blocks, .. } => file.on_damaged(&blocks, s.out),
            Input::Staged { result, .. } => file.on_staged(result, &mut s),
            Input::Published { result, .. } => is_published = file.on_published(result),
            Input::Take { take, source, blocks, through, reach, .. } => {
                file.on_take(take, (source, blocks), (through, reach), &mut s);
            }
            Input::Answered { fetch, ranges } => file.on_answered(fetch, ranges, s.out),
            Input::Moves { fetch } => file.on_moves(fetch, s.out),
            Input::Untake { take, .. } => file.on_untake(take, &mut s),
            Input::SwarmChanged { .. } => file.on_swarm_changed(s.out),
            Input::SwarmOver { .. } => file.on_swarm_over(s.out),
            Input::Watch { sharing, .. } => file.on_watch(sharing),
            Input::LookTwice { block, .. } => file.on_alarm(block, s.out),
            Input::PeerUp(_) | Input::PeerDown(_) | Input::PeerPlain(_) => {}
            Input::Probed { .. } | Input::NetworkUp | Input::Sessions(_) => {}
        }
        if file.progress() > progress {
            job.on_progress();
        }
        if received > 0 {
            job.count(now.mono, received);
        }
        if is_published && job.is_completing {
            job.publishing = job.publishing.saturating_sub(1);
            self.settle_completion(now, at.job);
        }
        let job = self.roster.get(at.job)?;
        if is_notable && !job.state().is_final() {
            self.notices.push_back(Notice::JobChanged(at.job));
        }
        Some(at)
    }

    fn file_of(&self, input: &Input) -> Option<FileRef> {
        match input {
            Input::Prepared { file, .. }
            | Input::Opened { file, .. }
            | Input::Holds { file, .. }
            | Input::Damaged { file, .. }
            | Input::Doubted { file, .. }
            | Input::Committed { file, .. }
            | Input::Staged { file, .. }
            | Input::Published { file, .. }
            | Input::Take { file, .. }
            | Input::Untake { file, .. }
            | Input::Watch { file, .. }
            | Input::LookTwice { file, .. }
            | Input::SwarmChanged { file }
            | Input::SwarmOver { file } => Some(*file),
            Input::Contacted { fetch, .. }
            | Input::Received { fetch, .. }
            | Input::Answered { fetch, .. }
            | Input::Moves { fetch }
            | Input::Ended { fetch, .. } => self.out.owner(*fetch),
            Input::PeerUp(_) | Input::PeerDown(_) | Input::PeerPlain(_) => None,
            Input::Probed { .. } | Input::NetworkUp | Input::Sessions(_) => None,
        }
    }
}
