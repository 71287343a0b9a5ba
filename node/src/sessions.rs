//! Who is logged on at this machine, as logind says (org.freedesktop.login1(5), on the system's D-Bus).
//!
//! It is asked from the first job on that depends on it (F-80). Logged on is whoever has a session of a person that is not closing: at a
//! seat, by ssh, or switched away from. The session of a greeter or a lock screen, a cron job, and the service manager that lingers behind
//! its user are nobody's presence.
//!
//! Signals of logind say when to look; nothing of them is read, so forged ones cost a look at most. That a session closes while its
//! processes linger is not signalled by every logind, so it is looked every minute as well. Where nobody answers, that is told to the
//! engine, and tried again.

use eddy_engine::sessions::Sessions;
use eddy_engine::{Input, Owner};
use futures::StreamExt as _;
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zbus::message::Type;
use zbus::wire::{OwnedObjectPath, OwnedVariant};
use zbus::{Connection, MatchRule, MessageStream};

const SERVICE: &str = "org.freedesktop.login1";
const ROOT: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How often it is looked without a signal.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What comes within this time after a signal is looked at together with it.
const GATHERING: Duration = Duration::from_millis(100);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause before a bus or a logind that does not answer is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Sessions that are looked at; whoever has only later ones counts as away.
const MAX_SESSIONS: usize = 1024;
/// Signals that may wait while nobody takes them.
const QUEUED: NonZeroUsize = NonZeroUsize::new(64).expect("it is not zero");

/// Why it is not known who is logged on.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Bus(#[from] zbus::Error),
    #[error("the connection to the system's D-Bus has ended")]
    Closed,
    #[error("logind took longer than {PATIENCE:?}")]
    Slow,
}

/// Tells the engine who is logged on, until the node stops.
pub(crate) async fn run(inputs: mpsc::Sender<Input>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut has_answered = false;
        let watched = watch(&inputs, &mut has_answered);
        let error = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Err(error) = watched => error,
        };
        if has_answered {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(%error, "nobody says who is logged on: jobs that run only while their owner is wait");
        if inputs.send(Input::Sessions(Sessions::Unknown)).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn watch(inputs: &mpsc::Sender<Input>, has_answered: &mut bool) -> Result<Infallible, WatchError> {
    let (bus, mut signals) = within(subscribe()).await?;
    loop {
        let mut is_outdated = false;
        let users = {
            let look = within(look(&bus));
            tokio::pin!(look);
            loop {
                tokio::select! {
                    biased;
                    // Signals that nobody takes would hold the answers up; what they tell may have come too late for the look.
                    news = next_news(&mut signals) => is_outdated |= news.map(|()| true)?,
                    users = &mut look => break users?,
                }
            }
        };
        *has_answered = true;
        // A driver that has stopped ends this task by `stop`.
        let _ = inputs.send(Input::Sessions(Sessions::Of(users))).await;
        if !is_outdated {
            tokio::select! {
                news = next_news(&mut signals) => news?,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        tokio::time::sleep(GATHERING).await;
    }
}

/// Waits for a signal that says that something has changed. Cancel safe.
async fn next_news(signals: &mut MessageStream) -> Result<(), WatchError> {
    loop {
        let signal = signals.next().await.ok_or(WatchError::Closed)??;
        let header = signal.header();
        if header.interface().is_some_and(|interface| [MANAGER, PROPERTIES].contains(&interface.as_str())) {
            return Ok(());
        }
    }
}

async fn subscribe() -> Result<(Connection, MessageStream), WatchError> {
    let bus = Connection::system().await?;
    let rule = MatchRule::builder().msg_type(Type::Signal).path_namespace(ROOT).build()?;
    let signals = MessageStream::for_match_rule(rule, &bus, Some(QUEUED)).await?;
    Ok((bus, signals))
}

/// Who has a session.
async fn look(bus: &Connection) -> Result<BTreeSet<Owner>, WatchError> {
    let listed = bus.call_method(Some(SERVICE), ROOT, Some(MANAGER), "ListSessions", &()).await?;
    let listed: Vec<(String, u32, String, String, OwnedObjectPath)> = listed.body().deserialize()?;
    let mut users = BTreeSet::new();
    for (_, user, _, _, path) in listed.into_iter().take(MAX_SESSIONS) {
        if users.contains(&Owner(user)) {
            continue;
        }
        let asked = bus.call_method(Some(SERVICE), &path, Some(PROPERTIES), "GetAll", &SESSION).await;
        // One that has ended since it was listed is not there to be asked.
        let Ok(asked) = asked else { continue };
        let properties: HashMap<String, OwnedVariant> = asked.body().deserialize()?;
        let word = |name: &str| properties.get(name).and_then(|value| <&str>::try_from(&**value).ok());
        if is_presence(word("Class"), word("State")) {
            users.insert(Owner(user));
        }
    }
    Ok(users)
}

/// Whether a session of this class in this state is the presence of its user (sd_session_get_class(3), sd_session_get_state(3)).
fn is_presence(class: Option<&str>, state: Option<&str>) -> bool {
    // `user`, and its kin: `user-early`, `user-light`, `user-incomplete`.
    class.is_some_and(|class| class == "user" || class.starts_with("user-")) && state != Some("closing")
}

async fn within<T>(work: impl Future<Output = Result<T, WatchError>>) -> Result<T, WatchError> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(WatchError::Slow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_person_that_has_not_left_counts() {
        for (class, state, counts) in [
            ("user", "active", true),
            ("user", "online", true),
            ("user-early", "active", true),
            ("user", "closing", false),
            ("greeter", "active", false),
            ("lock-screen", "active", false),
            ("background", "active", false),
            ("manager", "active", false),
        ] {
            assert_eq!(is_presence(Some(class), Some(state)), counts, "{class} {state}");
        }
        assert!(!is_presence(None, Some("active")));
    }
}
