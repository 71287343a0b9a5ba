//! Serves the hostile origin on an address, for the lab and for people.
//!
//! `hostile-origin 10.0.0.1:8080` prints the address it listens on, then serves every path by its query
//! (`/f?seed=1&length=1048576&behaviour=no-ranges`) and its counters under `/__counters`, until it is killed.

use eddy_tests::hostile::HostileOrigin;
use std::net::SocketAddr;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let origin = HostileOrigin::bind(address, None).await?;
    origin.publish_by_query();
    println!("{}", origin.address());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
