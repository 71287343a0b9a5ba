//! 200, HEAD and 304: answers about the representation as a whole.

use super::framing::Framing;
use super::version::{LengthDifference, Likeness, Refusal, compare, compare_length};
use super::{Asked, ChangeReason, Expectation, Known, NotShared, Precondition, ProtocolFault};
use super::{RangeSupport, Representation, ResponseHead, Verdict};
use crate::validator::NotStrong;

/// Judges a 200 or 203 to GET or HEAD.
pub(super) fn judge(expectation: &Expectation, head: &ResponseHead, framing: Framing, now: i64) -> Verdict {
    let mut representation = Representation::read(expectation, head, now);
    representation.length = framing.length();
    if is_range_ignored(expectation, representation.length) {
        representation.ranges = RangeSupport::No;
    }
    // A proxy's own version of it (RFC 9110 section 15.3.4): good for one sequential stream, never joined or shared.
    if head.status == 203 {
        representation.adopt(Err(NotStrong::Absent));
        representation.digests.clear();
        representation.shareable = Err(NotShared::Transformed);
    }
    if let Some(known) = &expectation.known
        && let Err(refusal) = hold_against(known, head, &mut representation)
    {
        return refusal.into();
    }
    match expectation.asked {
        Asked::Head => Verdict::Described { representation },
        // never appended; a caller with a prefix of the same version skips to its offset while reading.
        Asked::Whole | Asked::Range { .. } => Verdict::Whole { representation },
    }
}

/// Holds a whole answer against the version that is being assembled.
fn hold_against(known: &Known, head: &ResponseHead, representation: &mut Representation) -> Result<(), Refusal> {
    // Without a strong validator every answer is a version of its own: the caller starts over with it.
    let Some(validator) = &known.validator else { return Ok(()) };
    // Unlike a part, a whole answer has no excuse for not naming its version.
    let likeness = if head.status == 203 { Likeness::Unnamed } else { compare(validator, &head.headers) };
    match likeness {
        Likeness::Same => {}
        Likeness::Unnamed => return Err(Refusal::Changed(ChangeReason::ValidatorKind)),
        Likeness::Different(reason) => return Err(Refusal::Changed(reason)),
    }
    match compare_length(known, likeness, representation.length) {
        LengthDifference::None => {}
        LengthDifference::Changed => return Err(Refusal::Changed(ChangeReason::Length)),
        LengthDifference::Contradiction => return Err(ProtocolFault::SameVersionOtherLength.into()),
    }
    //
    if representation.coding != known.coding {
        return Err(Refusal::Changed(ChangeReason::ContentCoding));
    }
    representation.adopt(Ok(validator.clone()));
    // A chunked answer names no length; the body must then prove the known one.
    representation.length = representation.length.or(known.length);
    Ok(())
}

/// Whether the 200 answers a range that a server with range support would have cut: all of the file may well be a 200.
fn is_range_ignored(expectation: &Expectation, length: Option<u64>) -> bool {
    match expectation.asked {
        Asked::Range { first: 0, last: None } => false,
        Asked::Range { first: 0, last: Some(last) } => length.is_none_or(|length| last.saturating_add(1) < length),
        Asked::Range { .. } => true,
        Asked::Head | Asked::Whole => false,
    }
}

/// Judges a 304 (R-28, T-37).
pub(super) fn judge_not_modified(expectation: &Expectation, head: &ResponseHead, now: i64) -> Verdict {
    //
    if expectation.precondition != Precondition::IfNoneMatch {
        return ProtocolFault::UnaskedNotModified.into();
    }
    let mut representation = Representation::read(expectation, head, now);
    let Some(known) = &expectation.known else { return Verdict::NotModified { representation } };
    representation.length = known.length;
    representation.coding = known.coding.clone();
    let Some(validator) = &known.validator else { return Verdict::NotModified { representation } };
    match compare(validator, &head.headers) {
        // T-37: a 304 that names another version validates nothing.
        Likeness::Different(reason) => Verdict::Changed(reason),
        // Its Content-Length says nothing: many servers send 0 (RFC 9110 section 8.6 wants the 200's).
        Likeness::Same | Likeness::Unnamed => {
            representation.adopt(Ok(validator.clone()));
            Verdict::NotModified { representation }
        }
    }
}
