//! `eddy doctor`: what is wrong with this node, and what to do about it.
//!
//! The store belongs to one process. While a node runs, it is asked; else the command looks at the files itself.

use crate::cache::{verify, walk};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::safe;
use clap::Args;
use eddy_node::control::Client;
use eddy_node::doctor::{self, Depth, Repair, surroundings};
use eddy_wire::api::{DoctorReport, EntityQuery, Finding, Mode, Severity, StatusView, VerifiedView};
use eddy_wire::catalogue::ErrorCode;

/// `eddy doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 when everything is in order or was mended, and with 8 when something is not.")]
pub struct DoctorArgs {
    /// Hash every byte of the cache, too
    #[arg(long)]
    pub strict: bool,
    /// Mend what can be mended: make the index anew from the files, set aside what is corrupt
    #[arg(long)]
    pub fix: bool,
}

pub(crate) async fn run(args: DoctorArgs, setting: &Setting) -> Result<(), Failure> {
    let client = Link::to_running(setting)?;
    let report = match client.status().await {
        Ok(status) if args.fix => {
            let detail = format!("the node runs as process {}; {}", status.pid, how_to_end(&status, setting));
            return Err(Failure::new(ErrorCode::StoreInUse, detail));
        }
        Ok(status) => online(&client, &status, args.strict, setting).await?,
        Err(problem) if problem.error_code() == Some(ErrorCode::DaemonUnreachable) => offline(&args, setting).await?,
        Err(problem) => return Err(problem.into()),
    };
    setting.answer(&report, || people(&report, args.strict, setting))?;
    match report.findings.iter().filter(|finding| finding.is_open()).count() {
        0 => Ok(()),
        open => Err(Failure::new(ErrorCode::StoreUnsound, format!("{open} of the findings"))),
    }
}

async fn offline(args: &DoctorArgs, setting: &Setting) -> Result<DoctorReport, Failure> {
    if args.fix {
        setting.own_home()?;
    }
    let (home, config) = (setting.home.clone(), setting.config.clone());
    let depth = if args.strict { Depth::Strict } else { Depth::Quick };
    let repair = if args.fix { Repair::Yes } else { Repair::No };
    let examined = tokio::task::spawn_blocking(move || doctor::examine(&home, config.as_deref(), depth, repair)).await;
    Ok(examined.map_err(Failure::internal)??)
}

async fn online(
    client: &Client,
    status: &StatusView,
    is_strict: bool,
    setting: &Setting,
) -> Result<DoctorReport, Failure> {
    setting.note(&format!(
        "a node runs as process {} and looks at its store itself; for a look at every file {}",
        status.pid,
        how_to_end(status, setting)
    ));
    let cache = client.cache().await?;
    let mut report = DoctorReport {
        running: Some(status.pid),
        entities: cache.entities,
        hashed: 0,
        findings: surroundings::look(&setting.home, setting.config.as_deref()),
    };
    report.findings.extend(cache.findings);
    report.findings.extend(client.gateway().await?.trouble.map(without_gateway));
    if is_strict {
        let entities = walk::all(client, EntityQuery::default()).await?;
        let verified = verify::verify(client, &entities, setting).await?;
        report.hashed = verified.bytes;
        report.findings.extend(verified.corrupt.iter().map(|view| corrupt(view, setting)));
    }
    Ok(report)
}

fn without_gateway(what: String) -> Finding {
    let remedy = "It is tried again every second. Free the port, name another as gateway.listen, or let the service listen there: \
        SocketBindAllow= in its unit.";
    Finding { object: "gateway".to_owned(), severity: Severity::Error, what, remedy: remedy.to_owned(), mended: false }
}

fn how_to_end(status: &StatusView, setting: &Setting) -> String {
    match status.mode {
        Mode::Daemon => format!("stop it with `{}`, then give the same command again", setting.stop_command()),
        Mode::Inside => "wait until that command has ended, then give the same command again".to_owned(),
    }
}

fn corrupt(view: &VerifiedView, setting: &Setting) -> Finding {
    Finding {
        object: view.id.clone(),
        severity: Severity::Error,
        what: format!("{} of {} were not what was written: set aside", setting.sizes.size(view.corrupt), view.url),
        remedy: "They are fetched again when somebody asks for them; if it happens often, the disk fails.".to_owned(),
        mended: true,
    }
}

fn people(report: &DoctorReport, is_strict: bool, setting: &Setting) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let mended = if finding.mended { ", mended" } else { "" };
        let (object, what) = (safe::line(&finding.object), safe::line(&finding.what));
        text += &format!("{}{mended}: {object}: {what}\n  {}\n", finding.severity.word(), safe::line(&finding.remedy));
    }
    let looked = match is_strict {
        true => format!("{} entries, {} hashed", report.entities, setting.sizes.size(report.hashed)),
        false => format!("{} entries, nothing hashed (--strict does)", report.entities),
    };
    let open = report.findings.iter().filter(|finding| finding.is_open()).count();
    let verdict = match (report.findings.len(), open) {
        (0, _) => "everything is in order".to_owned(),
        (_, 0) => "nothing has to be done".to_owned(),
        (all, open) => format!("{open} of {all} findings need something to be done"),
    };
    text + &format!("{looked}: {verdict}\n")
}
