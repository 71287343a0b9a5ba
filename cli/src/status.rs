//! `eddy status`: whether a node runs, and what it does.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::{table, units};
use eddy_wire::api::{Mode, StatusView};
use std::time::Duration;

pub(crate) async fn run(setting: &Setting) -> Result<(), Failure> {
    let status = Link::to_running(setting)?.status().await?;
    setting.answer(&status, || people(&status))
}

fn people(status: &StatusView) -> String {
    let mode = match status.mode {
        Mode::Daemon => "daemon",
        Mode::Inside => "inside a command",
    };
    table::facts(&[
        ("activity", status.activity.clone()),
        ("version", status.version.clone()),
        ("runs as", format!("{mode}, process {}", status.pid)),
        ("uptime", units::duration(Duration::from_secs(status.uptime_seconds))),
        ("home", status.home.clone()),
        ("node id", status.node.clone()),
        ("group", status.group.clone().unwrap_or_else(|| String::from("none (make one: eddy group init)"))),
        ("listens", status.listen.join(", ")),
        ("jobs", status.jobs.to_string()),
        ("peers", status.peers.to_string()),
    ])
}
