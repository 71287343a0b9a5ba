//! The policy of this crate, by its own plans over a sorted table as the index keeps one.

use crate::policies::Cache;
use crate::traces::Request;
use eddy_content::EntityId;
use eddy_content::evict::{self, Aim, Candidate, Candidates, Hold, Segment, Standing};
use std::collections::{BTreeMap, HashMap};

/// Whether the cache is told that a version supersedes another.
#[derive(PartialEq, Eq)]
pub(crate) enum Supersession {
    /// It is.
    Heard,
    /// It is not.
    Ignored,
}

/// A cache with the policy of this crate.
pub(crate) struct Eddy {
    capacity: u64,
    used: u64,
    protected: u64,
    /// Standing and bytes.
    objects: HashMap<u32, (Standing, u64)>,
    /// Bytes, in the order of eviction.
    table: BTreeMap<Place, u64>,
    supersession: Supersession,
}

/// Key of the table: the standing's, then the object.
type Place = ([u8; Standing::KEY_LENGTH], u32);

impl Eddy {
    pub(crate) fn new(capacity: u64, supersession: Supersession) -> Self {
        Self { capacity, used: 0, protected: 0, objects: HashMap::new(), table: BTreeMap::new(), supersession }
    }

    fn remove(&mut self, object: u32) {
        if let Some((standing, bytes)) = self.objects.remove(&object) {
            self.table.remove(&(standing.key(), object));
            self.used -= bytes;
            self.protected -= protected(standing, bytes);
        }
    }

    fn put(&mut self, object: u32, standing: Standing, bytes: u64) {
        self.remove(object);
        self.objects.insert(object, (standing, bytes));
        self.table.insert((standing.key(), object), bytes);
        self.used += bytes;
        self.protected += protected(standing, bytes);
    }

    fn make_room(&mut self, bytes: u64) {
        let middle = (Standing::PROTECTED_FROM, 0);
        let candidates = Candidates {
            first: self.table.range(..middle).map(candidate),
            protected: self.table.range(middle..).map(candidate),
            overhang: Candidates::<(), ()>::overhang(self.protected, self.capacity),
        };
        let plan = evict::plan(candidates, Aim::Free((self.used + bytes).saturating_sub(self.capacity)));
        for victim in plan.victims {
            let [a, b, c, d, ..] = victim.id.0;
            self.remove(u32::from_be_bytes([a, b, c, d]));
        }
    }
}

fn protected(standing: Standing, bytes: u64) -> u64 {
    if standing.segment() == Segment::Protected { bytes } else { 0 }
}

fn candidate(((key, object), bytes): (&Place, &u64)) -> Candidate {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&object.to_be_bytes());
    let standing = Standing::of_key(*key).expect("a key of the table");
    Candidate { id: EntityId(id), bytes: *bytes, standing, hold: Hold::Free }
}

impl Cache for Eddy {
    fn request(&mut self, request: &Request, _: i64) -> bool {
        if self.supersession == Supersession::Heard
            && let Some(old) = request.supersedes
            && let Some((standing, bytes)) = self.objects.get(&old).copied()
        {
            self.put(old, standing.superseded(), bytes);
        }
        if let Some((standing, bytes)) = self.objects.get(&request.object).copied() {
            self.put(request.object, standing.used(request.at), bytes);
            return true;
        }
        if request.bytes > self.capacity {
            return false;
        }
        self.make_room(request.bytes);
        self.put(request.object, Standing::admitted(request.at), request.bytes);
        false
    }
}
