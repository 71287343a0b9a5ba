//! Server-sent events, as they come (WHATWG HTML, "server-sent events"; for our own server: lines end with a line feed).

use super::{MAX_ANSWER, cause, parse};
use eddy_wire::api::{EventView, JobView, Problem, VerifiedView, VerifyProgress};
use eddy_wire::catalogue::ErrorCode;
use reqwest::Response;

/// A stream of events.
#[derive(Debug)]
struct Events {
    response: Response,
    unread: Vec<u8>,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
}

impl Events {
    /// The next one; `None` at the end of the stream. Cancel safe: an event that has not been returned is not lost.
    async fn next(&mut self) -> Result<Option<Event>, Problem> {
        loop {
            while let Some(text) = take_event(&mut self.unread) {
                if let Some(event) = read_event(&text) {
                    return Ok(Some(event));
                }
            }
            if self.unread.len() > MAX_ANSWER {
                return Err(Problem::new(ErrorCode::DaemonIncompatible, "an event is too long"));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.unread.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => return Err(Problem::new(ErrorCode::DaemonUnreachable, cause(&error))),
            }
        }
    }
}

/// The views of a job, as they come.
#[derive(Debug)]
pub struct Watch(Events);

impl Watch {
    pub(super) fn new(response: Response) -> Self {
        Self(Events { response, unread: Vec::new() })
    }

    /// The next view; `None` when the stream has ended: after the job's last view, or because the node stops.
    ///
    /// Cancel safe: a view that has not been returned is not lost.
    pub async fn next(&mut self) -> Result<Option<JobView>, Problem> {
        self.0.next().await?.map(|event| parse(event.data.as_bytes())).transpose()
    }
}

/// What happens to jobs, as it comes.
#[derive(Debug)]
pub struct EventNews(Events);

impl EventNews {
    pub(super) fn new(response: Response) -> Self {
        Self(Events { response, unread: Vec::new() })
    }

    /// The next event; `None` when the node stops. Cancel safe: an event that has not been returned is not lost.
    pub async fn next(&mut self) -> Result<Option<EventView>, Problem> {
        self.0.next().await?.map(|event| parse(event.data.as_bytes())).transpose()
    }
}

/// A verification under way.
#[derive(Debug)]
pub struct Verification(Events);

/// What a verification has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerificationNews {
    /// How far it is.
    Progress(VerifyProgress),
    /// It has ended.
    Done(VerifiedView),
}

impl Verification {
    pub(super) fn new(response: Response) -> Self {
        Self(Events { response, unread: Vec::new() })
    }

    /// The next news; the last one is [`VerificationNews::Done`]. Cancel safe.
    pub async fn next(&mut self) -> Result<VerificationNews, Problem> {
        loop {
            let Some(event) = self.0.next().await? else {
                return Err(Problem::new(ErrorCode::ShuttingDown, "the verification was cut short"));
            };
            match event.name.as_str() {
                "progress" => return parse(event.data.as_bytes()).map(VerificationNews::Progress),
                "done" => return parse(event.data.as_bytes()).map(VerificationNews::Done),
                "failed" => return Err(parse::<Problem>(event.data.as_bytes())?),
                // What a later version tells is for its own client.
                _ => {}
            }
        }
    }
}

/// Takes the first whole event, which ends with an empty line.
fn take_event(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = unread.windows(2).position(|pair| pair == b"\n\n")?;
    Some(unread.drain(..end + 2).collect())
}

/// The name and the data of an event, the lines of the data joined; `None` for a comment.
fn read_event(event: &[u8]) -> Option<Event> {
    let text = String::from_utf8_lossy(event);
    let field = |name: &'static str| {
        let lines = text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>()
    };
    let data = field("data");
    (!data.is_empty()).then(|| Event { name: field("event").concat(), data: data.join("\n") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_one_by_one_from_any_chunking() {
        let text = b": ping\n\nevent: job\nid: 1\ndata: {\"a\":1}\n\nevent: done\ndata: {\ndata: }\n\nrest";
        let mut unread = Vec::new();
        let mut seen = Vec::new();
        for byte in text {
            unread.push(*byte);
            while let Some(event) = take_event(&mut unread) {
                seen.extend(read_event(&event).map(|event| (event.name, event.data)));
            }
        }
        let expected = [("job", "{\"a\":1}"), ("done", "{\n}")].map(|(name, data)| (name.to_owned(), data.to_owned()));
        assert_eq!(seen, expected);
        assert_eq!(unread, b"rest");
    }
}
