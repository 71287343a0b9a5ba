//! What is mounted, which may change while the gateway runs, with the terms and the counts of each mount.

use super::tally::Tally;
use super::terms::Number;
use crate::config::gateway::{GatewayPlan, MountPlan};
use eddy_content::ResourceUrl;
use eddy_wire::api::{GatewayView, MountView};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A mount.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) plan: Arc<MountPlan>,
    /// Whose is the same gives the same answers.
    pub(super) terms: Number,
    pub(super) tally: Arc<Tally>,
}

/// All mounts, the longest path first, and the proxy behind them.
#[derive(Debug, Clone)]
pub(super) struct Mounts {
    address: SocketAddr,
    list: Arc<RwLock<Arc<[Mount]>>>,
    proxy: Arc<Tally>,
    has_proxy: bool,
    /// Numbers of terms that were given out.
    numbers: Arc<AtomicU64>,
    /// What was counted of mounts that are no more.
    gone: Arc<Mutex<MountView>>,
}

impl Mounts {
    pub(super) fn of(plan: &GatewayPlan, address: SocketAddr) -> Self {
        let proxy = Arc::new(Tally::new("proxy".to_owned(), None));
        let mounts = Self {
            address,
            list: Arc::new(RwLock::new(Arc::default())),
            proxy,
            has_proxy: plan.proxy,
            numbers: Arc::default(),
            gone: Arc::default(),
        };
        mounts.change(&plan.mounts);
        mounts
    }

    /// Those of now.
    pub(super) fn list(&self) -> Arc<[Mount]> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Mounts these instead; false when they are the same. What stays mounted goes on counting, and who is being served is served to the end.
    pub(super) fn change(&self, plans: &[MountPlan]) -> bool {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        if list.iter().map(|mount| mount.plan.as_ref()).eq(plans) {
            return false;
        }
        let tally = |plan: &MountPlan| {
            let same = list.iter().find(|mount| mount.plan.path == plan.path && mount.plan.origin == plan.origin);
            same.map_or_else(|| Arc::new(tally_of(plan)), |mount| mount.tally.clone())
        };
        // New ones: what is on its way for a mount of before is nothing for those of now.
        let first = self.numbers.fetch_add(plans.len() as u64, Ordering::Relaxed);
        let terms = |plan: &MountPlan| {
            let is_alike = |other: &MountPlan| other.rules == plan.rules && other.links == plan.links;
            Number::mount(first + plans.iter().position(is_alike).unwrap_or_default() as u64)
        };
        let mount = |plan: &MountPlan| Mount { plan: Arc::new(plan.clone()), terms: terms(plan), tally: tally(plan) };
        let changed: Arc<[Mount]> = plans.iter().map(mount).collect();
        let gone = list.iter().filter(|old| !changed.iter().any(|mount| Arc::ptr_eq(&mount.tally, &old.tally)));
        let mut counted = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.for_each(|mount| counted.add(&mount.tally.view()));
        *list = changed;
        true
    }

    /// What the proxy counts.
    pub(super) fn proxy(&self) -> Arc<Tally> {
        self.proxy.clone()
    }

    /// What was counted of all mounts and the proxy, and of what was mounted before. It only grows.
    pub(super) fn total(&self) -> MountView {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let mut total = self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        list.iter().for_each(|mount| total.add(&mount.tally.view()));
        total.add(&self.proxy.view());
        total
    }

    /// All of it, as the API shows it.
    pub(super) fn view(&self) -> GatewayView {
        let mut mounts: Vec<MountView> = self.list().iter().map(|mount| mount.tally.view()).collect();
        mounts.extend(self.has_proxy.then(|| self.proxy.view()));
        GatewayView { listens: Some(format!("http://{}", self.address)), mounts, trouble: None }
    }
}

fn tally_of(plan: &MountPlan) -> Tally {
    let origin = ResourceUrl::parse(&plan.origin).map_or_else(|_| String::new(), |url| url.to_string());
    Tally::new(format!("{}/", plan.path), Some(origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::gateway::{GatewaySettings, MountSettings};

    fn plan(mounts: &[(&str, &str)]) -> GatewayPlan {
        let mount = |(path, origin): &(&str, &str)| -> MountSettings {
            toml::from_str(&format!("path = \"{path}\"\norigin = \"{origin}\"")).expect("settings")
        };
        let settings = GatewaySettings { proxy: true, mount: mounts.iter().map(mount).collect(), ..Default::default() };
        settings.plan().expect("good").expect("something is served")
    }

    #[test]
    fn what_stays_mounted_goes_on_counting_and_what_leads_elsewhere_begins_anew() {
        let requests = |mounts: &Mounts| -> Vec<(String, u64)> {
            mounts.view().mounts.into_iter().map(|mount| (mount.path, mount.requests)).collect()
        };
        let mounts = Mounts::of(&plan(&[("/a", "http://h/a"), ("/b", "http://h/b")]), ([127, 0, 0, 1], 1).into());
        let before = mounts.list();
        before.iter().for_each(|mount| mount.tally.request());
        assert!(!mounts.change(&plan(&[("/a", "http://h/a"), ("/b", "http://h/b")]).mounts));
        assert!(mounts.change(&plan(&[("/a", "http://h/a"), ("/b", "http://i/b"), ("/c", "http://h/c")]).mounts));
        let row = |path: &str, count| (path.to_owned(), count);
        assert_eq!(requests(&mounts), [row("/a/", 1), row("/b/", 0), row("/c/", 0), row("proxy", 0)]);
        assert!(mounts.change(&[]));
        assert_eq!(requests(&mounts), [row("proxy", 0)]);
        assert_eq!(before.len(), 2, "who has begun with what was mounted ends with it");
        assert_eq!(mounts.total().requests, 2, "the sum only grows");
    }

    #[test]
    fn mounts_have_the_same_terms_where_all_their_rules_are_the_same_and_others_after_a_change() {
        let rules = [
            "",
            "keep = \"rfc\"",
            "",
            "fields = \"all\"",
            "indexes = \"ignored\"",
            "stale-on-error = \"1 h\"",
            "unsafe-methods = \"forward\"",
            "links = { \"/\" = \"/m/\" }",
            "links = { \"/\" = \"/n/\" }",
        ];
        let text: String = rules.iter().enumerate().fold(String::new(), |text, (number, rules)| {
            format!("{text}[[mount]]\npath = \"/{number}\"\norigin = \"http://h\"\n{rules}\n")
        });
        let settings: GatewaySettings = toml::from_str(&text).expect("settings");
        let plan = settings.plan().expect("good").expect("something is served");
        let mounts = Mounts::of(&plan, ([127, 0, 0, 1], 1).into());
        let terms = || -> Vec<Number> { mounts.list().iter().map(|mount| mount.terms).collect() };
        let before = terms();
        for one in 0..rules.len() {
            for other in 0..rules.len() {
                assert_eq!(before[one] == before[other], rules[one] == rules[other], "{one} {other}");
            }
        }
        assert!(mounts.change(&plan.mounts[1..]));
        assert!(terms().iter().all(|number| !before.contains(number)), "what was on its way is for nobody");
    }
}
