//! The origin: HTTP to the server that a URL names.
//!
//! [`Origin::open`] asks one question (a range, a whole, a head), follows redirects under the address rules, lets the pure
//! judge of `eddy-content` say what the answer means, and hands back either a body whose length is enforced or a typed
//! refusal. It decides nothing itself and retries nothing: the engine owns both.
//!
//! | module | idea |
//! |---|---|
//! | `config` | what the administrator sets |
//! | `request` | the question, and the header fields it becomes |
//! | `open` | one question asked, judged, and the verdict carried out |
//! | `relay` | a gateway's client's question, its answer as it is |
//! | `head` | what its last answer said, for whoever wants to keep that |
//! | `hop` | its redirects, under the rules of each |
//! | `pace` | how fast its bodies may come |
//! | `proof` | what it proves itself with, as it is or hashed |
//! | `degrade` | the simpler question, where a server cannot take the first |
//! | `body` | the bytes, as many as were promised, never more |
//! | `reach` | which addresses a request may connect to (T-20) |
//! | `client` | the few HTTP clients, made on first use |
//! | `budget` | how many requests one origin sees at once |
//! | `fallback` | hosts that get HTTP/1.1 because HTTP/2 failed there |
//! | `error` | what went wrong, whose fault, and is another try worth it |
//! | `classify` | from the HTTP stack's error chains to those |

mod body;
mod budget;
mod classify;
mod client;
mod config;
mod degrade;
mod error;
mod fallback;
mod head;
mod hop;
mod open;
mod pace;
mod proof;
mod reach;
mod relay;
mod request;

pub use body::{OriginBody, Span};
pub use config::{ClientCertificate, ConfigError, OriginConfig, PrivateAddresses, Proxies};
pub use degrade::Degraded;
pub use error::{Cause, Fault, OriginError, Phase, Retry, TlsFault};
pub use head::{Head, LastHead};
pub use open::{Opened, Origin};
pub use pace::Pace;
pub use proof::DigestUser;
pub(crate) use relay::PERSONAL;
pub use relay::{Redirects, RelayRequest, Relayed};
pub use request::{OriginRequest, PersonalHeaders, Redirecting};
