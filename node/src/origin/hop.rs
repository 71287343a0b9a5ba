//! Where a question has got to: its hops, and the rules of each (T-20, R-15).

use super::budget::Permit;
use super::client::Clients;
use super::config::PrivateAddresses;
use super::error::{Cause, OriginError};
use super::pace::Pace;
use super::reach::{Reach, literal_class};
use super::request::{Audience, OriginRequest};
use eddy_content::ResourceUrl;
use eddy_content::http::freshness::Exchange;
use eddy_content::http::{AddressClass, Carry, RedirectRefusal, ResponseHead, may_carry_credentials, may_follow};
use http::HeaderMap;
use std::time::Duration;

/// The path of one question from the URL that the job names to the one that answers.
pub(super) struct Path<'a> {
    clients: &'a Clients,
    named: &'a ResourceUrl,
    led_by: Option<AddressClass>,
    pub(super) pace: Option<&'a Pace>,
    pub(super) url: ResourceUrl,
    /// How long each hop may wait for its place in the origin's budget; for ever where nobody is kept waiting by that.
    pub(super) patience: Option<Duration>,
    hops: u8,
    pub(super) reach: Reach,
}

/// One answer, before it is judged.
pub(super) struct Hop {
    pub(super) response: Box<reqwest::Response>,
    pub(super) head: ResponseHead,
    pub(super) permit: Option<Permit>,
    class: AddressClass,
    /// The fields of the question.
    pub(super) asked: HeaderMap,
    pub(super) exchange: Exchange,
}

impl<'a> Path<'a> {
    pub(super) fn start(clients: &'a Clients, request: &'a OriginRequest) -> Self {
        let reach = match (clients.config().private_addresses, request.led_by) {
            (PrivateAddresses::WhenNamed, None) => Reach::Named,
            (PrivateAddresses::WhenNamed, Some(class)) => Reach::From(class),
            (PrivateAddresses::Refused, _) => Reach::From(AddressClass::Public),
        };
        let pace = request.pace.as_ref();
        let (named, led_by, url) = (&request.url, request.led_by, request.url.clone());
        Self { clients, named, led_by, pace, url, patience: None, hops: 0, reach }
    }

    /// Refuses an address that is written in the URL itself.
    pub(super) fn check_literal(&self) -> Result<(), Cause> {
        let Some(class) = literal_class(&self.url) else { return Ok(()) };
        let refused = |refusal| Cause::Address { host: self.url.host().to_owned(), refusal };
        self.reach.check(class).map_err(refused)
    }

    /// what is personal goes to the origin that the job names and to no other.
    pub(super) fn audience(&self) -> Audience {
        match may_carry_credentials(self.named, &self.url) {
            Carry::Credentials => Audience::NamedOrigin,
            Carry::Nothing => Audience::Stranger,
        }
    }

    /// Takes a redirect.
    pub(super) fn follow(&mut self, location: &str, hop: Hop) -> Result<(), Cause> {
        let limit = self.clients.config().redirect_limit;
        let next = self.url.join(location).map_err(Cause::BadRedirect)?;
        match may_follow(&self.url, &next) {
            Err(RedirectRefusal::Downgrade) => return Err(Cause::Downgrade),
            Err(RedirectRefusal::Loop) => return Err(Cause::TooManyRedirects { limit }),
            Ok(()) if self.hops >= limit => return Err(Cause::TooManyRedirects { limit }),
            Ok(()) => {}
        }
        // Whoever answered now chooses where this node connects to; no hop leads inward from there.
        self.reach = match self.reach {
            Reach::From(AddressClass::Public) => self.reach,
            _ => Reach::From(hop.class),
        };
        tracing::debug!(from = %self.url, to = %next, "redirected");
        self.hops += 1;
        self.url = next;
        Ok(())
    }

    /// Who has led to where it has got to, if that is another origin than the named one: whoever asks there again was led there as well.
    pub(super) fn led_by(&self) -> Option<AddressClass> {
        match self.reach {
            Reach::From(class) if self.led_by.is_some() || self.url.origin() != self.named.origin() => Some(class),
            _ => None,
        }
    }

    pub(super) fn error(&self, cause: Cause) -> OriginError {
        tracing::debug!(url = %self.url, named = %self.named, code = cause.code(), "the question failed");
        OriginError { url: Box::new(self.url.clone()), cause }
    }
}

impl Hop {
    pub(super) fn new(
        response: reqwest::Response,
        permit: Option<Permit>,
        is_proxied: bool,
        url: &ResourceUrl,
        (asked, exchange): (HeaderMap, Exchange),
    ) -> Self {
        let connected = response.remote_addr().filter(|_| !is_proxied).map(|address| AddressClass::of(address.ip()));
        // Behind a proxy a name may be anybody's: the stricter reading.
        let class = connected.or_else(|| literal_class(url)).unwrap_or(AddressClass::Public);
        let head = ResponseHead {
            status: response.status().as_u16(),
            version: response.version(),
            headers: response.headers().clone(),
        };
        Self { response: Box::new(response), head, permit, class, asked, exchange }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::OriginConfig;
    use eddy_content::http::Asked;

    fn url(text: &str) -> ResourceUrl {
        ResourceUrl::parse(text).expect("parses")
    }

    fn answered(url: &ResourceUrl) -> Hop {
        let response = http::Response::new(Vec::new()).into();
        Hop::new(response, None, false, url, (HeaderMap::new(), Exchange { asked: 0, received: 0 }))
    }

    #[test]
    fn t20_who_asks_again_where_a_redirect_led_is_one_who_was_led_there() {
        let clients = Clients::new(OriginConfig::default()).expect("a client");
        let request = OriginRequest::new(url("http://10.0.0.1/a"), Asked::Whole);
        let mut path = Path::start(&clients, &request);
        assert_eq!(path.led_by(), None);
        path.follow("/b", answered(&path.url)).expect("may be followed");
        assert_eq!(path.led_by(), None, "the origin is the one that was named");
        path.follow("http://h.example/f", answered(&path.url)).expect("may be followed");
        assert_eq!(path.led_by(), Some(AddressClass::Private));
        path.follow("http://other.example/f", answered(&path.url)).expect("may be followed");
        assert_eq!(path.led_by(), Some(AddressClass::Public));

        for (led_by, may) in [(None, true), (Some(AddressClass::Private), true), (Some(AddressClass::Public), false)] {
            let again = OriginRequest { led_by, ..OriginRequest::new(url("http://10.0.0.2/f"), Asked::Whole) };
            let path = Path::start(&clients, &again);
            assert_eq!((path.check_literal().is_ok(), path.led_by()), (may, led_by));
        }
    }
}
