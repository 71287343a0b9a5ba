//! A member of the group that behaves as no eddy does, for tests inside a namespace.
//!
//! `hostile-member HOME TARGET WHAT...`, where HOME holds the group and TARGET is a node's address and port:
//! - `knock COUNT`: shakes hands so often, one after another, each time as somebody else; prints `knocked TIMES-IN-MS` at the
//!   end. Nothing hostile, but what an honest newcomer would do.
//! - `stay MEMBERS`: so many members come and ask nothing. Prints `here` when all are connected, and stays until its end is asked for.
//! - `read-slowly MEMBERS URL VALIDATOR LENGTH`: so many members ask for all of an entity on eight streams each, and take 1 KiB a
//!   second; who is cut off asks again. Prints `reading` when all are connected; until its end is asked for, prints `served N` with
//!   the reads that have begun so far each second.
//! - `leave-gaps PATTERN PACKETS`: on every stream that it may open, sends all that the window allows but the first byte; how,
//!   [`gaps::Pattern`] says. Prints `done PACKETS` with those that were sent, and stays until its end is asked for.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use eddy_content::{BLOCK_SIZE, Entity, LookupKey, ResourceUrl, Validator};
use eddy_node::group::Group;
use eddy_tests::member;
use eddy_tests::member::gaps::{Pattern, Sender};
use eddy_wire::frame::{MAX_READ_BLOCKS, Request};
use futures::future::{join_all, try_join_all};
use quinn::{Connection, Endpoint, VarInt};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
/// Fast enough for many in a short flood, and no flood itself.
const BETWEEN_KNOCKS: Duration = Duration::from_millis(25);
/// Reads of one member at a time: what T-05 allows.
const READS: usize = 8;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name: &'static str| arguments.next().context(name);
    let group = Group::load(Path::new(&next("HOME")?))?.context("no group")?;
    let target: SocketAddr = next("TARGET")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match next("WHAT")?.as_str() {
        "knock" => runtime.block_on(knock(&group, target, next("COUNT")?.parse()?)),
        "stay" => runtime.block_on(stay(&group, target, next("MEMBERS")?.parse()?)),
        "read-slowly" => {
            let members = next("MEMBERS")?.parse()?;
            let entity = Entity {
                url: ResourceUrl::parse(&next("URL")?)?,
                validator: Validator::StrongEtag(next("VALIDATOR")?),
                length: next("LENGTH")?.parse()?,
            };
            runtime.block_on(read_slowly(&group, target, members, &entity))
        }
        "leave-gaps" => leave_gaps(&group, target, Pattern::named(&next("PATTERN")?)?, next("PACKETS")?.parse()?),
        other => bail!("no such thing: {other}"),
    }
}

fn endpoint() -> Result<Endpoint> {
    Ok(Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?)
}

async fn knock(group: &Group, target: SocketAddr, count: usize) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..count {
        // A socket and a key of its own, as a machine that comes has.
        let (here, config) = (endpoint()?, member::client(group, &member::somebody()?)?);
        let began = Instant::now();
        let connection = here.connect_with(config, target, member::NAME)?.await.context("an honest handshake")?;
        times.push(began.elapsed().as_millis().to_string());
        connection.close(VarInt::from_u32(0), b"");
        // The goodbye leaves while the next one comes.
        tokio::spawn(async move { here.wait_idle().await });
        sleep(BETWEEN_KNOCKS).await;
    }
    println!("knocked {}", times.join(" "));
    Ok(())
}

/// So many members, connected from one port.
async fn come(group: &Group, here: &Endpoint, target: SocketAddr, members: usize) -> Result<Vec<Connection>> {
    let come = (0..members).map(|_| async {
        let connecting = here.connect_with(member::client(group, &member::somebody()?)?, target, member::NAME)?;
        Ok::<_, anyhow::Error>(timeout(PATIENCE, connecting).await??)
    });
    try_join_all(come).await
}

async fn stay(group: &Group, target: SocketAddr, members: usize) -> Result<()> {
    let here = endpoint()?;
    let connections = come(group, &here, target, members).await?;
    println!("here");
    join_all(connections.iter().map(Connection::closed)).await;
    bail!("all connections are gone")
}

async fn read_slowly(group: &Group, target: SocketAddr, members: usize, entity: &Entity) -> Result<()> {
    let here = endpoint()?;
    let key = entity.lookup_key(&group.lookup_secret());
    let blocks = u32::try_from(entity.length / BLOCK_SIZE)?.min(MAX_READ_BLOCKS);
    let connections = come(group, &here, target, members).await?;
    println!("reading");
    let served = Arc::new(AtomicU64::new(0));
    let reads = connections.iter().flat_map(|connection| (0..READS).map(move |_| connection));
    let reads = reads.map(|connection| crawl(connection.clone(), key, blocks, Arc::clone(&served)));
    let report = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            println!("served {}", served.load(Ordering::Relaxed));
        }
    };
    tokio::select! {
        _ = join_all(reads) => bail!("all connections are gone"),
        () = report => Ok(()),
    }
}

/// Reads for as long as the connection lives.
async fn crawl(connection: Connection, key: LookupKey, blocks: u32, served: Arc<AtomicU64>) -> Option<()> {
    let mut kilobyte = [0; 1024];
    loop {
        let question = Request::Read { key, blocks: 0..blocks };
        let (_send, mut receive) = member::ask(&connection, &question).await.ok()?;
        let mut length = 0;
        while let Ok(Some(read)) = receive.read(&mut kilobyte).await {
            length += read;
            sleep(Duration::from_secs(1)).await;
        }
        // A refusal is a few bytes.
        served.fetch_add(u64::from(length >= 1024), Ordering::Relaxed);
        sleep(Duration::from_millis(200)).await;
        if connection.close_reason().is_some() {
            return None;
        }
    }
}

fn leave_gaps(group: &Group, target: SocketAddr, pattern: Pattern, most: usize) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    let mut sender = Sender::connect(group, &member::somebody()?, socket, target, pattern)?;
    let mut packets = 0;
    while packets < most {
        match sender.burst()? {
            0 => break,
            sent => packets += sent,
        }
        // About 40,000 packets a second at most: a receiver must be able to take them, or they are lost.
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("done {packets}");
    std::thread::sleep(PATIENCE);
    Ok(())
}
