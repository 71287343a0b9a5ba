//! Swarms in a node: carries what the machines of [`eddy_engine::swarm`] say to each other, and gives the engine its sources.
//!
//! One task owns the node's part in all origins. It hears members (their messages, their wishes for segments), the driver (files that
//! want a content, takes that ended, members that come and go), the store (blocks that can be read) and the clock; what the
//! machines want done becomes messages on the members' connections and inputs of the engine. It decides nothing.
//!
//! | module | idea |
//! |---|---|
//! | this one | the way to the room, and what the driver tells it |
//! | [`room`] | the task: one thing happens, then everything that follows from it is carried out |
//! | [`contents`] | which contents this node takes part in: for which files, and what of them can be read |
//! | [`takes`] | what was ordered of the engine, under which name |
//! | [`lookups`] | what members hold that take part in no swarm |
//! | [`outbox`] | messages to members, in order, one stream for each member |
//! | [`pulse`] | who of those that matter now is alive |
//! | [`show`] | what people see of it |

mod contents;
mod lookups;
mod outbox;
mod pulse;
mod room;
mod show;
mod takes;

use crate::peer::Peers;
use crate::transfer::open::OpenEntity;
use eddy_content::http::RangeSupport;
use eddy_engine::port::{TakeEnd, TakeId};
use eddy_engine::swarm::{Order, Patience, Tally};
use eddy_engine::{FileRef, Input, Peer};
use eddy_wire::api::SwarmView;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// News of the driver that may wait; the room never waits for the driver, so this one may wait for the room.
const NEWS: usize = 1024;

/// What the driver tells the room.
#[derive(Debug)]
pub enum News {
    /// A member can be asked.
    Up(Peer),
    /// It is gone.
    Down(Peer),
    /// A file wants its open entity by the swarm.
    Join {
        /// The file.
        file: FileRef,
        /// Where its blocks come to.
        open: Box<OpenEntity>,
        /// In which order.
        order: Order,
        /// How long it bears a swarm in which nothing moves.
        patience: Patience,
        /// Whether the origin serves ranges, as far as is known.
        ranges: RangeSupport,
    },
    /// A file wants no more.
    Part(FileRef),
    /// Somebody wants to see it.
    Look(oneshot::Sender<Vec<SwarmView>>),
    /// Somebody wants its numbers.
    Count(oneshot::Sender<Tally>),
    /// A second fetch found a lie about a block.
    Lie {
        /// The file whose second fetch it was.
        file: FileRef,
        /// The block.
        block: u32,
    },
    /// The origin's answer to a take shows whether it serves ranges.
    Answered {
        /// Which.
        take: TakeId,
        /// What it shows.
        ranges: RangeSupport,
    },
    /// Bytes of a take come, of which no block is whole yet that somebody lacks.
    Moves(TakeId),
    /// A take is over.
    Ended {
        /// Which.
        take: TakeId,
        /// How.
        end: TakeEnd,
    },
}

/// The way to the room. Clones lead to the same.
#[derive(Debug, Clone)]
pub struct SwarmHandle {
    news: mpsc::Sender<News>,
}

impl SwarmHandle {
    /// Tells the room; one that has ended does not hear it.
    pub async fn tell(&self, news: News) {
        let _ = self.news.send(news).await;
    }
}

impl SwarmHandle {
    /// The contents that files of this node wanted, as people see them; none when the room has ended.
    pub async fn look(&self) -> Vec<SwarmView> {
        let (answer, views) = oneshot::channel();
        self.tell(News::Look(answer)).await;
        views.await.unwrap_or_default()
    }

    /// This node's part in all swarms, in numbers; none when the room has ended.
    pub async fn tally(&self) -> Option<Tally> {
        let (answer, tally) = oneshot::channel();
        self.tell(News::Count(answer)).await;
        tally.await.ok()
    }
}

/// Starts the room; `inputs` lead to the engine. It ends with `stop`.
#[must_use]
pub fn start(peers: Peers, inputs: mpsc::Sender<Input>, tasks: &TaskTracker, stop: CancellationToken) -> SwarmHandle {
    let (news, told) = mpsc::channel(NEWS);
    tasks.spawn(room::Room::new(peers, inputs, tasks.clone(), stop).run(told));
    SwarmHandle { news }
}
