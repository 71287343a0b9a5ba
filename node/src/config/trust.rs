//! `[group]`: whose word is enough, as the administrator wrote it.

use super::{ConfigError, GroupSettings, LimitSource};
use eddy_engine::Peer;
use eddy_engine::trust::{AuditShare, PlainHttp, Policy, Witnesses};
use eddy_wire::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// Anchors that are taken.
const MOST_ANCHORS: usize = 64;

/// `witnesses`: a number, or a word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum WitnessSetting {
    /// 1, 2 or 3.
    Count(i64),
    /// "digest-only", or a number in quotes.
    Word(String),
}

/// `plain-http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum PlainHttpSetting {
    /// No peers for it.
    Off,
    /// As much as for HTTPS.
    #[default]
    One,
    /// At least two witnesses.
    Two,
}

/// Why a policy will not do. The administrator's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// No number of witnesses.
    #[error("`{0}` is no number of witnesses: write 1, 2, 3 or \"digest-only\"")]
    Witnesses(String),
    /// No node.
    #[error(
        "`{0}` names no node: write node ids as `eddy status` and `eddy peers ls` show them, which begin with 12D3KooW"
    )]
    Anchor(String),
    /// Too many anchors.
    #[error("{0} anchors are named, {MOST_ANCHORS} are the most")]
    ManyAnchors(usize),
    /// No share.
    #[error("`{0}` is no share of segments: write one like \"1 %\", or \"off\"")]
    Audit(String),
}

impl GroupSettings {
    /// The policy that is written down, or the default one.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let wrong = |key| move |source| ConfigError::Policy { key, source };
        Ok(Policy {
            witnesses: self.witnesses().map_err(wrong("group.witnesses"))?,
            plain_http: match self.plain_http {
                PlainHttpSetting::Off => PlainHttp::Off,
                PlainHttpSetting::One => PlainHttp::One,
                PlainHttpSetting::Two => PlainHttp::Two,
            },
            anchors: self.anchors().map_err(wrong("group.anchors"))?,
            audit: self.audit().map_err(wrong("group.audit"))?,
        })
    }

    fn witnesses(&self) -> Result<Witnesses, BadPolicy> {
        let text = match &self.witnesses {
            None => return Ok(Witnesses::default()),
            Some(WitnessSetting::Count(count)) => count.to_string(),
            Some(WitnessSetting::Word(word)) => word.clone(),
        };
        match text.as_str() {
            "1" => Ok(Witnesses::One),
            "2" => Ok(Witnesses::Two),
            "3" => Ok(Witnesses::Three),
            "digest-only" => Ok(Witnesses::DigestOnly),
            _ => Err(BadPolicy::Witnesses(text)),
        }
    }

    fn anchors(&self) -> Result<BTreeSet<Peer>, BadPolicy> {
        if self.anchors.len() > MOST_ANCHORS {
            return Err(BadPolicy::ManyAnchors(self.anchors.len()));
        }
        let anchor = |text: &String| text.parse::<NodeId>().map_err(|_| BadPolicy::Anchor(text.clone()));
        self.anchors.iter().map(|text| anchor(text).map(|node| Peer(node.0))).collect()
    }

    fn audit(&self) -> Result<AuditShare, BadPolicy> {
        match self.audit.as_deref() {
            None => Ok(AuditShare::default()),
            Some("off") => Ok(AuditShare::OFF),
            Some(text) => share(text).ok_or_else(|| BadPolicy::Audit(text.to_owned())),
        }
    }

    /// Each key of the policy with its value as it holds, and who set it.
    #[must_use]
    pub fn policy_texts(&self) -> Vec<(&'static str, String, LimitSource)> {
        let by = |is_set: bool| if is_set { LimitSource::File } else { LimitSource::Default };
        let witnesses = match &self.witnesses {
            None => "1".to_owned(),
            Some(WitnessSetting::Count(count)) => count.to_string(),
            Some(WitnessSetting::Word(word)) => word.clone(),
        };
        let plain_http = match self.plain_http {
            PlainHttpSetting::Off => "off",
            PlainHttpSetting::One => "one",
            PlainHttpSetting::Two => "two",
        };
        let anchors = if self.anchors.is_empty() { "none".to_owned() } else { self.anchors.join(", ") };
        vec![
            ("group.witnesses", witnesses, by(self.witnesses.is_some())),
            ("group.anchors", anchors, by(!self.anchors.is_empty())),
            ("group.plain-http", plain_http.to_owned(), by(self.plain_http != PlainHttpSetting::default())),
            ("group.audit", self.audit.clone().unwrap_or_else(|| "1 %".to_owned()), by(self.audit.is_some())),
        ]
    }
}

/// A share like `1 %` or `0.05 %`, with at most four digits behind the point.
fn share(text: &str) -> Option<AuditShare> {
    let number = text.strip_suffix('%')?.trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 4 {
        return None;
    }
    let parts: u32 = format!("{whole}{fraction:0<4}").parse().ok()?;
    (parts <= 1_000_000).then(|| AuditShare::per_million(parts))
}

#[cfg(test)]
mod tests {
    use crate::config::{Settings, load};
    use eddy_engine::trust::{AuditShare, PlainHttp, Policy, Witnesses};

    fn read(text: &str) -> Result<Settings, String> {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("eddy.toml"), text).unwrap();
        load(home.path(), None).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_one_witness_and_a_hundredth_is_the_policy() {
        let policy = read("").unwrap().group.policy().unwrap();
        assert_eq!(policy, Policy::default());
        assert_eq!((policy.witnesses, policy.audit), (Witnesses::One, AuditShare::percent(1)));
    }

    #[test]
    fn every_key_means_what_it_says() {
        let node = eddy_wire::NodeId(ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
        let text = format!("[group]\nwitnesses = 2\nanchors = [\"{node}\"]\nplain-http = \"off\"\naudit = \"off\"\n");
        let policy = read(&text).unwrap().group.policy().unwrap();
        assert_eq!(
            (policy.witnesses, policy.plain_http, policy.audit),
            (Witnesses::Two, PlainHttp::Off, AuditShare::OFF)
        );
        assert_eq!(policy.anchors.len(), 1);
        for (value, witnesses) in [("\"digest-only\"", Witnesses::DigestOnly), ("\"3\"", Witnesses::Three)] {
            let settings = read(&format!("[group]\nwitnesses = {value}\n")).unwrap();
            assert_eq!(settings.group.policy().unwrap().witnesses, witnesses);
        }
    }

    #[test]
    fn a_share_has_parts_down_to_a_millionth() {
        let share = |text: &str| {
            let settings = read(&format!("[group]\naudit = \"{text}\"\n"));
            settings.and_then(|settings| settings.group.policy().map_err(|error| error.to_string())).ok()
        };
        for (text, parts) in [("1 %", 10_000), ("0.0001%", 1), ("2.5 %", 25_000), ("100 %", 1_000_000), ("0 %", 0)] {
            assert_eq!(share(text).expect(text).audit, AuditShare::per_million(parts), "{text}");
        }
        for text in ["", "%", "1", "-1 %", "1. %", ".5 %", "0.00001 %", "100.0001 %", "99999999999 %", "1,5 %"] {
            assert_eq!(share(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused_with_what_would_be_one() {
        let refusals: Vec<String> = [
            "witnesses = 4",
            "witnesses = \"all\"",
            "anchors = [\"bob\"]",
            "audit = \"5 MiB\"",
            "plain-http = \"maybe\"",
            "witness = 1",
        ]
        .iter()
        .map(|line| read(&format!("[group]\n{line}\n")).unwrap_err())
        .map(|text| text.split_once("eddy.toml: ").map_or(text.clone(), |(_, rest)| rest.to_owned()))
        .collect();
        insta::assert_snapshot!(refusals.join("\n---\n"));
    }
}
