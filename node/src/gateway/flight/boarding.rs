//! Who waits for which flight: one for all who want the same, for as long as somebody does.
//!
//! A flight belongs to none of them: whoever began it may go, and another takes his place. One for which nobody waits any more is given up as
//! long as the origin has not answered: after an outage those who have long gone would else be served before those who are there.

use super::super::fields::Sent;
use super::super::listen::CONNECTIONS;
use super::super::terms::Terms;
use super::{Landing, Target};
use eddy_content::ResourceUrl;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Flights at a time: as many as clients, each of whom waits for one.
const MOST: usize = CONNECTIONS;
/// How long one goes on for which nobody waits, in case that its client asks again: who gives up after a time of his own does so at once.
const LINGER: Duration = Duration::from_secs(5);
/// With more flights than these none goes on for who may come.
const CROWD: usize = MOST / 4;

/// What requests have in common that one flight answers: the URL, what the origin gets of their fields, and the terms.
type Likeness = (ResourceUrl, [u8; 32], Terms);

fn likeness((target, sent): (&Target, &Sent)) -> Likeness {
    (target.url.clone(), sent.likeness(), target.terms)
}

type Aloft = HashMap<Likeness, watch::Sender<Option<Landing>>>;

/// The flights under way.
#[derive(Clone, Default)]
pub(in crate::gateway) struct Flights(Arc<Mutex<Aloft>>);

/// How a request gets on.
pub(super) enum Boarding {
    /// Others have begun it.
    Joined(watch::Receiver<Option<Landing>>),
    /// It begins with this request.
    Begun(Ticket, watch::Receiver<Option<Landing>>),
    /// There are as many as there may be.
    Full,
}

impl Flights {
    /// Joins the flight that wants the same, or begins one.
    pub(super) fn board(&self, wanted: (&Target, &Sent)) -> Boarding {
        self.board_like(likeness(wanted))
    }

    fn board_like(&self, likeness: Likeness) -> Boarding {
        let mut aloft = self.aloft();
        if let Some(landing) = aloft.get(&likeness) {
            return Boarding::Joined(landing.subscribe());
        }
        if aloft.len() >= MOST {
            return Boarding::Full;
        }
        let (landing, waiting) = watch::channel(None);
        aloft.insert(likeness.clone(), landing.clone());
        drop(aloft);
        Boarding::Begun(Ticket { flights: self.clone(), likeness, landing, nobody: None }, waiting)
    }

    /// Whether something is on its way for such a request.
    pub(super) fn has(&self, wanted: (&Target, &Sent)) -> bool {
        self.aloft().contains_key(&likeness(wanted))
    }

    /// Has nobody else join a flight: what it has landed on is lost.
    pub(in crate::gateway) fn leave(&self, wanted: (&Target, &Sent), landing: &watch::Receiver<Option<Landing>>) {
        self.remove(&likeness(wanted), landing);
    }

    /// Takes out this one, and none that has come in its place.
    fn remove(&self, likeness: &Likeness, landing: &watch::Receiver<Option<Landing>>) {
        let mut aloft = self.aloft();
        if aloft.get(likeness).is_some_and(|there| there.subscribe().same_channel(landing)) {
            aloft.remove(likeness);
        }
    }

    fn aloft(&self) -> MutexGuard<'_, Aloft> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to be joined; dropped at the end of a flight, however that came.
pub(super) struct Ticket {
    flights: Flights,
    likeness: Likeness,
    landing: watch::Sender<Option<Landing>>,
    /// Waits in the place of a client.
    nobody: Option<watch::Receiver<Option<Landing>>>,
}

impl Ticket {
    /// It is not given up when nobody waits: nobody was meant to.
    pub(super) fn for_nobody(&mut self) {
        self.nobody = Some(self.landing.subscribe());
    }

    /// Tells those who wait how it ended.
    pub(super) fn land(&self, landing: Landing) {
        self.landing.send_replace(Some(landing));
    }

    /// Waits until nobody has waited for a while. Nobody can join it any more then.
    pub(super) async fn is_deserted(&self) {
        loop {
            self.landing.closed().await;
            if self.flights.aloft().len() <= CROWD {
                tokio::time::sleep(LINGER).await;
            }
            let mut aloft = self.flights.aloft();
            // Who joins does so under this lock.
            if self.landing.receiver_count() == 0 {
                aloft.remove(&self.likeness);
                return;
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.flights.remove(&self.likeness, &self.landing.subscribe());
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::terms::{Asker, Number};
    use super::*;
    use futures::FutureExt as _;
    use tokio::task::unconstrained;

    fn like(number: usize) -> Likeness {
        let url = ResourceUrl::parse(&format!("http://h/{number}")).expect("parses");
        (url, [0; 32], Terms { number: Number::mount(0), called: None, asker: Asker::Anybody })
    }

    fn begin(flights: &Flights, number: usize) -> (Ticket, watch::Receiver<Option<Landing>>) {
        match flights.board_like(like(number)) {
            Boarding::Begun(ticket, waiting) => (ticket, waiting),
            Boarding::Joined(_) => panic!("{number} is under way"),
            Boarding::Full => panic!("there is no place for {number}"),
        }
    }

    fn join(flights: &Flights, number: usize) -> watch::Receiver<Option<Landing>> {
        match flights.board_like(like(number)) {
            Boarding::Joined(waiting) => waiting,
            _ => panic!("{number} is not under way"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flight_goes_on_as_long_as_anybody_waits_and_then_for_who_may_come_back() {
        let flights = Flights::default();
        let (ticket, first) = begin(&flights, 1);
        let other = join(&flights, 1);
        let began = tokio::time::Instant::now();
        let waits = async {
            drop(first);
            tokio::time::sleep(LINGER * 10).await;
            drop(other);
            tokio::time::sleep(LINGER / 2).await;
            let again = join(&flights, 1);
            tokio::time::sleep(LINGER).await;
            drop(again);
        };
        tokio::join!(ticket.is_deserted(), waits);
        assert_eq!(began.elapsed(), LINGER * 10 + LINGER / 2 + LINGER + LINGER);
        let (_another, _waiting) = begin(&flights, 1);
        drop(ticket);
        join(&flights, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_crowd_what_nobody_waits_for_ends_at_once_unless_nobody_was_meant_to() {
        let flights = Flights::default();
        let mut all: Vec<_> = (0..MOST).map(|number| begin(&flights, number)).collect();
        assert!(matches!(flights.board_like(like(MOST)), Boarding::Full), "there is an end of them");
        join(&flights, 7);
        all[0].0.for_nobody();
        let tickets: Vec<_> = all.into_iter().map(|(ticket, _)| ticket).collect();
        let ended = |ticket: &Ticket| unconstrained(ticket.is_deserted()).now_or_never().is_some();
        assert!(!ended(&tickets[0]));
        let gone = tickets.iter().skip(1).filter(|ticket| ended(ticket)).count();
        assert_eq!(gone, MOST - CROWD, "the last of them go on for a while");
        begin(&flights, MOST);
    }

    #[test]
    fn what_has_landed_on_something_lost_is_joined_no_more_and_takes_nothing_else_with_it() {
        let flights = Flights::default();
        let (old, waiting) = begin(&flights, 1);
        old.land(Landing::Alone);
        join(&flights, 1);
        flights.remove(&like(1), &waiting);
        let (_new, _waiting) = begin(&flights, 1);
        drop(old);
        flights.remove(&like(1), &waiting);
        join(&flights, 1);
    }
}
