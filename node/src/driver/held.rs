//! What is held of a resource before its origin is asked, and whether it may be used without asking.

use super::ways::Dress;
use crate::origin::OriginRequest;
use eddy_cache::{EntityRecord, Privacy, Store};
use eddy_content::Geometry;
use eddy_content::http::freshness::{Decision, MustAsk, Question, Sharing};
use eddy_content::http::{Asked, RangeSupport, RequestPrivacy};
use eddy_engine::FileSpec;
use eddy_engine::port::{Contacted, Held};
use std::time::{Duration, SystemTime};

/// Looks into the store; whatever fails there is met again, and told, when the entity is opened.
pub(super) fn look(store: &Store, spec: &FileSpec, dress: Dress) -> Held {
    let Some(record) = store.latest(&spec.url).ok().flatten().filter(|record| record.held_blocks > 0) else {
        return Held::Nothing;
    };
    let mut request = OriginRequest::new(spec.url.clone(), Asked::Whole);
    dress.put_on(&mut request);
    match decide(&record, &request).filter(|_| is_whole(&record)) {
        Some(decision) => Held::Whole { facts: Box::new(facts(record)), decision },
        None => Held::Some,
    }
}

/// Whether a held version may answer the request without asking; `None` when the origin has never said how long.
pub(crate) fn decide(record: &EntityRecord, request: &OriginRequest) -> Option<Decision> {
    let freshness = record.freshness.as_ref()?;
    // Nothing is stored about the redirects on the way.
    if record.entity.url != request.url {
        return Some(Decision::MustAsk(MustAsk::Redirected));
    }
    let sharing = match record.privacy {
        Privacy::Shareable => Sharing::Shared,
        Privacy::Private => Sharing::Private,
    };
    let is_plain = request.personal.is_empty() && request.credentials.is_none();
    let privacy = if is_plain { RequestPrivacy::Plain } else { RequestPrivacy::Personal };
    let fields = request.selecting_fields().ok()?;
    Some(freshness.decide(sharing, Question { fields: &fields, privacy }, wall_clock()))
}

fn is_whole(record: &EntityRecord) -> bool {
    Geometry::new(record.entity.length).is_some_and(|geometry| geometry.block_count() == record.held_blocks)
}

/// The record in the words of an origin's answer.
fn facts(record: EntityRecord) -> Contacted {
    Contacted {
        url: record.entity.url,
        validator: Some(record.entity.validator),
        length: Some(record.entity.length),
        ranges: RangeSupport::Unknown,
        storable: true,
        shareable: record.privacy == Privacy::Shareable,
        last_modified: record.last_modified,
        digests: record.digests,
        waited: None,
        body: None,
        freshness: None,
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
