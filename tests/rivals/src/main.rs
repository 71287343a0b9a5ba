//! iroh-blobs, as a program that gives and takes one file, for `tests/benches/peer_veth.rs`.
//!
//! - `blobs-rival give FILE ADDRESS STORE`: takes the file into a store on disk, listens on the address, prints `ready ID HASH`.
//! - `blobs-rival take ID ADDRESS HASH TO STORE`: fetches the file into a store on disk, exports it to TO and syncs it; prints
//!   `wall SECONDS`, from before the connection to the end.
//!
//! No relay, no look-up of addresses, no port mapping: both ends know where the other is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use iroh::endpoint::presets;
use iroh::protocol::Router;
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode};
use iroh_blobs::api::blobs::{ExportMode, ExportOptions};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{BlobsProtocol, Hash};

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["give", file, address, store] => give(Path::new(file), address.parse()?, Path::new(store)).await,
        ["take", id, address, hash, to, store] => {
            let from = EndpointAddr::new(id.parse::<EndpointId>()?).with_ip_addr(address.parse()?);
            take(from, hash.parse()?, to.into(), Path::new(store)).await
        }
        _ => bail!("give FILE ADDRESS STORE, or take ID ADDRESS HASH TO STORE"),
    }
}

async fn endpoint(address: SocketAddr) -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).clear_ip_transports();
    Ok(builder.bind_addr(address)?.bind().await?)
}

async fn give(file: &Path, address: SocketAddr, store: &Path) -> Result<()> {
    let store = FsStore::load(store).await?;
    let tag = store.blobs().add_path(std::path::absolute(file)?).await?;
    let endpoint = endpoint(address).await?;
    let id = endpoint.id();
    let _router = Router::builder(endpoint).accept(iroh_blobs::ALPN, BlobsProtocol::new(&store, None)).spawn();
    println!("ready {id} {}", tag.hash);
    // Until it is killed.
    std::future::pending().await
}

async fn take(from: EndpointAddr, hash: Hash, to: PathBuf, store: &Path) -> Result<()> {
    let store = FsStore::load(store).await?;
    let endpoint = endpoint(SocketAddr::from(([0, 0, 0, 0], 0))).await?;
    let begin = Instant::now();
    let connection = endpoint.connect(from, iroh_blobs::ALPN).await?;
    store.remote().fetch(connection, hash).await?;
    let options = ExportOptions { hash, mode: ExportMode::TryReference, target: std::path::absolute(&to)? };
    store.blobs().export_with_opts(options).await?;
    std::fs::File::open(&to).context("the file")?.sync_data()?;
    println!("wall {}", begin.elapsed().as_secs_f64());
    // Its CPU time is read from outside; it is killed.
    std::future::pending().await
}
