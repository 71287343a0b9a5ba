//! The origin's leave: what a client that proves who it is asks for by its digest.
//!
//! Registries of images want a token with every question, of images that everybody may have as well, and what one client is told so is its own
//! (T-34). But a digest names the bytes, whoever brings them. So each client's own proof is shown to the origin first, with a question for the head:
//! where the origin would send the file, it may be what another client that had leave has brought. Where it says anything else, the
//! client's own question is passed on, and its answer is kept for nobody.
//!
//! What is kept so is for those who have leave ([`Asker::Admitted`]), each time anew. The proof of the client that began a flight goes with the
//! flight's questions, to the origin that is mounted and to no other, and is written down nowhere. No peer is asked, and none hears of it:
//! whether everybody may have it cannot be told from a token.

use super::Gateway;
use super::flight::{Door, Target, length_of};
use super::refusal::Refusal;
use super::serve::{Answer, Call};
use super::terms::{Asker, Terms};
use crate::origin::{PersonalHeaders, Redirects};
use eddy_content::http::RequestPrivacy;
use eddy_content::http::serve::{Forwarded, digest_of};
use eddy_engine::job::terms::{HeaderField, Secrecy};
use http::Method;
use http::header::HeaderMap;
use std::fmt;
use std::sync::Arc;

/// What proves who has leave.
#[derive(Clone)]
pub(super) struct Leave(HeaderMap);

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leave({} fields hidden)", self.0.len())
    }
}

impl Leave {
    /// Of one who shows these fields; nothing where they cannot be sent again.
    pub(super) fn shown(proof: HeaderMap) -> Option<Self> {
        let leave = Self(proof);
        let is_text = leave.lines().count() == leave.0.len();
        (is_text && PersonalHeaders::parse(leave.lines()).is_ok()).then_some(leave)
    }

    /// Puts the proof to the fields of a question.
    pub(super) fn show(&self, fields: &mut HeaderMap) {
        for (name, value) in &self.0 {
            fields.append(name.clone(), value.clone());
        }
    }

    /// The proof for a question about the rest.
    pub(super) fn personal(&self) -> PersonalHeaders {
        // What does not parse has no leave.
        PersonalHeaders::parse(self.lines()).unwrap_or_default()
    }

    /// The proof for a job's questions.
    pub(super) fn fields(&self) -> Vec<HeaderField> {
        let field = |(name, value): (&str, &str)| HeaderField {
            name: name.to_owned(),
            value: value.to_owned(),
            secrecy: Secrecy::WriteOnly,
        };
        self.lines().map(field).collect()
    }

    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }
}

impl Gateway {
    /// Answers a request that proves who somebody is.
    pub(super) async fn personal(self: &Arc<Self>, call: &Call) -> Answer {
        match self.leave(call).await? {
            Some((leave, length)) => self.shared(&admitted(call, leave, length)).await,
            None => self.pass(call, Forwarded::Request).await,
        }
    }

    /// Asks the origin whether this client may have what it asks for by its digest; and how long that is.
    async fn leave(&self, call: &Call) -> Result<Option<(Leave, u64)>, Refusal> {
        let Some(leave) = asks_by_digest(call).then(|| Leave::shown(call.sent.proof())).flatten() else {
            return Ok(None);
        };
        let told = self.relayed(call, &Method::HEAD, call.sent.question()).await?;
        // Nothing but the file is 200 and as long as the file.
        let length = length_of(&told.head).filter(|_| told.head.status == 200);
        Ok(length.map(|length| (leave, length)))
    }
}

/// Whether a file is asked for by its digest, at a mount, where what comes may be kept for others.
fn asks_by_digest(call: &Call) -> bool {
    let Call { target, method, sent, .. } = call;
    // Where redirects are passed on, whoever asks wants to know where they lead.
    let is_followed = target.door == Door::Mount && target.redirects == Redirects::Follow;
    is_followed && *method == Method::GET && !sent.is_unkept && digest_of(&target.url).is_some()
}

/// The same request, of one who has leave for so many bytes.
fn admitted(call: &Call, leave: Leave, length: u64) -> Call {
    let terms = Terms { asker: Asker::Admitted(length), ..call.target.terms };
    let mut sent = call.sent.clone().without_proof();
    (sent.privacy, sent.leave) = (RequestPrivacy::Plain, Some(Arc::new(leave)));
    let target = Target { terms, ..call.target.clone() };
    Call { target, method: call.method.clone(), fields: call.fields.clone(), sent }
}
