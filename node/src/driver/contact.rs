//! The first answer of an origin: asked for, shown while it is decided where its body goes, and told in the engine's terms.

use super::command::Naming;
use crate::origin::{Opened, Origin, OriginBody, OriginError, OriginRequest, Span};
use crate::transfer::failure;
use crate::transfer::recent::Recent;
use eddy_cache::Privacy;
use eddy_content::ResourceUrl;
use eddy_content::http::{Asked, Freshness, NotShared, Representation};
use eddy_engine::Failure;
use eddy_engine::port::{ContactMethod, Contacted};
use tokio::sync::oneshot;

/// Asks; a file without the first byte that is asked for cannot satisfy a range (RFC 9110 section 14.1.2), so it is asked for as a whole then.
pub(super) async fn first_answer(origin: &Origin, mut request: OriginRequest) -> Result<Opened, OriginError> {
    let opened = origin.open(&request).await?;
    if matches!(opened, Opened::Unsatisfiable { .. }) {
        request.asked = Asked::Whole;
        return origin.open(&request).await;
    }
    Ok(opened)
}

/// A body that came with an answer, read ahead by somebody until it is taken.
#[derive(Debug)]
pub struct AheadBody {
    wanted: oneshot::Sender<()>,
    body: oneshot::Receiver<OriginBody>,
}

impl AheadBody {
    /// The body, and the work of reading it ahead, which ends when it is taken, or will be by nobody: then its connection closes.
    ///
    /// Its beginning is shown to those who wait for it from the first piece on: whatever stands between an answer and its place in the
    /// store, a turn, the driver, an entity made durable, takes longer than the first bytes need.
    pub fn begin(mut body: OriginBody, span: Span, recent: Option<Recent>) -> (Self, impl Future<Output = ()> + Send) {
        let (wanted, is_wanted) = oneshot::channel();
        let (hand_over, handed_over) = oneshot::channel();
        let reading = async move {
            if show_until(&mut body, span, recent.as_ref(), is_wanted).await.is_ok() {
                let _ = hand_over.send(body);
            }
        };
        (Self { wanted, body: handed_over }, reading)
    }

    /// Takes the body, with all that was read of it; `None` when nobody reads it any more.
    pub(super) async fn take(self) -> Option<OriginBody> {
        self.wanted.send(()).ok()?;
        self.body.await.ok()
    }
}

/// Shows the beginning of a body, as much as there is memory for, until it is wanted.
///
/// What lies behind its span belongs to nobody and is not shown.
async fn show_until(
    body: &mut OriginBody,
    span: Span,
    recent: Option<&Recent>,
    mut wanted: oneshot::Receiver<()>,
) -> Result<(), oneshot::error::RecvError> {
    let (mut place, mut taken) = (span.start, 0);
    while let Some(recent) = recent.filter(|_| span.end.is_none_or(|end| place < end)) {
        let piece = tokio::select! {
            biased;
            wanted = &mut wanted => return wanted,
            piece = body.read_ahead() => piece,
        };
        let Some(mut piece) = piece else { break };
        taken += Recent::cost(&piece);
        if taken > recent.most() {
            // It would take the place of the first.
            break;
        }
        let left = span.end.map_or(u64::MAX, |end| end - place);
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let length = piece.len() as u64;
        recent.put(place, piece);
        place += length;
    }
    wanted.await
}

impl Naming {
    /// An answer under the name that its content has.
    pub(super) fn of(self, mut opened: Opened, asked: &ResourceUrl) -> Opened {
        let Self::Asked(privacy) = self else { return opened };
        if let Opened::Described { final_url, representation, .. }
        | Opened::Body { final_url, representation, .. }
        | Opened::NotModified { final_url, representation, .. } = &mut opened
        {
            *final_url = asked.clone();
            if privacy == Privacy::Shareable && representation.shareable.is_err_and(NotShared::is_lifted_by_digest) {
                representation.shareable = Ok(());
            }
        }
        opened
    }
}

/// The answer to a first contact, in the engine's terms, and its body.
pub(super) fn facts(opened: Result<Opened, OriginError>) -> Result<(Contacted, Option<(Span, OriginBody)>), Failure> {
    match opened {
        Ok(Opened::Described { final_url, representation, freshness, .. }) => {
            Ok((contacted(final_url, representation, freshness, None), None))
        }
        Ok(Opened::Body { final_url, representation, freshness, span, body, .. }) => {
            let facts = contacted(final_url, representation, freshness, Some((span.start, span.end)));
            Ok((facts, Some((span, body))))
        }
        Ok(Opened::Unsatisfiable { .. }) => {
            Err(Failure::transient("origin-protocol", "the server refuses the first bytes of the file"))
        }
        Ok(Opened::NotModified { .. } | Opened::Changed(_)) => {
            Err(Failure::transient("origin-protocol", "the server answered a precondition that was not sent"))
        }
        Err(error) => Err(failure::of_origin(&error)),
    }
}

/// The facts of an origin's answer, in the engine's terms.
pub(crate) fn contacted(
    url: ResourceUrl,
    facts: Representation,
    freshness: Box<Freshness>,
    body: Option<(u64, Option<u64>)>,
) -> Contacted {
    Contacted {
        url,
        validator: facts.validator,
        length: facts.length,
        ranges: facts.ranges,
        storable: facts.storable.is_ok(),
        shareable: facts.shareable.is_ok(),
        last_modified: facts.last_modified,
        digests: facts.digests,
        waited: None,
        body,
        freshness: Some(freshness),
    }
}

/// What is asked of the origin.
pub(super) fn asked(method: ContactMethod) -> Asked {
    match method {
        ContactMethod::Describe => Asked::Head,
        ContactMethod::Range { first, last } => Asked::Range { first, last },
        ContactMethod::Whole => Asked::Whole,
    }
}
