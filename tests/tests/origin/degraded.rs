//! The origin shell against every way in which a server misbehaves: each ends in the best possible transfer or in a typed
//! refusal, and never in a wrong byte.
//!
//! Each row is a server, a question and the outcome in words; [`outcome`] also holds every byte that was handed over
//! against the version that the server served.

use eddy_content::http::{Asked, BodyEnd, Coding, Known, Precondition};
use eddy_content::{ResourceUrl, Validator};
use eddy_node::origin::{Opened, Origin, OriginBody, OriginConfig, OriginRequest, Proxies, Retry, Span};
use eddy_tests::hostile::{
    Behaviour, BodyFault, Framing, HeadAnswer, HeadFault, HostileOrigin, Instead, Mark, RangeAnswer, RangeLie,
    Resource, Version,
};
use std::time::Duration;

const LENGTH: u64 = 300_000;

fn version() -> Version {
    Version { modified: 1_700_000_000, ..Version::new(7, LENGTH) }
}

/// A file of the same length with other bytes and another mark.
fn other_version() -> Version {
    Version { modified: 1_700_000_500, ..Version::new(8, LENGTH) }
}

/// A client that waits long enough for a busy machine.
fn client() -> Origin {
    client_that_waits(Duration::from_secs(60))
}

fn client_that_waits(read_timeout: Duration) -> Origin {
    let config =
        OriginConfig { read_timeout, proxies: Proxies::Direct, body_limit: 10 * LENGTH, ..OriginConfig::default() };
    Origin::new(config).expect("sets up")
}

fn known() -> Known {
    let validator = Validator::StrongEtag(format!("\"{}\"", version().tag));
    Known { validator: Some(validator), length: Some(LENGTH), coding: Coding::Identity }
}

/// The questions that the rows ask.
#[derive(Debug, Clone, Copy)]
enum Question {
    /// The first 1000 bytes, of whatever version.
    First,
    /// 100,000 bytes from the middle of the known version, under If-Range.
    Middle,
    /// The same under If-Match.
    MiddleIfMatch,
    /// Everything.
    Whole,
    /// The head.
    Head,
    /// Whether the known version is still current.
    IsCurrent,
}

impl Question {
    fn request(self, url: &str) -> OriginRequest {
        let ask = |asked| OriginRequest::new(ResourceUrl::parse(url).expect("a URL"), asked);
        let middle = Asked::Range { first: 100_000, last: Some(199_999) };
        match self {
            Self::First => ask(Asked::Range { first: 0, last: Some(999) }),
            Self::Middle => ask(middle).about(known(), Precondition::IfRange),
            Self::MiddleIfMatch => ask(middle).about(known(), Precondition::IfMatch),
            Self::Whole => ask(Asked::Whole),
            Self::Head => ask(Asked::Head),
            Self::IsCurrent => ask(Asked::Whole).about(known(), Precondition::IfNoneMatch),
        }
    }
}

/// Asks once and says in words what came of it. Panics at the first byte that is not of `version`.
async fn outcome(origin: &Origin, request: &OriginRequest, version: &Version) -> String {
    match origin.open(request).await {
        Err(error) => failure(&error),
        Ok(Opened::Changed(reason)) => format!("changed: {reason}"),
        Ok(Opened::NotModified { .. }) => "not modified".to_owned(),
        Ok(Opened::Unsatisfiable { length, .. }) => format!("no such range of {length:?}"),
        Ok(Opened::Described { representation, .. }) => {
            format!("described: {:?}, {:?}", representation.length, representation.validator)
        }
        Ok(Opened::Body { span, body, .. }) => read(span, body, version).await,
    }
}

async fn read(span: Span, mut body: OriginBody, version: &Version) -> String {
    let degraded = if body.degraded().is_some() { ", after a simpler question" } else { "" };
    let mut at = span.start;
    loop {
        match body.next().await {
            Ok(Some(bytes)) => {
                assert!(!bytes.is_empty());
                assert!(at + bytes.len() as u64 <= span.end.unwrap_or(u64::MAX), "more than was promised");
                assert_eq!(bytes, version.bytes(at..at + bytes.len() as u64), "a wrong byte at {at}");
                at += bytes.len() as u64;
            }
            Ok(None) => {
                let proof = match body.end() {
                    BodyEnd::Complete { .. } => "complete",
                    BodyEnd::Unproven { .. } => "unproven",
                    BodyEnd::Short { .. } => panic!("a short body ended without an error"),
                };
                return format!("{}..{at} {proof}{degraded}", span.start);
            }
            Err(error) => return format!("{}..{at} then {}", span.start, failure(&error)),
        }
    }
}

fn failure(error: &eddy_node::origin::OriginError) -> String {
    let retry = match error.retry() {
        Retry::Transient { after: Some(after) } => format!("again after {} s", after.as_secs()),
        Retry::Transient { after: None } => "again".to_owned(),
        Retry::Permanent => "final".to_owned(),
    };
    assert!(!error.to_string().contains("secret"), "{error}");
    format!("{}, {retry}", error.code())
}

type Row<'a> = (&'a str, Behaviour, Question, &'a str);

/// Runs one server for each row.
async fn hold(rows: Vec<Row<'_>>) {
    hold_with(client(), rows).await;
}

/// The same for servers that keep a client waiting.
async fn hold_impatiently(rows: Vec<Row<'_>>) {
    hold_with(client_that_waits(Duration::from_millis(700)), rows).await;
}

async fn hold_with(origin: Origin, rows: Vec<Row<'_>>) {
    let server = HostileOrigin::start().await.expect("starts");
    for (name, behaviour, question, expected) in rows {
        server.publish("/f", Resource::new(version(), behaviour));
        let request = question.request(&server.url("/f?token=secret"));
        let came = outcome(&origin, &request, &version()).await;
        assert_eq!(came, expected, "{name}");
    }
}

#[tokio::test]
async fn an_honest_server_gives_exactly_what_was_asked_for() {
    let honest = Behaviour::default;
    hold(vec![
        ("first", honest(), Question::First, "0..1000 complete"),
        ("middle", honest(), Question::Middle, "100000..200000 complete"),
        ("middle", honest(), Question::MiddleIfMatch, "100000..200000 complete"),
        ("whole", honest(), Question::Whole, "0..300000 complete"),
        ("head", honest(), Question::Head, "described: Some(300000), Some(etag \\\"v7\\\")"),
        ("current", honest(), Question::IsCurrent, "not modified"),
    ])
    .await;
}

#[tokio::test]
async fn r25_a_server_without_ranges_is_read_from_the_start() {
    let no_ranges = || Behaviour::ranges(RangeAnswer::Ignored);
    hold(vec![
        ("no ranges", no_ranges(), Question::Middle, "0..300000 complete"),
        ("HTTP/1.0", Behaviour::framing(Framing::Http10), Question::Middle, "0..300000 complete"),
        ("chunked", Behaviour { framing: Framing::Chunked, ..no_ranges() }, Question::First, "0..300000 complete"),
    ])
    .await;
}

#[tokio::test]
async fn r34_a_body_that_ends_with_the_connection_is_unproven() {
    let no_length = Behaviour { framing: Framing::Close, ..Behaviour::ranges(RangeAnswer::Ignored) };
    hold(vec![("no length", no_length, Question::First, "0..300000 unproven")]).await;
}

#[tokio::test]
async fn r20_to_r26_a_lying_206_is_never_used_and_the_whole_is_asked_for_instead() {
    // `Unasked` answers the second question with a lie as well: nothing is left to try.
    let whole = "0..300000 complete, after a simpler question";
    for lie in [
        RangeLie::OtherStart,
        RangeLie::Longer,
        RangeLie::HiddenTotal,
        RangeLie::Multipart,
        RangeLie::Garbage,
        RangeLie::Missing,
        RangeLie::Twice,
        RangeLie::OtherUnit,
        RangeLie::Backwards,
    ] {
        hold(vec![(&format!("{lie:?}"), Behaviour::lie(lie), Question::Middle, whole)]).await;
    }
    hold(vec![
        ("unasked", Behaviour::lie(RangeLie::Unasked), Question::Whole, "origin-protocol, again"),
        ("other total", Behaviour::lie(RangeLie::OtherTotal), Question::Middle, "changed: the length is another one"),
        ("shorter", Behaviour::lie(RangeLie::Shorter), Question::Middle, "100000..150000 complete"),
    ])
    .await;
}

#[tokio::test]
async fn r23_a_206_of_another_version_is_a_change() {
    let other_mark = |mark| Behaviour { partial_mark: Some(mark), ..Behaviour::default() };
    let changed = "changed: the ETag is another one";
    hold(vec![
        ("other tag", other_mark(Mark::Fixed("x".into())), Question::Middle, changed),
        ("weak tag", other_mark(Mark::Weak), Question::Middle, changed),
        ("no tag, but our If-Range vouches", other_mark(Mark::None), Question::Middle, "100000..200000 complete"),
    ])
    .await;
}

#[tokio::test]
async fn r29_a_file_that_changes_between_two_ranges_is_never_mixed() {
    let server = HostileOrigin::start().await.expect("starts");
    let origin = client();
    for (question, expected) in [
        (Question::Middle, "changed: the ETag is another one"),
        (Question::MiddleIfMatch, "changed: the server says that the file has changed (412)"),
        (Question::IsCurrent, "changed: the ETag is another one"),
    ] {
        server.publish("/f", Resource::changing_at(1, version(), other_version(), Behaviour::default()));
        let request = question.request(&server.url("/f"));
        assert_eq!(outcome(&origin, &request, &version()).await, expected, "{question:?}");
    }
    assert_eq!(server.counters().path("/f").statuses.get(&206), None, "no part of the new version was sent");
}

#[tokio::test]
async fn r23_a_server_that_ignores_preconditions_is_still_found_out() {
    let server = HostileOrigin::start().await.expect("starts");
    let stubborn = Behaviour::lie(RangeLie::IgnoresPreconditions);
    server.publish("/f", Resource::changing_at(1, version(), other_version(), stubborn));
    for question in [Question::Middle, Question::MiddleIfMatch] {
        let request = question.request(&server.url("/f"));
        let came = outcome(&client(), &request, &version()).await;
        assert_eq!(came, "changed: the ETag is another one", "{question:?}");
    }
}

#[tokio::test]
async fn r05_weak_or_missing_marks_give_no_validator() {
    let server = HostileOrigin::start().await.expect("starts");
    for (mark, expected) in [
        (Mark::Strong, "Some(etag \\\"v7\\\")"),
        (Mark::Modified, "Some(last-modified Tue, 14 Nov 2023 22:13:20 GMT)"),
        (Mark::JustModified(5), "None"),
        (Mark::JustModified(-3600), "None"),
        (Mark::Weak, "None"),
        (Mark::None, "None"),
    ] {
        server.publish("/f", Resource::new(version(), Behaviour::mark(mark.clone())));
        let came = outcome(&client(), &Question::Head.request(&server.url("/f")), &version()).await;
        assert_eq!(came, format!("described: Some(300000), {expected}"), "{mark:?}");
    }
}

#[tokio::test]
async fn r33_an_early_end_is_an_error_and_never_a_short_success() {
    let chunked = |fault| Behaviour { framing: Framing::Chunked, ..Behaviour::body(fault) };
    let (close, reset) = (BodyFault::CloseAfter(50_000), BodyFault::ResetAfter(0));
    hold(vec![
        ("close", Behaviour::body(close), Question::Whole, "0..50000 then origin-closed-early, again"),
        ("close in a part", Behaviour::body(close), Question::Middle, "100000..150000 then origin-closed-early, again"),
        ("close before the last chunk", chunked(close), Question::Whole, "0..50000 then origin-closed-early, again"),
        ("reset", Behaviour::body(reset), Question::Whole, "0..0 then origin-reset, again"),
        (
            "broken chunk",
            chunked(BodyFault::BrokenChunk(50_000)),
            Question::Whole,
            "0..50000 then origin-protocol, final",
        ),
    ])
    .await;
}

#[tokio::test]
async fn r31_bytes_after_the_end_are_dropped_and_the_connection_with_them() {
    let server = HostileOrigin::start().await.expect("starts");
    server.publish("/f", Resource::new(version(), Behaviour::body(BodyFault::Extra(5000))));
    let origin = client();
    for _ in 0..3 {
        let request = Question::Middle.request(&server.url("/f"));
        assert_eq!(outcome(&origin, &request, &version()).await, "100000..200000 complete");
    }
    assert_eq!(server.counters().connections, 3, "none was used again");
}

#[tokio::test]
async fn t26_a_stalled_or_endless_server_is_given_up() {
    let stall = Behaviour::body(BodyFault::StallAfter(1000, Duration::from_secs(3600)));
    let hang = Behaviour::head_fault(HeadFault::Hang);
    let hours = Duration::from_secs(3600);
    hold_impatiently(vec![
        ("stall", stall, Question::Whole, "0..1000 then origin-timeout, again"),
        ("drip", Behaviour::body(BodyFault::Drip(1, hours)), Question::Whole, "0..1 then origin-timeout, again"),
        ("no head", hang, Question::Whole, "origin-timeout, again"),
        ("far away", Behaviour::default().far_away(hours), Question::Whole, "origin-timeout, again"),
    ])
    .await;
    let server = HostileOrigin::start().await.expect("starts");
    let endless = Version { length: 20 * LENGTH, ..version() };
    let unmarked = Behaviour { framing: Framing::Chunked, ..Behaviour::ranges(RangeAnswer::Ignored) };
    server.publish("/f", Resource::new(endless.clone(), unmarked));
    let came = outcome(&client(), &Question::Whole.request(&server.url("/f")), &endless).await;
    assert!(came.ends_with("then origin-too-long, final"), "{came}");
}

#[tokio::test]
async fn r32_r37_t22_a_head_that_breaks_http_is_refused() {
    let fault = Behaviour::head_fault;
    let refused = "origin-protocol, again";
    hold(vec![
        ("length and chunked", fault(HeadFault::LengthAndChunked), Question::Whole, refused),
        ("two lengths", fault(HeadFault::TwoLengths), Question::Whole, "origin-protocol, final"),
        ("negative length", fault(HeadFault::NegativeLength), Question::Whole, "origin-protocol, final"),
        ("huge field", fault(HeadFault::HugeField(70_000)), Question::Whole, refused),
        ("many fields", fault(HeadFault::ManyFields(101)), Question::Whole, "origin-protocol, final"),
        ("endless fields", fault(HeadFault::EndlessFields), Question::Whole, "origin-protocol, final"),
        ("not HTTP", fault(HeadFault::NotHttp), Question::Whole, "origin-protocol, final"),
        ("silence", fault(HeadFault::Silence), Question::Whole, "origin-reset, again"),
        ("some interim answers", fault(HeadFault::Interim(8)), Question::Whole, "0..300000 complete"),
    ])
    .await;
    let endless = fault(HeadFault::EndlessInterim);
    hold_impatiently(vec![("endless interim answers", endless, Question::Whole, "origin-timeout, again")]).await;
}

#[tokio::test]
async fn r38_every_status_says_whether_another_try_is_worth_it() {
    let busy = |status: u16, wish: &str| {
        let lines = vec![format!("Retry-After: {wish}")];
        Behaviour { instead: Some(Instead::Status(status, lines)), ..Behaviour::default() }
    };
    hold(vec![
        ("401", Behaviour::status(401), Question::Whole, "origin-401, final"),
        ("403", Behaviour::status(403), Question::Whole, "origin-403, final"),
        ("404", Behaviour::status(404), Question::Middle, "origin-404, final"),
        ("410", Behaviour::status(410), Question::Whole, "origin-410, final"),
        ("429", busy(429, "7"), Question::Whole, "origin-429, again after 7 s"),
        ("503", busy(503, "99999999"), Question::Whole, "origin-503, again after 86400 s"),
        ("503 garbage", busy(503, "soon"), Question::Whole, "origin-503, again"),
        ("500", Behaviour::status(500), Question::Middle, "origin-5xx, again"),
        (
            "412",
            Behaviour::status(412),
            Question::MiddleIfMatch,
            "changed: the server says that the file has changed (412)",
        ),
    ])
    .await;
}

#[tokio::test]
async fn r11_a_refused_question_is_asked_again_in_a_simpler_way() {
    let server = HostileOrigin::start().await.expect("starts");
    let refuses = |field: &'static str, status: u16| {
        Resource::scripted(version(), move |ask| {
            let behaviour = if ask.header(field).is_some() { Behaviour::status(status) } else { Behaviour::default() };
            (behaviour, None)
        })
    };
    for (field, status, question, expected) in [
        ("if-match", 403, Question::MiddleIfMatch, "100000..200000 complete, after a simpler question"),
        ("range", 400, Question::Middle, "0..300000 complete, after a simpler question"),
        ("range", 400, Question::MiddleIfMatch, "0..300000 complete, after a simpler question"),
    ] {
        server.publish("/f", refuses(field, status));
        let came = outcome(&client(), &question.request(&server.url("/f")), &version()).await;
        assert_eq!(came, expected, "{field} {question:?}");
    }
}

#[tokio::test]
async fn a_refused_head_is_asked_with_one_byte_of_get() {
    let described = "described: Some(300000), Some(etag \\\"v7\\\")";
    let refused = |status| Behaviour { head: HeadAnswer::Refused(status), ..Behaviour::default() };
    hold(vec![
        ("405", refused(405), Question::Head, described),
        ("501", refused(501), Question::Head, described),
        ("403, and no ranges", Behaviour { ranges: RangeAnswer::Ignored, ..refused(403) }, Question::Head, described),
    ])
    .await;
}

#[tokio::test]
async fn r27_a_range_past_the_end_names_the_length() {
    let server = HostileOrigin::start().await.expect("starts");
    server.publish("/f", Resource::new(version(), Behaviour::default()));
    let url = ResourceUrl::parse(&server.url("/f")).expect("a URL");
    let past =
        OriginRequest::new(url, Asked::Range { first: LENGTH, last: None }).about(known(), Precondition::IfRange);
    assert_eq!(outcome(&client(), &past, &version()).await, format!("no such range of Some({LENGTH})"));
}

#[tokio::test]
async fn r35_a_coding_that_nobody_asked_for_is_another_representation() {
    let gzip = || Behaviour::default().with_header("Content-Encoding: gzip");
    let server = HostileOrigin::start().await.expect("starts");
    server.publish("/f", Resource::new(version(), gzip()));
    let came = outcome(&client(), &Question::Middle.request(&server.url("/f")), &version()).await;
    assert_eq!(came, "changed: the content coding is another one");
    let headers = server.counters().path("/f").last_headers;
    assert_eq!(headers.get("accept-encoding").map(String::as_str), Some("identity"), "R-12");
    // On first contact the coded bytes are the representation, and are never decoded.
    assert_eq!(outcome(&client(), &Question::Whole.request(&server.url("/f")), &version()).await, "0..300000 complete");
}

#[tokio::test]
async fn r43_digests_that_the_origin_names_are_handed_on() {
    let server = HostileOrigin::start().await.expect("starts");
    let digest = "Repr-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    server.publish("/f", Resource::new(version(), Behaviour::default().with_header(digest)));
    let request = Question::First.request(&server.url("/f"));
    let Ok(Opened::Body { representation, .. }) = client().open(&request).await else { panic!("opens") };
    assert_eq!(representation.digests.len(), 1, "whole-file digest, also on a 206 (R-47)");
}

#[tokio::test]
async fn requests_carry_nothing_that_nobody_asked_for() {
    let server = HostileOrigin::start().await.expect("starts");
    let cookie = Behaviour::default().with_header("Set-Cookie: id=1");
    server.publish("/f", Resource::new(version(), cookie));
    server.publish("/start", Resource::new(version(), Behaviour::redirect("/f")));
    let origin = client();
    for _ in 0..2 {
        assert_eq!(
            outcome(&origin, &Question::Whole.request(&server.url("/start")), &version()).await,
            "0..300000 complete"
        );
    }
    let sent: Vec<String> = server.counters().path("/f").last_headers.into_keys().collect();
    assert_eq!(sent, ["accept", "accept-encoding", "host", "user-agent", "want-repr-digest"], "T-30, T-31");
}
