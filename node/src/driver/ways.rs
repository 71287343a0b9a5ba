//! How a job's questions go to origins: what they show of the job, and through which proxy.
//!
//! What is personal goes to the origin that the file's own URL names. A body that is fetched from where a redirect ended is asked for
//! without it.

use super::heads::Keeping;
use crate::origin::{
    ConfigError, DigestUser, LastHead, Origin, OriginConfig, OriginRequest, Pace, PersonalHeaders, Proxies, Redirecting,
};
use crate::transfer::origin::userinfo;
use data_encoding::BASE64;
use eddy_content::ResourceUrl;
use eddy_content::http::AddressClass;
use eddy_engine::job::spec::Credentials;
use eddy_engine::job::terms::{Authorization, ProxyUse, Redirects};
use eddy_engine::{FileSpec, JobSpec, Terms};
use std::collections::HashMap;

/// Ways of jobs whose connections are kept; beyond that all are made anew.
const MOST_OTHERS: usize = 16;

/// The ways to origins: the node's own, and one for each proxy and each certificate that jobs name.
pub(super) struct Ways {
    own: Origin,
    config: OriginConfig,
    /// By proxy and certificate.
    others: HashMap<(String, Option<String>), Origin>,
}

impl Ways {
    pub(super) fn new(own: Origin, config: OriginConfig) -> Self {
        Self { own, config, others: HashMap::new() }
    }

    /// The way that a job wants to a place. Its certificate is shown to the origin of the file's own URL alone.
    pub(super) fn of(&mut self, terms: &Terms, place: Place) -> Result<Origin, ConfigError> {
        let certificate = terms.ties.certificate.as_ref().filter(|_| place == Place::Named);
        let proxies = match &terms.proxy {
            ProxyUse::System if certificate.is_none() => return Ok(self.own.clone()),
            ProxyUse::System => self.config.proxies.clone(),
            ProxyUse::Direct => Proxies::Direct,
            ProxyUse::Through { url, credentials } => {
                let mut url = url::Url::parse(url).map_err(|_| ConfigError::Proxy)?;
                if let Some(credentials) = credentials {
                    let is_set = url.set_username(&credentials.user).is_ok()
                        && url.set_password(Some(&credentials.password)).is_ok();
                    if !is_set {
                        return Err(ConfigError::Proxy);
                    }
                }
                Proxies::Fixed { url: url.into(), except: String::new() }
            }
        };
        let way = match &proxies {
            Proxies::Fixed { url, .. } => url.clone(),
            Proxies::Environment => "system".to_owned(),
            Proxies::Direct => "direct".to_owned(),
        };
        let key = (way, certificate.cloned());
        if let Some(origin) = self.others.get(&key) {
            return Ok(origin.clone());
        }
        let unknown = |name: &String| ConfigError::UnknownCertificate(name.clone());
        let shown = |name: &String| self.config.certificates.get(name).cloned().ok_or_else(|| unknown(name));
        let certificate = certificate.map(shown).transpose()?;
        let origin = Origin::new(OriginConfig { proxies, certificate, ..self.config.clone() })?;
        if self.others.len() >= MOST_OTHERS {
            self.others.clear();
        }
        self.others.insert(key, origin.clone());
        Ok(origin)
    }
}

/// Where a question of a job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// To the origin that the file's own URL names.
    Named,
    /// To where a redirect ended.
    Elsewhere,
}

/// What a request about a file shows of its job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dress {
    personal: PersonalHeaders,
    credentials: Option<eddy_content::url::Userinfo>,
    digest: Option<DigestUser>,
    redirects: Redirecting,
    verb: Option<http::Method>,
    last_head: Option<LastHead>,
    pace: Option<Pace>,
    led_by: Option<AddressClass>,
}

impl Dress {
    /// For a question that goes to `at` about a file of the job.
    pub(crate) fn of(job: &JobSpec, file: &FileSpec, at: &ResourceUrl) -> Self {
        let redirects = match job.terms.redirects {
            Redirects::Follow | Redirects::Report => Redirecting::Follow,
            Redirects::Refuse => Redirecting::Refuse,
        };
        if file.url.origin() != at.origin() {
            return Self { redirects, ..Self::default() };
        }
        let (mut proof, mut digest) = (None, None);
        match job.terms.authorization.as_ref().filter(|_| file.credentials.is_none()) {
            Some(Authorization::Basic(Credentials { user, password })) => {
                proof = Some(format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes())));
            }
            Some(Authorization::Bearer(token)) => proof = Some(format!("Bearer {}", token.0)),
            Some(Authorization::Digest(Credentials { user, password })) => {
                digest = Some(DigestUser { user: user.clone(), password: password.clone() });
            }
            None => {}
        }
        let fields = job.terms.headers.iter().map(|field| (field.name.as_str(), field.value.as_str()));
        let fields = fields.chain(proof.as_deref().map(|proof| ("authorization", proof)));
        // What cannot be sent was refused when the job was made.
        let personal = PersonalHeaders::parse(fields).unwrap_or_default();
        // The same.
        let verb = job.terms.method.as_ref().and_then(|method| method.parse().ok());
        let credentials = userinfo(file.credentials.clone());
        Self { personal, credentials, digest, redirects, verb, ..Self::default() }
    }

    /// The same for a question whose answer is kept.
    pub(super) fn leaving(self, keeping: Option<&Keeping>) -> Self {
        Self { last_head: keeping.map(|keeping| keeping.last.clone()), ..self }
    }

    /// The same at the pace of the job.
    pub(super) fn at_pace(self, pace: Pace) -> Self {
        Self { pace: Some(pace), ..self }
    }

    /// The same for a place that a redirect has led to, from such an address.
    pub(super) fn led_by(self, led_by: Option<AddressClass>) -> Self {
        Self { led_by, ..self }
    }

    /// Puts it on.
    pub(crate) fn put_on(self, request: &mut OriginRequest) {
        request.personal = self.personal;
        request.credentials = self.credentials;
        request.digest = self.digest;
        request.redirects = self.redirects;
        request.verb = self.verb;
        request.last_head = self.last_head;
        request.pace = self.pace;
        request.led_by = self.led_by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::http::Asked;
    use eddy_engine::Portion;
    use eddy_engine::job::terms::{HeaderField, Secrecy, Token};

    fn job(terms: Terms) -> JobSpec {
        let url = ResourceUrl::parse("https://a.example/f").expect("parses");
        let file = FileSpec {
            url,
            destination: "/f".into(),
            digests: Vec::new(),
            overwrite: false,
            credentials: None,
            portion: Portion::Whole,
        };
        JobSpec {
            name: String::new(),
            priority: eddy_engine::Priority::Normal,
            files: vec![file],
            finish: eddy_engine::Finish::Auto,
            patience: eddy_engine::Patience::Background,
            peers: eddy_engine::PeerUse::FULL,
            asking: eddy_engine::Asking::Always,
            terms,
        }
    }

    fn sent(job: &JobSpec, at: &str) -> http::HeaderMap {
        let at = ResourceUrl::parse(at).expect("parses");
        let mut request = OriginRequest::new(at.clone(), Asked::Whole);
        Dress::of(job, &job.files[0], &at).put_on(&mut request);
        request.selecting_fields().expect("legal")
    }

    #[test]
    fn what_is_personal_goes_to_the_origin_that_the_job_names_and_to_no_other() {
        let headers = vec![HeaderField { name: "x-key".into(), value: "topsecret".into(), secrecy: Secrecy::Shown }];
        let authorization = Some(Authorization::Bearer(Token("token".into())));
        let job = job(Terms { headers, authorization, ..Terms::default() });
        let there = sent(&job, "https://a.example/other");
        assert_eq!(there["x-key"], "topsecret");
        assert_eq!(there["authorization"], "Bearer token");
        for elsewhere in ["https://b.example/f", "http://a.example/f", "https://a.example:444/f"] {
            let fields = sent(&job, elsewhere);
            assert!(!fields.contains_key("x-key") && !fields.contains_key("authorization"), "{elsewhere}");
        }
    }

    #[test]
    fn of_a_password_that_is_to_be_hashed_nothing_goes_into_a_field_or_to_a_stranger() {
        let known = Credentials { user: "Aladdin".into(), password: "open sesame".into() };
        let job = job(Terms { authorization: Some(Authorization::Digest(known)), ..Terms::default() });
        assert!(!sent(&job, "https://a.example/f").contains_key("authorization"));
        let at = |url: &str| Dress::of(&job, &job.files[0], &ResourceUrl::parse(url).expect("parses")).digest;
        assert!(at("https://a.example/f").is_some() && at("https://b.example/f").is_none());
    }

    #[test]
    fn basic_credentials_are_sent_as_the_rfc_says() {
        let known = Credentials { user: "Aladdin".into(), password: "open sesame".into() };
        let job = job(Terms { authorization: Some(Authorization::Basic(known)), ..Terms::default() });
        assert_eq!(sent(&job, "https://a.example/f")["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
