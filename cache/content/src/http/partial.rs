//! 206 and 416: is this the range that was asked for, of the version that is known?

use super::framing::Framing;
use super::version::{LengthDifference, Likeness, Refusal, compare, compare_length};
use super::{Asked, ChangeReason, Coding, ContentRange, Expectation, Known, Precondition, ProtocolFault};
use super::{RangeSupport, Representation, ResponseHead, Verdict};
use ::http::header::{CONTENT_RANGE, CONTENT_TYPE};

/// Judges a 206; any rule may end the matter with a refusal.
pub(super) fn judge(
    expectation: &Expectation,
    head: &ResponseHead,
    framing: Framing,
    now: i64,
) -> Result<Verdict, Refusal> {
    //
    let Asked::Range { first: asked_first, last: asked_last } = expectation.asked else {
        return Err(ProtocolFault::UnaskedPartial.into());
    };
    // only one range is ever asked for, and RFC 9110 section 15.3.7.2 forbids several parts then.
    if is_multipart(head) {
        return Err(ProtocolFault::Multipart.into());
    }
    //
    let ContentRange::Satisfied { first, last, complete } = ContentRange::of(&head.headers)? else {
        return Err(ProtocolFault::MalformedContentRange.into());
    };
    // it may end earlier, never later.
    if first != asked_first {
        return Err(ProtocolFault::WrongStart.into());
    }
    if asked_last.is_some_and(|asked_last| last > asked_last) {
        return Err(ProtocolFault::BeyondAsked.into());
    }
    // R-24; that the body keeps it is the BodyMeter's to see.
    if framing.length().is_some_and(|length| length != last - first + 1) {
        return Err(ProtocolFault::BodyLength.into());
    }
    let mut representation = Representation::read(expectation, head, now);
    representation.ranges = RangeSupport::Yes;
    representation.length = complete;
    match &expectation.known {
        Some(known) => hold_against(known, expectation.precondition, head, &mut representation)?,
        // on first contact, a part from the middle is of use only if it can be joined to others.
        None if first > 0 && representation.validator.is_none() => return Err(ProtocolFault::NothingToJoinUnder.into()),
        None => {}
    }
    Ok(Verdict::Continue { bytes: first..last + 1, representation })
}

/// Holds a part against the version that is being assembled; nothing may be joined but under the same strong validator.
fn hold_against(
    known: &Known,
    precondition: Precondition,
    head: &ResponseHead,
    representation: &mut Representation,
) -> Result<(), Refusal> {
    // resuming without a strong validator is forbidden.
    let Some(validator) = &known.validator else { return Err(ProtocolFault::NothingToJoinUnder.into()) };
    //
    let likeness = compare(validator, &head.headers);
    match likeness {
        Likeness::Same => {}
        Likeness::Different(reason) => return Err(Refusal::Changed(reason)),
        Likeness::Unnamed if matches!(precondition, Precondition::IfRange | Precondition::IfMatch) => {}
        Likeness::Unnamed => return Err(ProtocolFault::UnvalidatedPartial.into()),
    }
    // `*` only while the length is unknown.
    if representation.length.is_none() && known.length.is_some() {
        return Err(ProtocolFault::UnknownTotal.into());
    }
    match compare_length(known, likeness, representation.length) {
        LengthDifference::None => {}
        LengthDifference::Changed => return Err(Refusal::Changed(ChangeReason::Length)),
        LengthDifference::Contradiction => return Err(ProtocolFault::SameVersionOtherLength.into()),
    }
    // a part may keep silent about the coding, but not name another.
    if Coding::of(&head.headers).is_some_and(|coding| coding != known.coding) {
        return Err(Refusal::Changed(ChangeReason::ContentCoding));
    }
    representation.coding = known.coding.clone();
    representation.adopt(Ok(validator.clone()));
    Ok(())
}

/// Whether the head announces multipart/byteranges. A Content-Range beside it is one more lie.
fn is_multipart(head: &ResponseHead) -> bool {
    head.headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let media_type = value.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"multipart/byteranges")
    })
}

/// Judges a 416.
pub(super) fn judge_unsatisfiable(expectation: &Expectation, head: &ResponseHead) -> Verdict {
    let Asked::Range { first, .. } = expectation.asked else {
        return ProtocolFault::UnaskedUnsatisfiable.into();
    };
    // N missing or unreadable: the caller asks HEAD.
    let length = match head.headers.contains_key(CONTENT_RANGE).then(|| ContentRange::of(&head.headers)) {
        Some(Ok(ContentRange::Unsatisfied { complete })) => Some(complete),
        _ => None,
    };
    let known_length = expectation.known.as_ref().and_then(|known| known.length);
    match (length, known_length) {
        (Some(length), Some(known)) if length != known => Verdict::Changed(ChangeReason::Length),
        // The range lies inside the file, and the server says so itself: its range handling is broken.
        (Some(length), _) if first < length => ProtocolFault::ContradictoryUnsatisfiable.into(),
        _ => Verdict::Unsatisfiable { length },
    }
}
