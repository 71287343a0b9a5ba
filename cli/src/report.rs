//! `eddy report`: where the bytes came from, to the byte.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::{Column, facts, table};
use clap::{Args, ValueEnum};
use eddy_node::control::Client;
use eddy_wire::api::{GatewayView, Identity, MAX_PAGE, MountView, PageQuery, Problem, ReportRow, ReportView};

/// `eddy report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Show the totals only
    #[arg(long, conflicts_with = "by")]
    pub totals: bool,
    /// What a row stands for
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = By::File)]
    pub by: By,
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// A file of a job
    File,
    /// A mount of the gateway, since the node started
    Mount,
}

pub(crate) async fn run(args: ReportArgs, setting: &Setting) -> Result<(), Failure> {
    if args.by == By::Mount {
        let gateway = Link::ask(setting, async |client: Client| client.gateway().await).await?;
        return setting.answer(&gateway, || mounts(&gateway, setting));
    }
    let report = Link::ask(setting, |client| whole(client, args.totals)).await?;
    setting.answer(&report, || people(&report, setting))
}

/// All pages as one report.
async fn whole(client: Client, totals: bool) -> Result<ReportView, Problem> {
    let mut report = client.report(&PageQuery { after: None, limit: Some(MAX_PAGE) }).await?;
    if totals {
        report.rows.clear();
        report.next = None;
    }
    while let Some(after) = report.next.take() {
        let page = client.report(&PageQuery { after: Some(after), limit: Some(MAX_PAGE) }).await?;
        report.rows.extend(page.rows);
        report.totals = page.totals;
        report.next = page.next;
    }
    Ok(report)
}

fn mounts(gateway: &GatewayView, setting: &Setting) -> String {
    let Some(listens) = &gateway.listens else { return "no gateway runs in this node\n".to_owned() };
    let columns = [
        Column::Text("MOUNT"),
        Column::Number("REQUESTS"),
        Column::Number("HELD"),
        Column::Number("REFUSED"),
        Column::Number("SENT"),
        Column::Number("ORIGIN"),
        Column::Number("PEERS"),
    ];
    let line = |mount: &MountView| {
        let size = |bytes| setting.sizes.size(bytes);
        let held = mount.hit_percent().map_or_else(|| "-".to_owned(), |share| format!("{share:.1} %"));
        let (requests, refused) = (mount.requests.to_string(), mount.refused.to_string());
        let (sent, came) = (size(mount.sent), mount.came);
        vec![mount.path.clone(), requests, held, refused, sent, size(came.origin), size(came.peers)]
    };
    let rows = table(&columns, gateway.mounts.iter().map(line));
    format!("{rows}\n{}", facts(&[("listens", listens.clone())]))
}

fn people(report: &ReportView, setting: &Setting) -> String {
    let size = |bytes| setting.sizes.size(bytes);
    let mut text = String::new();
    if !report.rows.is_empty() {
        let columns = [
            Column::Text("FILE"),
            Column::Number("DELIVERED"),
            Column::Number("ORIGIN"),
            Column::Number("PEERS"),
            Column::Number("CACHE"),
            Column::Number("WASTED"),
        ];
        text += &table(&columns, report.rows.iter().map(|row| line(row, setting)));
        text.push('\n');
    }
    let totals = &report.totals;
    let offload = totals.offload_percent().map_or_else(|| String::from("nothing yet"), |share| format!("{share:.1} %"));
    text + &facts(&[
        ("delivered", size(totals.delivered)),
        ("from origin", size(totals.used.origin)),
        ("from peers", size(totals.used.peers)),
        ("from cache", size(totals.used.cache)),
        ("spared the origin", offload),
        ("received", size(totals.received.origin.saturating_add(totals.received.peers))),
        ("wasted", wasted(report, setting)),
        ("fetched twice to catch liars", if totals.audited > 0 { size(totals.audited) } else { String::new() }),
        ("accounts", identity(totals.identity(), setting)),
    ])
}

fn line(row: &ReportRow, setting: &Setting) -> Vec<String> {
    let account = &row.account;
    let size = |bytes| setting.sizes.size(bytes);
    let name = match &row.destination {
        _ if row.ended_earlier => Some("(jobs that ended earlier)".to_owned()),
        _ if row.gateway => Some("(files of the gateway)".to_owned()),
        destination => destination.clone().or_else(|| row.url.clone()),
    };
    vec![
        name.unwrap_or_else(|| format!("job {} file {}", row.job, row.file)),
        size(account.delivered),
        size(account.used.origin),
        size(account.used.peers),
        size(account.used.cache),
        size(account.wasted.total()),
    ]
}

fn wasted(report: &ReportView, setting: &Setting) -> String {
    let wasted = report.totals.wasted;
    let reasons = [
        ("corrupt", wasted.corrupt),
        ("duplicate", wasted.duplicate),
        ("aborted", wasted.aborted),
        ("stale", wasted.stale),
    ];
    let named: Vec<_> = reasons
        .iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(reason, bytes)| format!("{} {reason}", setting.sizes.size(*bytes)))
        .collect();
    let total = setting.sizes.size(wasted.total());
    if named.is_empty() { total } else { format!("{total} ({})", named.join(", ")) }
}

fn identity(identity: Identity, setting: &Setting) -> String {
    match identity {
        Identity::Closes => String::from("close to the byte"),
        Identity::Pending { bytes } => {
            format!("close to the byte; {} are here and not delivered yet", setting.sizes.size(bytes))
        }
        Identity::Broken => String::from("DO NOT CLOSE: this is an error in eddy, please report it with --json"),
    }
}
