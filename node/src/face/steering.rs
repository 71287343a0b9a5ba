//! What may be changed about somebody else's job: how it runs, and never what it fetches, from where, or with what.
//!
//! A job acts as its owner: with their secrets towards origins, with their rights on the disk, with their name towards hooks. Whoever may
//! steer it and could say as well where the secrets go or what is written would act as its owner. So that is the owner's alone. Root is no
//! exception: it could be the owner in other ways, but what a mistyped change would send to the wrong origin is not root's. An administrator
//! who wants more takes the job first, which leaves the secrets behind and is written down (F-84).

use crate::control::Asker;
use eddy_engine::Owner;
use eddy_wire::api::{Forget, JobChange, Problem, Terms};
use eddy_wire::catalogue::ErrorCode;

/// Refuses a change of somebody else's job that is more than steering it.
pub(super) fn check_change(owner: Owner, asker: Asker, change: &JobChange) -> Result<(), Problem> {
    match named(change).filter(|_| owner.0 != asker.uid) {
        None => Ok(()),
        Some(what) => Err(Problem::new(ErrorCode::NotTheOwner, format!("{what} of a job of user {}", owner.0))),
    }
}

/// Refuses files for somebody else's job: they would be written as its owner.
pub(super) fn check_more(owner: Owner, asker: Asker) -> Result<(), Problem> {
    if owner.0 == asker.uid {
        return Ok(());
    }
    Err(Problem::new(ErrorCode::NotTheOwner, format!("the files of a job of user {}", owner.0)))
}

/// What a change names that is its owner's alone.
fn named(change: &JobChange) -> Option<&'static str> {
    // Each is named, so that whoever adds one decides whose it is.
    let JobChange { name: _, priority: _, peers: _, terms, forget, urls, relocate } = change;
    if !urls.is_empty() || relocate.is_some() {
        return Some("the URLs");
    }
    let is_shown = |what: &Forget| match what {
        // Without them the content would be anybody's.
        Forget::Headers | Forget::Authorization => true,
        Forget::RetryDelay | Forget::GiveUpAfter | Forget::MaxTransfer => false,
    };
    if forget.iter().any(is_shown) {
        return Some("what is shown to origins");
    }
    terms.as_ref().and_then(named_terms)
}

fn named_terms(terms: &Terms) -> Option<&'static str> {
    let Terms {
        description: _,
        retry_delay_seconds: _,
        give_up_after_seconds: _,
        max_transfer_seconds: _,
        while_logged_on: _,
        limit_bytes_per_second: _,
        headers,
        authorization,
        proxy,
        redirects,
        hook,
        client_certificate,
        method,
    } = terms;
    let owners = [
        (!headers.is_empty() || authorization.is_some() || client_certificate.is_some(), "what is shown to origins"),
        (proxy.is_some(), "the proxy"),
        (redirects.is_some(), "what becomes of redirects"),
        (hook.is_some(), "the hook"),
        (method.is_some(), "the method"),
    ];
    owners.into_iter().find(|(is_named, _)| *is_named).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Reach;

    const ANNA: Owner = Owner(1001);

    fn change(text: &str) -> JobChange {
        serde_json::from_str(text).expect("a change")
    }

    fn asked_by(uid: u32, change: &JobChange) -> Result<(), Option<ErrorCode>> {
        check_change(ANNA, Asker { uid, reach: Reach::All }, change).map_err(|problem| problem.error_code())
    }

    #[test]
    fn f84_what_a_job_fetches_and_shows_is_changed_by_its_owner_alone_and_by_root_as_little() {
        let owners = [
            r#"{"urls": [{"file": 0, "url": "https://mine/"}]}"#,
            r#"{"relocate": {"from": "https://a/", "to": "https://mine/"}}"#,
            r#"{"forget": ["headers"]}"#,
            r#"{"forget": ["retry_delay", "authorization"]}"#,
            r#"{"terms": {"headers": [{"name": "x-a", "value": "1"}]}}"#,
            r#"{"terms": {"authorization": {"scheme": "bearer", "token": "t"}}}"#,
            r#"{"terms": {"proxy": "http://mine:3128"}}"#,
            r#"{"terms": {"redirects": "report"}}"#,
            r#"{"terms": {"hook": "mail"}}"#,
            r#"{"terms": {"client_certificate": "work"}}"#,
            r#"{"name": "n", "terms": {"method": "POST", "description": "d"}}"#,
        ];
        for text in owners {
            let change = change(text);
            assert_eq!(asked_by(ANNA.0, &change), Ok(()), "{text}");
            for uid in [0, 990, 1002] {
                assert_eq!(asked_by(uid, &change), Err(Some(ErrorCode::NotTheOwner)), "{uid}: {text}");
            }
        }
        for uid in [0, 990, 1002] {
            let asker = Asker { uid, reach: Reach::All };
            let refused = check_more(ANNA, asker).map_err(|problem| problem.error_code());
            assert_eq!(refused, Err(Some(ErrorCode::NotTheOwner)));
        }
        assert_eq!(check_more(ANNA, Asker { uid: ANNA.0, reach: Reach::Own }), Ok(()));
    }

    #[test]
    fn how_a_job_runs_is_changed_by_whoever_may_steer_it() {
        let steering = r#"{"name": "n", "priority": "low", "peers": {"fetch": false, "share": false}, "forget": ["retry_delay",
            "give_up_after", "max_transfer"], "terms": {"description": "d", "retry_delay_seconds": 9, "give_up_after_seconds": 9,
            "max_transfer_seconds": 9, "while_logged_on": true, "limit_bytes_per_second": 100000}}"#;
        assert_eq!(asked_by(0, &change(steering)), Ok(()));
    }
}
