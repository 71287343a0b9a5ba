//! A caller's wish for a job, parsed: what is left is valid.

use super::change;
use crate::config::FreshnessPolicy;
use eddy_content::digest;
use eddy_content::url::{TypedUrl, UrlError};
use eddy_engine::job::spec::Credentials;
use eddy_engine::{Asking, FileSpec, Finish, JobSpec, Patience, PeerUse, Portion, Priority, Terms};
use eddy_wire::api::{self, Problem, check};
use eddy_wire::catalogue::ErrorCode;
use std::collections::HashSet;
use std::path::Path;

/// Another method than GET brings what it brings.
pub(super) const RANGES_WITH_METHOD: &str = "ranges are asked for with GET alone";

/// A caller's wish, parsed: what is left is valid.
pub(super) fn parse_job(spec: api::JobSpec, policy: FreshnessPolicy) -> Result<JobSpec, Problem> {
    if spec.files.is_empty() && spec.start {
        return Err(Problem::from(ErrorCode::EmptyJob));
    }
    let mut destinations = HashSet::new();
    let mut files = Vec::with_capacity(spec.files.len());
    for file in &spec.files {
        if !destinations.insert(&file.destination) {
            return Err(Problem::new(ErrorCode::DestinationTwice, file.destination.clone()));
        }
        files.push(parse_file(file)?);
    }
    let first = spec.files.first().map(|file| file.destination.as_str()).unwrap_or_default();
    let first_name = || first.rsplit('/').next().unwrap_or_default().to_owned();
    let terms = change::merge(Terms::default(), spec.terms)?;
    let (is_asked_once, peers) = (terms.method.is_some(), PeerUse { fetch: spec.peers.fetch, share: spec.peers.share });
    if is_asked_once && files.iter().any(|file| file.portion != Portion::Whole) {
        return Err(Problem::new(ErrorCode::BadMethod, RANGES_WITH_METHOD));
    }
    // F-68: it cannot give way and go on later, and what it brings is nobody else's.
    let priority = if is_asked_once { Priority::Foreground } else { priority(spec.priority) };
    Ok(JobSpec {
        name: spec.name.clone().unwrap_or_else(first_name),
        priority,
        finish: match spec.finish {
            api::Finish::Auto => Finish::Auto,
            api::Finish::Manual => Finish::Manual,
        },
        patience: patience(priority, spec.followed),
        peers: if is_asked_once { PeerUse::NONE } else { peers },
        asking: match (spec.asking, policy) {
            (Some(api::Asking::Always), _) | (None, FreshnessPolicy::Ask) => Asking::Always,
            (Some(api::Asking::WithinLifetime), _) | (None, FreshnessPolicy::Lifetime) => Asking::WithinLifetime,
        },
        files,
        terms,
    })
}

/// How long faults are waited out. Who follows a job in the foreground is there to hear at once that nothing will come; of a job that was
/// handed over nobody would, whatever its priority, so it waits until what it wants is there.
fn patience(priority: Priority, is_followed: bool) -> Patience {
    if is_followed && priority == Priority::Foreground { Patience::Watching } else { Patience::Background }
}

/// The priority in the engine's word.
pub(super) fn priority(priority: api::Priority) -> Priority {
    match priority {
        api::Priority::Foreground => Priority::Foreground,
        api::Priority::High => Priority::High,
        api::Priority::Normal => Priority::Normal,
        api::Priority::Low => Priority::Low,
    }
}

pub(super) fn parse_file(file: &api::FileSpec) -> Result<FileSpec, Problem> {
    let typed = TypedUrl::parse(&file.url).map_err(|error| {
        let row = if matches!(error, UrlError::Scheme(_)) { ErrorCode::UnknownScheme } else { ErrorCode::BadUrl };
        Problem::new(row, error.to_string())
    })?;
    let path = Path::new(&file.destination);
    if !path.is_absolute() || path.file_name().is_none() || file.destination.contains('\0') {
        return Err(Problem::new(ErrorCode::BadDestination, file.destination.clone()));
    }
    let mut digests = Vec::new();
    if let Some(text) = &file.digest {
        digests.push(digest::parse(text).map_err(|e| Problem::new(ErrorCode::BadDigest, e.to_string()))?);
    }
    if let Some(fragment) = &typed.fragment {
        // A fragment that is no digest is an anchor of a page; one that is a broken digest is the user's mistake.
        digests.extend(digest::from_fragment(fragment).map_err(|e| Problem::new(ErrorCode::BadDigest, e.to_string()))?);
    }
    Ok(FileSpec {
        url: typed.resource,
        destination: file.destination.clone(),
        digests,
        overwrite: file.overwrite,
        credentials: typed.userinfo.map(|info| Credentials { user: info.user, password: info.password }),
        portion: check::portion(file)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_follows_a_job_in_the_foreground_is_told_at_once_that_nothing_comes() {
        assert_eq!(patience(Priority::Foreground, true), Patience::Watching);
        assert_eq!(patience(Priority::Foreground, false), Patience::Background, "it was handed over");
        assert_eq!(patience(Priority::Low, true), Patience::Background);
    }
}
