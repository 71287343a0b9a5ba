//! Changes of a job, parsed: what is left is valid, and says what becomes of the job as it is.

use super::jobs::{MAX_JOB_ROW, too_long};
use super::wish;
use eddy_content::ResourceUrl;
use eddy_engine::engine::Amendment;
use eddy_engine::job::live::Job;
use eddy_engine::job::portion::Portion;
use eddy_engine::job::spec::Credentials;
use eddy_engine::job::terms::{self, HeaderField, Presence, ProxyUse, Secrecy, Token};
use eddy_engine::{PeerUse, Priority, Terms};
use eddy_wire::api::check::parse_url;
use eddy_wire::api::terms::limit_in_force;
use eddy_wire::api::{self, Forget, JobChange, MoreFiles, Problem, Relocation};
use eddy_wire::catalogue::ErrorCode;
use std::time::Duration;

/// What a change makes of a job.
pub(super) fn amend(job: &Job, change: JobChange) -> Result<Amendment, Problem> {
    let JobChange { name, priority, peers, terms, forget, urls, relocate } = change;
    let mut next = job.spec().terms.clone();
    for what in &forget {
        match what {
            Forget::Headers => next.headers.clear(),
            Forget::Authorization => next.authorization = None,
            Forget::RetryDelay => next.retry_delay = None,
            Forget::GiveUpAfter => next.give_up_after = None,
            Forget::MaxTransfer => next.max_transfer_time = None,
        }
    }
    if let Some(terms) = terms {
        next = merge(next, terms)?;
    }
    let mut addresses = relocate.map_or(Ok(Vec::new()), |relocation| relocated(job, &relocation))?;
    for change in urls {
        addresses.push((change.file, parse_url(&change.url)?.resource));
    }
    let peers = peers.map(|peers| PeerUse { fetch: peers.fetch, share: peers.share });
    let (priority, peers) = with_method(job, next.method.as_deref(), (priority.map(wish::priority), peers))?;
    Ok(Amendment { name, priority, peers, terms: Some(next), urls: addresses, ..Amendment::default() })
}

/// Where the files of a job come from once the beginning of their URLs is another one.
fn relocated(job: &Job, relocation: &Relocation) -> Result<Vec<(u32, ResourceUrl)>, Problem> {
    let (mut addresses, mut bytes) = (Vec::new(), 0);
    for (file, at) in job.files().iter().zip(0u32..).filter(|(file, _)| !file.is_published()) {
        // F-58: case-sensitive, and nothing happens where none begins like that.
        let Some(rest) = file.spec().url.as_str().strip_prefix(&relocation.from) else { continue };
        let address = parse_url(&format!("{}{rest}", relocation.to))?.resource;
        bytes += address.as_str().len();
        if bytes > MAX_JOB_ROW {
            // A few words can make many URLs long: what no job can have is not made first.
            return Err(too_long());
        }
        addresses.push((at, address));
    }
    Ok(addresses)
}

/// What a method asks of priority and peers (F-68): it is settled before the first turn, and settles those.
fn with_method(
    job: &Job,
    method: Option<&str>,
    (priority, peers): (Option<Priority>, Option<PeerUse>),
) -> Result<(Option<Priority>, Option<PeerUse>), Problem> {
    let refused = |why: &str| Err(Problem::new(ErrorCode::BadMethod, why));
    if method != job.spec().terms.method.as_deref() && !job.is_untried() {
        return refused("a job that has run keeps its method");
    }
    match (method, priority, peers) {
        (None, ..) => Ok((priority, peers)),
        _ if job.spec().files.iter().any(|file| file.portion != Portion::Whole) => refused(wish::RANGES_WITH_METHOD),
        (_, Some(Priority::High | Priority::Normal | Priority::Low), _) => {
            refused("with another method than GET a job runs in the foreground")
        }
        (.., Some(PeerUse { fetch, share })) if fetch || share => {
            refused("with another method than GET a job has nothing for peers")
        }
        _ => Ok((Some(Priority::Foreground), Some(PeerUse::NONE))),
    }
}

/// More files for a job.
pub(super) fn add(job: &Job, more: &MoreFiles) -> Result<Amendment, Problem> {
    let mut files = Vec::with_capacity(more.files.len());
    for file in &more.files {
        if job.spec().files.iter().any(|known| known.destination == file.destination) {
            return Err(Problem::new(ErrorCode::DestinationTwice, file.destination.clone()));
        }
        if job.spec().terms.method.is_some() && (file.on_demand || !file.ranges.is_empty()) {
            return Err(Problem::new(ErrorCode::BadMethod, wish::RANGES_WITH_METHOD));
        }
        files.push(wish::parse_file(file)?);
    }
    let count = job.spec().files.len() + files.len();
    if count > api::job::MAX_FILES {
        return Err(Problem::new(ErrorCode::TooManyFiles, format!("{count} files")));
    }
    Ok(Amendment { files, ..Amendment::default() })
}

/// Makes it somebody else's, without the secrets of its last owner (F-84).
pub(super) fn take(job: &Job, owner: u32) -> Amendment {
    let owner = terms::Owner(owner);
    let stripped = job.spec().terms.clone().without_secrets();
    let terms = (job.owner() != owner).then_some(stripped);
    Amendment { owner: Some(owner), terms, ..Amendment::default() }
}

/// What a job says after some of it was said anew.
pub(super) fn merge(old: Terms, new: api::Terms) -> Result<Terms, Problem> {
    let seconds = |wish: Option<u64>, old: Option<Duration>| wish.map(Duration::from_secs).or(old);
    let mut headers = old.headers;
    headers.retain(|known| !new.headers.iter().any(|field| field.name.eq_ignore_ascii_case(&known.name)));
    for field in new.headers {
        let secrecy = if field.secret { Secrecy::WriteOnly } else { Secrecy::Shown };
        headers.push(HeaderField { name: field.name, value: field.value, secrecy });
    }
    let fields = headers.iter().map(|field| (field.name.as_str(), field.value.as_str()));
    crate::origin::PersonalHeaders::parse(fields)
        .map_err(|cause| Problem::new(ErrorCode::BadHeader, cause.to_string()))?;
    let authorization = new.authorization.map(|proof| match proof {
        api::Authorization::Basic { user, password } => terms::Authorization::Basic(Credentials { user, password }),
        api::Authorization::Digest { user, password } => terms::Authorization::Digest(Credentials { user, password }),
        api::Authorization::Bearer { token } => terms::Authorization::Bearer(Token(token)),
    });
    let named =
        |new: Option<String>, old: Option<String>| new.map_or(old, |name| Some(name).filter(|name| !name.is_empty()));
    let (hook, certificate) = (named(new.hook, old.ties.hook), named(new.client_certificate, old.ties.certificate));
    let presence = match new.while_logged_on {
        None => old.ties.presence,
        Some(true) => Presence::WhileLoggedOn,
        Some(false) => Presence::NotNeeded,
    };
    // GET is what is done anyway.
    let method =
        new.method.map_or(old.method, |method| Some(method).filter(|method| !matches!(method.as_str(), "" | "GET")));
    Ok(Terms {
        method,
        limit: new.limit_bytes_per_second.map_or(old.limit, limit_in_force),
        ties: terms::Ties { hook, presence, certificate },
        description: new.description.unwrap_or(old.description),
        retry_delay: seconds(new.retry_delay_seconds, old.retry_delay),
        give_up_after: seconds(new.give_up_after_seconds, old.give_up_after),
        max_transfer_time: seconds(new.max_transfer_seconds, old.max_transfer_time).map(|most| most.max(SHORTEST)),
        headers,
        authorization: authorization.or(old.authorization),
        proxy: new.proxy.as_deref().map_or(Ok(old.proxy), proxy)?,
        redirects: match new.redirects {
            None => old.redirects,
            Some(api::Redirects::Follow) => terms::Redirects::Follow,
            Some(api::Redirects::Report) => terms::Redirects::Report,
            Some(api::Redirects::Refuse) => terms::Redirects::Refuse,
        },
    })
}

/// The way that a text names; its credentials are kept apart, so that they are never shown.
fn proxy(text: &str) -> Result<ProxyUse, Problem> {
    let bad = |why: &str| Problem::new(ErrorCode::BadProxy, why);
    match text {
        "system" => return Ok(ProxyUse::System),
        "direct" => return Ok(ProxyUse::Direct),
        _ => {}
    }
    let mut url = url::Url::parse(text).map_err(|_| bad("it is neither `system` nor `direct` nor a URL"))?;
    if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") || url.host_str().is_none_or(str::is_empty) {
        return Err(bad("a proxy is reached by http, https, socks5 or socks5h, at a host"));
    }
    let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let credentials = (!url.username().is_empty() || url.password().is_some())
        .then(|| Credentials { user: plain(url.username()), password: plain(url.password().unwrap_or_default()) });
    let is_bare = url.set_username("").is_ok() && url.set_password(None).is_ok();
    if !is_bare {
        return Err(bad("its credentials cannot be kept"));
    }
    Ok(ProxyUse::Through { url: url.to_string(), credentials })
}

/// Shortest time of transfer.
const SHORTEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> api::Terms {
        serde_json::from_str(text).expect("terms")
    }

    #[test]
    fn terms_are_changed_one_by_one_and_a_header_replaces_its_namesake() {
        let first = merge(
            Terms::default(),
            terms(
                r#"{"headers":[{"name":"X-A","value":"1"},{"name":"x-b","value":"2"}],
            "retry_delay_seconds":30,"authorization":{"scheme":"bearer","token":"t"}}"#,
            ),
        );
        let first = first.expect("legal");
        let second = merge(first, terms(r#"{"headers":[{"name":"x-a","value":"3","secret":true}],"description":"d"}"#));
        let second = second.expect("legal");
        let names: Vec<_> = second.headers.iter().map(|field| (field.name.as_str(), field.secrecy)).collect();
        assert_eq!(names, [("x-b", Secrecy::Shown), ("x-a", Secrecy::WriteOnly)]);
        assert_eq!((second.retry_delay, second.description.as_str()), (Some(Duration::from_secs(30)), "d"));
        assert!(second.authorization.is_some());
        assert!(second.without_secrets().headers.is_empty());
    }

    #[test]
    fn what_a_transfer_needs_for_itself_is_no_header_of_a_job() {
        for name in ["Range", "Host", "Accept-Encoding", "bad name"] {
            let text = serde_json::json!({"headers": [{"name": name, "value": "x"}]}).to_string();
            let refused = merge(Terms::default(), terms(&text)).expect_err(name);
            assert_eq!(refused.error_code(), Some(ErrorCode::BadHeader), "{name}");
        }
    }

    #[test]
    fn the_credentials_of_a_proxy_are_kept_apart_from_what_is_shown() {
        let way = proxy("http://u%40x:p@proxy.example:3128").expect("legal");
        let ProxyUse::Through { url, credentials } = way else { panic!("{way:?}") };
        assert_eq!(url, "http://proxy.example:3128/");
        assert_eq!(credentials.map(|known| known.user).as_deref(), Some("u@x"));
        assert!(proxy("proxy.example").is_err() && proxy("ftp://h").is_err());
    }
}
