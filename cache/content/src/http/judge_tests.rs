//! The judge against every rule, by name, and against generated answers: 0 wrong parts accepted, all right ones.

use super::fixture::{NOW, expect_range, expect_whole, head, known_v1, resume};
use super::*;
use proptest::prelude::*;
use std::time::Duration;

const V1: (&str, &str) = ("etag", "\"v1\"");

fn part(range: &str) -> [(&'static str, &str); 2] {
    [V1, ("content-range", range)]
}

/// The verdict on a 206 to `bytes=100-199` of version `"v1"`, 1000 bytes, under If-Range.
fn on_part(fields: &[(&'static str, &str)]) -> Verdict {
    judge(&resume(100, Some(199), Precondition::IfRange), &head(206, fields), NOW)
}

fn on(expectation: &Expectation, status: u16, fields: &[(&'static str, &str)]) -> Verdict {
    judge(expectation, &head(status, fields), NOW)
}

fn bytes(verdict: &Verdict) -> Option<std::ops::Range<u64>> {
    match verdict {
        Verdict::Continue { bytes, .. } => Some(bytes.clone()),
        _ => None,
    }
}

fn fault(fault: ProtocolFault) -> Verdict {
    Verdict::Protocol(fault)
}

#[test]
fn first_contact_learns_version_length_and_range_support() {
    let fields = [V1, ("content-range", "bytes 0-99/1000"), ("content-length", "100")];
    let Verdict::Continue { bytes, representation } = on(&expect_range(0, Some(99)), 206, &fields) else {
        panic!("a good part");
    };
    assert_eq!((bytes, representation.ranges), (0..100, RangeSupport::Yes));
    assert_eq!(representation.known(), known_v1());
    let entity = representation.entity(&expect_whole().url).expect("a version with a length");
    assert_eq!(Known::of(&entity), known_v1());
}

#[test]
fn r05_nothing_is_joined_without_a_strong_validator() {
    let range = [("content-range", "bytes 100-199/1000"), ("etag", "W/\"a\"")];
    assert_eq!(on(&expect_range(100, Some(199)), 206, &range), fault(ProtocolFault::NothingToJoinUnder));
    let mut unmarked = resume(100, Some(199), Precondition::None);
    unmarked.known = Some(Known { validator: None, ..known_v1() });
    assert_eq!(on(&unmarked, 206, &part("bytes 100-199/1000")), fault(ProtocolFault::NothingToJoinUnder));
    let start = on(&expect_range(0, Some(199)), 206, &[("content-range", "bytes 0-199/1000")]);
    assert_eq!(bytes(&start), Some(0..200), "a start is of use by itself");
}

#[test]
fn r06_another_or_no_validator_is_another_version() {
    let whole = Expectation { known: Some(known_v1()), ..expect_whole() };
    assert_eq!(on(&whole, 200, &[("etag", "\"v2\"")]), Verdict::Changed(ChangeReason::Etag));
    assert_eq!(on(&whole, 200, &[("etag", "W/\"v1\"")]), Verdict::Changed(ChangeReason::Etag));
    assert_eq!(on(&whole, 200, &[("etag", "\"V1\"")]), Verdict::Changed(ChangeReason::Etag), "byte by byte");
    assert_eq!(on(&whole, 200, &[]), Verdict::Changed(ChangeReason::ValidatorKind));
    assert_eq!(on_part(&[("etag", "W/\"v1\""), part("bytes 100-199/1000")[1]]), Verdict::Changed(ChangeReason::Etag));
}

#[test]
fn r06_the_same_etag_with_another_length_is_distrusted() {
    assert_eq!(on_part(&part("bytes 100-199/2000")), fault(ProtocolFault::SameVersionOtherLength));
    let whole = Expectation { known: Some(known_v1()), ..expect_whole() };
    assert_eq!(on(&whole, 200, &[V1, ("content-length", "999")]), fault(ProtocolFault::SameVersionOtherLength));
    assert_eq!(ProtocolFault::SameVersionOtherLength.after(), AfterFault::StartOver);
}

#[test]
fn r04_a_date_counts_only_with_its_length_and_without_an_etag() {
    let old = "Sun, 06 Nov 1994 08:00:00 GMT";
    let known = Known { validator: Some(Validator::LastModified(old.into())), ..known_v1() };
    let resume = Expectation { known: Some(known), ..resume(100, None, Precondition::IfRange) };
    let on = |fields: &[(&'static str, &str)]| on(&resume, 206, fields);
    let (same, date) = (("last-modified", old), ("date", "Sun, 06 Nov 1994 08:00:01 GMT"));
    assert_eq!(bytes(&on(&[same, date, ("content-range", "bytes 100-999/1000")])), Some(100..1000));
    assert_eq!(on(&[same, ("content-range", "bytes 100-999/1001")]), Verdict::Changed(ChangeReason::Length));
    assert_eq!(
        on(&[("last-modified", "Sun, 06 Nov 1994 08:00:01 GMT"), ("content-range", "bytes 100-999/1000")]),
        Verdict::Changed(ChangeReason::LastModified)
    );
    assert_eq!(on(&[same, V1, ("content-range", "bytes 100-999/1000")]), Verdict::Changed(ChangeReason::ValidatorKind));
}

#[test]
fn r15_a_redirect_names_one_place() {
    for status in [300, 301, 302, 303, 307, 308] {
        let verdict = on(&expect_whole(), status, &[("location", " /next?a=b ")]);
        assert_eq!(verdict, Verdict::Redirect { location: "/next?a=b".into() }, "{status}");
    }
    for fields in [&[][..], &[("location", "")], &[("location", "/a"), ("location", "/b")]] {
        assert_eq!(on(&expect_whole(), 302, fields), fault(ProtocolFault::BadLocation));
    }
    assert_eq!(on(&expect_whole(), 300, &[]), Verdict::Permanent { status: 300 });
    assert_eq!(on(&expect_whole(), 305, &[("location", "/p")]), Verdict::Permanent { status: 305 });
}

#[test]
fn t36_neither_a_head_nor_a_verdict_shows_where_a_redirect_leads() {
    let redirect = head(302, &[("location", "https://h/f?X-Amz-Signature=topsecret"), ("set-cookie", "topsecret")]);
    let verdict = judge(&expect_whole(), &redirect, NOW);
    assert!(!format!("{redirect:?} {verdict:?}").contains("topsecret"));
}

#[test]
fn r20_a_part_names_itself_once_and_validly() {
    assert_eq!(bytes(&on_part(&part("bytes 100-199/1000"))), Some(100..200));
    assert_eq!(on_part(&[V1]), fault(ProtocolFault::MissingContentRange));
    let twice = [V1, ("content-range", "bytes 100-199/1000"), ("content-range", "bytes 100-199/1000")];
    assert_eq!(on_part(&twice), fault(ProtocolFault::SeveralContentRanges));
    for wrong in ["bytes 199-100/1000", "bytes 100-199/150", "bytes */1000", "items 100-199/1000", "100-199/1000"] {
        assert_eq!(on_part(&part(wrong)), fault(ProtocolFault::MalformedContentRange), "{wrong}");
    }
}

#[test]
fn r21_a_part_starts_as_asked_and_may_end_earlier_but_not_later() {
    assert_eq!(bytes(&on_part(&part("bytes 100-150/1000"))), Some(100..151));
    assert_eq!(on_part(&part("bytes 99-199/1000")), fault(ProtocolFault::WrongStart));
    assert_eq!(on_part(&part("bytes 101-199/1000")), fault(ProtocolFault::WrongStart));
    assert_eq!(on_part(&part("bytes 100-200/1000")), fault(ProtocolFault::BeyondAsked));
    let open = on(&resume(100, None, Precondition::IfRange), 206, &part("bytes 100-999/1000"));
    assert_eq!(bytes(&open), Some(100..1000));
}

#[test]
fn r22_the_complete_length_is_the_known_one() {
    assert_eq!(on_part(&part("bytes 100-199/*")), fault(ProtocolFault::UnknownTotal));
    let vouched = on_part(&[("content-range", "bytes 100-199/2000")]);
    assert_eq!(vouched, Verdict::Changed(ChangeReason::Length), "no ETag contradicts it");
    let mut unknown = resume(100, Some(199), Precondition::IfRange);
    unknown.known = Some(Known { length: None, ..known_v1() });
    let Verdict::Continue { representation, .. } = on(&unknown, 206, &part("bytes 100-199/*")) else {
        panic!("`*` is fine while the length is unknown");
    };
    assert_eq!(representation.length, None, "and proves nothing");
}

#[test]
fn r23_a_part_is_of_the_known_version_or_vouched_for() {
    let silent = [("content-range", "bytes 100-199/1000")];
    let under = |precondition| on(&resume(100, Some(199), precondition), 206, &silent);
    assert_eq!(bytes(&under(Precondition::IfRange)), Some(100..200));
    assert_eq!(bytes(&under(Precondition::IfMatch)), Some(100..200));
    assert_eq!(under(Precondition::None), fault(ProtocolFault::UnvalidatedPartial));
    assert_eq!(under(Precondition::IfNoneMatch), fault(ProtocolFault::UnvalidatedPartial));
    assert_eq!(on_part(&[("etag", "\"v2\""), silent[0]]), Verdict::Changed(ChangeReason::Etag));
}

#[test]
fn r24_a_part_is_as_long_as_it_says() {
    let with_length =
        |length: &str| on_part(&[V1, ("content-range", "bytes 100-199/1000"), ("content-length", length)]);
    assert_eq!(bytes(&with_length("100")), Some(100..200));
    assert_eq!(with_length("99"), fault(ProtocolFault::BodyLength));
    assert_eq!(with_length("1000"), fault(ProtocolFault::BodyLength));
}

#[test]
fn r25_a_200_to_a_range_is_the_whole() {
    let Verdict::Whole { representation } =
        on(&resume(100, Some(199), Precondition::IfRange), 200, &[V1, ("content-length", "1000")])
    else {
        panic!("the same version");
    };
    assert_eq!(representation.ranges, RangeSupport::No);
    let changed = resume(100, Some(199), Precondition::IfRange);
    let other = [("etag", "\"v2\""), ("content-length", "1000")];
    assert_eq!(on(&changed, 200, &other), Verdict::Changed(ChangeReason::Etag));
    let again = Expectation { known: None, ..changed };
    assert!(matches!(on(&again, 200, &other), Verdict::Whole { .. }), "the same answer starts the new version");
}

#[test]
fn r25_a_200_to_a_range_that_covers_everything_proves_nothing_about_ranges() {
    let ranges =
        |asked: Expectation| match on(&asked, 200, &[V1, ("content-length", "1000"), ("accept-ranges", "bytes")]) {
            Verdict::Whole { representation } => representation.ranges,
            other => panic!("{other:?}"),
        };
    assert_eq!(ranges(expect_range(0, None)), RangeSupport::Yes);
    assert_eq!(ranges(expect_range(0, Some(5000))), RangeSupport::Yes);
    assert_eq!(ranges(expect_range(0, Some(500))), RangeSupport::No);
    assert_eq!(ranges(expect_range(1, None)), RangeSupport::No);
}

#[test]
fn a_whole_answer_without_a_length_must_prove_the_known_one() {
    let known = Expectation { known: Some(known_v1()), ..expect_whole() };
    let chunked = head(200, &[V1, ("transfer-encoding", "chunked")]);
    let verdict = judge(&known, &chunked, NOW);
    let mut meter = BodyMeter::new(&verdict, Framing::Marked, BodyLimit::default()).expect("a whole answer has a body");
    meter.handle_chunk(999);
    assert_eq!(meter.handle_end(), BodyEnd::Short { received: 999, missing: Some(1) });
}

#[test]
fn r26_a_206_that_nobody_asked_for_is_a_fault() {
    assert_eq!(on(&expect_whole(), 206, &part("bytes 0-99/100")), fault(ProtocolFault::UnaskedPartial));
    let ask_head = Expectation { asked: Asked::Head, ..expect_whole() };
    assert_eq!(on(&ask_head, 206, &part("bytes 0-99/100")), fault(ProtocolFault::UnaskedPartial));
}

#[test]
fn r27_a_416_tells_the_length_or_a_change() {
    let at = |first: u64, fields: &[(&'static str, &str)]| on(&resume(first, None, Precondition::None), 416, fields);
    assert_eq!(at(1000, &[("content-range", "bytes */1000")]), Verdict::Unsatisfiable { length: Some(1000) });
    assert_eq!(at(1000, &[("content-range", "bytes */900")]), Verdict::Changed(ChangeReason::Length));
    assert_eq!(at(1000, &[("content-range", "bytes */2000")]), Verdict::Changed(ChangeReason::Length));
    assert_eq!(at(1000, &[]), Verdict::Unsatisfiable { length: None });
    assert_eq!(at(1000, &[("content-range", "rubbish")]), Verdict::Unsatisfiable { length: None });
    let inside = at(100, &[("content-range", "bytes */1000")]);
    assert_eq!(inside, fault(ProtocolFault::ContradictoryUnsatisfiable));
    let empty = on(&expect_range(0, Some(99)), 416, &[("content-range", "bytes */0")]);
    assert_eq!(empty, Verdict::Unsatisfiable { length: Some(0) });
    assert_eq!(on(&expect_whole(), 416, &[]), fault(ProtocolFault::UnaskedUnsatisfiable));
}

#[test]
fn r28_a_304_answers_only_a_conditional_question() {
    assert_eq!(on(&expect_whole(), 304, &[V1]), fault(ProtocolFault::UnaskedNotModified));
    let ranged = resume(0, None, Precondition::IfRange);
    assert_eq!(on(&ranged, 304, &[V1]), fault(ProtocolFault::UnaskedNotModified));
    let known = Some(known_v1());
    let conditional = Expectation { precondition: Precondition::IfNoneMatch, known, ..expect_whole() };
    for fields in [&[V1, ("content-length", "0")][..], &[]] {
        let Verdict::NotModified { representation } = on(&conditional, 304, fields) else { panic!("valid") };
        assert_eq!(representation.known(), known_v1());
    }
}

#[test]
fn t37_a_304_that_names_another_version_validates_nothing() {
    let known = Some(known_v1());
    let conditional = Expectation { precondition: Precondition::IfNoneMatch, known, ..expect_whole() };
    assert_eq!(on(&conditional, 304, &[("etag", "\"v2\"")]), Verdict::Changed(ChangeReason::Etag));
    assert_eq!(on(&conditional, 304, &[("etag", "W/\"v1\"")]), Verdict::Changed(ChangeReason::Etag));
}

#[test]
fn r29_a_412_is_a_change_only_if_we_set_the_condition() {
    let under = |precondition| on(&resume(100, Some(199), precondition), 412, &[]);
    assert_eq!(under(Precondition::IfMatch), Verdict::Changed(ChangeReason::PreconditionFailed));
    let simpler = Verdict::AskSimpler { status: 412, without: Simpler::Range };
    assert_eq!(under(Precondition::IfRange), simpler);
    assert_eq!(on(&expect_whole(), 412, &[]), Verdict::Permanent { status: 412 });
}

#[test]
fn r11_a_4xx_to_if_match_is_asked_again_without() {
    let if_match = resume(100, Some(199), Precondition::IfMatch);
    for status in [400, 403, 404, 405, 428, 431] {
        let simpler = Verdict::AskSimpler { status, without: Simpler::IfMatch };
        assert_eq!(on(&if_match, status, &[]), simpler, "{status}");
    }
    assert_eq!(on(&if_match, 416, &[]), Verdict::Unsatisfiable { length: None });
    assert_eq!(on(&if_match, 401, &[]), Verdict::Credentials { status: 401 });
}

#[test]
fn a_refused_range_or_head_is_asked_more_simply() {
    for status in [400, 405, 406, 501] {
        let simpler = Verdict::AskSimpler { status, without: Simpler::Range };
        assert_eq!(on(&expect_range(0, None), status, &[]), simpler, "{status}");
    }
    let ask_head = Expectation { asked: Asked::Head, ..expect_whole() };
    for status in [400, 403, 404, 405, 501] {
        let simpler = Verdict::AskSimpler { status, without: Simpler::Head };
        assert_eq!(on(&ask_head, status, &[]), simpler, "{status}");
    }
}

#[test]
fn r30_several_parts_for_one_range_are_refused() {
    let multipart = ("content-type", "Multipart/ByteRanges; boundary=x");
    assert_eq!(on_part(&[V1, multipart]), fault(ProtocolFault::Multipart));
    assert_eq!(on_part(&[V1, multipart, ("content-range", "bytes 100-199/1000")]), fault(ProtocolFault::Multipart));
    assert_eq!(ProtocolFault::Multipart.after(), AfterFault::AskWhole, "a plain GET still works");
}

#[test]
fn r32_doubtful_framing_spoils_every_status() {
    for status in [200, 206, 302, 304, 404, 416, 503] {
        let both = [("content-length", "5"), ("transfer-encoding", "chunked"), ("location", "/")];
        assert_eq!(on(&expect_whole(), status, &both), fault(ProtocolFault::LengthAndTransferCoding), "{status}");
    }
}

#[test]
fn r35_another_coding_is_another_version() {
    let gzip = ("content-encoding", "gzip");
    assert_eq!(on_part(&[V1, part("bytes 100-199/1000")[1], gzip]), Verdict::Changed(ChangeReason::ContentCoding));
    let known = Expectation { known: Some(known_v1()), ..expect_whole() };
    assert_eq!(on(&known, 200, &[V1, gzip]), Verdict::Changed(ChangeReason::ContentCoding));

    let Verdict::Continue { representation, .. } =
        on(&expect_range(0, Some(99)), 206, &[V1, gzip, ("content-range", "bytes 0-99/1000")])
    else {
        panic!("coded from the start is a version like any other");
    };
    assert_eq!(representation.shareable, Err(NotShared::ContentCoding));
    let coded = Expectation { known: Some(representation.known()), ..resume(100, Some(199), Precondition::IfRange) };
    assert_eq!(bytes(&on(&coded, 206, &[V1, gzip, part("bytes 100-199/1000")[1]])), Some(100..200));
    assert_eq!(bytes(&on(&coded, 206, &part("bytes 100-199/1000"))), Some(100..200), "a part may be silent");
    assert_eq!(on(&coded, 200, &[V1]), Verdict::Changed(ChangeReason::ContentCoding), "a whole may not");
}

#[test]
fn r36_other_metadata_on_a_part_does_not_matter() {
    let fields = [V1, part("bytes 100-199/1000")[1], ("content-type", "text/html"), ("last-modified", "nonsense")];
    assert_eq!(bytes(&on_part(&fields)), Some(100..200));
}

#[test]
fn r37_an_interim_answer_ends_no_request() {
    for status in [0, 99, 100, 101, 103, 199] {
        assert_eq!(on(&expect_whole(), status, &[]), fault(ProtocolFault::NotFinal), "{status}");
    }
}

#[test]
fn r38_each_class_of_error_says_who_must_act() {
    let verdict = |status| on(&expect_whole(), status, &[]);
    let transient = |status| Verdict::Transient { status, retry_after: None };
    for status in [202, 408, 409, 421, 425, 429, 500, 502, 503, 504, 507, 529, 600, 999] {
        assert_eq!(verdict(status), transient(status), "{status}");
    }
    for status in [401, 407] {
        assert_eq!(verdict(status), Verdict::Credentials { status }, "{status}");
    }
    for status in [201, 204, 205, 299, 306, 400, 402, 403, 404, 405, 410, 413, 451, 499, 501, 505] {
        assert_eq!(verdict(status), Verdict::Permanent { status }, "{status}");
    }
    let ranged = on(&expect_range(0, None), 404, &[]);
    assert_eq!(ranged, Verdict::Permanent { status: 404 }, "what is gone is gone for a range, too");
}

#[test]
fn r38_retry_after_is_read_in_both_forms_and_capped() {
    let wait = |value: &str| match on(&expect_whole(), 503, &[("retry-after", value)]) {
        Verdict::Transient { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait("0"), Some(Duration::ZERO));
    assert_eq!(wait(" 120 "), Some(Duration::from_secs(120)));
    assert_eq!(wait("Sun, 06 Nov 1994 13:00:30 GMT"), Some(Duration::from_secs(30)));
    assert_eq!(wait("Sun, 06 Nov 1994 12:00:00 GMT"), Some(Duration::ZERO), "a date in the past");
    assert_eq!(wait("999999999"), Some(MAX_RETRY_AFTER));
    assert_eq!(wait("99999999999999999999999999"), Some(MAX_RETRY_AFTER));
    assert_eq!(wait("Fri, 31 Dec 9999 23:59:59 GMT"), Some(MAX_RETRY_AFTER));
    for garbage in ["", "-1", "soon", "1.5", "+3"] {
        assert_eq!(wait(garbage), None, "{garbage}");
    }
}

#[test]
fn r47_a_part_names_the_digest_of_the_whole_and_its_own_apart() {
    let sum = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    let fields = [V1, part("bytes 100-199/1000")[1], ("repr-digest", sum), ("content-digest", sum)];
    let Verdict::Continue { representation, .. } = on_part(&fields) else { panic!("a good part") };
    assert_eq!((representation.digests.len(), representation.message_digests.len()), (1, 1));
}

#[test]
fn t32_a_proxys_own_version_is_never_joined_or_shared() {
    let Verdict::Whole { representation } = on(&expect_whole(), 203, &[V1]) else { panic!("usable as a whole") };
    assert_eq!((representation.validator, representation.shareable), (None, Err(NotShared::Transformed)));
    let known = Expectation { known: Some(known_v1()), ..expect_whole() };
    assert_eq!(on(&known, 203, &[V1]), Verdict::Changed(ChangeReason::ValidatorKind));
}

#[test]
fn head_describes() {
    let ask_head = Expectation { asked: Asked::Head, known: Some(known_v1()), ..expect_whole() };
    let Verdict::Described { representation } = on(&ask_head, 200, &[V1, ("content-length", "1000")]) else {
        panic!("described");
    };
    assert_eq!(representation.length, Some(1000));
    assert_eq!(on(&ask_head, 200, &[("etag", "\"v2\"")]), Verdict::Changed(ChangeReason::Etag));
}

#[test]
fn what_is_wrong_reads_well() {
    let faults = [
        ProtocolFault::WrongStart,
        ProtocolFault::SameVersionOtherLength,
        ProtocolFault::LengthAndTransferCoding,
        ProtocolFault::UnvalidatedPartial,
    ];
    let text: Vec<_> = faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    the partial answer starts elsewhere than asked
    the server names another length for the same version
    the server sent both a length and a transfer coding
    the partial answer does not say of which version it is
    ");
}

/// A known version, a range asked of it, and under which precondition.
#[derive(Debug, Clone)]
struct Question {
    length: u64,
    first: u64,
    last: u64,
    precondition: Precondition,
    open: bool,
}

impl Question {
    fn expectation(&self) -> Expectation {
        let known = Known { length: Some(self.length), ..known_v1() };
        let last = (!self.open).then_some(self.last);
        Expectation { known: Some(known), ..resume(self.first, last, self.precondition) }
    }
}

fn question() -> impl Strategy<Value = Question> {
    let precondition = prop_oneof![Just(Precondition::IfRange), Just(Precondition::IfMatch)];
    (1u64..1 << 40, any::<u64>(), any::<u64>(), precondition, any::<bool>()).prop_map(
        |(length, a, b, precondition, open)| {
            let (a, b) = (a % length, b % length);
            Question { length, first: a.min(b), last: a.max(b), precondition, open }
        },
    )
}

/// One way in which a 206 is wrong, spread by `by` and `noise`.
fn wrong_part(question: &Question, way: u8, by: u64, noise: &str) -> ResponseHead {
    let Question { length, first, last, .. } = *question;
    let by = by % (1 << 40) + 1;
    let right = format!("bytes {first}-{last}/{length}");
    let range_of = |first: u64, last: u64, length: u64| format!("bytes {first}-{last}/{length}");
    let etag = "\"v1\"";
    let bare = |range: &str| head(206, &[("etag", etag), ("content-range", range)]);
    match way {
        // Starts later: overlaps with the next part, or leaves a gap.
        0 => bare(&range_of(first + by, (first + by).max(last), length.max(first + by + 1).max(last + 1))),
        // Starts earlier; where nothing is earlier, the whole shifts.
        1 => bare(&range_of(
            first.checked_sub(by % first.max(1) + 1).unwrap_or(first + by),
            last + by,
            length + by + last,
        )),
        // Reaches beyond what was asked, or beyond the end.
        2 => bare(&range_of(first, if question.open { length - 1 } else { last } + by, length)),
        // Another complete length.
        3 => bare(&range_of(first, last, length + by)),
        4 => bare(&range_of(first, last, (last + 1).max(length.saturating_sub(by)).min(length - 1))),
        // No complete length.
        5 => bare(&format!("bytes {first}-{last}/*")),
        // Garbage.
        6 => bare(&format!("{right}{noise}x")),
        7 => bare(&format!("x{noise}")),
        8 => bare(&format!("bytes {last}-{first}/{length}{}", if first == last { "-" } else { "" })),
        // None, or more than one.
        9 => head(206, &[("etag", etag)]),
        10 => head(206, &[("etag", etag), ("content-range", &right), ("content-range", &right)]),
        // Another version.
        11 => head(206, &[("etag", &format!("\"v1{by}\"")), ("content-range", &right)]),
        12 => head(206, &[("etag", "W/\"v1\""), ("content-range", &right)]),
        13 => head(206, &[("etag", etag), ("etag", "\"v2\""), ("content-range", &right)]),
        // A body of another length.
        14 => {
            let body = (last - first + 1 + by).to_string();
            head(206, &[("etag", etag), ("content-range", &right), ("content-length", &body)])
        }
        // Several parts.
        15 => head(
            206,
            &[("etag", etag), ("content-type", "multipart/byteranges; boundary=b"), ("content-range", &right)],
        ),
        // Another coding.
        16 => head(206, &[("etag", etag), ("content-range", &right), ("content-encoding", "gzip")]),
        // Other units.
        17 => bare(&right.replace("bytes", "octets")),
        // Doubtful framing.
        _ => head(
            206,
            &[("etag", etag), ("content-range", &right), ("content-length", "1"), ("transfer-encoding", "chunked")],
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_wrong_part_is_ever_accepted(question in question(), way in 0u8..19, by in any::<u64>(), noise in "[ -~]{0,12}") {
        let answer = wrong_part(&question, way, by, &noise);
        let verdict = judge(&question.expectation(), &answer, NOW);
        prop_assert!(
            matches!(verdict, Verdict::Protocol(_) | Verdict::Changed(_)),
            "way {}: {:?} to {:?} gave {:?}", way, answer.headers, question, verdict
        );
    }

    #[test]
    fn every_right_part_is_accepted(
        question in question(),
        shorter in any::<u64>(),
        (names_version, names_length, names_coding) in any::<(bool, bool, bool)>(),
    ) {
        let end = question.last - shorter % (question.last - question.first + 1);
        let range = format!("bytes {}-{}/{}", question.first, end, question.length);
        let length = (end - question.first + 1).to_string();
        let mut fields = vec![("content-range", range.as_str())];
        if names_version { fields.push(V1); }
        if names_length { fields.push(("content-length", &length)); }
        if names_coding { fields.push(("content-encoding", "identity")); }
        let verdict = judge(&question.expectation(), &head(206, &fields), NOW);
        prop_assert_eq!(bytes(&verdict), Some(question.first..end + 1), "{:?}", verdict);
    }

    #[test]
    fn any_answer_to_any_question_gets_a_verdict(
        status in 0u16..700,
        fields in proptest::collection::vec((0usize..12, "[ -~]{0,30}"), 0..6),
        asked in 0u8..3,
        precondition in 0u8..4,
        is_known in any::<bool>(),
    ) {
        let names = [
            "etag", "last-modified", "date", "content-range", "content-length", "transfer-encoding", "content-encoding",
            "retry-after", "location", "cache-control", "vary", "repr-digest",
        ];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (names[*name], value.as_str())).collect();
        let expectation = Expectation {
            asked: [Asked::Head, Asked::Whole, Asked::Range { first: 5, last: Some(9) }][usize::from(asked)].clone(),
            precondition: [Precondition::None, Precondition::IfRange, Precondition::IfMatch, Precondition::IfNoneMatch]
                [usize::from(precondition)],
            known: is_known.then(known_v1),
            ..expect_whole()
        };
        if let Verdict::Continue { bytes, .. } = judge(&expectation, &head(status, &fields), NOW) {
            prop_assert!(bytes.start == 5 && bytes.end <= 10 && status == 206);
        }
    }
}
