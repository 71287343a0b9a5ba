//! Writes every frame that this network namespace carries to a file, until it is killed: what a neighbour on the wire could see.
//!
//! `capture FILE`; it says so when it has begun. Each frame stands behind its length (u32, little-endian).

use anyhow::{Context as _, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};
use std::io::Write as _;
use std::num::NonZeroU32;

/// All protocols, as packet(7) wants it: in network byte order.
const ALL: u32 = (0x0003u16).to_be() as u32;
/// Bytes that may wait.
const BUFFER: usize = 128 * 1024 * 1024;
/// Bytes of the longest frame, as segments that the kernel has not cut yet.
const LONGEST: usize = 256 * 1024;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("usage: capture FILE")?;
    let protocol = NonZeroU32::new(ALL).map(Protocol::from_raw);
    let wire = socket(AddressFamily::PACKET, SocketType::RAW, protocol).context("a packet socket needs root")?;
    // Room for a burst while the file is written: a frame that is lost was not looked at.
    set_socket_recv_buffer_size_force(&wire, BUFFER).context("a large buffer needs root")?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    println!("the capture has begun");
    let mut frame = vec![0; LONGEST];
    loop {
        let (count, _) = recv(&wire, frame.as_mut_slice(), RecvFlags::empty())?;
        file.write_all(&(count as u32).to_le_bytes())?;
        file.write_all(&frame[..count])?;
        file.flush()?;
    }
}
