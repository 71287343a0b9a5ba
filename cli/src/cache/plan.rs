//! A plan for people: what goes and why, what stays and why.

use super::short;
use crate::setting::Setting;
use crate::text::table::{Column, table};
use crate::text::units;
use eddy_wire::api::{Kept, KeptReason, PlanView, Planned};

/// Whether a plan was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tense {
    /// Not yet.
    Would,
    /// It was.
    Did,
}

/// The plan for people, of its entries at most `most`.
pub(super) fn show(plan: &PlanView, most: usize, tense: Tense, setting: &Setting) -> String {
    let mut text = if plan.victims.is_empty() { String::new() } else { rows(plan, most, setting) };
    let hidden = (plan.count as usize).saturating_sub(most.min(plan.victims.len()));
    if hidden > 0 {
        text += &format!("and {hidden} more\n");
    }
    let least = if plan.is_cut { "at least " } else { "" };
    let size = setting.sizes.size(plan.bytes);
    text += &match (plan.count, tense) {
        (0, Tense::Would) => String::from("nothing would go"),
        (0, Tense::Did) => String::from("nothing had to go"),
        (count, Tense::Would) => format!("{least}{} would go and free {size}", entries(count)),
        (count, Tense::Did) => format!("{least}{} went and freed {size}", entries(count)),
    };
    text + &staying(&plan.kept) + "\n"
}

fn rows(plan: &PlanView, most: usize, setting: &Setting) -> String {
    let columns = [
        Column::Text("ID"),
        Column::Number("FREES"),
        Column::Text("USED LAST"),
        Column::Text("REASON"),
        Column::Text("URL"),
    ];
    let line = |victim: &Planned| {
        vec![
            short(&victim.id),
            setting.sizes.size(victim.bytes),
            units::time(victim.used_unix_ms),
            victim.reason.clone(),
            victim.url.clone(),
        ]
    };
    table(&columns, plan.victims.iter().take(most).map(line))
}

/// What stays, and why.
pub(super) fn staying(kept: &[Kept]) -> String {
    let count = |reason| kept.iter().filter(|kept| kept.reason == reason).count();
    let words: Vec<_> =
        [(KeptReason::InUse, "in use"), (KeptReason::Pinned, "pinned"), (KeptReason::NotFound, "gone already")]
            .into_iter()
            .map(|(reason, word)| (count(reason), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
    if words.is_empty() { String::new() } else { format!("; not removed: {}", words.join(", ")) }
}

/// A number of entries.
pub(super) fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}
