//! Who may do what: one table of every verb by every role, asked at one place (T-40).
//!
//! A caller is who the kernel says (`SO_PEERCRED`). In a node of one user that user and root may do everything, and nobody else gets an
//! answer. A node that serves several users gives each the jobs that are theirs: of the others' they learn not even that they exist. What
//! concerns the machine as a whole is the administrators'. What a path and method may mean that the table does not name is nobody's
//! but theirs.

use super::socket::Caller;
use eddy_wire::api::PeersView;

/// Whether a role may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// It may.
    Yes,
    /// It may not; where it is about a job, there is no such job for it.
    No,
}

/// One verb of the API and who may do it.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The method.
    pub method: &'static str,
    /// The path as the router has it.
    pub path: &'static str,
    /// Whoever owns the job that it is about, or makes one; with a list, of the rows that are theirs.
    pub owner: May,
    /// A user who does not own it, or with no job in it, any user.
    pub other: May,
    /// The node's own user, root, and who is in the administrators' group.
    pub administrator: May,
    /// Whether it is written into the audit log when it reaches beyond the caller's own.
    pub audit: Audit,
}

/// Whether a verb is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// It changes something, or shows what one person entrusted to the node.
    Kept,
    /// It only looks.
    Unneeded,
}

const fn rule(method: &'static str, path: &'static str, roles: [May; 3], audit: Audit) -> Rule {
    let [owner, other, administrator] = roles;
    Rule { method, path, owner, other, administrator, audit }
}

use Audit::{Kept, Unneeded};
use May::{No, Yes};

/// Every verb. The columns are: owner, another user, administrator.
pub const TABLE: &[Rule] = &[
    rule("GET", "/v1/status", [Yes, Yes, Yes], Unneeded),
    rule("GET", "/v1/openapi.json", [Yes, Yes, Yes], Unneeded),
    rule("POST", "/v1/shutdown", [No, No, Yes], Kept),
    rule("GET", "/v1/jobs", [Yes, No, Yes], Unneeded),
    rule("POST", "/v1/jobs", [Yes, No, Yes], Kept),
    rule("POST", "/v1/jobs/batch", [Yes, No, Yes], Kept),
    rule("GET", "/v1/jobs/{id}", [Yes, No, Yes], Kept),
    rule("PATCH", "/v1/jobs/{id}", [Yes, No, Yes], Kept),
    rule("POST", "/v1/jobs/{id}/files", [Yes, No, Yes], Kept),
    // What origins answer holds cookies (`heads` in `face`).
    rule("GET", "/v1/jobs/{id}/headers", [Yes, No, Yes], Kept),
    rule("POST", "/v1/jobs/{id}/ranges", [Yes, No, Yes], Kept),
    rule("GET", "/v1/jobs/{id}/ranges", [Yes, No, Yes], Unneeded),
    rule("GET", "/v1/jobs/{id}/watch", [Yes, No, Yes], Unneeded),
    rule("GET", "/v1/jobs/{id}/wait", [Yes, No, Yes], Unneeded),
    rule("POST", "/v1/jobs/{id}/resume", [Yes, No, Yes], Kept),
    rule("POST", "/v1/jobs/{id}/pause", [Yes, No, Yes], Kept),
    rule("POST", "/v1/jobs/{id}/cancel", [Yes, No, Yes], Kept),
    rule("POST", "/v1/jobs/{id}/finish", [Yes, No, Yes], Kept),
    rule("POST", "/v1/jobs/{id}/take", [Yes, No, Yes], Kept),
    rule("GET", "/v1/events", [Yes, No, Yes], Unneeded),
    rule("GET", "/v1/events/follow", [Yes, No, Yes], Unneeded),
    rule("GET", "/v1/report", [Yes, No, Yes], Unneeded),
    rule("GET", "/v1/gateway", [Yes, Yes, Yes], Unneeded),
    // Sums over everybody's.
    rule("GET", "/v1/metrics", [No, No, Yes], Unneeded),
    rule("GET", "/v1/cache", [Yes, Yes, Yes], Unneeded),
    // What is in the store says who fetched what: URLs are as private as jobs.
    rule("GET", "/v1/cache/entities", [No, No, Yes], Unneeded),
    rule("GET", "/v1/cache/entities/{id}", [No, No, Yes], Unneeded),
    rule("PUT", "/v1/cache/entities/{id}/pin", [No, No, Yes], Kept),
    rule("DELETE", "/v1/cache/entities/{id}/pin", [No, No, Yes], Kept),
    rule("POST", "/v1/cache/entities/{id}/verify", [No, No, Yes], Kept),
    rule("PUT", "/v1/cache/limits", [No, No, Yes], Kept),
    rule("POST", "/v1/cache/plan", [No, No, Yes], Unneeded),
    rule("POST", "/v1/cache/remove", [No, No, Yes], Kept),
    rule("POST", "/v1/cache/export", [No, No, Yes], Kept),
    rule("POST", "/v1/cache/import", [No, No, Yes], Kept),
    // Who is there is everybody's; what is fetched together with them is not (`Asker::shown`).
    rule("GET", "/v1/peers", [Yes, No, Yes], Unneeded),
    // The evidence against a member names what was fetched.
    rule("GET", "/v1/peers/{id}", [No, No, Yes], Unneeded),
];

/// Whose jobs a call may see and touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The caller's own: there are no others for it.
    Own,
    /// Everybody's.
    All,
}

/// A caller that was let in: as whom, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// To whom what the call makes will belong.
    pub uid: u32,
    /// Whose jobs it may see and touch.
    pub reach: Reach,
}

impl Asker {
    /// Whether what belongs to `owner` exists for the caller.
    #[must_use]
    pub fn sees(self, owner: u32) -> bool {
        self.reach == Reach::All || owner == self.uid
    }

    /// The peers as the caller may see them: who is there is everybody's, but what is fetched together names what others fetch.
    #[must_use]
    pub fn shown(self, peers: PeersView) -> PeersView {
        match self.reach {
            Reach::All => peers,
            Reach::Own => PeersView { swarms: Vec::new(), ..peers },
        }
    }
}

/// Whom a node serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Users {
    /// Its own user, and root.
    #[default]
    Own,
    /// Everybody on this machine who can open the socket.
    Several {
        /// A group of the system whose members are administrators as well.
        administrators: Option<String>,
    },
}

/// Lets callers in, or not.
#[derive(Debug, Clone)]
pub struct Admission {
    own: u32,
    users: Users,
}

impl Admission {
    /// The admission of this process's node.
    #[must_use]
    pub fn new(users: Users) -> Self {
        Self { own: rustix::process::geteuid().as_raw(), users }
    }

    /// What a verb may, for a caller; `None` when it may not. May read the system's user database, which may block.
    #[must_use]
    pub fn admit(&self, caller: Caller, method: &str, path: Option<&str>) -> Option<Asker> {
        // A HEAD is a GET without its body.
        let method = if method == "HEAD" { "GET" } else { method };
        let rule = TABLE.iter().find(|rule| rule.method == method && Some(rule.path) == path);
        let uid = caller.uid?;
        let all = |uid| Some(Asker { uid, reach: Reach::All });
        if self.users == Users::Own {
            // Root works in somebody's node as that somebody.
            return if uid == 0 || uid == self.own { all(self.own) } else { None };
        }
        if self.is_administrator(uid) {
            return if rule.is_none_or(|rule| rule.administrator == Yes) { all(uid) } else { None };
        }
        match rule {
            Some(rule) if rule.other == Yes => all(uid),
            Some(rule) if rule.owner == Yes => Some(Asker { uid, reach: Reach::Own }),
            _ => None,
        }
    }

    fn is_administrator(&self, uid: u32) -> bool {
        if uid == 0 || uid == self.own {
            return true;
        }
        let Users::Several { administrators: Some(group) } = &self.users else { return false };
        crate::owner::is_in_group(uid, group)
    }
}

/// Whether a verb is written down when it reaches beyond the caller's own; one that is not in the table is.
#[must_use]
pub fn audit_of(method: &str, path: Option<&str>) -> Audit {
    TABLE.iter().find(|rule| rule.method == method && Some(rule.path) == path).map_or(Kept, |rule| rule.audit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_wire::api::SwarmView;
    use std::collections::BTreeSet;

    fn caller(uid: u32) -> Caller {
        Caller { uid: Some(uid) }
    }

    #[test]
    fn the_table_has_every_verb_of_the_document_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(&super::super::openapi::text()).expect("JSON");
        let mut documented = BTreeSet::from([("GET".to_owned(), "/v1/openapi.json".to_owned())]);
        for (path, verbs) in document["paths"].as_object().expect("paths") {
            let verbs = verbs.as_object().expect("verbs").keys();
            documented.extend(verbs.map(|verb| (verb.to_uppercase(), path.clone())));
        }
        let named: BTreeSet<_> = TABLE.iter().map(|rule| (rule.method.to_owned(), rule.path.to_owned())).collect();
        assert_eq!(named, documented);
        assert_eq!(named.len(), TABLE.len(), "a verb stands in the table twice");
    }

    #[test]
    fn only_its_user_and_root_rule_a_node_of_one_user() {
        let node = Admission { own: 1000, users: Users::Own };
        for rule in TABLE {
            let admit = |caller| node.admit(caller, rule.method, Some(rule.path));
            let own = Some(Asker { uid: 1000, reach: Reach::All });
            assert_eq!((admit(caller(1000)), admit(caller(0))), (own, own), "{rule:?}");
            assert_eq!(admit(caller(1001)), None, "{rule:?}");
            assert_eq!(admit(Caller { uid: None }), None, "who is not known is nobody");
        }
    }

    #[test]
    fn of_several_users_each_reaches_their_own_and_administrators_all() {
        let node = Admission { own: 990, users: Users::Several { administrators: None } };
        for rule in TABLE {
            let user = node.admit(caller(1000), rule.method, Some(rule.path));
            assert_eq!(user.is_some(), rule.owner == Yes || rule.other == Yes, "{rule:?}");
            let reaches_all = user.is_some_and(|user| user.reach == Reach::All);
            assert_eq!(reaches_all, rule.other == Yes, "{rule:?}");
            for administrator in [0, 990] {
                let asker = node.admit(caller(administrator), rule.method, Some(rule.path));
                assert_eq!(asker, Some(Asker { uid: administrator, reach: Reach::All }), "{rule:?}");
            }
            assert_eq!(node.admit(Caller { uid: None }, rule.method, Some(rule.path)), None);
        }
    }

    #[test]
    fn users_see_who_is_there_and_not_what_others_fetch_with_them() {
        let url = "https://example.org/secret".to_owned();
        let swarm = SwarmView { url, segments: 1, ..SwarmView::default() };
        let view = PeersView { group: Some("g".to_owned()), swarms: vec![swarm], ..PeersView::default() };
        let node = Admission { own: 990, users: Users::Several { administrators: None } };
        let as_seen_by = |uid| node.admit(caller(uid), "GET", Some("/v1/peers")).map(|asker| asker.shown(view.clone()));
        assert_eq!(as_seen_by(1000), Some(PeersView { swarms: Vec::new(), ..view.clone() }));
        assert_eq!(as_seen_by(990), Some(view.clone()));
    }

    #[test]
    fn what_the_table_does_not_name_is_the_administrators() {
        let node = Admission { own: 990, users: Users::Several { administrators: None } };
        assert_eq!(node.admit(caller(1000), "POST", Some("/v1/later")), None);
        assert_eq!(node.admit(caller(1000), "DELETE", Some("/v1/jobs/{id}")), None);
        assert_eq!(node.admit(caller(1000), "GET", None), None);
        assert!(node.admit(caller(0), "GET", None).is_some(), "and learns that there is no such path");
    }
}
