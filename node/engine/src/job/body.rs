//! What a job asks for and how far its files are: at hand while somebody works with it, else a parcel.
//!
//! Of 100,000 jobs those are at hand that run, and a few that ran. Putting one away keeps what the record keeps, and forgets what a
//! restart forgets.

use super::parcel::Parcel;
use super::record::FileRecord;
use super::spec::{FileSpec, JobId, JobSpec};
use crate::file::{File, FileTerms};
use crate::port::FileRef;
use std::sync::OnceLock;

/// The wish and the files of a job.
#[derive(Debug)]
pub(crate) struct Body {
    job: JobId,
    at_hand: OnceLock<Box<AtHand>>,
    /// As long as it says the same.
    parcel: Option<Parcel>,
}

/// A body that can be worked with.
#[derive(Debug)]
pub(crate) struct AtHand {
    pub(crate) spec: JobSpec,
    pub(crate) files: Vec<File>,
}

impl AtHand {
    fn of(job: JobId, parcel: &Parcel) -> Self {
        let (spec, records) = parcel.unpacked();
        let terms = file_terms(&spec);
        let with_record = |(file, (at, record)): (&FileSpec, (u32, FileRecord))| {
            File::new(FileRef { job, file: at }, file.clone(), terms, record)
        };
        let files = spec.files.iter().zip((0..).zip(records)).map(with_record).collect();
        Self { spec, files }
    }

    /// As it is written down: a redirect may have changed the URL of a file.
    fn parcel(&self) -> Parcel {
        Parcel::of_files(&self.spec, self.files.iter().map(|file| (file.spec(), file.record())))
    }
}

impl Body {
    /// The body of a job as its record has it, put away.
    pub(crate) fn of(job: JobId, parcel: Parcel) -> Self {
        Self { job, at_hand: OnceLock::new(), parcel: Some(parcel) }
    }

    pub(crate) fn is_at_hand(&self) -> bool {
        self.at_hand.get().is_some()
    }

    /// To be looked at.
    pub(crate) fn at_hand(&self) -> &AtHand {
        self.at_hand.get_or_init(|| {
            let Some(parcel) = &self.parcel else { unreachable!("what is not at hand is in a parcel") };
            Box::new(AtHand::of(self.job, parcel))
        })
    }

    /// To be changed.
    pub(crate) fn at_hand_mut(&mut self) -> &mut AtHand {
        self.at_hand();
        self.parcel = None;
        let Some(at_hand) = self.at_hand.get_mut() else { unreachable!("it was put at hand") };
        at_hand
    }

    /// Puts it away.
    pub(crate) fn fold(&mut self) {
        if let Some(at_hand) = self.at_hand.take() {
            self.parcel.get_or_insert_with(|| at_hand.parcel());
        }
    }

    /// The durable form.
    pub(crate) fn parcel(&self) -> Parcel {
        self.parcel.clone().unwrap_or_else(|| self.at_hand().parcel())
    }
}

/// What the job says about each of its files.
pub(crate) fn file_terms(spec: &JobSpec) -> FileTerms {
    FileTerms {
        peers: spec.peers,
        asking: spec.asking,
        is_personal: spec.terms.is_personal(),
        redirects: spec.terms.redirects,
        is_asked_once: spec.terms.method.is_some(),
        is_limited: spec.terms.limit.is_some(),
        has_own_proxy: spec.terms.has_own_proxy(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::portion::Portion;
    use crate::job::spec::{Asking, Finish, Patience, PeerUse, Priority};
    use crate::job::terms::Terms;
    use eddy_content::ResourceUrl;

    #[test]
    fn what_is_put_away_comes_back_as_it_was() {
        let file = |at: u64| FileSpec {
            url: ResourceUrl::parse(&format!("https://a.example/{at}")).expect("a URL"),
            destination: format!("/srv/{at}"),
            digests: Vec::new(),
            overwrite: at == 1,
            credentials: None,
            portion: Portion::Whole,
        };
        let spec = JobSpec {
            name: "n".to_owned(),
            priority: Priority::High,
            files: (0..3).map(file).collect(),
            finish: Finish::Manual,
            patience: Patience::Watching,
            peers: PeerUse::NONE,
            asking: Asking::WithinLifetime,
            terms: Terms::default(),
        };
        let records = vec![FileRecord::Wanted { length: Some(9), held: 4 }; 3];
        let parcel = Parcel::of(&spec, &records);
        let mut body = Body::of(JobId([1; 16]), parcel.clone());
        assert!(!body.is_at_hand());
        assert_eq!(body.parcel(), parcel);
        assert_eq!(body.at_hand_mut().spec, spec);
        assert_eq!(body.parcel().unpacked(), (spec.clone(), records.clone()), "of what is at hand");
        body.fold();
        assert!(!body.is_at_hand());
        assert_eq!(body.parcel().unpacked(), (spec, records));
    }
}
