//! The first answer of an origin: asked for, shown while it is decided where its body goes, and told in the engine's terms.

use crate::origin::{Opened, Origin, OriginBody, OriginError, OriginRequest, Span};
use crate::transfer::failure;
use crate::transfer::recent::Recent;
use eddy_content::ResourceUrl;
use eddy_content::http::{Asked, Freshness, Representation};
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

/// Shows the beginning of a body to those who wait for it, until it is decided where the body goes: making an entity's place in the
/// store durable takes longer than the first bytes need.
pub(super) async fn show_until<T>(
    body: &mut OriginBody,
    span: Span,
    recent: &Recent,
    mut decided: oneshot::Receiver<T>,
) -> Result<T, oneshot::error::RecvError> {
    let mut shown = 0;
    while shown < recent.most() {
        let piece = tokio::select! {
            biased;
            decided = &mut decided => return decided,
            piece = body.read_ahead() => piece,
        };
        let Some(piece) = piece else { break };
        let place = span.start + shown;
        shown += piece.len() as u64;
        recent.put(place, piece);
    }
    decided.await
}

/// The answer to a first contact, in the engine's terms, and its body.
pub(super) fn facts(opened: Result<Opened, OriginError>) -> Result<(Contacted, Option<(Span, OriginBody)>), Failure> {
    match opened {
        Ok(Opened::Described { final_url, representation, freshness }) => {
            Ok((contacted(final_url, representation, freshness, None), None))
        }
        Ok(Opened::Body { final_url, representation, freshness, span, body }) => {
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
