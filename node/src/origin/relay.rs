//! A question of a gateway's client, relayed: the answer comes back as it is, and judged beside.
//!
//! The same hops, budgets and address rules as for [`Origin::open`] (T-20); nothing is simplified or asked again.

use super::body::OriginBody;
use super::error::{Cause, OriginError};
use super::hop::{Hop, Path};
use super::open::{Origin, unix_now};
use super::request::{Audience, OriginRequest};
use bytes::Bytes;
use eddy_content::ResourceUrl;
use eddy_content::http::freshness::Exchange;
use eddy_content::http::{
    AddressClass, Asked, BodyLimit, BodyMeter, Expectation, Framing, Precondition, RequestPrivacy, ResponseHead,
    Verdict, judge,
};
use http::{HeaderMap, HeaderName, Method, header};
use std::sync::Arc;
use std::time::Duration;

/// What becomes of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Redirects {
    /// It is followed, under the rules of every hop.
    Follow,
    /// It is the answer.
    Pass,
}

/// A question to be relayed. The fields are sent as they are: whoever fills them answers for what is in them (T-31).
#[derive(Debug, Clone)]
pub struct RelayRequest {
    /// What is asked about.
    pub url: ResourceUrl,
    /// How.
    pub method: Method,
    /// The fields.
    pub fields: HeaderMap,
    /// The content, if there is any.
    pub content: Option<Bytes>,
    /// Which bytes are asked for, by the fields.
    pub asked: Asked,
    /// What becomes of redirects.
    pub redirects: Redirects,
    /// Whether something in the fields is the user's own.
    pub privacy: RequestPrivacy,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Relayed {
    /// The URL after redirects.
    pub final_url: ResourceUrl,
    /// Who has led there, from another origin.
    pub led_by: Option<AddressClass>,
    /// Its head.
    pub head: ResponseHead,
    /// What it would mean to a transfer.
    pub verdict: Verdict,
    /// When it was asked for and came.
    pub exchange: Exchange,
    /// The body; none where the method or the status has none.
    pub body: Option<OriginBody>,
}

impl Origin {
    /// Relays one question, after at most two minutes in which others have all the places at its origin, and returns before the first byte of the body is read. Cancel safe.
    pub async fn relay(&self, request: RelayRequest) -> Result<Relayed, OriginError> {
        let named = OriginRequest::new(request.url.clone(), request.asked.clone());
        let mut path = Path::start(&self.shared.clients, &named);
        path.patience = Some(TURN);
        let mut told = HeaderMap::new();
        // Until the way leads to somebody else for the first time: who leads back speaks of another file.
        let mut is_first_word = true;
        loop {
            let is_named = path.audience() == Audience::NamedOrigin;
            is_first_word &= is_named;
            let mut fields = request.fields.clone();
            if !is_named {
                PERSONAL.iter().chain([&header::PROXY_AUTHORIZATION]).for_each(|name| drop(fields.remove(name)));
            }
            let question = (request.method.clone(), fields, None);
            let mut hop =
                self.exchange(&path, question, request.content.clone()).await.map_err(|cause| path.error(cause))?;
            let verdict = judge(&expectation(&request, &path.url), &hop.head, unix_now());
            match verdict {
                Verdict::Redirect { location } if request.redirects == Redirects::Follow => {
                    if is_first_word {
                        carry(&mut told, &hop.head.headers);
                    }
                    path.follow(&location, hop).map_err(|cause| path.error(cause))?;
                }
                Verdict::Protocol(fault) if Framing::of(&hop.head).is_err() => {
                    // where the end is in doubt, nothing is passed on (T-38).
                    return Err(path.error(Cause::Protocol(fault)));
                }
                verdict => {
                    // What the named origin has said of the file counts, and not what the place says to which it led.
                    let is_not_theirs = |name: &&HeaderName| !is_first_word || told.contains_key(*name);
                    TOLD.iter().filter(is_not_theirs).for_each(|name| drop(hop.head.headers.remove(name)));
                    carry(&mut hop.head.headers, &told);
                    return self.relayed(&request, &path, verdict, hop);
                }
            }
        }
    }

    fn relayed(
        &self,
        request: &RelayRequest,
        path: &Path<'_>,
        verdict: Verdict,
        hop: Hop,
    ) -> Result<Relayed, OriginError> {
        let (final_url, led_by) = (path.url.clone(), path.led_by());
        let Hop { response, head, permit, exchange, .. } = hop;
        let framing = Framing::of(&head)
            .map_err(|fault| OriginError { url: Box::new(final_url.clone()), cause: Cause::Protocol(fault) })?;
        // RFC 9112 section 6.3: what has no content whatever its fields say.
        let is_bare = request.method == Method::HEAD || matches!(head.status, 204 | 205 | 304);
        let limit = BodyLimit(self.shared.clients.config().body_limit);
        let meter = match &verdict {
            // a part ends where its range does, whatever its framing.
            Verdict::Continue { .. } => BodyMeter::new(&verdict, framing, limit),
            _ => None,
        };
        let meter = meter.unwrap_or_else(|| BodyMeter::passing(framing, limit));
        let shared = Arc::clone(&self.shared);
        let body = (!is_bare).then(|| OriginBody::new(response, final_url.clone(), meter, shared, permit));
        Ok(Relayed { final_url, led_by, head, verdict, exchange, body })
    }
}

fn expectation(request: &RelayRequest, url: &ResourceUrl) -> Expectation {
    let is_conditional = CONDITIONS.iter().any(|name| request.fields.contains_key(name));
    Expectation {
        url: url.clone(),
        asked: request.asked.clone(),
        precondition: if is_conditional { Precondition::IfNoneMatch } else { Precondition::None },
        known: None,
        privacy: request.privacy,
    }
}

/// How long a client's question waits for its turn at an origin: longer than most tools wait for an answer, and not for ever, where others keep the
/// places (see `Phase::Turn`).
const TURN: Duration = Duration::from_secs(120);

/// Fields of a file that a redirect to it has: which version it is of, its digest, its length. The hub of Hugging Face has them, and its
/// client needs them.
const TOLD: [HeaderName; 3] = [
    HeaderName::from_static("x-repo-commit"),
    HeaderName::from_static("x-linked-etag"),
    HeaderName::from_static("x-linked-size"),
];

/// Puts what the one says of the file into the other, where that does not say it.
fn carry(to: &mut HeaderMap, from: &HeaderMap) {
    for name in TOLD {
        if let (None, Some(value)) = (to.get(&name), from.get(&name)) {
            to.insert(name, value.clone());
        }
    }
}

/// What proves who somebody is. It goes to the named origin alone, and its answer is kept for nobody else (T-34).
pub(crate) static PERSONAL: [HeaderName; 10] = [
    HeaderName::from_static("authorization"),
    HeaderName::from_static("cookie"),
    HeaderName::from_static("private-token"),
    HeaderName::from_static("job-token"),
    HeaderName::from_static("deploy-token"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-jfrog-art-api"),
    HeaderName::from_static("x-gitlab-token"),
    HeaderName::from_static("x-amz-security-token"),
];

/// Fields that ask for 304.
const CONDITIONS: [HeaderName; 2] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

#[cfg(test)]
mod tests {
    use super::super::config::OriginConfig;
    use super::super::error::Phase;
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_clients_question_does_not_wait_for_ever_for_its_turn() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/f", silent.local_addr().expect("an address"));
        let hour = Duration::from_secs(3600);
        let config =
            OriginConfig { requests_per_origin: 1, connect_timeout: hour, read_timeout: hour, ..Default::default() };
        let origin = Origin::new(config).expect("plain settings");
        let question = RelayRequest {
            url: ResourceUrl::parse(&url).expect("parses"),
            method: Method::GET,
            fields: HeaderMap::new(),
            content: None,
            asked: Asked::Whole,
            redirects: Redirects::Follow,
            privacy: RequestPrivacy::Plain,
        };
        let began = Instant::now();
        let answered = tokio::select! {
            biased;
            _ = origin.relay(question.clone()) => panic!("nobody answers"),
            second = origin.relay(question.clone()) => second,
        };
        assert_eq!(answered.expect_err("others have the place").cause, Cause::Timeout(Phase::Turn));
        assert!(began.elapsed() >= TURN);
    }

    /// Answers one question; what it was.
    async fn answer_once(listener: TcpListener, answer: String) -> String {
        let (mut line, _) = listener.accept().await.expect("a question");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(line.read_u8().await.expect("a head"));
        }
        line.write_all(answer.as_bytes()).await.expect("is heard");
        String::from_utf8(head).expect("is text").to_ascii_lowercase()
    }

    #[tokio::test]
    async fn what_proves_who_asks_goes_nowhere_but_to_the_named_origin() {
        let [named, other] = [TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await]
            .map(|listener| listener.expect("a port"));
        let [url, there] =
            [&named, &other].map(|listener| format!("http://{}/f", listener.local_addr().expect("an address")));
        let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {there}\r\ncontent-length: 0\r\n\r\n");
        let servers = tokio::spawn(futures::future::join(
            answer_once(named, redirect),
            answer_once(other, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()),
        ));
        let mut fields: HeaderMap =
            PERSONAL.iter().map(|name| (name.clone(), http::HeaderValue::from_static("secret"))).collect();
        fields.insert(header::ACCEPT, http::HeaderValue::from_static("a/b"));
        let question = RelayRequest {
            url: ResourceUrl::parse(&url).expect("parses"),
            method: Method::GET,
            fields,
            content: None,
            asked: Asked::Whole,
            redirects: Redirects::Follow,
            privacy: RequestPrivacy::Plain,
        };
        let origin = Origin::new(OriginConfig::default()).expect("plain settings");
        origin.relay(question).await.expect("is answered");
        let (first, second) = servers.await.expect("both were asked");
        assert_eq!(first.matches("secret").count(), PERSONAL.len(), "{first}");
        assert!(second.contains("a/b") && !second.contains("secret"), "{second}");
    }
}
