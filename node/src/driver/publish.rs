//! Files that become visible together: each is renamed, then there is one sync of each directory and one transaction of the ledger.
//!
//! All files of a job are made visible at its end. One by one, a job of many small files would sync the same directory for
//! each of them.

use super::account::Delivery;
use super::execute::{Executor, spec};
use crate::deliver::{self, Publication};
use eddy_cache::{Account, Delivered};
use eddy_engine::{Engine, FileRef, Input};

/// Files that are made visible in one go: what a slow disk is waited for.
const TOGETHER: usize = 64;

/// A file that is to become visible.
pub(super) struct Publishing {
    file: FileRef,
    publication: Publication,
    delivery: Delivery,
}

impl Executor {
    /// Makes a file visible with those that follow it; [`Self::publish_gathered`] comes after the last.
    pub(super) fn publish(&mut self, engine: &Engine, file: FileRef) {
        let Some(job) = engine.job(file.job) else { return };
        let (Some(spec), Some(destination)) = (spec(engine, file), self.destination(engine, file)) else { return };
        let Some(done) = job.files().get(file.file as usize) else { return };
        let (length, bytes) = (done.length().unwrap_or_default(), done.bytes());
        let delivery = Delivery {
            account: Account { job: file.job.0, file: file.file },
            name: spec.url.redacted(),
            https: spec.url.is_https(),
            length,
            bytes: Delivered { origin: bytes.origin, peers: bytes.peers, cache: bytes.cache },
        };
        let publication = Publication { destination, overwrite: spec.overwrite, length, root: done.root() };
        self.publishing.push(Publishing { file, publication, delivery });
        if self.publishing.len() >= TOGETHER {
            self.publish_gathered();
        }
    }

    /// Begins to make visible what was gathered. A file counts as published when its name and its entry of the ledger are durable.
    pub(super) fn publish_gathered(&mut self) {
        if self.publishing.is_empty() {
            return;
        }
        let together = std::mem::take(&mut self.publishing);
        let (store, owed, inputs) = (self.store.clone(), self.owed.clone(), self.inputs.clone());
        self.tasks.spawn(async move {
            let work = move || {
                let (mut files, mut publications, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
                for one in together {
                    files.push(one.file);
                    publications.push(one.publication);
                    deliveries.push(one.delivery);
                }
                let results = deliver::publish(&publications);
                let visible = deliveries.into_iter().zip(&results).filter(|(_, result)| result.is_ok());
                owed.record(&store, visible.map(|(delivery, _)| delivery).collect());
                files
                    .into_iter()
                    .zip(results)
                    .map(|(file, result)| Input::Published { file, result })
                    .collect::<Vec<_>>()
            };
            for input in tokio::task::spawn_blocking(work).await.unwrap_or_default() {
                let _ = inputs.send(input).await;
            }
        });
    }
}
