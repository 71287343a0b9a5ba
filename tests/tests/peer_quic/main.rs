//! Members over real QUIC on loopback, with real stores: the honest, the strange and the lying.

mod exchange;
mod follow;
mod kit;
mod liar;
mod limits;
mod membership;
mod strangers;
mod trouble;
mod whole_job;
mod whole_word;
mod wire;
mod word;
