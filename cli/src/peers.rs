//! `eddy peers`: the machines that this one shares with.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::{Column, table};
use crate::text::units;
use clap::Subcommand;
use eddy_wire::api::{PeerState, PeerView, PeersView};

/// `eddy peers ...`.
#[derive(Debug, Subcommand)]
pub enum PeersCommand {
    /// List the peers, and say why there are none if there are none
    Ls,
}

pub(crate) async fn run(command: PeersCommand, setting: &Setting) -> Result<(), Failure> {
    let PeersCommand::Ls = command;
    // Only a node that runs has peers; one that is started to look would have none.
    let peers = Link::to_running(setting)?.peers().await?;
    setting.answer(&peers, || people(&peers, setting))
}

fn people(peers: &PeersView, setting: &Setting) -> String {
    let mut text = String::new();
    if !peers.peers.is_empty() {
        let columns = [
            Column::Text("NODE"),
            Column::Text("ADDRESS"),
            Column::Text("STATE"),
            Column::Text("FOUND BY"),
            Column::Text("SINCE"),
            Column::Number("RECEIVED"),
            Column::Number("SENT"),
            Column::Text("NOTE"),
        ];
        text += &table(&columns, peers.peers.iter().map(|peer| line(peer, setting)));
    }
    if let Some(reason) = &peers.reason {
        text += &format!("no peers: {}\n", crate::text::safe::line(reason));
    } else if peers.peers.is_empty() {
        text += "no peers\n";
    }
    text
}

fn line(peer: &PeerView, setting: &Setting) -> Vec<String> {
    let state = match peer.state {
        PeerState::Found => "found",
        PeerState::Connecting => "connecting",
        PeerState::Connected => "connected",
        PeerState::Unreachable => "unreachable",
        PeerState::Blocked => "blocked",
    };
    vec![
        peer.node.clone().unwrap_or_else(|| String::from("-")),
        peer.address.clone(),
        state.to_owned(),
        peer.found_by.clone(),
        peer.connected_unix_ms.map_or_else(|| String::from("-"), units::time),
        setting.sizes.size(peer.received),
        setting.sizes.size(peer.sent),
        peer.reason.clone().unwrap_or_default(),
    ]
}
