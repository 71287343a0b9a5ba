//! QUIC to the members of the group: one UDP port, both serving and asking.
//!
//! A member is who shows a certificate of the group in the handshake; nobody else gets a byte. What a member says about
//! content is believed only as far as a member's signature carries it ([`belief`]); the bytes themselves are held against
//! the believed hashes where they are written, in `eddy_cache::RunWriter`. The rooms:
//!
//! | module | question that it answers |
//! |---|---|
//! | [`peers`] | the front door: what can the driver ask for? |
//! | [`config`] | which bounds and deadlines hold? |
//! | [`dial`], [`accept`] | how does a connection come about? |
//! | [`link`] | what happens in its life? |
//! | [`table`] | which connection leads to whom, and which of two is used? |
//! | [`conduct`] | who misbehaved? |
//! | [`serve`] | what do members get from here? |
//! | [`talk`], [`gate`] | how do swarms speak through it? |
//! | [`ask`], [`read`], [`gathered`] | what do we get from members? |
//! | [`belief`], [`trial`] | why may it be believed, and who lied? |
//! | `membership`, [`enrol`] | who is let in, renewed and removed? |
//! | [`tls`], [`badge`], [`transport`], [`socket`] | how is the endpoint set up? |
//! | [`close`] | why did something end? |

pub mod ask;
pub mod belief;
pub mod close;
pub mod config;
pub mod core;
pub mod dial;
pub mod enrol;
pub mod gate;
pub mod peers;
pub mod read;
pub mod socket;
pub mod table;
pub mod talk;
pub mod tls;
pub mod transport;
pub mod trial;

pub mod badge;

mod accept;
mod bounded;
mod conduct;
mod gathered;
mod link;
mod membership;
mod serve;
mod stream;

pub use self::ask::AskError;
pub use self::belief::Lie;
pub use self::belief::archive::Archive;
pub use self::belief::hearing::{Hearing, Membership, hear};
pub use self::belief::sweep::sweep;
pub use self::belief::vouch::Vouching;
pub use self::close::Parting;
pub use self::conduct::Standing;
pub use self::config::{Limits, MAX_READ_BLOCKS, Patience, PeersConfig, Serving};
pub use self::core::{PeerEvent, Refusal};
pub use self::dial::ConnectError;
pub use self::enrol::{EnrolError, Where, enrol};
pub use self::gate::{FromMember, Here, origin_of};
pub use self::peers::{PeerSummary, Peers, PeersError};
pub use self::read::{PeerRead, Piece, ReadFailure};
pub use self::table::Initiator;
pub use self::talk::{Talk, TalkEnd};
