//! Every number of the swarm, with its reason.
//!
//! "Simulated" means: chosen among others in the simulations behind the design, and held by the fleet simulator.

use std::time::Duration;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Segments of the longest content that a swarm shares: 1 TiB in segments of 16 MiB. Bounds bitmaps to 8 KiB.
pub const SEGMENTS: u32 = 65_536;
/// Members that one home remembers; the next one is told to look elsewhere.
pub const MEMBERS: usize = 4096;
/// Origins that members may make a node hear of; of one more it hears nothing while these are busy.
pub const ROOMS: usize = 1024;
/// Contents of one origin that a home knows at once.
pub const CONTENTS: usize = 1024;

/// Words of 8 bytes that all homes of a node take together: 128 MiB. What would take more is told to look elsewhere.
pub const HOME_WORDS: u64 = 16 << 20;

/// Items of one assignment.
pub const ASSIGN_ITEMS: usize = 1024;
/// Segments of one report.
pub const DONE_SEGMENTS: usize = 4096;
/// Flows of one JOIN; a stream has one for each segment that is still to come.
pub const JOIN_FLOWS: usize = 2048;

/// A home that has not answered by then is passed over: a local round trip is 1 ms, a busy machine answers in 50, and one that starts
/// a dozen programs at once in 200. Who is passed over in error reads everything twice (trap 11).
pub const JOIN_PROBE: Duration = ms(300);
/// How long it may take to answer where it has answered late before: the machines here are very busy, or very far.
pub const JOIN_PROBE_MOST: Duration = ms(1200);
/// How long a silent home, or a source that failed, is passed over.
pub const REFUSAL: Duration = Duration::from_secs(60);
/// A home waits this long for the holdings of those that it asked.
pub const ACTIVATION: Duration = ms(50);
/// A home that follows another one gives no leases for this long: should that one live after all, it has time to say so.
pub const TAKE_OVER_GRACE: Duration = ms(300);
/// And none before all members have said what they are reading, but for this long at most: some may have died with their home.
pub const TAKE_OVER_MOST: Duration = ms(1000);
/// What a member is reading that has not joined yet is given to nobody else for this long: members notice the death of a home at
/// different times.
pub const EXPECTED: Duration = ms(2500);
/// How long the segments of a dead reader wait for a child that has a part of them.
pub const ORPHAN_HOLD: Duration = ms(300);
/// A home that somebody has lost is not followed for this long on the word of others, so that members who have not noticed yet do not
/// bring it back; its own word does. As long as the transport takes to find out by itself.
pub const HEARSAY: Duration = Duration::from_secs(15);
/// Homes that a joining member says it has lost.
pub const LOST: usize = 3;
/// Who named a home that is none is asked no more for this long.
pub const MISLED: Duration = ms(1500);
/// How long a NOTE about an acting home is worth something, and the sign of one that it acts.
pub const NOTE_LIFE: Duration = Duration::from_secs(10);
/// Homes that act for one origin, of which a member knows at once: two are one too many.
pub const ACTING: usize = 4;
/// How often an acting home, and a member whose home is not its first choice, look for a better one.
pub const BETTER_HOME: Duration = ms(500);
/// Contents about which a home asks a member that turns up.
pub const ASKED_OF_NEWCOMERS: usize = 16;
/// Members whom a joining one tells where it went: ranks two and three.
pub const NOTED: usize = 2;

/// What a member that takes part in no swarm holds is looked up again after this, while somebody wants what it lacks.
pub const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Doublings of that while it holds nothing.
pub const LOOK_DOUBLINGS: u32 = 5;

/// How often counters are counted afresh and everybody is looked after (trap 8).
pub const SAFETY_PASS: Duration = ms(500);
/// A member that has nothing under way for this long, all holders refused, may read one segment (trap 10).
pub const RESCUE: Duration = Duration::from_secs(2);
/// Doublings of the time for which a source is passed over that gives nothing; the first is [`RESCUE`], the longest [`REFUSAL`].
pub const REFUSAL_DOUBLINGS: u32 = 5;
/// Reports by different members after which somebody is no source.
pub const STRIKES: usize = 2;
/// For how long, when what it sent did not verify.
pub const STRUCK: Duration = Duration::from_secs(600);
/// For how long, when it stalled for the first time: it may only be busy, and then what it reads and holds need not be read again.
pub const PAUSED: Duration = ms(2500);
/// For how long, when it stalled before.
pub const STRUCK_STALLED: Duration = Duration::from_secs(60);
/// When one in so many members is excluded for stalling, no more are: then the network is to blame.
pub const STRUCK_SHARE: usize = 4;
/// A content is forgotten this long after its last event.
pub const CONTENT_LIFE: Duration = Duration::from_secs(600);

/// How often a member looks at its flows.
pub const WATCH: Duration = ms(250);
/// Silence before the first byte of a flow that is too long.
pub const FIRST_BYTE: Duration = Duration::from_secs(2);
/// Silence of a flow that is always allowed, and the multiple of its own pace that is (trap 6: a fixed limit re-sources whole
/// swarms when the origin is slow).
pub const SILENCE: Duration = ms(750);
/// See [`SILENCE`].
pub const SILENCE_GAPS: u32 = 8;
/// Silence of a flow that is never allowed.
pub const SILENCE_MOST: Duration = Duration::from_secs(10);
/// A source that has nothing more for a child says so this often.
pub const WAITING: Duration = ms(400);
/// What a source said of its own waiting is believed for this long.
pub const WAITING_LIFE: Duration = ms(1250);
/// No byte at all and no answer of the home: the member reads by itself; the first is for somebody who watches.
pub const WATCHDOG: Duration = Duration::from_secs(5);
/// The same when nobody watches.
pub const WATCHDOG_BACKGROUND: Duration = Duration::from_secs(30);
/// No byte at all although the home answers: it is refused. Six times the watchdog, since the origin may be slow for everybody.
pub const HOME_WORTH: Duration = Duration::from_secs(30);
/// The same of a stream: a new reader begins at the first byte, and a slow line takes minutes to where the old one was.
pub const HOME_WORTH_STREAM: Duration = Duration::from_secs(300);
/// A member without a byte of a content tells its home of it again after this.
pub const IDLE_JOIN: Duration = Duration::from_secs(2);
/// Doublings of that while other contents come: where many share a slow line each waits its turn, and to say so again helps nobody.
pub const REJOIN_DOUBLINGS: u32 = 4;
/// A source waits so often and so long for its own assignment before it refuses a child (trap 7).
pub const SUBSCRIBER_PATIENCE: [Duration; 4] = [ms(2), ms(8), ms(32), ms(128)];
/// Flows that a member gives at once.
pub const UPLOADS: u32 = 32;

/// Flows of one content that a member has at once when its rate is not known. Simulated, and measured with lines of 20 and 50 Mbit/s: with
/// fewer, lines rest between one flow and the next; with more, what is under way at once comes later, and whoever would give it on waits.
pub const WINDOW: u32 = 16;
/// How often flows are evened out over their sources.
pub const EVEN_EVERY: Duration = ms(100);
/// A flow stays with its source for so long. On a line of 100 Mbit/s and more flows are over before; of one that lasts so long a round trip, and
/// what is on its way, is a small part. Measured with 1 s, which gains the same.
pub const EVEN_AGE: Duration = ms(1500);
/// So many more flows a source has, and half as many again, that one of them leaves it.
pub const EVEN_GAP: u32 = 3;
/// Of so many members one flow leaves its source at a time.
pub const EVEN_EACH: usize = 4;
/// And so many flows at most.
pub const EVEN_MOST: usize = 32;
/// Flows that are looked at for each that may leave.
pub const EVEN_LOOKS: usize = 16;
/// Segments that nobody else has or receives which a member with all of a content gives at once, as many as others have under way: of more,
/// each of them would follow a part only, and its line carry a part; fewer would not fill it.
pub const FIRST_COPIES: u32 = 12;

/// The least flows of a member whose rate is known.
pub const WINDOW_LEAST: u32 = WINDOW;
/// The most: what is under way is lost with its source.
pub const WINDOW_MOST: u32 = 128;
/// Flows of one content that a member has at once whatever its home says: twice the longest window, and what leases bring.
pub const FLOWS_MOST: usize = 512;
/// Requests into which the window of a member is cut that takes held segments alone: each costs both sides a signature and a commit, and
/// with four of them the line never rests.
pub const RUNS: u32 = 4;
/// Bytes of the longest of them: what one request between peers may be for.
pub const RUN_BYTES: u64 = 16 << 20;
/// Segments of the longest of them; the smallest has 1 MiB.
pub const RUN_SEGMENTS: u32 = 16;
/// Time whose bytes a member has under way.
pub const WINDOW_TIME: Duration = ms(500);

/// Alarms about one content that one member is heard with: each makes this node ask the origin for a block.
pub const ALARMS_EACH: usize = 2;
/// Alarms about one content that are heard, and that a member gives.
pub const ALARMS: usize = 8;

/// Sources that are all looked at; of more, as many as [`SAMPLE`] are drawn.
pub const CANDIDATES: usize = 24;
/// See [`CANDIDATES`].
pub const SAMPLE: usize = 16;
/// Longest branch: longer is taken for a cycle.
pub const DEPTH: u32 = 64;

/// Leases at first.
pub const LEASES: u32 = 4;
/// Leases that the rate rule gives at most.
pub const LEASES_BY_RATE: u32 = 8;
/// Leases ever, those in their tail among them: an origin sees at most so many requests of a subnet.
pub const LEASES_MOST: u32 = 16;
/// Round trips that one request should last at least (trap 15).
pub const LEASE_ROUND_TRIPS: u32 = 4;
/// A lease that is over sooner, or sooner than one should be by [`LEASE_ROUND_TRIPS`], is followed by ones twice as long: a request, two
/// messages and a commit cost some milliseconds, whatever the line.
pub const LEASE_SHORT: Duration = ms(50);
/// One that takes this multiple of it by ones half as long, so that others get their turn.
pub const LEASE_LONG: u32 = 8;
/// Segments of the longest lease.
pub const LEASE_SEGMENTS: u32 = 16;
/// When the rest of a lease needs fewer round trips than this, the next one is given (trap 14).
pub const TAIL_ROUND_TRIPS: u32 = 2;
/// How often a reader says how far it is.
pub const PROGRESS: Duration = ms(500);
/// Who has a lease and brings nothing for this long gives it up.
pub const ORIGIN_SILENCE: Duration = Duration::from_secs(10);
/// A lease that takes this multiple of the time that it should, and more than [`LEASE_TIME`], is given to somebody else.
pub const LEASE_PATIENCE: u32 = 8;
/// See [`LEASE_PATIENCE`].
pub const LEASE_TIME: Duration = Duration::from_secs(30);
/// A stream whose reader shows nothing for this long is given to somebody else. An honest reader shows something every second or two
/// (what it skips among it) and gives an origin up that is silent for [`ORIGIN_SILENCE`]: three times that leaves room for machines
/// that are busy. Those who wait for the stream bear ten times this ([`HOME_WORTH_STREAM`]), so that a second and a third one may read.
pub const STREAM_SILENCE: Duration = Duration::from_secs(30);
/// A stream of which nobody but its reader has more after this is given to somebody else, whatever its reader says: twice what an honest
/// one bears of a silent origin ([`ORIGIN_SILENCE`]). Doubled with each loss up to [`STREAM_DOUBLINGS`] doublings, for lines so slow that
/// a run of 256 KiB takes longer.
pub const STREAM_UNCHECKED: Duration = Duration::from_secs(20);
/// See [`STREAM_UNCHECKED`]: from the fourth on it is what a useless home costs.
pub const STREAM_DOUBLINGS: u32 = 4;
/// Bytes per second at which a new reader of a stream is thought to pass over what the others have, where nobody has seen its pace.
pub const SKIP_PACE: u64 = 1 << 20;
/// How often a member tells how much of a stream it has.
pub const REACHED: Duration = Duration::from_secs(2);
/// A member whose origin requests fail at once reads no more for this long, doubled with each failure up to 5 doublings.
pub const READ_PAUSE: Duration = ms(500);

/// Assignments are collected for this long while the rest of the file is short, or few members are there.
pub const COLLECT: Duration = ms(5);
/// Assignments are collected for this long at most in the middle of a file: a member has half a second of flows under way, or more.
pub const COLLECT_MIDST: Duration = ms(250);
/// And for this part of the time that its flows last, as fast as they were finished of late.
pub const COLLECT_SHARE: u32 = 4;
/// Members up to which a home collects briefly, and one that joins asks the others itself: their messages are few anyway.
pub const FEW_MEMBERS: usize = 8;
/// Reports of finished segments are collected for this long.
pub const COLLECT_DONE: Duration = ms(20);
/// Segments nobody reads yet from which on the midst of a file is over.
pub const LAST_SEGMENTS: u32 = 8;
/// Waiting members that a finished segment makes room for.
pub const WOKEN: usize = 4;

/// How often the number of leases is thought about, and how long each part of a trial lasts.
pub const TRIAL: Duration = Duration::from_secs(1);
/// How long a number of leases is kept after a trial brought nothing.
pub const TRIAL_HOLD: Duration = Duration::from_secs(16);
