//! What a job asks for and how far its files are: at hand while somebody works with it, else packed.
//!
//! A job of ten files is some twenty kilobytes at hand, and packed less than one. So of 100,000 jobs those are at hand that run, and a
//! few that ran. Packing keeps what the record keeps, and forgets what a restart forgets. Files of one job are called alike and lie side by
//! side, so each names only the rest of its URL and its path, behind what the file before it begins with.

use super::record::FileRecord;
use super::spec::{Asking, Credentials, FileSpec, Finish, JobId, JobSpec, Patience, PeerUse, Priority};
use super::terms::{Terms, Ties};
use crate::file::{File, FileTerms};
use crate::port::FileRef;
use eddy_content::ResourceUrl;
use eddy_content::digest::ExpectedDigest;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::OnceLock;

/// The wish and the files of a job.
#[derive(Debug)]
pub(crate) struct Body {
    job: JobId,
    at_hand: OnceLock<Box<AtHand>>,
    /// As long as it says the same.
    packed: Option<Box<[u8]>>,
}

/// A body that can be worked with.
#[derive(Debug)]
pub(crate) struct AtHand {
    pub(crate) spec: JobSpec,
    pub(crate) files: Vec<File>,
}

impl AtHand {
    fn of(job: JobId, spec: JobSpec, records: &[FileRecord]) -> Self {
        let terms = file_terms(&spec);
        let with_record = |(file, at): (&FileSpec, u32)| {
            let record = records.get(at as usize).copied().unwrap_or(FileRecord::UNKNOWN);
            File::new(FileRef { job, file: at }, file.clone(), terms, record)
        };
        let files = spec.files.iter().zip(0..).map(with_record).collect();
        Self { spec, files }
    }

    /// The wish as it is written down: a redirect may have changed the URL of a file.
    fn wish(&self) -> JobSpec {
        let mut spec = self.spec.clone();
        for (wanted, file) in spec.files.iter_mut().zip(&self.files) {
            wanted.url.clone_from(&file.spec().url);
        }
        spec
    }
}

impl Body {
    /// The body of a job as its record has it, packed.
    pub(crate) fn of(job: JobId, spec: JobSpec, records: &[FileRecord]) -> Self {
        let known = records.iter().copied().chain(std::iter::repeat(FileRecord::UNKNOWN));
        let packed = pack(&spec, spec.files.iter().zip(known));
        let at_hand = match packed {
            Some(_) => OnceLock::new(),
            None => OnceLock::from(Box::new(AtHand::of(job, spec, records))),
        };
        Self { job, at_hand, packed }
    }

    pub(crate) fn is_at_hand(&self) -> bool {
        self.at_hand.get().is_some()
    }

    /// To be looked at.
    pub(crate) fn at_hand(&self) -> &AtHand {
        self.at_hand.get_or_init(|| Box::new(self.unpacked()))
    }

    /// To be changed.
    pub(crate) fn at_hand_mut(&mut self) -> &mut AtHand {
        self.at_hand();
        self.packed = None;
        let Some(at_hand) = self.at_hand.get_mut() else { unreachable!("it was put at hand") };
        at_hand
    }

    /// Puts it away, if it can be.
    pub(crate) fn fold(&mut self) {
        let Some(at_hand) = self.at_hand.get() else { return };
        let pack_anew = || pack(&at_hand.spec, at_hand.files.iter().map(|file| (file.spec(), file.record())));
        self.packed = self.packed.take().or_else(pack_anew);
        if self.packed.is_some() {
            self.at_hand = OnceLock::new();
        }
    }

    /// The durable form, which is read from what is packed without putting it at hand.
    pub(crate) fn record(&self) -> (JobSpec, Vec<FileRecord>) {
        match self.at_hand.get() {
            Some(at_hand) => (at_hand.wish(), at_hand.files.iter().map(File::record).collect()),
            None => self.unpacked_record(),
        }
    }

    fn unpacked(&self) -> AtHand {
        let (spec, records) = self.unpacked_record();
        AtHand::of(self.job, spec, &records)
    }

    fn unpacked_record(&self) -> (JobSpec, Vec<FileRecord>) {
        // It was packed by this process, and only after a look whether it comes back.
        self.packed.as_deref().and_then(unpack).unwrap_or_else(|| unreachable!("what was packed can be unpacked"))
    }
}

/// What the job says about each of its files.
pub(crate) fn file_terms(spec: &JobSpec) -> FileTerms {
    FileTerms {
        peers: spec.peers,
        asking: spec.asking,
        is_personal: spec.terms.is_personal(),
        redirects: spec.terms.redirects,
    }
}

#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    name: &'a str,
    priority: Priority,
    finish: Finish,
    patience: Patience,
    peers: PeerUse,
    asking: Asking,
    terms: Cow<'a, Terms>,
    ties: Cow<'a, Ties>,
    #[serde(borrow)]
    files: Vec<PackedFile<'a>>,
}

#[derive(Serialize, Deserialize)]
struct PackedFile<'a> {
    url: Rest<'a>,
    #[serde(borrow)]
    destination: Rest<'a>,
    digests: Cow<'a, [ExpectedDigest]>,
    overwrite: bool,
    credentials: Option<Cow<'a, Credentials>>,
    record: FileRecord,
}

/// A text that begins like the one before it.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Rest<'a> {
    /// Bytes that are the same.
    same: u32,
    rest: &'a str,
}

impl<'a> Rest<'a> {
    fn of(text: &'a str, before: &str) -> Self {
        let same = text.bytes().zip(before.bytes()).take_while(|(a, b)| a == b).count();
        let same = (0..=same).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        Self { same: same as u32, rest: &text[same..] }
    }

    fn behind(self, before: &mut String) -> Option<()> {
        if !before.is_char_boundary(self.same as usize) {
            return None;
        }
        before.truncate(self.same as usize);
        before.push_str(self.rest);
        Some(())
    }
}

/// `None` where it would not come back as it is.
fn pack<'a>(spec: &JobSpec, files: impl Iterator<Item = (&'a FileSpec, FileRecord)>) -> Option<Box<[u8]>> {
    let (mut url, mut destination) = ("", "");
    let mut packed = Vec::with_capacity(spec.files.len());
    for (file, record) in files {
        if ResourceUrl::parse(file.url.as_str()).ok().as_ref() != Some(&file.url) {
            return None;
        }
        packed.push(PackedFile {
            url: Rest::of(file.url.as_str(), url),
            destination: Rest::of(&file.destination, destination),
            digests: Cow::Borrowed(&file.digests),
            overwrite: file.overwrite,
            credentials: file.credentials.as_ref().map(Cow::Borrowed),
            record,
        });
        (url, destination) = (file.url.as_str(), &file.destination);
    }
    let whole = Packed {
        name: &spec.name,
        priority: spec.priority,
        finish: spec.finish,
        patience: spec.patience,
        peers: spec.peers,
        asking: spec.asking,
        terms: Cow::Borrowed(&spec.terms),
        ties: Cow::Borrowed(&spec.terms.ties),
        files: packed,
    };
    postcard::to_stdvec(&whole).ok().map(Vec::into_boxed_slice)
}

fn unpack(bytes: &[u8]) -> Option<(JobSpec, Vec<FileRecord>)> {
    let Packed { name, priority, finish, patience, peers, asking, terms, ties, files: packed } =
        postcard::from_bytes(bytes).ok()?;
    let (mut files, mut records) = (Vec::with_capacity(packed.len()), Vec::with_capacity(packed.len()));
    let (mut url, mut destination) = (String::new(), String::new());
    for file in packed {
        file.url.behind(&mut url)?;
        file.destination.behind(&mut destination)?;
        files.push(FileSpec {
            url: ResourceUrl::parse(&url).ok()?,
            destination: destination.clone(),
            digests: file.digests.into_owned(),
            overwrite: file.overwrite,
            credentials: file.credentials.map(Cow::into_owned),
        });
        records.push(file.record);
    }
    let (name, terms) = (name.to_owned(), Terms { ties: ties.into_owned(), ..terms.into_owned() });
    Some((JobSpec { name, priority, files, finish, patience, peers, asking, terms }, records))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::terms::{HeaderField, Presence, Secrecy};
    use proptest::prelude::*;

    fn files() -> impl Strategy<Value = Vec<FileSpec>> {
        let file = ("[a-c/]{0,6}", "/[aä€🦀b/]{1,6}", any::<bool>(), proptest::option::of("[a-z]{1,4}"));
        let file = file.prop_map(|(path, destination, overwrite, user)| FileSpec {
            url: ResourceUrl::parse(&format!("https://a.example/{path}")).expect("a URL"),
            destination,
            digests: Vec::new(),
            overwrite,
            credentials: user.map(|user| Credentials { user, password: "p".to_owned() }),
        });
        proptest::collection::vec(file, 0..12)
    }

    proptest! {
        #[test]
        fn what_is_put_away_comes_back_as_it_was(files in files(), held in any::<u64>()) {
            let ties = Ties { hook: Some("h".to_owned()), presence: Presence::WhileLoggedOn };
            let headers = vec![HeaderField { name: "x".into(), value: "y".into(), secrecy: Secrecy::WriteOnly }];
            let spec = JobSpec {
                name: "n".to_owned(),
                priority: Priority::High,
                files,
                finish: Finish::Manual,
                patience: Patience::Watching,
                peers: PeerUse::NONE,
                asking: Asking::WithinLifetime,
                terms: Terms { headers, ties, ..Terms::default() },
            };
            let records = vec![FileRecord::Wanted { length: Some(held), held }; spec.files.len()];
            let mut body = Body::of(JobId([1; 16]), spec.clone(), &records);
            prop_assert!(!body.is_at_hand());
            prop_assert_eq!(body.record(), (spec.clone(), records.clone()));
            prop_assert_eq!(&body.at_hand_mut().spec, &spec);
            body.fold();
            prop_assert!(!body.is_at_hand());
            prop_assert_eq!(body.record(), (spec, records));
        }
    }
}
