//! Estimates how long a fleet takes, and what it costs the line to the origin.
//!
//! The swarm is eddy's own code; machines, lines and origin are simulated (`eddy_tests::fleet`). A seed gives the same run again.

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use eddy_tests::fleet::{Faults, Figures, Site, Watch, World, plot, words};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Duration;

/// Estimate a site: N machines want the same file at the same time, and one line leads to its origin.
#[derive(Debug, Parser)]
#[command(name = "fleet", after_help = EXAMPLES)]
struct Arguments {
    /// Machines
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4000))]
    nodes: u32,
    /// Line to the origin, shared by all
    #[arg(long, default_value = "100mbit", value_parser = words::rate)]
    wan: u64,
    /// Line of each machine
    #[arg(long, default_value = "1gbit", value_parser = words::rate)]
    lan: u64,
    /// The machines know what their lines carry (nodes do not)
    #[arg(long)]
    lines_known: bool,
    /// Bytes of the file
    #[arg(long, default_value = "256MiB", value_parser = words::size)]
    size: u64,
    /// Files of the same origin that every machine wants
    #[arg(long, default_value_t = 1)]
    files: usize,
    /// Time until the origin's first byte
    #[arg(long, default_value = "40ms", value_parser = words::time)]
    rtt: Duration,
    /// The most that the origin gives one connection
    #[arg(long, value_parser = words::rate)]
    per_connection: Option<u64>,
    /// The origin serves no ranges
    #[arg(long)]
    no_ranges: bool,
    /// The origin does not say whether it serves ranges
    #[arg(long)]
    unsaid: bool,
    /// Subnets into which the machines are divided
    #[arg(long, default_value_t = 1)]
    subnets: usize,
    /// Line between the subnets
    #[arg(long, default_value = "1gbit", value_parser = words::rate)]
    between: u64,
    /// Share of the machines on air
    #[arg(long, default_value = "0", value_parser = words::share)]
    wireless: f64,
    /// What the air of one subnet carries
    #[arg(long, default_value = "200mbit", value_parser = words::rate)]
    air: u64,
    /// The machines start within this time
    #[arg(long, default_value = "1s", value_parser = words::time)]
    stagger: Duration,
    /// Machines that have the file already
    #[arg(long, default_value_t = 0)]
    warm: usize,
    /// Machines that take part in no swarm and have the file
    #[arg(long, default_value_t = 0)]
    plain: usize,
    /// Share of it that each of those has
    #[arg(long, default_value = "100%", value_parser = words::share)]
    plain_share: f64,
    /// Share of the others that a machine does not see
    #[arg(long, default_value = "0", value_parser = words::share)]
    missing: f64,
    /// Share of the pairs that meet only when somebody names one of them to the other
    #[arg(long, default_value = "0", value_parser = words::share)]
    strangers: f64,
    /// The other pairs meet within this time
    #[arg(long, default_value = "0s", value_parser = words::time)]
    meeting: Duration,
    /// The most that a dial takes
    #[arg(long, default_value = "20ms", value_parser = words::time)]
    dial: Duration,
    /// Share of the machines that crash
    #[arg(long, default_value = "0", value_parser = words::share)]
    crashes: f64,
    /// The home of the origin crashes too
    #[arg(long)]
    home_crashes: bool,
    /// Silence after which a machine takes another one for dead
    #[arg(long, default_value = "400ms", value_parser = words::time)]
    silence: Duration,
    /// Every machine stands still now and then, for up to so long
    #[arg(long, default_value = "0s", value_parser = words::time)]
    busy: Duration,
    /// Bytes that lie in sockets when a connection to the origin ends, and count as sent
    #[arg(long, default_value = "0", value_parser = words::bytes)]
    sockets: u64,
    /// Connections that the origin breaks
    #[arg(long, default_value_t = 0)]
    cuts: usize,
    /// Blocks of 64 KiB that travel as one: more is faster to simulate
    #[arg(long, default_value_t = 1)]
    chunk: u32,
    /// Parts in which such a chunk travels, each in turn with those of other flows, as packets do: the more, the slower to simulate
    #[arg(long, default_value_t = 1)]
    parts: u32,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs, each with the next seed
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Small sites with random faults instead: nothing but the seed counts
    #[arg(long)]
    random: bool,
    /// Tell every message and every order on standard error
    #[arg(long)]
    tell: bool,
    /// Print figures as JSON, one line for each run
    #[arg(long)]
    json: bool,
    /// Write a picture of bytes over time (SVG) of the last run
    #[arg(long)]
    plot: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  fleet --nodes 200 --wan 100mbit --lan 1gbit --size 256MiB
  fleet --nodes 32 --wan 20mbit --size 4GiB --chunk 16 --plot site.svg
  fleet --nodes 100 --crashes 10% --missing 20% --runs 5
  fleet --random --runs 100 --seed 7      what the tests do: a run that hangs is named by its seed

Copies is what the origin sent over what there is; bound is the file over the slower line.";

impl Arguments {
    fn site(&self, seed: u64) -> Site {
        if self.random {
            return Site { tells: self.tell, ..Site::random(seed) };
        }
        let faults =
            Faults { crashes: self.crashes, home_crashes: self.home_crashes, cuts: self.cuts, ..Faults::default() };
        Site {
            nodes: self.nodes as usize,
            wan: self.wan,
            lan: self.lan,
            lines_known: self.lines_known,
            size: self.size,
            files: self.files.clamp(1, 256),
            round_trip: self.rtt,
            per_connection: self.per_connection,
            has_ranges: !self.no_ranges,
            says_so: !self.unsaid,
            subnets: self.subnets.clamp(1, self.nodes as usize),
            between: self.between,
            wireless: self.wireless,
            air: self.air,
            stagger: self.stagger,
            warm: self.warm.min(self.nodes as usize - 1),
            plain: self.plain.min((self.nodes as usize - 1).saturating_sub(self.warm)),
            plain_share: self.plain_share,
            missing: self.missing,
            strangers: self.strangers,
            meeting: self.meeting,
            dial: self.dial,
            silence: self.silence,
            busy: self.busy,
            sockets: self.sockets,
            faults,
            chunk: self.chunk.max(1),
            parts: self.parts.max(1),
            seed,
            tells: self.tell,
        }
    }
}

/// A bar on the terminal.
struct Bar(ProgressBar);

impl Watch for Bar {
    fn on_progress(&mut self, share: f64) {
        self.0.set_position((share * 1000.0) as u64);
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut all: Vec<(u64, Figures)> = Vec::new();
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.runs) {
        let bar = if arguments.json || arguments.random { ProgressBar::hidden() } else { ProgressBar::new(1000) };
        bar.set_style(ProgressStyle::with_template("{msg} {bar:40} {percent:>3} %  {elapsed}")?);
        bar.set_message(format!("seed {seed}: machines that are finished"));
        let figures = World::new(arguments.site(seed)).run(&mut Bar(bar.clone()));
        bar.finish_and_clear();
        if arguments.json {
            println!("{}", serde_json::to_string(&figures)?);
        }
        all.push((seed, figures));
    }
    if !arguments.json && !arguments.random {
        println!("{}", table(&all));
    }
    if let (Some(path), Some((seed, figures))) = (&arguments.plot, all.last()) {
        let title = format!(
            "{} machines, seed {seed}: {:.3} copies, {:.3} x the bound",
            arguments.nodes, figures.copies, figures.over_bound
        );
        std::fs::write(path, plot::svg(figures, &title))?;
    }
    let hung: Vec<u64> = all.iter().filter(|(_, figures)| !figures.is_whole).map(|(seed, _)| *seed).collect();
    if arguments.random {
        let events: u64 = all.iter().map(|(_, figures)| figures.events).sum();
        println!("{} runs, {events} events, {} hang", all.len(), hung.len());
    }
    anyhow::ensure!(hung.is_empty(), "these seeds do not end: {hung:?}");
    Ok(())
}

fn table(all: &[(u64, Figures)]) -> Table {
    type Row = (&'static str, fn(&Figures) -> String);
    let rows: [Row; 17] = [
        ("copies from the origin", |f| format!("{:.4}", f.copies)),
        ("bytes sent again, and why", |f| format!("{:?}", f.again)),
        ("homes in the end", |f| f.homes.to_string()),
        ("last machine, s", |f| format!("{:.2}", f.makespan)),
        ("bound, s", |f| format!("{:.2}", f.bound)),
        ("last machine / bound", |f| format!("{:.4}", f.over_bound)),
        ("median machine, s", |f| format!("{:.2}", f.p50)),
        ("99 % of the machines, s", |f| format!("{:.2}", f.p99)),
        ("messages per node and s", |f| format!("{:.2}", f.messages)),
        ("bytes per node and s", |f| format!("{:.0}", f.message_bytes)),
        ("messages of the home per s", |f| format!("{:.0}", f.home_messages)),
        ("bytes of the home per s", |f| format!("{:.0}", f.home_bytes)),
        ("segment requests per node and s", |f| format!("{:.2}", f.subscriptions_per_second)),
        ("upload, most / mean", |f| format!("{:.2}", f.fairness)),
        ("origin connections, most (median)", |f| format!("{} ({})", f.connections, f.steady_connections)),
        ("copies between subnets", |f| format!("{:.3}", f.crossings)),
        ("failures told", |f| format!("{:?}", f.failures)),
    ];
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(std::iter::once("seed".to_owned()).chain(all.iter().map(|(seed, _)| seed.to_string())));
    for (name, value) in rows {
        table.add_row(std::iter::once(name.to_owned()).chain(all.iter().map(|(_, figures)| value(figures))));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
