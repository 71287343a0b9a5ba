//! A parcel: what a job asks for and what is written down of its files, in few bytes, as it is put away in memory and kept on the disk.
//!
//! Files of one job are called alike and lie side by side, so each names only the rest of its URL and its path, behind what the file
//! before it begins with. A job of ten files is some twenty kilobytes at hand, a kilobyte and a half with every name written out, and
//! half of one as a parcel.

use super::portion::Portion;
use super::record::{FileRecord, or_default};
use super::spec::{Asking, Credentials, FileSpec, Finish, Goal, JobSpec, Patience, PeerUse, Priority};
use super::terms::{Presence, ProxyUse, Terms, Ties};
use crate::queue::HostKey;
use eddy_content::ResourceUrl;
use eddy_content::digest::ExpectedDigest;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The wish of a job and the records of its files. One that exists can be unpacked: bytes from outside are looked through first.
#[derive(Clone, PartialEq, Eq)]
pub struct Parcel(Box<[u8]>);

impl Parcel {
    /// Packs a wish, and what is known of each of its files.
    #[must_use]
    pub fn of(spec: &JobSpec, records: &[FileRecord]) -> Self {
        let known = records.iter().copied().chain(std::iter::repeat(FileRecord::UNKNOWN));
        Self::of_files(spec, spec.files.iter().zip(known))
    }

    /// The same with files that are not, or no longer, those of the wish.
    pub(super) fn of_files<'a>(spec: &JobSpec, files: impl Iterator<Item = (&'a FileSpec, FileRecord)>) -> Self {
        let (mut url, mut destination) = ("", "");
        let (mut packed, mut portions) = (Vec::with_capacity(spec.files.len()), Vec::new());
        for (file, record) in files {
            if file.portion != Portion::Whole {
                portions.push((packed.len() as u32, Cow::Borrowed(&file.portion)));
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
            files: packed,
            ties: Cow::Borrowed(&spec.terms.ties),
            portions,
            method: spec.terms.method.as_deref(),
            limit: spec.terms.limit,
        };
        let bytes = postcard::to_stdvec(&whole).unwrap_or_else(|_| unreachable!("plain data of known lengths"));
        Self(bytes.into_boxed_slice())
    }

    /// The parcel with these bytes, if they are one.
    fn read(bytes: &[u8]) -> Option<Self> {
        let packed = Packed::of(bytes)?;
        packed.each(|_, url, _| ResourceUrl::parse(url).ok().map(drop))?;
        let is_of_file = |(at, _): &(u32, Cow<'_, Portion>)| (*at as usize) < packed.files.len();
        packed.portions.iter().all(is_of_file).then(|| Self(bytes.into()))
    }

    /// The wish, and the records of its files in its order.
    #[must_use]
    pub fn unpacked(&self) -> (JobSpec, Vec<FileRecord>) {
        self.unpack().unwrap_or_else(|| unreachable!("a parcel was packed here, or looked through"))
    }

    fn unpack(&self) -> Option<(JobSpec, Vec<FileRecord>)> {
        let packed = Packed::of(&self.0)?;
        let (mut files, mut records) = (Vec::with_capacity(packed.files.len()), Vec::with_capacity(packed.files.len()));
        packed.each(|file, url, destination| {
            files.push(FileSpec {
                url: ResourceUrl::parse(url).ok()?,
                destination: destination.to_owned(),
                digests: file.digests.to_vec(),
                overwrite: file.overwrite,
                credentials: file.credentials.as_deref().cloned(),
                portion: Portion::Whole,
            });
            records.push(file.record);
            Some(())
        })?;
        let Packed { name, priority, finish, patience, peers, asking, terms, ties, portions, method, limit, files: _ } =
            packed;
        for (at, portion) in portions {
            files.get_mut(at as usize)?.portion = portion.into_owned();
        }
        let method = method.map(str::to_owned);
        let (name, terms) = (name.to_owned(), Terms { ties: ties.into_owned(), method, limit, ..terms.into_owned() });
        Some((JobSpec { name, priority, files, finish, patience, peers, asking, terms }, records))
    }

    /// What must be known of a job that does nothing.
    pub(super) fn head(&self) -> Head {
        self.read_head().unwrap_or_else(|| unreachable!("a parcel was packed here, or looked through"))
    }

    fn read_head(&self) -> Option<Head> {
        let packed = Packed::of(&self.0)?;
        let (mut likeness, mut goal, mut host) = (DefaultHasher::new(), Goal::Deliver, None);
        packed.each(|_, url, destination| {
            (url, destination).hash(&mut likeness);
            if destination.is_empty() {
                goal = Goal::Hold;
            }
            if host.is_none() {
                host = Some(way_to(&ResourceUrl::parse(url).ok()?, &packed.terms.proxy));
            }
            Some(())
        })?;
        Some(Head {
            name: packed.name.into(),
            hook: packed.ties.hook.as_deref().map(Into::into),
            presence: packed.ties.presence,
            priority: packed.priority,
            finish: packed.finish,
            goal,
            count: packed.files.len(),
            likeness: likeness.finish(),
            host: host.unwrap_or(HostKey::of("")),
        })
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unpacked().fmt(f)
    }
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Parcel;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a parcel")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Parcel, E> {
                Parcel::read(bytes).ok_or_else(|| E::custom("no parcel"))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// What is at hand of a job that does nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: Box<str>,
    /// The hook that is told of its end.
    pub(super) hook: Option<Box<str>>,
    pub(super) presence: Presence,
    pub(super) priority: Priority,
    pub(super) finish: Finish,
    pub(super) goal: Goal,
    /// How many files it has.
    pub(super) count: usize,
    /// Equal for jobs that want the same files.
    pub(super) likeness: u64,
    /// The host of the first file.
    pub(super) host: HostKey,
}

/// The host of a URL; behind a proxy of the job's own it is another one, whose faults concern nobody else.
pub(super) fn way_to(url: &ResourceUrl, proxy: &ProxyUse) -> HostKey {
    match proxy {
        ProxyUse::Through { url: proxy, .. } => HostKey::of(&format!("{} by {proxy}", url.origin())),
        ProxyUse::System | ProxyUse::Direct => HostKey::of(&url.origin().to_string()),
    }
}

/// Equal for the files of jobs that want the same.
pub(crate) fn likeness(files: &[FileSpec]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        (file.url.as_str(), file.destination.as_str()).hash(&mut hasher);
    }
    hasher.finish()
}

/// The bytes of a parcel, which are on disks: what is to be said besides stands at the end, and may be missing.
#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    name: &'a str,
    priority: Priority,
    finish: Finish,
    patience: Patience,
    peers: PeerUse,
    asking: Asking,
    terms: Cow<'a, Terms>,
    #[serde(borrow)]
    files: Vec<PackedFile<'a>>,
    /// Grows no more: what else is to be said stands behind the portions.
    ties: Cow<'a, Ties>,
    /// Of files that are not wanted whole, by their place, how much is; older parcels end before.
    #[serde(deserialize_with = "or_default")]
    portions: Vec<(u32, Cow<'a, Portion>)>,
    #[serde(borrow, deserialize_with = "or_default")]
    method: Option<&'a str>,
    #[serde(deserialize_with = "or_default")]
    limit: Option<u64>,
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

impl<'a> Packed<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// Shows each file with its whole URL and path; `None` when there is one that cannot be, or that is refused.
    fn each(&self, mut take: impl FnMut(&PackedFile<'a>, &str, &str) -> Option<()>) -> Option<()> {
        let (mut url, mut destination) = (String::new(), String::new());
        for file in &self.files {
            file.url.behind(&mut url)?;
            file.destination.behind(&mut destination)?;
            take(file, &url, &destination)?;
        }
        Some(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::portion::{ByteRange, Ranges};
    use crate::job::terms::{HeaderField, Secrecy};
    use proptest::prelude::*;

    fn spec(files: Vec<FileSpec>, name: &str) -> JobSpec {
        let headers = vec![HeaderField { name: "x".into(), value: "y".into(), secrecy: Secrecy::WriteOnly }];
        let ties = Ties { hook: Some("h".to_owned()), presence: Presence::WhileLoggedOn, certificate: None };
        JobSpec {
            name: name.to_owned(),
            priority: Priority::High,
            files,
            finish: Finish::Manual,
            patience: Patience::Watching,
            peers: PeerUse::NONE,
            asking: Asking::WithinLifetime,
            terms: Terms { headers, ties, ..Terms::default() },
        }
    }

    pub(in crate::job) fn files() -> impl Strategy<Value = Vec<FileSpec>> {
        let range = (any::<u32>(), proptest::option::of(1..u64::from(u32::MAX)));
        let ranges = range.prop_map(|(offset, length)| ByteRange { offset: u64::from(offset), length });
        let ranges = ranges.prop_map(|range| Ranges::new(vec![range]).expect("one range"));
        let file = ("[a-c/]{0,6}", "[/aä€🦀b/]{0,6}", any::<bool>(), proptest::option::of("[a-z]{1,4}"));
        let file = (file, proptest::option::of(ranges));
        let file = file.prop_map(|((path, destination, overwrite, user), ranges)| FileSpec {
            url: ResourceUrl::parse(&format!("https://a.example/{path}")).expect("a URL"),
            destination,
            digests: Vec::new(),
            overwrite,
            credentials: user.map(|user| Credentials { user, password: "p".to_owned() }),
            portion: ranges.map_or(Portion::Whole, Portion::Ranges),
        });
        proptest::collection::vec(file, 0..12)
    }

    proptest! {
        #[test]
        fn a_parcel_comes_back_as_it_was_and_its_head_is_that_of_the_whole(files in files(), held in any::<u64>()) {
            let spec = spec(files, "n");
            let records = vec![FileRecord::Wanted { length: Some(held), held }; spec.files.len()];
            let parcel = Parcel::of(&spec, &records);
            let written = postcard::to_stdvec(&parcel).expect("plain data");
            prop_assert_eq!(&postcard::from_bytes::<Parcel>(&written).expect("reads"), &parcel);
            prop_assert_eq!(parcel.unpacked(), (spec.clone(), records));
            let head = parcel.head();
            prop_assert_eq!((&*head.name, head.hook.as_deref(), head.count), ("n", Some("h"), spec.files.len()));
            prop_assert_eq!(head.presence, Presence::WhileLoggedOn);
            prop_assert_eq!(head.likeness, likeness(&spec.files));
            let is_held = spec.files.iter().any(|file| file.goal() == Goal::Hold);
            prop_assert_eq!(head.goal == Goal::Hold, is_held);
        }

        #[test]
        fn bytes_that_are_no_parcel_are_refused_and_never_met_again(files in files(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
            let whole = files.iter().cloned().map(|file| FileSpec { portion: Portion::Whole, ..file }).collect();
            let bytes = Parcel::of(&spec(whole, "n"), &[]).0;
            // Without its last bytes it says less of what it is tied to, as one from before that could be said.
            prop_assert!(Parcel::read(&bytes[..cut.index(bytes.len() - 5)]).is_none());
            let shorter = Parcel::read(&bytes[..bytes.len() - 5]).map(|parcel| parcel.unpacked().0.terms.ties);
            prop_assert_eq!(shorter, Some(Ties { hook: Some("h".to_owned()), ..Ties::default() }));
            // From before there were ranges.
            let older = Parcel::read(&bytes[..bytes.len() - 3]).map(|parcel| parcel.unpacked());
            prop_assert_eq!(older, Parcel::read(&bytes).map(|parcel| parcel.unpacked()));
            let mut bytes = Parcel::of(&spec(files, "n"), &[]).0;
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Some(parcel) = Parcel::read(&bytes) {
                // It says something else, and can be used like any other.
                let (spec, records) = parcel.unpacked();
                prop_assert_eq!(spec.files.len(), records.len());
                prop_assert_eq!(parcel.head().count, spec.files.len());
            }
        }
    }
}
