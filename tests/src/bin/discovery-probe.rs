//! A node that is nothing but discovery, for tests inside a namespace.
//!
//! `discovery-probe SEED PORT [FRIEND-SEED...]`: keys are made of seeds. Prints `key HEX`, then `dial HEX ADDRESS` for each
//! dial; a friend's dial is answered with proven, any other with failed. Prints `figures ...` every second.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ed25519_dalek::SigningKey;
use eddy_discovery::{Discovery, DiscoveryConfig, DiscoveryEvent, Mdns, NodeKey};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    }
    let arguments = std::env::args().skip(1).map(|text| text.parse::<u16>()).collect::<Result<Vec<_>, _>>()?;
    let [seed, port, friends @ ..] = arguments.as_slice() else {
        anyhow::bail!("discovery-probe SEED PORT [FRIEND-SEED...]");
    };
    let friends: Vec<NodeKey> = friends.iter().map(|seed| key(*seed)).collect();
    println!("key {}", hex(&key(*seed)));
    let config = DiscoveryConfig { key: key(*seed), quic_port: *port, mdns: Mdns::On, static_peers: Vec::new() };
    let (discovery, mut events) = Discovery::start(config)?;
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            event = events.recv() => match event.context("discovery has ended")? {
                DiscoveryEvent::Dial { candidate: Some(key), address } if friends.contains(&key) => {
                    discovery.on_proven(key, address);
                    println!("dial {} {address}", hex(&key));
                }
                DiscoveryEvent::Dial { address, .. } => discovery.on_failed(address),
                DiscoveryEvent::Gone { address, .. } => println!("gone {address}"),
            },
            _ = every_second.tick() => {
                let (neighbours, mdns) = (discovery.summary().neighbours, discovery.summary().mdns);
                println!(
                    "figures connected={} waiting={} dials={} displaced={} records={} overflowed={} built={} rested={:?} cpu={:?}",
                    neighbours.connected, neighbours.waiting, neighbours.dials, neighbours.displaced,
                    mdns.records, mdns.overflowed, mdns.built, mdns.rested, mdns.cpu,
                );
            }
        }
    }
}

fn key(seed: u16) -> NodeKey {
    let mut secret = [0; 32];
    secret[..2].copy_from_slice(&seed.to_le_bytes());
    SigningKey::from_bytes(&secret).verifying_key().to_bytes()
}

fn hex(key: &NodeKey) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
