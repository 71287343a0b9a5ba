//! `eddy get` against `curl -o`: one file of 1 GiB from an nginx on this machine, without peers, hashed, cached and made
//! durable. Interleaved pairs, so that a busy machine disturbs both; the median of the ratios is printed.
//!
//! `cargo build --release -p eddy-cli && cargo bench -p eddy-tests --bench get_vs_curl`. `EDDY_BENCH_MIB` (1024) and
//! `EDDY_BENCH_PAIRS` (5) set the size, `EDDY_BENCH_DIR` where it happens (memory file systems flatter). Nothing is
//! asserted about time: that is for people to read.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, from_environment, hash_of, write_sample};

/// What the project wants to hold.
const BOUND: f64 = 1.1;

fn main() {
    // `cargo test --all-targets` runs benches too, without this word.
    if !std::env::args().any(|argument| argument == "--bench") || !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_BENCH_MIB", 1024) * MIB;
    let pairs = from_environment("EDDY_BENCH_PAIRS", 5);
    let folder = match std::env::var_os("EDDY_BENCH_DIR") {
        Some(at) => tempfile::tempdir_in(at),
        None => tempfile::tempdir(),
    };
    let folder = folder.unwrap();
    let origin = Nginx::here(&NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big"), 1, length).unwrap();
    let url = origin.url("big");
    let mut ratios = Vec::new();
    for pair in 0..pairs {
        settle();
        let curl = timed(&mut curl(&url, &folder.path().join("by-curl")));
        settle();
        let eddy = by_eddy(&url, folder.path(), hash);
        let ratio = eddy.as_secs_f64() / curl.as_secs_f64();
        println!("pair {pair}: curl {:.3} s, eddy {:.3} s, ratio {ratio:.2}", curl.as_secs_f64(), eddy.as_secs_f64());
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "median ratio over {pairs} pairs of {} MiB: {:.2} (wanted: at most {BOUND})",
        length / MIB,
        ratios[ratios.len() / 2]
    );
}

fn curl(url: &str, to: &Path) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail", "--noproxy", "*", "-o"]).arg(to).arg(url);
    command
}

/// A fresh home each time: nothing is in the cache.
fn by_eddy(url: &str, folder: &Path, hash: blake3::Hash) -> Duration {
    let node = Eddy::inside(folder).unwrap();
    let to = folder.join("by-eddy");
    let took = timed(&mut node.command(["get", url, "-o", to.to_str().unwrap(), "--quiet"]));
    assert_eq!(hash_of(&to).unwrap(), hash);
    std::fs::remove_file(&to).unwrap();
    took
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).status().unwrap();
    let took = began.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    took
}

/// Lets the disk finish what the one before left to it.
fn settle() {
    let _ = Command::new("sync").status();
}
