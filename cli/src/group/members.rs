//! `eddy group ls` and `revoke`: whom this node certified, and how one of them is removed.

use super::{ms, refused, the_group};
use crate::failure::Failure;
use crate::setting::Setting;
use crate::text::table::{Column, table};
use crate::text::units;
use eddy_node::group::{Group, Listed};
use eddy_wire::NodeId;
use eddy_wire::catalogue::ErrorCode;
use serde::Serialize;

/// Characters of the end of a node id that are enough to name a member.
const SHORTEST_END: usize = 6;

/// A member as programs see it.
#[derive(Debug, Serialize)]
struct MemberView {
    /// Its node id.
    node: String,
    /// What it is.
    role: String,
    /// Since when, in milliseconds since the Unix epoch.
    since_unix_ms: u64,
    /// How long its newest certificate from here holds.
    until_unix_ms: u64,
    /// `member`, `expired` or `removed`.
    standing: &'static str,
}

/// A removal as programs see it.
#[derive(Debug, Serialize)]
struct RemovalView {
    /// Who was removed.
    removed: String,
    /// The epoch of the deny-list that says so.
    epoch: u64,
}

pub(super) fn list(setting: &Setting) -> Result<(), Failure> {
    let (group, _) = the_group(setting)?;
    if !group.may_issue() {
        let why = "this node certifies nobody; `eddy peers ls` shows the members that are connected";
        return Err(Failure::new(ErrorCode::NotAnIssuer, why));
    }
    let views: Vec<_> = roster(&group)?.iter().map(|listed| view(&group, listed)).collect();
    setting.answer(&views, || {
        let columns = [
            Column::Text("NODE"),
            Column::Text("ROLE"),
            Column::Text("SINCE"),
            Column::Text("UNTIL"),
            Column::Text("STANDING"),
        ];
        let row = |view: &MemberView| {
            let (since, until) = (units::time(view.since_unix_ms), units::time(view.until_unix_ms));
            vec![view.node.clone(), view.role.clone(), since, until, view.standing.to_owned()]
        };
        table(&columns, views.iter().map(row))
    })
}

pub(super) fn revoke(text: &str, setting: &Setting) -> Result<(), Failure> {
    let (group, own) = the_group(setting)?;
    let node = named(&group, text)?;
    if own.is_some_and(|own| own.node_id() == node) {
        return Err(Failure::new(ErrorCode::BadUsage, "that is this node itself, which has the root key"));
    }
    let epoch = group.revoke(node).map_err(refused)?;
    let view = RemovalView { removed: node.to_string(), epoch };
    setting.answer(&view, || {
        format!("removed {node}; deny-list epoch {epoch} goes to the members through the node that runs here\n")
    })
}

fn roster(group: &Group) -> Result<Vec<Listed>, Failure> {
    let register = group.register().map_err(refused)?;
    register.roster().map_err(|error| refused(error.into()))
}

fn view(group: &Group, listed: &Listed) -> MemberView {
    let is_removed = group.denied().is_some_and(|denied| denied.known().is_removed(&listed.node()));
    MemberView {
        node: listed.node().to_string(),
        role: listed.role().to_string(),
        since_unix_ms: ms(listed.since),
        until_unix_ms: ms(listed.until),
        standing: match (is_removed, group.now() < listed.until) {
            (true, _) => "removed",
            (false, true) => "member",
            (false, false) => "expired",
        },
    }
}

/// The node that a text names: a whole node id, or the end of one that was certified here.
fn named(group: &Group, text: &str) -> Result<NodeId, Failure> {
    if let Ok(node) = text.parse() {
        return Ok(node);
    }
    let ends = |node: &NodeId| text.len() >= SHORTEST_END && node.to_string().ends_with(text);
    let found: Vec<_> = roster(group)?.iter().map(Listed::node).filter(ends).collect();
    match found[..] {
        [node] => Ok(node),
        _ => Err(Failure::new(ErrorCode::MemberNotFound, text.chars().take(64).collect::<String>())),
    }
}
