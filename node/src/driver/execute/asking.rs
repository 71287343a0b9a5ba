//! How the origin of a job's file is asked: on which way, with what, for how much, and where the answer is kept.

use super::fetching::{explained, lost, settle};
use super::{Executor, Given, Parked, job_file, spec};
use crate::deliver::refusal;
use crate::driver::contact::{AheadBody, facts, first_answer};
use crate::driver::heads::Keeping;
use crate::driver::ways::{Dress, Place};
use crate::origin::{ConfigError, LastHead, Opened, Origin, OriginBody, OriginRequest, Pace};
use crate::transfer::progress::Progress;
use crate::transfer::stream::StreamOrder;
use crate::transfer::{self, failure};
use eddy_content::ResourceUrl;
use eddy_engine::file::File;
use eddy_engine::port::{Contacted, FetchOutcome};
use eddy_engine::{Engine, Failure, FetchId, FileRef, Goal, Input, JobId, JobState, Terms};
use eddy_wire::catalogue::ErrorCode;
use std::time::Instant;
use tokio::sync::oneshot;

/// The body of a first answer.
enum FirstBody {
    Here(OriginBody),
    /// Somebody else reads it ahead.
    Ahead(AheadBody),
}

impl FirstBody {
    async fn take(self) -> Option<OriginBody> {
        match self {
            Self::Here(body) => Some(body),
            Self::Ahead(body) => body.take().await,
        }
    }
}

impl Executor {
    /// What a question about the file that goes to `at` shows of its job.
    pub(super) fn dress(&mut self, engine: &Engine, file: FileRef, at: &ResourceUrl) -> Dress {
        let Some(job) = engine.job(file.job).map(|job| job.spec()) else { return Dress::default() };
        let Some(spec) = spec(engine, file) else { return Dress::default() };
        let may_be_led = job_file(engine, file).is_some_and(File::may_be_led);
        let led_by = self.led.of(file, (!may_be_led).then_some(&spec.url), at);
        Dress::of(job, spec, at).led_by(led_by).at_pace(self.pace(file.job, job.terms.limit))
    }

    /// The pace of a job, which all its transfers share.
    fn pace(&mut self, job: JobId, limit: Option<u64>) -> Pace {
        if let Some(known) = self.paces.get(&job) {
            known.set(limit);
            return known.clone();
        }
        self.paces.retain(|_, known| !known.is_idle());
        let pace = Pace::new(limit);
        self.paces.insert(job, pace.clone());
        pace
    }

    /// What is under way for a job goes at the pace that it names by now.
    pub(in crate::driver) fn heed_limit(&self, engine: &Engine, job: JobId) {
        if let (Some(pace), Some(job)) = (self.paces.get(&job), engine.job(job)) {
            pace.set(job.spec().terms.limit);
        }
    }

    /// Where the answer about a file is kept. What is only held is nobody's.
    pub(super) fn keeping(&mut self, engine: &Engine, file: FileRef) -> Option<Keeping> {
        let job = engine.job(file.job).filter(|job| job.goal() != Goal::Hold)?;
        let spec = spec(engine, file)?;
        let (url, destination) = (spec.url.redacted(), spec.destination.clone());
        Some(Keeping {
            heads: self.heads.clone(),
            file,
            owner: job.owner(),
            url,
            destination,
            last: LastHead::default(),
            wanted: self.wanting.of(file.job),
        })
    }

    /// What was answered to a job that has ended is kept for a while; nothing is left of one that was cancelled.
    pub(super) fn end_heads(&mut self, engine: &Engine, job: JobId) {
        let is_cancelled = engine.job(job).is_none_or(|job| job.state() == JobState::Cancelled);
        if is_cancelled {
            self.wanting.end(job);
        }
        let heads = self.heads.clone();
        let end = move || if is_cancelled { heads.forget(job) } else { heads.end(job) };
        drop(self.tasks.spawn_blocking(end));
    }

    /// Nothing is left of what was answered to a job.
    pub(in crate::driver) async fn forget_heads(&mut self, job: JobId) {
        self.wanting.end(job);
        let heads = self.heads.clone();
        let _ = tokio::task::spawn_blocking(move || heads.forget(job)).await;
    }

    /// The way to origins that the file's job wants.
    pub(super) fn way(&mut self, engine: &Engine, file: FileRef, at: Option<&ResourceUrl>) -> Result<Origin, Failure> {
        if let Some(bound) = self.bound.get(&file.job) {
            return Ok(bound.origin.clone());
        }
        let none = Terms::default();
        let terms = engine.job(file.job).map_or(&none, |job| &job.spec().terms);
        let is_named = at.is_some_and(|at| spec(engine, file).is_some_and(|spec| spec.url.origin() == at.origin()));
        let place = if is_named { Place::Named } else { Place::Elsewhere };
        self.ways.of(terms, place).map_err(|error| {
            let row = match error {
                ConfigError::UnknownCertificate(_)
                | ConfigError::ReadCertificate { .. }
                | ConfigError::CertificateKey(_)
                | ConfigError::ParseCertificate { .. } => ErrorCode::ClientCertificate,
                _ => ErrorCode::BadProxy,
            };
            refusal(row, error.to_string())
        })
    }

    pub(super) fn contact(
        &mut self,
        engine: &Engine,
        fetch: FetchId,
        file: FileRef,
        request: OriginRequest,
        keeping: Option<Keeping>,
    ) {
        let origin = match self.way(engine, file, Some(&request.url)) {
            Ok(origin) => origin,
            Err(failure) => return self.answer(move || Input::Contacted { fetch, result: Err(failure) }),
        };
        let (inputs, judges) = (self.inputs.clone(), self.peers.clone());
        let cancel = self.token(fetch);
        let (order, ordered) = oneshot::channel();
        self.parked.insert(fetch, order);
        let (given, unkept, led) = (self.given.remove(&file.job), self.unkept.clone(), self.led.clone());
        let mut losses = self.losses.for_resource(&request.url);
        let (naming, asked_url) =
            (self.bound.get(&file.job).map(|bound| bound.naming).unwrap_or_default(), request.url.clone());
        self.tasks.spawn(async move {
            let _done = cancel.clone().drop_guard();
            let answer = match given {
                Some(Given { facts, body, .. }) => Ok((facts, body.map(|(span, body)| (span, FirstBody::Ahead(body))))),
                None => {
                    let asked = Instant::now();
                    let answer = tokio::select! {
                        biased;
                        () = cancel.cancelled() => return,
                        opened = first_answer(&origin, request) => {
                            let named = |opened: Opened| {
                                led.note(file, opened.led_by());
                                naming.of(opened, &asked_url)
                            };
                            match facts(opened.map(named)) {
                                Err(failure) => Err(explained(failure, &losses).await),
                                good => good,
                            }
                        }
                        () = losses.next() => Err(failure::network_lost()),
                    };
                    let answer = answer.map(|(facts, body)| {
                        let body = body.map(|(span, body)| (span, FirstBody::Here(body)));
                        (Contacted { waited: Some(asked.elapsed()), ..facts }, body)
                    });
                    match keeping {
                        // Its entity is opened next, by a thread that keeps it as well.
                        Some(keeping) if answer.as_ref().is_ok_and(|(facts, _)| names_version(facts)) => {
                            unkept.put(fetch, keeping);
                        }
                        Some(keeping) => keeping.keep().await,
                        None => {}
                    }
                    answer
                }
            };
            let (facts, body) = match answer {
                Ok(parts) => parts,
                Err(failure) => {
                    let _ = inputs.send(Input::Contacted { fetch, result: Err(failure) }).await;
                    return;
                }
            };
            let last_modified = facts.last_modified;
            let _ = inputs.send(Input::Contacted { fetch, result: Ok(Box::new(facts)) }).await;
            let Some((span, body)) = body else { return };
            let Ok(order) = ordered.await else { return };
            let Some(body) = body.take().await else {
                // Who read it ahead is gone, with the gateway.
                let _ = inputs.send(Input::Ended { fetch, outcome: FetchOutcome::Aborted }).await;
                return;
            };
            let mut progress = Progress::new(fetch, inputs.clone());
            match order {
                Parked::Pump { open, blocks } => {
                    let pump = transfer::origin::pump(body, span, &open, blocks, &mut progress, &cancel);
                    let pumped = losses.during(&cancel, pump).await;
                    let outcome = lost(pumped, &losses).await;
                    settle(judges, &open).await;
                    let _ = inputs.send(Input::Ended { fetch, outcome }).await;
                }
                Parked::Stream { destination, stretches, digests, room } => {
                    let start = span.start;
                    let order = StreamOrder { destination, start, stretches, digests, last_modified, room };
                    let stream = transfer::stream::stream(body, order, &mut progress, &cancel);
                    let streamed = losses.during(&cancel, stream).await;
                    let input = match streamed {
                        (Ok(staged), _) => Input::Staged { file, result: Ok(staged) },
                        (Err(outcome), outage) => {
                            Input::Ended { fetch, outcome: lost((outcome, outage), &losses).await }
                        }
                    };
                    let _ = inputs.send(input).await;
                }
            }
        });
    }
}

/// Whether an answer names a version that can be held.
fn names_version(facts: &Contacted) -> bool {
    facts.storable && facts.validator.is_some() && facts.length.is_some()
}

/// Whether what the job asks may be asked once only (F-68).
pub(super) fn is_asked_once(engine: &Engine, job: JobId) -> bool {
    engine.job(job).is_some_and(|job| job.spec().terms.method.is_some())
}
