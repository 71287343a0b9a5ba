//! What members say to each other in swarms: read from their stream, with what the store here offers of what they speak of.

use super::ask::{find, offered};
use super::{Abandon, Server, Shared};
use crate::peer::conduct::Asked;
use crate::peer::gate::{FromMember, Here, origin_of};
use crate::peer::stream::{Input, InputError};
use eddy_engine::engine::Swarms;
use eddy_engine::swarm::{Bits, Content, Message, Say};
use eddy_wire::NodeId;
use std::collections::BTreeSet;

/// Contents that are not here and were asked about on one stream, so that each counts once.
const MISSED: usize = 256;

impl Server {
    /// Hears a member until its stream ends.
    pub(super) async fn hear(&self, node: NodeId, input: &mut Input) -> Result<(), Abandon> {
        let Some(gate) = self.gate.get() else {
            // A node that is starting takes connections a moment before it hears: taken for deaf, it would be passed over while they last.
            return Err(if self.shared.swarms == Swarms::On { Abandon::Unwanted } else { Abandon::Deaf });
        };
        let mut missed = BTreeSet::new();
        loop {
            let message = match input.frame::<Message>().await {
                Ok(message) => Box::new(message),
                Err(InputError::Ended) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let here = match &message.say {
                Say::Join(join) => self.here(node, join.content, &mut missed).await?,
                Say::Query { content } | Say::Seek { content, .. } => self.here(node, *content, &mut missed).await?,
                _ => None,
            };
            gate.send(FromMember::Message { node, message, here }).await.map_err(|_| Abandon::Unwanted)?;
        }
    }

    /// What is here of a content. Absent, private and told-nothing look the same, as everywhere (T-12).
    async fn here(
        &self,
        node: NodeId,
        content: Content,
        missed: &mut BTreeSet<[u8; 32]>,
    ) -> Result<Option<Box<Here>>, Abandon> {
        let here = {
            let _turn = self.lookups.acquire().await.map_err(|error| Abandon::Fault(error.to_string()))?;
            self.blocking(move |shared| here(shared, content)).await?
        };
        if missed.len() >= MISSED {
            missed.clear();
        }
        let is_new_miss = here.is_none() && missed.insert(content.key.0);
        let told_nothing = self.asks_too_much(node, Asked::Swarm, usize::from(is_new_miss));
        Ok(here.filter(|_| !told_nothing).map(Box::new))
    }
}

fn here(shared: &Shared, content: Content) -> Option<Here> {
    let handle = find(shared, &content.key).filter(|handle| handle.entity().length == content.length)?;
    let (geometry, blocks) = (handle.geometry(), offered(shared, &handle));
    let mut have = Bits::none(geometry.segment_count());
    let whole = |segment: &u32| blocks.contains_run(geometry.blocks_of_segment(*segment));
    (0..geometry.segment_count()).filter(whole).for_each(|segment| have.insert(segment));
    (!have.is_empty()).then(|| Here { origin: origin_of(&handle.entity().url), content, have })
}
