//! What the store costs: a million entities, small objects, and a gibibyte each way.
//!
//! `cargo bench -p eddy-cache --bench store [-- scale | small | large | commits]`
//!
//! | variable | what it sets |
//! |---|---|
//! | EDDY_BENCH_ENTITIES | entities of the scale (1000000) |
//! | EDDY_BENCH_MIB | size of the large file (1024) |
//! | EDDY_BENCH_PAIRS | pairs of each comparison (5) |
//! | EDDY_BENCH_DIR | where it works; a disk, not memory (the directory for temporary files) |

mod commits;
mod kit;
mod large;
mod scale;
mod small;

fn main() {
    if scale::is_child() {
        return;
    }
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let parts: [(&str, fn()); 4] =
        [("large", large::run), ("small", small::run), ("commits", commits::run), ("scale", scale::run)];
    for (name, run) in parts {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            println!("\n== {name}");
            run();
        }
    }
}
