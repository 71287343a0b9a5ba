//! What is stored of answers: their heads and small bodies in memory, large bodies by their name in the store. An answer is known by its URL and
//! by the terms under which it was asked for.
//!
//! Bounded by entries and by bytes; the one that was used longest ago goes first. After a restart a head is asked for again, and the
//! body that the store holds is used under it.

use super::filling::Filling;
use super::growing::Growing;
use super::links;
use super::parts::Parts;
use super::terms::Terms;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::freshness::{Freshness, Variant};
use eddy_content::http::serve::{Marks, is_favourite};
use eddy_content::{EntityId, ResourceUrl};
use http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderValue};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Answers on the shelf.
const MOST: usize = 65_536;
/// Bytes of their heads and small bodies.
const MOST_BYTES: usize = 96 << 20;
/// Variants of one URL under the same terms.
const MOST_VARIANTS: usize = 8;
/// Bytes that an answer takes besides its fields and its body.
const OVERHEAD: usize = 512;
/// Bytes that are given up at once, at least: each time all answers may be looked at.
const GIVEN_UP: u64 = 1 << 20;

/// Where the bytes of a stored answer are.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// In memory, perhaps still growing.
    Memory(Arc<Growing>),
    /// In memory, and not all of it.
    Parts(Arc<Parts>),
    /// In the store, perhaps still being filled.
    Entity(EntityId, Weak<Filling>),
}

/// A stored answer.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Its status.
    pub(super) status: u16,
    /// Its fields.
    pub(super) fields: HeaderMap,
    /// How long it may be used without asking.
    pub(super) freshness: Freshness,
    /// What selected it.
    pub(super) variant: Option<Variant>,
    /// The languages that the request which brought it wanted.
    pub(super) languages: Option<HeaderValue>,
    /// What its bytes keep, or will before anybody has seen all of them.
    pub(super) proved: Vec<ExpectedDigest>,
    /// Whether it is a page whose links were replaced.
    pub(super) is_led: bool,
    /// Its version's marks.
    pub(super) marks: Marks,
    /// Bytes of the body.
    pub(super) length: u64,
    /// The body.
    pub(super) held: Held,
}

impl Stored {
    /// The same for a page with its links replaced.
    pub(super) fn led(mut self) -> Self {
        links::fit(&mut self.fields);
        self.marks = Marks { is_date_strong: false, ..Marks::of(&self.fields, self.freshness.received()) };
        self.is_led = true;
        self
    }

    fn cost(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        OVERHEAD + fields + self.body()
    }

    /// Bytes of its body that are in memory.
    fn body(&self) -> usize {
        match &self.held {
            Held::Memory(_) => self.length as usize,
            Held::Parts(parts) => parts.bytes() as usize,
            Held::Entity(..) => 0,
        }
    }

    fn is_selected_by(&self, fields: &HeaderMap) -> bool {
        self.variant.as_ref().is_none_or(|variant| variant.is_selected_by(fields))
    }
}

/// What the shelf has for a request.
#[derive(Debug, Clone)]
pub(super) enum Look {
    /// Nothing of this URL, under these terms.
    Nothing,
    /// Answers that this request does not select.
    OtherVariant,
    /// This one.
    Here(Arc<Stored>),
}

/// What an answer is known by.
pub(super) type Key<'a> = (&'a ResourceUrl, Terms);

/// The shelf.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    places: HashMap<ResourceUrl, Place>,
    /// By when they were used last.
    order: BTreeMap<u64, ResourceUrl>,
    clock: u64,
    answers: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Place {
    used: u64,
    /// The newest first.
    answers: Vec<(Terms, Arc<Stored>)>,
}

impl Place {
    fn under(&self, terms: Terms) -> impl Iterator<Item = &Arc<Stored>> {
        self.answers.iter().filter(move |(of, _)| *of == terms).map(|(_, stored)| stored)
    }

    /// Puts an answer first, in the place of the one that the same request selected.
    fn put(&mut self, terms: Terms, fields: &HeaderMap, stored: Arc<Stored>) {
        let mut others = 0;
        self.answers.retain(|(of, old)| {
            let is_other = *of != terms || !old.is_selected_by(fields);
            others += usize::from(*of == terms && is_other);
            is_other && (*of != terms || others < MOST_VARIANTS)
        });
        self.answers.insert(0, (terms, stored));
    }

    /// Bytes of bodies that are in memory.
    fn bodies(&self) -> u64 {
        self.answers.iter().map(|(_, stored)| stored.body() as u64).sum()
    }

    fn cost(&self) -> usize {
        self.answers.iter().map(|(_, stored)| stored.cost()).sum()
    }
}

impl Shelf {
    /// The answer that a request with these fields selects.
    pub(super) fn look(&self, (url, terms): Key<'_>, fields: &HeaderMap) -> Look {
        let mut inner = self.inner();
        let Some(place) = inner.places.get(url) else { return Look::Nothing };
        let mut is_other = false;
        let found =
            place.under(terms).inspect(|_| is_other = true).find(|stored| stored.is_selected_by(fields)).cloned();
        let Some(found) = found else { return if is_other { Look::OtherVariant } else { Look::Nothing } };
        inner.touch(url);
        Look::Here(found)
    }

    /// The fields of the request that brought an answer which this one may have as well: it is in the language that is wanted most.
    pub(super) fn in_favourite_language(&self, (url, terms): Key<'_>, fields: &HeaderMap) -> Option<HeaderMap> {
        let inner = self.inner();
        inner.places.get(url)?.under(terms).find_map(|stored| {
            let languages = stored.languages.clone().filter(|_| is_favourite(fields, &stored.fields))?;
            let mut like = fields.clone();
            like.insert(ACCEPT_LANGUAGE, languages);
            stored.is_selected_by(&like).then_some(like)
        })
    }

    /// Puts an answer there, in the place of the one that the same request selected.
    pub(super) fn put(&self, (url, terms): Key<'_>, fields: &HeaderMap, stored: Arc<Stored>) {
        let mut inner = self.inner();
        let mut place = inner.remove(url).unwrap_or_default();
        place.put(terms, fields, stored);
        inner.insert(url.clone(), place);
        inner.make_room();
    }

    /// The body of an answer that stands there lies in memory from now on.
    pub(super) fn warm(&self, url: &ResourceUrl, stored: &Stored, body: Arc<Growing>) {
        let mut inner = self.inner();
        let is_it = |(_, other): &(Terms, Arc<Stored>)| std::ptr::eq(&raw const **other, stored);
        let Some(at) = inner.places.get(url).and_then(|place| place.answers.iter().position(is_it)) else { return };
        let Some(mut place) = inner.remove(url) else { return };
        place.answers[at].1 = Arc::new(Stored { held: Held::Memory(body), ..stored.clone() });
        inner.insert(url.clone(), place);
        inner.make_room();
    }

    /// Forgets of the answers whose bodies are in memory those that were used longest ago, until so many bytes are gone.
    pub(super) fn give_up(&self, bytes: u64) {
        let mut inner = self.inner();
        let mut lacking = bytes.max(GIVEN_UP);
        let mut gone = Vec::new();
        for url in inner.order.values() {
            let freed = inner.places.get(url).map_or(0, Place::bodies);
            if freed > 0 {
                gone.push(url.clone());
                lacking = lacking.saturating_sub(freed);
            }
            if lacking == 0 {
                break;
            }
        }
        gone.iter().for_each(|url| drop(inner.remove(url)));
    }

    /// Forgets an answer whose body is lost, and none that has come in its place.
    pub(super) fn lose(&self, url: &ResourceUrl, lost: &Arc<Stored>) {
        let mut inner = self.inner();
        let Some(mut place) = inner.remove(url) else { return };
        place.answers.retain(|(_, stored)| !Arc::ptr_eq(stored, lost));
        if !place.answers.is_empty() {
            inner.insert(url.clone(), place);
        }
    }

    /// Forgets everything of a URL, under whatever terms.
    pub(super) fn forget(&self, url: &ResourceUrl) {
        self.inner().remove(url);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut inner = self.inner();
        *inner = Inner { clock: inner.clock, ..Inner::default() };
    }

    /// Answers and bytes that are there.
    #[cfg(test)]
    fn size(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.answers, inner.bytes)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, url: ResourceUrl, mut place: Place) {
        self.clock += 1;
        place.used = self.clock;
        self.answers += place.answers.len();
        self.bytes += place.cost();
        self.order.insert(place.used, url.clone());
        self.places.insert(url, place);
    }

    fn make_room(&mut self) {
        while (self.answers > MOST || self.bytes > MOST_BYTES)
            && let Some(oldest) = self.order.first_key_value().map(|(_, url)| url.clone())
        {
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, url: &ResourceUrl) -> Option<Place> {
        let place = self.places.remove(url)?;
        self.order.remove(&place.used);
        self.answers -= place.answers.len();
        self.bytes -= place.cost();
        Some(place)
    }

    fn touch(&mut self, url: &ResourceUrl) {
        self.clock += 1;
        if let Some(place) = self.places.get_mut(url) {
            self.order.remove(&place.used);
            place.used = self.clock;
            self.order.insert(place.used, url.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::terms::{Asker, Number};
    use super::*;
    use bytes::Bytes;
    use eddy_content::http::RequestPrivacy;
    use eddy_content::http::freshness::{Exchange, Question};

    fn stored(vary: Option<&'static str>, fields: &HeaderMap, length: usize) -> Arc<Stored> {
        let mut answer = HeaderMap::new();
        if let Some(vary) = vary {
            answer.insert("vary", http::HeaderValue::from_static(vary));
        }
        let question = Question { fields, privacy: RequestPrivacy::Plain };
        Arc::new(Stored {
            status: 200,
            freshness: Freshness::of(&answer, question, Exchange { asked: 0, received: 0 }),
            variant: Variant::of(&answer, fields),
            languages: fields.get(ACCEPT_LANGUAGE).cloned(),
            proved: Vec::new(),
            is_led: false,
            fields: answer,
            marks: Marks::default(),
            length: length as u64,
            held: Held::Memory(Growing::whole(Bytes::from(vec![0; length]), None)),
        })
    }

    fn url(number: usize) -> ResourceUrl {
        ResourceUrl::parse(&format!("http://h/{number}")).expect("parses")
    }

    fn terms(mount: u64) -> Terms {
        Terms { number: Number::mount(mount), called: None, asker: Asker::Anybody }
    }

    fn fields(language: &str) -> HeaderMap {
        let value = http::HeaderValue::from_str(language).expect("text");
        HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, value)])
    }

    #[test]
    fn variants_stand_side_by_side_and_replace_their_like() {
        let shelf = Shelf::default();
        for language in ["de", "en", "de"] {
            let fields = fields(language);
            shelf.put((&url(1), terms(0)), &fields, stored(Some("accept-language"), &fields, 10));
        }
        assert_eq!(shelf.size().0, 2);
        assert!(matches!(shelf.look((&url(1), terms(0)), &fields("en")), Look::Here(_)));
        assert!(matches!(shelf.look((&url(1), terms(0)), &fields("fr")), Look::OtherVariant));
        assert!(matches!(shelf.look((&url(2), terms(0)), &fields("en")), Look::Nothing));
        shelf.forget(&url(1));
        assert_eq!(shelf.size(), (0, 0));
    }

    #[test]
    fn what_was_kept_under_other_terms_is_not_there() {
        let (shelf, none) = (Shelf::default(), HeaderMap::new());
        let called = Terms { called: Some([10, 0, 0, 1].into()), ..terms(0) };
        let proxy = Terms { number: Number::PROXY, ..terms(0) };
        let admitted = Terms { asker: Asker::Admitted(5), ..terms(1) };
        let all = [terms(0), terms(1), proxy, called, admitted];
        let seen = || all.map(|terms| matches!(shelf.look((&url(1), terms), &none), Look::Here(_)));
        assert_eq!(seen(), [false; 5]);
        shelf.put((&url(1), all[1]), &none, stored(None, &none, 10));
        assert_eq!(seen(), [false, true, false, false, false]);
        assert!(matches!(shelf.look((&url(1), all[0]), &none), Look::Nothing), "not as much as another variant");
        all.iter().for_each(|terms| shelf.put((&url(1), *terms), &none, stored(None, &none, 10)));
        assert_eq!((seen(), shelf.size().0), ([true; 5], 5), "each in its place");
        shelf.forget(&url(1));
        assert_eq!((seen(), shelf.size()), ([false; 5], (0, 0)), "what a request changes is changed for all");
    }

    #[test]
    fn variants_of_one_url_are_few_and_take_no_place_from_those_under_other_terms() {
        let shelf = Shelf::default();
        let of = |number: usize| fields(&format!("x-{number}"));
        let put = |mount, number| {
            shelf.put((&url(1), terms(mount)), &of(number), stored(Some("accept-language"), &of(number), 10));
        };
        put(1, 0);
        (0..20).for_each(|number| put(0, number));
        let here = |mount, number| matches!(shelf.look((&url(1), terms(mount)), &of(number)), Look::Here(_));
        assert_eq!(
            (0..20).map(|number| here(0, number)).collect::<Vec<_>>(),
            [[false; 12].as_slice(), &[true; 8]].concat()
        );
        assert!(here(1, 0));
    }

    #[test]
    fn what_was_read_from_the_store_stands_in_its_place_in_memory() {
        let (shelf, none) = (Shelf::default(), HeaderMap::new());
        let id = eddy_content::EntityId([1; 32]);
        let of = |held| Arc::new(Stored { held, ..Stored::clone(&stored(None, &none, 10)) });
        let (old, other) = (of(Held::Entity(id, Weak::new())), of(Held::Entity(id, Weak::new())));
        shelf.put((&url(1), terms(0)), &none, old.clone());
        let lean = shelf.size();
        let body = || Growing::whole(Bytes::from_static(b"0123456789"), None);
        let is_warm = || matches!(shelf.look((&url(1), terms(0)), &none), Look::Here(stored) if matches!(stored.held, Held::Memory(_)));
        shelf.warm(&url(1), &other, body());
        assert!(!is_warm(), "another answer stands there by now");
        shelf.warm(&url(1), &old, body());
        assert!(is_warm());
        assert_eq!(shelf.size(), (lean.0, lean.1 + 10));
        shelf.forget(&url(1));
        shelf.warm(&url(1), &old, body());
        assert_eq!(shelf.size(), (0, 0), "what was forgotten stays so");
    }

    #[test]
    fn what_is_lost_goes_alone() {
        let (shelf, none) = (Shelf::default(), HeaderMap::new());
        let [lost, other, later] = [10, 20, 30].map(|length| stored(None, &none, length));
        let put = |mount, stored: &Arc<Stored>| shelf.put((&url(1), terms(mount)), &none, stored.clone());
        put(0, &lost);
        put(1, &other);
        shelf.lose(&url(1), &lost);
        let there = |mount| matches!(shelf.look((&url(1), terms(mount)), &none), Look::Here(_));
        assert_eq!((there(0), there(1), shelf.size()), (false, true, (1, other.cost())));
        put(0, &later);
        shelf.lose(&url(1), &lost);
        assert!(there(0) && there(1), "the later one is not lost");
        [later, other].iter().for_each(|stored| shelf.lose(&url(1), stored));
        assert_eq!(shelf.size(), (0, 0));
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let shelf = Shelf::default();
        let none = HeaderMap::new();
        let many = MOST_BYTES / (4 << 20) + 2;
        for number in 0..many {
            shelf.put((&url(number), terms(0)), &none, stored(None, &none, 4 << 20));
            assert!(matches!(shelf.look((&url(0), terms(0)), &none), Look::Here(_)), "it is used all the time");
        }
        assert!(shelf.size().1 <= MOST_BYTES);
        assert!(matches!(shelf.look((&url(1), terms(0)), &none), Look::Nothing));
        assert!(matches!(shelf.look((&url(many - 1), terms(0)), &none), Look::Here(_)));
        let before = shelf.size();
        shelf.give_up(5 << 20);
        assert_eq!(shelf.size().0, before.0 - 2);
        assert!(matches!(shelf.look((&url(0), terms(0)), &none), Look::Here(_)), "it was used last but one");
        shelf.give_up(u64::MAX);
        assert_eq!(shelf.size(), (0, 0));
    }
}
