//! How a sweep goes over its cases: on all processors, all of them or each n-th, and in numbers that the environment sets.

use std::sync::atomic::{AtomicU64, Ordering};

/// Does the work for every number below `count`, on all processors.
pub(crate) fn for_each(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    work(number);
                }
            });
        }
    });
}

/// A number that the environment sets.
pub(crate) fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Keeps redb's panics on damaged pages to themselves: the store catches them, and one that it does not fails the test.
/// They are shown where one seed is told, or the environment asks for them (`EDDY_DISK_LOUD`).
pub(crate) fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_redb = panic.location().is_some_and(|place| place.file().contains("/redb-"));
            let is_loud = ["EDDY_DISK_SEED", "EDDY_DISK_LOUD"].iter().any(|name| std::env::var_os(name).is_some());
            if !is_redb || is_loud {
                usual(panic);
            }
        }));
    });
}

/// Every how many-th case of a sweep is taken; `usual` where the environment says nothing.
pub(crate) fn stride(usual: u64) -> u64 {
    from_environment("EDDY_DISK_STRIDE").unwrap_or(usual).max(1)
}

/// Says in which case a panic came.
pub(crate) struct Case(pub(crate) String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in this case: {}", self.0);
        }
    }
}
