//! `eddy cache info`: how large the cache is and may be.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::safe;
use crate::text::table::facts;
use crate::text::units;
use eddy_wire::api::{CacheView, LimitView};

pub(super) async fn run(setting: &Setting) -> Result<(), Failure> {
    let cache = Link::ask(setting, async |client| client.cache().await).await?;
    setting.answer(&cache, || info(&cache, setting))
}

fn info(cache: &CacheView, setting: &Setting) -> String {
    let size = |bytes| setting.sizes.size(bytes);
    let limit = |limit: &LimitView, now: String| format!("{} ({now}), set by {}", limit.value, limit.set_by);
    let used = format!("{} of {} ({} %)", size(cache.used), size(cache.quota), units::percent(cache.used, cache.quota));
    let facts = facts(&[
        ("directory", cache.directory.clone()),
        ("entries", cache.entities.to_string()),
        ("used", used),
        ("pinned", size(cache.pinned)),
        ("room", format!("{} before anything has to go", size(cache.available))),
        ("free on the disk", format!("{}, of which {} are left free", size(cache.free), size(cache.reserve))),
        ("quota", limit(&cache.limits.quota, size(cache.quota))),
        ("reserve", limit(&cache.limits.reserve, size(cache.reserve))),
        ("max age", format!("{}, set by {}", cache.limits.max_age.value, cache.limits.max_age.set_by)),
        ("hashed last", cache.scrubbed_unix_ms.map_or_else(|| "not wholly yet".to_owned(), units::time)),
        ("corrupt so far", blocks(cache.corrupt_blocks)),
        ("health", if cache.findings.is_empty() { "nothing was found".to_owned() } else { String::new() }),
    ]);
    let findings = cache.findings.iter().map(|finding| {
        let remedy = if finding.is_open() { format!("  {}\n", safe::line(&finding.remedy)) } else { String::new() };
        format!("{}: {} {}\n{remedy}", finding.severity.word(), safe::line(&finding.object), safe::line(&finding.what))
    });
    facts + &findings.collect::<String>()
}

fn blocks(count: u64) -> String {
    match count {
        0 => "no block".to_owned(),
        1 => "1 block, set aside".to_owned(),
        _ => format!("{count} blocks, set aside"),
    }
}
