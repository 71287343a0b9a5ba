//! The task: one thing happens, then everything that follows from it is carried out.

use super::News;
use super::contents::{Contents, Want};
use super::lookups::{Found, Lookups};
use super::outbox::Outbox;
use super::pulse::{BEAT, Finding, Pulses, SOON};
use super::show;
use super::takes::{Take, Takes, What};
use crate::peer::{FromMember, Peers, origin_of};
use crate::transfer::open::Arrivals;
use eddy_content::http::RangeSupport;
use eddy_content::{Geometry, LookupKey};
use eddy_engine::planner::Source;
use eddy_engine::port::{Reach, TakeEnd, TakeId};
use eddy_engine::swarm::{
    Content, ContentTag, Effect, FlowFault, Link, Medium, Message, OriginKey, ReadFault, Reading, Say, Swarm, Weight,
};
use eddy_engine::{FileRef, Input, Peer};
use eddy_wire::NodeId;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What members say that may wait; then their streams wait.
const FROM_MEMBERS: usize = 1024;
/// Contents with blocks that came, that may wait to be looked at.
const ARRIVALS: usize = 1024;
/// Members that have just said that they take part in no swarm.
const DEAF: usize = 64;
/// A line of which nothing is known.
const UNKNOWN: Link = Link { up: 0, down: 0, medium: Medium::Wired, subnet: 0 };

/// Whose wish is open.
type WishName = (Peer, ContentTag, u32);

/// The room.
pub(super) struct Room {
    swarm: Swarm,
    contents: Contents,
    takes: Takes,
    wishes: HashMap<WishName, oneshot::Sender<Option<Arrivals>>>,
    outbox: Outbox,
    pulses: Pulses,
    /// What the engine is to hear: the room does not wait for it.
    to_engine: VecDeque<Input>,
    inputs: mpsc::Sender<Input>,
    from_members: mpsc::Receiver<FromMember>,
    arrived: mpsc::Sender<ContentTag>,
    arrivals: mpsc::Receiver<ContentTag>,
    /// Members that have just said that they take part in no swarm.
    deaf: mpsc::Receiver<Peer>,
    /// All that have.
    plain: BTreeSet<Peer>,
    lookups: Lookups,
    found: mpsc::Receiver<Found>,
    peers: Peers,
    began: Instant,
    stop: CancellationToken,
}

impl Room {
    pub(super) fn new(peers: Peers, inputs: mpsc::Sender<Input>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let (gate, from_members) = mpsc::channel(FROM_MEMBERS);
        let (arrived, arrivals) = mpsc::channel(ARRIVALS);
        let (tell_deaf, deaf) = mpsc::channel(DEAF);
        let (lookups, found) = Lookups::new(peers.clone(), tasks.clone(), stop.clone());
        peers.attach(gate);
        Self {
            swarm: Swarm::new(Peer(peers.node_id().0), UNKNOWN, Weight::STEADY, rand::random()),
            contents: Contents::default(),
            takes: Takes::default(),
            wishes: HashMap::new(),
            outbox: Outbox::new(peers.clone(), tasks, stop.clone(), tell_deaf),
            pulses: Pulses::default(),
            to_engine: VecDeque::new(),
            inputs,
            from_members,
            arrived,
            arrivals,
            deaf,
            plain: BTreeSet::new(),
            lookups,
            found,
            peers,
            began: Instant::now(),
            stop,
        }
    }

    pub(super) async fn run(mut self, mut told: mpsc::Receiver<News>) {
        let (stop, inputs) = (self.stop.clone(), self.inputs.clone());
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.swarm.poll_timeout().map(|at| at.saturating_sub(self.now()));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                permit = inputs.reserve(), if !self.to_engine.is_empty() => match (permit, self.to_engine.pop_front()) {
                    (Ok(permit), Some(input)) => permit.send(input),
                    _ => break,
                },
                Some(news) = told.recv() => self.on_news(news),
                Some(tag) = self.arrivals.recv() => self.on_arrived(tag),
                Some(peer) = self.deaf.recv() => self.on_plain(peer),
                Some(found) = self.found.recv() => {
                    self.swarm.handle_lookup(self.now(), found.peer, found.content, found.have);
                }
                Some(said) = self.from_members.recv() => self.on_member(said),
                _ = beats.tick(), if due.is_some_and(|due| due <= SOON) => self.on_beat(),
                () = sleep(due) => self.swarm.handle_timeout(self.now()),
            }
            self.carry_out_all();
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Looks who of those that matter is alive.
    fn on_beat(&mut self) {
        let now = self.now();
        let heard = |peer: &Peer| self.peers.packets_from(NodeId(peer.0));
        for finding in self.pulses.look(now, &self.swarm.companions(), heard) {
            match finding {
                Finding::Ask(peer) => self.outbox.send(peer, &Message { origin: OriginKey(0), say: Say::Alive }),
                Finding::Gone(peer) => {
                    tracing::debug!(node = %NodeId(peer.0), "nothing comes from a member of a swarm any more");
                    self.swarm.handle_peer_down(now, peer);
                }
                Finding::Back(peer) => {
                    self.swarm.handle_peer_up(now, peer, Weight::STEADY);
                    if self.plain.contains(&peer) {
                        self.swarm.handle_plain(now, peer);
                    }
                }
            }
        }
    }

    fn on_news(&mut self, news: News) {
        let now = self.now();
        match news {
            News::Up(peer) => self.on_up(peer),
            News::Down(peer) => self.on_gone(peer),
            News::Join { file, open, order, patience, ranges } => {
                self.on_join(Want { file, open: *open, reading: reading_of(ranges), order, patience });
            }
            News::Part(file) => self.on_part(file),
            News::Look(answer) => {
                let me = Peer(self.peers.node_id().0);
                let views = self.contents.wanted();
                let views = views.filter_map(|(tag, url)| Some(show::view(me, url, self.swarm.glance(tag)?)));
                // Who asked may have gone.
                let _ = answer.send(views.collect());
            }
            News::Count(answer) => {
                // The same.
                let _ = answer.send(self.swarm.tally());
            }
            News::Lie { file, block } => {
                if let Some(tag) = self.contents.of(file) {
                    self.swarm.handle_lie(tag, block);
                }
            }
            News::Answered { take, ranges } => self.on_take_answered(take, reading_of(ranges)),
            News::Moves(take) => {
                if let Some(Take { content, what: What::Lease { lease, .. }, .. }) = self.takes.at(take) {
                    self.swarm.handle_moves(now, *content, *lease);
                }
            }
            News::Ended { take, end } => self.on_take_ended(take, end),
        }
    }

    /// A member is there. It is spoken to at once: one that takes part in no swarm says so then, and not when somebody waits for it.
    fn on_up(&mut self, peer: Peer) {
        self.plain.remove(&peer);
        self.swarm.handle_peer_up(self.now(), peer, Weight::STEADY);
        self.outbox.send(peer, &Message { origin: OriginKey(0), say: Say::Alive });
    }

    /// A member takes part in no swarm.
    fn on_plain(&mut self, peer: Peer) {
        self.outbox.forget(&peer);
        // What it said on a connection that has ended.
        if self.peers.packets_from(NodeId(peer.0)).is_none() {
            return;
        }
        if self.plain.insert(peer) {
            self.to_engine.push_back(Input::PeerPlain(peer));
        }
        self.swarm.handle_plain(self.now(), peer);
    }

    /// A member is not there any more.
    fn on_gone(&mut self, peer: Peer) {
        self.plain.remove(&peer);
        self.outbox.forget(&peer);
        self.pulses.forget(&peer);
        self.wishes.retain(|(of, ..), _| *of != peer);
        self.swarm.handle_peer_down(self.now(), peer);
    }

    fn on_join(&mut self, want: Want) {
        let entity = want.open.entity.entity();
        let (key, length, reading) = (self.peers.lookup_key(entity), entity.length, want.reading);
        let content = Content { key, length, reading };
        let (Some(geometry), origin) = (content.geometry(), origin_of(&entity.url)) else {
            return self.to_engine.push_back(Input::SwarmOver { file: want.file });
        };
        let tag = content.tag();
        self.know(content, geometry, origin);
        self.contents.touch(tag);
        let Some(known) = self.contents.at_mut(tag) else { return };
        known.want(want);
        // One who wants it already takes for all.
        if known.wants.len() == 1 {
            self.begin(tag);
        }
    }

    /// Enters a content, if it is not known.
    fn know(&mut self, content: Content, geometry: Geometry, origin: OriginKey) {
        if self.contents.at(content.tag()).is_none()
            && let Some(forgotten) = self.contents.enter(content, geometry, origin)
        {
            self.swarm.leave(self.now(), forgotten);
        }
    }

    /// Takes part in a content for the first of those who want it.
    fn begin(&mut self, tag: ContentTag) {
        let now = self.now();
        let Some(known) = self.contents.at_mut(tag) else { return };
        let Some(want) = known.wants.first() else { return };
        let wish = (want.order, want.patience);
        let beginnings = known.look();
        known.watch(&self.arrived);
        let (origin, content, have) = (known.origin, known.content, known.have());
        self.swarm.start(now, origin, content, have, Some(wish));
        for (segment, prefix) in beginnings.into_iter().filter(|(_, prefix)| *prefix > 0) {
            self.swarm.handle_blocks(now, tag, segment, prefix);
        }
    }

    fn on_part(&mut self, file: FileRef) {
        let now = self.now();
        self.takes.forget(file);
        let Some(tag) = self.contents.of(file) else { return };
        let Some(known) = self.contents.at_mut(tag) else { return };
        let was_first = known.wants.first().is_some_and(|want| want.file == file);
        let held = known.held();
        known.wants.retain(|want| want.file != file);
        if !was_first {
            return;
        }
        known.watch(&self.arrived);
        let (is_wanted, origin, content) = (!known.wants.is_empty(), known.origin, known.content);
        if held.is_full() {
            // Nothing of it is taken any more, for nobody here; it is given on.
        } else if is_wanted {
            // Not left in between: the home would have what only this node holds read again.
            self.begin(tag);
        } else {
            // What is not whole is given by whoever asks the store.
            self.swarm.leave(now, tag);
            if held.is_empty() {
                self.contents.forget(tag);
            } else {
                self.swarm.start(now, origin, content, held, None);
            }
        }
    }

    fn on_arrived(&mut self, tag: ContentTag) {
        let now = self.now();
        let Some(known) = self.contents.at_mut(tag) else { return };
        for (segment, prefix) in known.look() {
            self.swarm.handle_blocks(now, tag, segment, prefix);
        }
    }

    fn on_take_answered(&mut self, id: TakeId, reading: Reading) {
        let Some(Take { content, what: What::Lease { lease, .. }, .. }) = self.takes.at(id).cloned() else { return };
        if reading == Reading::Stream
            && let Some(known) = self.contents.at(content)
        {
            self.takes.lengthen(id, known.geometry.segment_count());
        }
        let now = self.now();
        self.swarm.handle_reading(now, content, lease, reading);
    }

    fn on_take_ended(&mut self, id: TakeId, end: TakeEnd) {
        let Some(Take { content: tag, what, .. }) = self.takes.end(id) else { return };
        self.on_arrived(tag);
        let now = self.now();
        let Some(known) = self.contents.at(tag) else { return };
        match what {
            What::Flow { source, segments, reach } => {
                let fault = match (end, reach) {
                    (TakeEnd::Corrupt, _) => FlowFault::Corrupt,
                    (TakeEnd::Over | TakeEnd::Lacking, Reach::Held) => FlowFault::Lacking,
                    _ => FlowFault::Refused,
                };
                let failed = segments.into_iter().filter(|segment| !known.is_whole(*segment..segment + 1));
                for segment in failed.collect::<Vec<_>>() {
                    self.swarm.handle_flow_fault(now, source, tag, segment, fault);
                }
            }
            What::Lease { lease, segments } => {
                let fault = match end {
                    TakeEnd::Changed => ReadFault::Changed,
                    TakeEnd::NoRanges => ReadFault::NoRanges,
                    _ => ReadFault::Failed,
                };
                if fault == ReadFault::Changed || !known.is_whole(segments) {
                    self.swarm.handle_read_fault(now, tag, lease, fault);
                }
            }
        }
    }

    fn on_member(&mut self, said: FromMember) {
        let now = self.now();
        match said {
            FromMember::Message { node, message, here } => {
                tracing::trace!(%node, ?message, "heard in a swarm");
                if let Say::At { peer, address } = message.say {
                    return self.peers.hint(NodeId(peer.0), address);
                }
                if let Some(here) = here.filter(|here| here.origin == message.origin)
                    && self.contents.at(here.content.tag()).is_none()
                    && let Some(geometry) = here.content.geometry()
                {
                    self.know(here.content, geometry, here.origin);
                    self.swarm.start(now, here.origin, here.content, here.have, None);
                }
                self.swarm.handle_message(now, Peer(node.0), *message);
            }
            FromMember::Wish { node, key, segment, from, answer } => {
                let (peer, tag) = (Peer(node.0), tag_of(key));
                self.contents.touch(tag);
                // One that asks again has given its first wish up.
                self.wishes.insert((peer, tag, segment), answer);
                self.swarm.handle_subscribe(now, peer, tag, segment, from);
            }
            FromMember::Served { node, key, segment } => {
                self.swarm.handle_given(now, Peer(node.0), tag_of(key), segment);
            }
            FromMember::Missing { key } => {
                let tag = tag_of(key);
                if self.contents.at(tag).is_some_and(|known| known.wants.is_empty()) {
                    self.contents.forget(tag);
                    self.swarm.leave(now, tag);
                }
            }
        }
    }

    fn carry_out_all(&mut self) {
        while let Some(effect) = self.swarm.poll_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, message } => self.outbox.send(to, &message),
            Effect::LookUp { peer, content } => self.lookups.begin(peer, content),
            Effect::Subscribe { source, content, segment, from } => {
                let what = What::Flow { source, segments: vec![segment], reach: Reach::Coming };
                self.take(content, (segment..segment + 1, from), (Source::Peer(source), Reading::Ranges), what);
            }
            Effect::Fetch { source, content, segments, from } => {
                let what = What::Flow { source, segments: segments.clone().collect(), reach: Reach::Held };
                self.take(content, (segments, from), (Source::Peer(source), Reading::Ranges), what);
            }
            Effect::Unsubscribe { content, segment, .. } => {
                let known = self.contents.at(content);
                let is_whole = |segment: u32| known.is_some_and(|known| known.is_whole(segment..segment + 1));
                let ended = self.takes.end_flow(content, segment, is_whole);
                self.untake(ended);
            }
            Effect::Read { lease, content, segments, from, reading } => {
                let what = What::Lease { lease, segments: segments.clone() };
                self.take(content, (segments, from), (Source::Origin, reading), what);
            }
            Effect::StopReading { lease, .. } => {
                let ended = self.takes.end_lease(lease);
                self.untake(ended);
            }
            Effect::Serve { to, content, segment, .. } => {
                let arrivals = self.contents.at(content).map(super::contents::Known::arrivals);
                self.answer((to, content, segment), arrivals);
            }
            Effect::Refuse { to, content, segment } => self.answer((to, content, segment), None),
            Effect::Watch { content, sharing } => {
                if let Some(want) = self.contents.at(content).and_then(|known| known.wants.first()) {
                    if sharing.among > 1 {
                        want.open.pass_on();
                    }
                    self.to_engine.push_back(Input::Watch { file: want.file, sharing });
                }
            }
            Effect::LookTwice { content, block } => match self.taking(content) {
                Some(file) => self.to_engine.push_back(Input::LookTwice { file, block }),
                None => tracing::warn!(block, "a member found a lie in a file that has been delivered here"),
            },
            Effect::Over { content } => self.end(content, |file| Input::SwarmOver { file }),
            // It is a member's word: the file asks the origin itself.
            Effect::Changed { content } => self.end(content, |file| Input::SwarmChanged { file }),
        }
    }

    /// The swarm of a content has ended: whoever wanted it hears so.
    fn end(&mut self, content: ContentTag, news: impl Fn(FileRef) -> Input) {
        let wants = self.contents.at(content).map(|known| known.wants.iter().map(|want| want.file).collect());
        let files: Vec<FileRef> = wants.unwrap_or_default();
        for file in files {
            self.takes.forget(file);
            self.to_engine.push_back(news(file));
        }
        self.contents.forget(content);
    }

    /// The file for which blocks of a content are ordered.
    fn taking(&self, content: ContentTag) -> Option<FileRef> {
        self.contents.at(content)?.wants.first().map(|want| want.file)
    }

    /// Orders blocks for the first file that wants a content.
    fn take(
        &mut self,
        content: ContentTag,
        (segments, from): (std::ops::Range<u32>, u32),
        (source, reading): (Source, Reading),
        what: What,
    ) {
        let Some(known) = self.contents.at(content) else { return };
        let Some(file) = self.taking(content) else { return };
        let start = known.geometry.blocks_of_segment(segments.start).start + from;
        let end = known.geometry.blocks_of_segment(segments.end - 1).end;
        let through = match reading {
            Reading::Ranges => None,
            Reading::Stream => Some(end),
            Reading::Unknown => Some(known.geometry.block_count()),
        };
        let reach = if let What::Flow { reach, .. } = what { reach } else { Reach::Held };
        let take = self.takes.begin(Take { file, content, what });
        self.to_engine.push_back(Input::Take { file, take, source, blocks: start..end, through, reach });
    }

    fn untake(&mut self, ended: Vec<(TakeId, FileRef)>) {
        self.to_engine.extend(ended.into_iter().map(|(take, file)| Input::Untake { file, take }));
    }

    fn answer(&mut self, name: WishName, arrivals: Option<Arrivals>) {
        if let Some(answer) = self.wishes.remove(&name) {
            // Who has given up hears nothing, and says that it is served.
            let _ = answer.send(arrivals);
        }
    }
}

fn reading_of(ranges: RangeSupport) -> Reading {
    match ranges {
        RangeSupport::Yes => Reading::Ranges,
        RangeSupport::No => Reading::Stream,
        RangeSupport::Unknown => Reading::Unknown,
    }
}

fn tag_of(key: LookupKey) -> ContentTag {
    Content { key, length: 0, reading: Reading::Ranges }.tag()
}

async fn sleep(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}
