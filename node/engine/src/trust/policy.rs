//! What the administrator asks of the members' statements, and what that means for one file.

use super::audit::AuditShare;
use crate::port::Peer;
use std::collections::BTreeSet;

/// How many members must have fetched a block from its origin, before it is believed without a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Witnesses {
    /// One, with random second fetches ([`AuditShare`]).
    #[default]
    One,
    /// Two different ones.
    Two,
    /// Three different ones.
    Three,
    /// No number is enough: peers are used only where a digest decides.
    DigestOnly,
}

/// What is asked beyond that of content from origins that do not prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainHttp {
    /// Peers are not used for it.
    Off,
    /// One member's word is no worse than an own fetch over the same open line.
    #[default]
    One,
    /// Two, against an attacker who sits near one member.
    Two,
}

/// Whether somebody promised the hash of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// The job or the origin did: it decides absolutely, whoever said what.
    Known,
    /// Nobody did.
    Unknown,
}

/// How the origin is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Over TLS: it proves its name.
    Tls,
    /// In the open.
    Plain,
}

/// What the group's policy is at this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// How many witnesses a block needs.
    pub witnesses: Witnesses,
    /// What plain HTTP needs besides.
    pub plain_http: PlainHttp,
    /// Members whose statement is enough by itself.
    pub anchors: BTreeSet<Peer>,
    /// How much of what one statement carries is fetched a second time.
    pub audit: AuditShare,
}

/// What blocks of one file need, before they come from peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// They do not come from peers.
    NoPeers(Unwanted),
    /// The agreeing statements of so many different members, at least one.
    Statements(u8),
}

/// Why peers are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// There is no digest, and the policy wants one.
    NoDigest,
    /// The policy does not want peers for plain HTTP.
    PlainHttp,
}

impl Policy {
    /// What blocks of a file need. With a digest one statement is enough: it serves to find a lie early, and the digest
    /// decides in the end.
    #[must_use]
    pub fn demand(&self, line: Line, digest: Digest) -> Demand {
        let needed = match self.witnesses {
            _ if digest == Digest::Known => return Demand::Statements(1),
            Witnesses::One => 1,
            Witnesses::Two => 2,
            Witnesses::Three => 3,
            Witnesses::DigestOnly => return Demand::NoPeers(Unwanted::NoDigest),
        };
        match (line, self.plain_http) {
            (Line::Tls, _) | (Line::Plain, PlainHttp::One) => Demand::Statements(needed),
            (Line::Plain, PlainHttp::Two) => Demand::Statements(needed.max(2)),
            (Line::Plain, PlainHttp::Off) => Demand::NoPeers(Unwanted::PlainHttp),
        }
    }

    /// Whether blocks that came by one statement are to be fetched a second time now and then: never where a digest decides,
    /// and not where two members agree.
    #[must_use]
    pub fn is_audited(&self, line: Line, digest: Digest) -> bool {
        digest == Digest::Unknown && self.demand(line, digest) == Demand::Statements(1) && !self.audit.is_off()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_asks_for_what_its_name_says() {
        let mut table = String::new();
        for witnesses in [Witnesses::One, Witnesses::Two, Witnesses::Three, Witnesses::DigestOnly] {
            for plain_http in [PlainHttp::Off, PlainHttp::One, PlainHttp::Two] {
                let policy = Policy { witnesses, plain_http, ..Policy::default() };
                let asks = |line, digest| match policy.demand(line, digest) {
                    Demand::NoPeers(why) => format!("{why:?}"),
                    Demand::Statements(needed) if policy.is_audited(line, digest) => format!("{needed} audited"),
                    Demand::Statements(needed) => needed.to_string(),
                };
                let https = asks(Line::Tls, Digest::Unknown);
                let http = asks(Line::Plain, Digest::Unknown);
                let digest = asks(Line::Plain, Digest::Known);
                table += &format!("{witnesses:?} {plain_http:?}: https {https}, http {http}, digest {digest}\n");
            }
        }
        insta::assert_snapshot!(table);
    }
}
