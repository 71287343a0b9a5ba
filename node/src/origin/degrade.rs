//! A simpler question, where the one that was asked is refused or answered wrongly: degrade, never die.
//!
//! Every step leaves something out, so the steps end: If-Match, then HEAD, then Range, then there is nothing left to leave
//! out.

use super::request::OriginRequest;
use eddy_content::http::{AfterFault, Asked, Precondition, ProtocolFault, Simpler, Verdict};

/// Why a simpler question was asked than the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Degraded {
    /// The server refused the question with this status.
    Refused(u16),
    /// The server answered it in a way that breaks HTTP.
    Fault(ProtocolFault),
}

/// The next simpler question after `verdict`, if there is one worth asking; `is_head_wanted` says that the caller wants the
/// head alone.
pub(super) fn simplify(
    request: &OriginRequest,
    is_head_wanted: bool,
    verdict: &Verdict,
) -> Option<(OriginRequest, Degraded)> {
    let is_range = matches!(request.asked, Asked::Range { .. });
    let (without, why) = match verdict {
        Verdict::AskSimpler { status, without } => (*without, Degraded::Refused(*status)),
        Verdict::Protocol(fault) if is_range && fault.after() == AfterFault::AskWhole => {
            (Simpler::Range, Degraded::Fault(*fault))
        }
        // The one byte that stands in for a refused HEAD does not exist: the file is empty.
        Verdict::Unsatisfiable { .. } if is_head_wanted && is_range => (Simpler::Range, Degraded::Refused(416)),
        _ => return None,
    };
    let mut simpler = request.clone();
    match without {
        //
        Simpler::IfMatch if is_range => simpler.precondition = Precondition::IfRange,
        Simpler::IfMatch => simpler.precondition = Precondition::None,
        Simpler::Head => simpler.asked = Asked::Range { first: 0, last: Some(0) },
        Simpler::Range => {
            simpler.asked = Asked::Whole;
            simpler.precondition = match request.precondition {
                Precondition::IfRange => Precondition::None,
                other => other,
            };
        }
    }
    Some((simpler, why))
}

/// Simpler questions that one question may end in; more than there are steps.
pub(super) const MAX_STEPS: u8 = 4;
