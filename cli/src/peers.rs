//! `eddy peers`: the machines that this one shares with, and what is held against them.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::safe;
use crate::text::table::{Column, facts, table};
use crate::text::units;
use clap::{Args, Subcommand};
use eddy_node::config;
use eddy_node::peer::{Hearing, Membership, hear};
use eddy_wire::api::{
    EvidenceView, MAX_EVIDENCE, PeerDetail, PeerState, PeerView, PeersView, SwarmRead, SwarmShare, SwarmView,
};
use eddy_wire::catalogue::ErrorCode;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

/// `eddy peers ...`.
#[derive(Debug, Subcommand)]
pub enum PeersCommand {
    /// List the peers, and say why there are none if there are none
    Ls,
    /// Show one peer, and the evidence against it
    Show(ShowArgs),
    /// Check a file of evidence: without a network, and without the node that wrote it
    ///
    /// Evidence is what `eddy peers show NODE --json` prints under `evidence`, and the files in the folder `evidence` of a node's
    /// home: signed statements that cannot all be true.
    VerifyEvidence(EvidenceArgs),
}

/// `eddy peers show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its node id, as `eddy peers ls` shows it
    #[arg(value_name = "NODE")]
    pub node: String,
}

/// `eddy peers verify-evidence`.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

pub(crate) async fn run(command: PeersCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        PeersCommand::Ls => {
            // Only a node that runs has peers; one that is started to look would have none.
            let peers = Link::to_running(setting)?.peers().await?;
            setting.answer(&peers, || people(&peers, setting))
        }
        PeersCommand::Show(args) => {
            let detail = Link::ask(setting, async |client| client.peer(&args.node).await).await?;
            setting.answer(&detail, || one(&detail, setting))
        }
        PeersCommand::VerifyEvidence(args) => verify(&args, setting),
    }
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
        text += &format!("no peers: {}\n", safe::line(reason));
    } else if peers.peers.is_empty() {
        text += "no peers\n";
    }
    if !peers.swarms.is_empty() {
        let columns = [
            Column::Text("FETCHED TOGETHER"),
            Column::Number("HELD"),
            Column::Text("HOME"),
            Column::Text("FROM"),
            Column::Text("READERS"),
            Column::Number("DEPTH"),
            Column::Number("GIVES"),
            Column::Number("OTHERS"),
        ];
        text += &table(&columns, peers.swarms.iter().map(|view| swarm(view, setting)));
    }
    text
}

fn swarm(swarm: &SwarmView, setting: &Setting) -> Vec<String> {
    let shares = |shares: &[SwarmShare]| {
        let share = |share: &SwarmShare| format!("{} ({})", share.node.as_deref().unwrap_or("origin"), share.segments);
        match shares {
            [] => String::from("-"),
            shares => shares.iter().map(share).collect::<Vec<_>>().join(", "),
        }
    };
    vec![
        safe::line(&swarm.url),
        format!("{}/{}", swarm.held, swarm.segments),
        match &swarm.home {
            Some(_) if swarm.is_home => String::from("this node"),
            Some(node) => node.clone(),
            None => String::from("-"),
        },
        shares(&swarm.sources),
        readers(&swarm.readers, setting),
        if swarm.is_home { swarm.depth.to_string() } else { String::from("-") },
        swarm.given.to_string(),
        swarm.others.map_or_else(|| String::from("-"), |others| others.to_string()),
    ]
}

/// Who reads from the origin, and how much of how much of it has come.
fn readers(reads: &[SwarmRead], setting: &Setting) -> String {
    let mut by_node = BTreeMap::<&str, (u64, u64)>::new();
    for read in reads {
        let (received, all) = by_node.entry(&read.node).or_default();
        *received = received.saturating_add(read.received);
        *all = all.saturating_add(read.end.saturating_sub(read.start));
    }
    let size = |bytes| setting.sizes.size(bytes);
    let one = |(node, (received, all))| format!("{node} ({} of {})", size(received), size(all));
    let all = by_node.into_iter().map(one).collect::<Vec<_>>().join(", ");
    if all.is_empty() { String::from("-") } else { all }
}

fn line(peer: &PeerView, setting: &Setting) -> Vec<String> {
    vec![
        peer.node.clone().unwrap_or_else(|| String::from("-")),
        peer.address.clone(),
        state(peer.state).to_owned(),
        peer.found_by.clone(),
        peer.connected_unix_ms.map_or_else(|| String::from("-"), units::time),
        setting.sizes.size(peer.received),
        setting.sizes.size(peer.sent),
        peer.reason.clone().unwrap_or_default(),
    ]
}

fn state(state: PeerState) -> &'static str {
    match state {
        PeerState::Found => "found",
        PeerState::Connecting => "connecting",
        PeerState::Connected => "connected",
        PeerState::Unreachable => "unreachable",
        PeerState::Blocked => "blocked",
    }
}

fn one(detail: &PeerDetail, setting: &Setting) -> String {
    let left = |seconds: Option<u64>| seconds.map(|left| format!("for {} h", left.div_ceil(3600))).unwrap_or_default();
    let peer = detail.peer.as_ref();
    let yes = |is: bool| if is { "yes".to_owned() } else { String::new() };
    let mut text = facts(&[
        ("node", detail.node.clone()),
        ("state", peer.map_or("not connected", |peer| state(peer.state)).to_owned()),
        ("address", peer.map(|peer| peer.address.clone()).unwrap_or_default()),
        ("since", peer.and_then(|peer| peer.connected_unix_ms).map(units::time).unwrap_or_default()),
        ("received", peer.map(|peer| setting.sizes.size(peer.received)).unwrap_or_default()),
        ("sent", peer.map(|peer| setting.sizes.size(peer.sent)).unwrap_or_default()),
        ("anchor", yes(detail.anchor)),
        ("removed from the group", yes(detail.removed)),
        ("proofs within a day", if detail.proofs == 0 { String::new() } else { detail.proofs.to_string() }),
        ("not spoken to", left(detail.blocked_seconds)),
        ("its word counts for nothing", left(detail.discredited_seconds)),
        ("evidence", if detail.evidence.is_empty() { "none".to_owned() } else { detail.evidence.len().to_string() }),
    ]);
    if !detail.evidence.is_empty() {
        let columns =
            [Column::Text("EVIDENCE"), Column::Text("FOUND"), Column::Number("WITNESSES"), Column::Text("URL")];
        let row = |view: &EvidenceView| {
            vec![view.id.clone(), units::time(view.found_unix_ms), view.against.len().to_string(), view.url.clone()]
        };
        text += "\n";
        text += &table(&columns, detail.evidence.iter().map(row));
    }
    text
}

fn verify(args: &EvidenceArgs, setting: &Setting) -> Result<(), Failure> {
    let name = args.file.display();
    let failed = |why: String| Failure::new(ErrorCode::EvidenceInvalid, format!("{name}: {why}"));
    let file = std::fs::File::open(&args.file).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    file.take(MAX_EVIDENCE).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    let view: EvidenceView = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let settings = config::load(&setting.home, setting.config.as_deref())
        .map_err(|error| Failure::new(ErrorCode::BadConfig, error.to_string()))?;
    let hearing = hear(&view, &setting.home, &settings).map_err(|why| failed(why.to_string()))?;
    if let Some((signer, why)) = stranger(&hearing) {
        return Err(failed(format!("{signer} is no member of this node's group: {why}")));
    }
    let said = hearing.contradiction.said.iter().zip(&hearing.signers);
    let values: Vec<_> = said
        .map(|((node, hash), (_, membership))| {
            serde_json::json!({"node": node.to_string(), "hash": hex(&hash.0), "membership": word(membership)})
        })
        .collect();
    let answer = serde_json::json!({
        "holds": true, "block": hearing.contradiction.block, "said": values, "url": view.url,
        "found_unix_ms": view.found_unix_ms,
    });
    setting.answer(&answer, || verdict(&hearing, &view))
}

fn stranger(hearing: &Hearing) -> Option<(String, String)> {
    hearing.signers.iter().find_map(|(node, membership)| match membership {
        Membership::Stranger(why) => Some((node.to_string(), why.clone())),
        _ => None,
    })
}

fn verdict(hearing: &Hearing, view: &EvidenceView) -> String {
    let block = hearing.contradiction.block;
    let columns = [Column::Text("NODE"), Column::Text("IS"), Column::Text("SIGNED FOR THE BLOCK")];
    let rows = hearing.contradiction.said.iter().zip(&hearing.signers);
    let rows =
        rows.map(|((node, hash), (_, membership))| vec![node.to_string(), word(membership).to_owned(), hex(&hash.0)]);
    let head = format!(
        "it holds: about block {block} of {}, the first of these signed one hash and the others another\n",
        safe::line(&view.url)
    );
    head + &table(&columns, rows)
}

fn word(membership: &Membership) -> &'static str {
    match membership {
        Membership::Member => "a member",
        Membership::Removed => "removed",
        Membership::Stranger(_) => "no member",
        Membership::Unknown => "not known: this node is in no group",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
