//! The account of bytes.

use super::{NodeFace, of_refusal, whose};
use crate::control::{Asker, Reach};
use eddy_cache::{Account, LedgerRow};
use eddy_engine::JobId;
use eddy_wire::api::{self, JobView, PageQuery, Problem, Received, ReportRow, ReportView, Sources, Wasted};

impl NodeFace {
    pub(super) async fn view_report(&self, asker: Asker, query: PageQuery) -> Result<ReportView, Problem> {
        let jobs = self.driver.list(whose(asker), None, usize::MAX).await.map_err(of_refusal)?;
        let rows = self.with_store(|store| store.ledger()).await?;
        Ok(report(&rows, (&jobs, asker.reach), &query))
    }
}

fn report(rows: &[LedgerRow], (jobs, reach): (&[JobView], Reach), query: &PageQuery) -> ReportView {
    let mut totals = api::Account::default();
    let mut shown = Vec::new();
    for row in rows {
        let LedgerRow::File { account, balance, name } = row else { continue };
        // The account of a job that has ended names no owner: it is the machine's.
        if reach == Reach::Own && !jobs.iter().any(|job| job.id == JobId(account.job).to_string()) {
            continue;
        }
        let account_view = api::Account {
            delivered: balance.delivered.total(),
            used: Sources { origin: balance.origin.used, peers: balance.peers.used, cache: balance.delivered.cache },
            received: Received { origin: balance.origin.received, peers: balance.peers.received },
            wasted: Wasted {
                corrupt: balance.origin.wasted.corrupt + balance.peers.wasted.corrupt,
                duplicate: balance.origin.wasted.duplicate + balance.peers.wasted.duplicate,
                aborted: balance.origin.wasted.aborted + balance.peers.wasted.aborted,
                stale: balance.origin.wasted.stale + balance.peers.wasted.stale,
            },
            audited: balance.audited,
        };
        totals = totals.plus(account_view);
        shown.push(report_row(*account, account_view, name.clone(), jobs));
    }
    let cursor = |row: &ReportRow| format!("{}-{}", row.job, row.file);
    if let Some(after) = &query.after {
        let seen = shown.iter().position(|row| &cursor(row) == after).map_or(0, |at| at + 1);
        shown.drain(..seen);
    }
    let is_more = shown.len() > query.size();
    shown.truncate(query.size());
    let next = if is_more { shown.last().map(cursor) } else { None };
    ReportView { rows: shown, totals, next }
}

fn report_row(account: Account, view: api::Account, name: Option<String>, jobs: &[JobView]) -> ReportRow {
    let job = JobId(account.job).to_string();
    let file = jobs.iter().find(|known| known.id == job).and_then(|known| known.files.get(account.file as usize));
    ReportRow {
        job,
        file: account.file,
        url: file.map(|file| file.url.clone()).or(name),
        destination: file.map(|file| file.destination.clone()),
        account: view,
    }
}
