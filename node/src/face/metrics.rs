//! What a monitoring system reads: counters and gauges as text (Prometheus exposition format, version 0.0.4).
//!
//! Base units, `_total` for what only grows while the node runs. No label has a value from outside.

use super::NodeFace;
use crate::neighbourhood::NeighbourhoodView;
use eddy_cache::KeptFiles;
use eddy_engine::swarm::Tally;
use eddy_wire::api::{MountView, Problem};
use std::fmt::{Display, Write};

/// What a figure is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A text of figures.
#[derive(Debug, Default)]
struct Figures(String);

impl Figures {
    fn put(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // A text takes everything that is written into it.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}

impl NodeFace {
    pub(super) async fn count_all(&self) -> Result<String, Problem> {
        let mut figures = Figures::default();
        let uptime = self.started.elapsed().as_secs();
        figures.put("eddy_uptime_seconds", Kind::Gauge, "How long the node runs.", uptime);
        let connected = self.neighbours.as_ref().map(NeighbourhoodView::connected).unwrap_or_default();
        figures.put("eddy_peers_connected", Kind::Gauge, "Members that this node is connected with.", connected.len());
        put_kept(&mut figures, &self.store.kept_files());
        if let Some(total) = self.gateway.total() {
            put_gateway(&mut figures, &total);
        }
        if let Some(swarm) = &self.swarm {
            put_swarms(&mut figures, swarm.tally().await.unwrap_or_default());
        }
        Ok(figures.0)
    }
}

fn put_kept(figures: &mut Figures, kept: &KeptFiles) {
    let all = [
        (
            "eddy_cache_kept_entries",
            "Entries that are to go and whose files the disk refuses to remove.",
            kept.entities,
        ),
        (
            "eddy_cache_refused_files",
            "Files and folders that the latest look over the cache had to go past.",
            kept.passed,
        ),
    ];
    for (name, help, value) in all {
        figures.put(name, Kind::Gauge, help, value);
    }
}

fn put_gateway(figures: &mut Figures, total: &MountView) {
    let all = [
        ("eddy_gateway_requests_total", "Requests of the gateway's clients.", total.requests),
        ("eddy_gateway_hits_total", "Those answered from what was held, without asking the origin.", total.hits),
        ("eddy_gateway_validated_total", "Those for which the origin said that what is held is good.", total.validated),
        ("eddy_gateway_refused_total", "Those that were refused, or could not be asked for.", total.refused),
        ("eddy_gateway_sent_bytes_total", "Bytes of content that went to clients.", total.sent),
        ("eddy_gateway_sent_held_bytes_total", "Those of them that were held when asked for.", total.sent_held),
        ("eddy_gateway_origin_bytes_total", "Bytes of content that came from origins.", total.came.origin),
        ("eddy_gateway_peer_bytes_total", "Bytes of content that came from members.", total.came.peers),
    ];
    for (name, help, value) in all {
        figures.put(name, Kind::Counter, help, value);
    }
}

fn put_swarms(figures: &mut Figures, tally: Tally) {
    use Kind::{Counter, Gauge};
    let Tally { taking, giving, homes, members, leases, read, moves } = tally;
    let all = [
        ("eddy_swarm_taking", Gauge, "Files that this node takes together with others.", taking),
        ("eddy_swarm_giving", Gauge, "Segments that this node is giving to members.", giving),
        ("eddy_swarm_homes", Gauge, "Origins of which this node is the home.", homes),
        ("eddy_swarm_members", Gauge, "Members of the swarms whose home this node is.", members),
        ("eddy_swarm_leases", Gauge, "Leases to read from an origin that this node has given as home.", leases),
        ("eddy_swarm_origin_bytes_total", Counter, "Bytes that this node has read from origins under leases.", read),
        ("eddy_swarm_home_moves_total", Counter, "Times that this node followed another home than before.", moves),
    ];
    for (name, kind, help, value) in all {
        figures.put(name, kind, help, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_says_what_it_is_before_its_value() {
        let mut figures = Figures::default();
        put_kept(&mut figures, &KeptFiles { entities: 2, ..KeptFiles::default() });
        put_gateway(&mut figures, &MountView { hits: 7, ..MountView::default() });
        put_swarms(&mut figures, Tally { leases: 3, read: 1 << 40, ..Tally::default() });
        let text = figures.0;
        let lines: Vec<&str> = text.lines().collect();
        for of_one in lines.chunks(3) {
            let [help, kind, value] = of_one else { panic!("{of_one:?}") };
            let name = value.split(' ').next().unwrap_or_default();
            assert!(help.starts_with(&format!("# HELP {name} ")), "{of_one:?}");
            let is_counter = *kind == format!("# TYPE {name} counter");
            assert_eq!(is_counter, name.ends_with("_total"), "{of_one:?}");
        }
        assert!(lines.contains(&"eddy_cache_kept_entries 2") && lines.contains(&"eddy_cache_refused_files 0"));
        assert!(lines.contains(&"eddy_gateway_hits_total 7"));
        assert!(
            lines.contains(&"eddy_swarm_leases 3") && lines.contains(&"eddy_swarm_origin_bytes_total 1099511627776")
        );
    }
}
