//! Which eviction policy spares the origin most? Runs every policy over every trace at several cache sizes and prints
//! bytes and requests that hit. `cargo bench -p eddy-content --bench evict [-- SEED]`; the same seed gives the same table.

mod eddy;
mod policies;
mod queues;
mod random;
mod traces;

use policies::Policy;
use std::collections::HashMap;
use traces::{Request, Trace};

/// Cache sizes, in percent of the bytes of all objects of the trace.
const SIZES: [u64; 4] = [1, 3, 10, 30];

fn main() {
    let seed = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(1);
    println!(
        "seed {seed}: percent of bytes that hit | percent of requests that hit; caches of {SIZES:?} % of the footprint"
    );
    let (traces, policies) = (traces::all(seed), policies::all());
    let mut means = vec![[(0.0, 0.0); SIZES.len()]; policies.len()];
    for trace in &traces {
        let next_uses = next_uses(&trace.requests);
        let (footprint, objects) = footprint(&trace.requests);
        let (requests, gib) = (trace.requests.len(), footprint >> 30);
        println!("\n{}: {requests} requests of {objects} objects, {gib} GiB", trace.name);
        for (policy, mean) in policies.iter().zip(&mut means) {
            let rates = SIZES.map(|percent| run(policy, trace, &next_uses, footprint / 100 * percent));
            print_row(policy.0, &rates);
            for (mean, rate) in mean.iter_mut().zip(rates) {
                let n = traces.len() as f64;
                *mean = (mean.0 + rate.0 / n, mean.1 + rate.1 / n);
            }
        }
    }
    println!("\nmean over the traces");
    for (policy, mean) in policies.iter().zip(&means) {
        print_row(policy.0, mean);
    }
}

fn print_row(name: &str, rates: &[(f64, f64)]) {
    print!("{name:<20}");
    for (bytes, _) in rates {
        print!(" {bytes:5.1}");
    }
    print!("  |");
    for (_, requests) in rates {
        print!(" {requests:5.1}");
    }
    println!();
}

/// Percent of bytes and of requests that hit.
fn run(policy: &Policy, trace: &Trace, next_uses: &[i64], capacity: u64) -> (f64, f64) {
    let mut cache = policy.1(capacity);
    let (mut hit, mut hit_bytes, mut bytes) = (0_u64, 0_u128, 0_u128);
    for (request, next_use) in trace.requests.iter().zip(next_uses) {
        let is_hit = cache.request(request, *next_use);
        hit += u64::from(is_hit);
        hit_bytes += if is_hit { u128::from(request.bytes) } else { 0 };
        bytes += u128::from(request.bytes);
    }
    (100.0 * hit_bytes as f64 / bytes as f64, 100.0 * hit as f64 / trace.requests.len() as f64)
}

/// For each request, when its object is asked for again.
fn next_uses(requests: &[Request]) -> Vec<i64> {
    let mut next = HashMap::new();
    let mut uses: Vec<_> =
        requests.iter().rev().map(|request| next.insert(request.object, request.at).unwrap_or(i64::MAX)).collect();
    uses.reverse();
    uses
}

/// Bytes and number of all objects.
fn footprint(requests: &[Request]) -> (u64, usize) {
    let sizes: HashMap<_, _> = requests.iter().map(|request| (request.object, request.bytes)).collect();
    (sizes.values().sum(), sizes.len())
}
