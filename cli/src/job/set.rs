//! `eddy job set`: properties of a job, one `KEY=VALUE` for each.

use crate::failure::Failure;
use eddy_wire::api::amount::{parse_age, parse_rate};
use eddy_wire::api::{Forget, HeaderField, JobChange, PeerUse, Priority, Redirects, Terms, UrlChange};
use eddy_wire::catalogue::ErrorCode;
use std::fs::File;
use std::io::Read;

/// What may be set, as it is told to whoever asks for something else.
pub(crate) const KEYS: &str = "name, description, priority, peers, retry-delay, give-up-after, max-transfer-time, header, \
    secret-header, proxy, redirects, hook, while-logged-on, client-certificate, method, limit, url.N";

/// The change that these words ask for.
pub(crate) fn change(pairs: &[String]) -> Result<JobChange, Failure> {
    let mut change = JobChange::default();
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::new(ErrorCode::UnknownSetting, format!("write KEY=VALUE; the keys are {KEYS}")))?;
        one(&mut change, key, value)?;
    }
    Ok(change)
}

/// Whether the value of a header field is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// To whoever sees the job.
    Shown,
    /// To nobody.
    Kept,
}

/// The header field that `NAME: VALUE` is; of `@FILE` those of its lines, so that a secret need not be an argument, which everybody
/// on the machine can see.
pub(crate) fn headers(text: &str, secrecy: Secrecy) -> Result<Vec<HeaderField>, Failure> {
    let Some(path) = text.strip_prefix('@') else { return Ok(vec![header(text, secrecy)?]) };
    let mut lines = String::new();
    let read = match path {
        "-" => std::io::stdin().take(MAX_LIST).read_to_string(&mut lines),
        path => File::open(path).and_then(|file| file.take(MAX_LIST).read_to_string(&mut lines)),
    };
    read.map_err(|error| Failure::new(ErrorCode::BadUsage, format!("{path}: {error}")))?;
    lines.lines().filter(|line| !line.trim().is_empty()).map(|line| header(line, secrecy)).collect()
}

fn header(text: &str, secrecy: Secrecy) -> Result<HeaderField, Failure> {
    let wrong = || Failure::new(ErrorCode::BadHeader, "write \"NAME: VALUE\", or @FILE for a file of such lines");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    Ok(HeaderField { name: name.trim().to_owned(), value: value.trim().to_owned(), secret: secrecy == Secrecy::Kept })
}

/// Bytes of the longest file of header fields that is read: more than a job may have.
const MAX_LIST: u64 = 64 * 1024;

/// The bytes a second that a text like `5 MB/s` means.
pub(crate) fn limit(text: &str) -> Result<u64, Failure> {
    parse_rate(text).map_err(|error| Failure::new(ErrorCode::BadAmount, format!("limit: {error}")))
}

fn one(change: &mut JobChange, key: &str, value: &str) -> Result<(), Failure> {
    let bad = |what: &str| Failure::new(ErrorCode::BadUsage, format!("{key}: {what}"));
    let terms = change.terms.get_or_insert_with(Terms::default);
    // An empty value takes a wish away.
    let mut seconds = |forget: Forget| match value {
        "" => {
            change.forget.push(forget);
            Ok(None)
        }
        "0" => Ok(Some(0)),
        text => parse_age(text)
            .map(|age| Some(age.as_secs()))
            .map_err(|error| Failure::new(ErrorCode::BadAmount, format!("{key}: {error}"))),
    };
    match key {
        "name" => change.name = Some(value.to_owned()),
        "description" => terms.description = Some(value.to_owned()),
        "priority" => {
            change.priority = Some(match value {
                "foreground" => Priority::Foreground,
                "high" => Priority::High,
                "normal" => Priority::Normal,
                "low" => Priority::Low,
                _ => return Err(bad("one of foreground, high, normal, low")),
            });
        }
        "peers" => {
            change.peers = Some(match value {
                "off" => PeerUse { fetch: false, share: false },
                "fetch" => PeerUse { fetch: true, share: false },
                "share" => PeerUse { fetch: false, share: true },
                "fetch,share" | "on" => PeerUse { fetch: true, share: true },
                _ => return Err(bad("one of off, fetch, share, on")),
            });
        }
        "retry-delay" => terms.retry_delay_seconds = seconds(Forget::RetryDelay)?,
        "give-up-after" => terms.give_up_after_seconds = seconds(Forget::GiveUpAfter)?,
        "max-transfer-time" => terms.max_transfer_seconds = seconds(Forget::MaxTransfer)?,
        "header" | "secret-header" if value.is_empty() => change.forget.push(Forget::Headers),
        "header" | "secret-header" => {
            terms.headers.extend(headers(value, if key == "header" { Secrecy::Shown } else { Secrecy::Kept })?);
        }
        "proxy" => terms.proxy = Some(value.to_owned()),
        "hook" => terms.hook = Some(value.to_owned()),
        "method" => terms.method = Some(value.to_owned()),
        "client-certificate" => terms.client_certificate = Some(value.to_owned()),
        "limit" if value.is_empty() => terms.limit_bytes_per_second = Some(0),
        "limit" => terms.limit_bytes_per_second = Some(limit(value)?),
        "while-logged-on" => {
            terms.while_logged_on = Some(match value {
                "yes" => true,
                "no" => false,
                _ => return Err(bad("one of yes, no")),
            });
        }
        "redirects" => {
            terms.redirects = Some(match value {
                "follow" => Redirects::Follow,
                "report" => Redirects::Report,
                "refuse" => Redirects::Refuse,
                _ => return Err(bad("one of follow, report, refuse")),
            });
        }
        _ => match key.strip_prefix("url.").map(str::parse) {
            Some(Ok(file)) => change.urls.push(UrlChange { file, url: value.to_owned() }),
            _ => return Err(Failure::new(ErrorCode::UnknownSetting, format!("{key}; the keys are {KEYS}"))),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[&str]) -> Result<JobChange, Failure> {
        change(&pairs.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_key_says_what_it_means() {
        let set = read(&[
            "name=a=b",
            "priority=high",
            "peers=fetch",
            "retry-delay=30s",
            "give-up-after=",
            "header=X-A: 1",
            "secret-header=X-B:2",
            "proxy=direct",
            "redirects=report",
            "while-logged-on=yes",
            "url.3=https://h/a",
            "description=d",
            "max-transfer-time=2d",
            "limit=5 MB/s",
        ]);
        let set = set.expect("legal");
        assert_eq!((set.name.as_deref(), set.priority), (Some("a=b"), Some(Priority::High)));
        assert_eq!((set.forget, set.urls[0].file), (vec![Forget::GiveUpAfter], 3));
        let terms = set.terms.expect("terms");
        assert_eq!((terms.retry_delay_seconds, terms.max_transfer_seconds), (Some(30), Some(172_800)));
        assert_eq!((terms.while_logged_on, terms.limit_bytes_per_second), (Some(true), Some(5_000_000)));
        let unlimited = read(&["limit="]).expect("legal").terms.and_then(|terms| terms.limit_bytes_per_second);
        assert_eq!(unlimited, Some(0));
        assert_eq!(read(&["header="]).expect("legal").forget, [Forget::Headers], "an empty value takes them away");
        assert_eq!(terms.headers.iter().map(|field| field.secret).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn header_fields_are_read_from_a_file_that_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fields");
        std::fs::write(&path, "X-A: 1\r\n\n X-B : b:c\n").expect("writes");
        let fields = headers(&format!("@{}", path.display()), Secrecy::Kept).expect("legal");
        let said: Vec<_> =
            fields.iter().map(|field| (field.name.as_str(), field.value.as_str(), field.secret)).collect();
        assert_eq!(said, [("X-A", "1", true), ("X-B", "b:c", true)]);
        std::fs::write(&path, "X-A: 1\nnothing\n").expect("writes");
        assert!(headers(&format!("@{}", path.display()), Secrecy::Kept).is_err());
        assert!(headers("@/nowhere/at/all", Secrecy::Kept).is_err());
    }

    #[test]
    fn an_unknown_key_or_value_is_refused_and_the_known_ones_are_named() {
        for wrong in [
            "nonsense",
            "color=red",
            "priority=urgent",
            "retry-delay=soon",
            "header=x",
            "while-logged-on=1",
            "url.x=https://h",
            "limit=5 MB",
        ] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
    }
}
