//! The account of bytes.

use super::{NodeFace, of_refusal, whose};
use crate::control::{Asker, Reach};
use crate::driver::command::FilePlace;
use eddy_cache::{Account, Balance};
use eddy_engine::{FileRef, JobId};
use eddy_wire::api::{self, PageQuery, Problem, Received, ReportRow, ReportView, Sources, Wasted};
use eddy_wire::catalogue::ErrorCode;
use std::collections::{HashMap, HashSet};

impl NodeFace {
    pub(super) async fn view_report(&self, asker: Asker, query: PageQuery) -> Result<ReportView, Problem> {
        let after = query.after.as_deref().map(|text| {
            cursor(text)
                .ok_or_else(|| Problem::new(ErrorCode::BadRequest, "`after` is no cursor of a page of a report"))
        });
        let mut sheet = Sheet::new(after.transpose()?, query.size());
        if asker.reach == Reach::Own {
            sheet.own = Some(self.driver.ids(whose(asker)).await.map_err(of_refusal)?);
        }
        let (sheet, names) = self
            .with_store(move |store| {
                store.each_balance(|account, balance| sheet.enter(account, &balance))?;
                let names = store.account_names(sheet.page())?;
                Ok((sheet, names))
            })
            .await?;
        let files = sheet.page().map(file_of).collect();
        let places = self.driver.places(whose(asker), files).await.map_err(of_refusal)?;
        Ok(sheet.view(names, places))
    }
}

/// One page of the ledger, and the sums over all of it that the asker may see.
struct Sheet {
    /// The asker's jobs; `None` for all that there are, and were.
    own: Option<HashSet<JobId>>,
    after: Option<Account>,
    most: usize,
    totals: api::Account,
    /// In the order of their accounts, one more than the page has.
    rows: Vec<(Account, api::Account)>,
}

impl Sheet {
    fn new(after: Option<Account>, most: usize) -> Self {
        Self { own: None, after, most, totals: api::Account::default(), rows: Vec::new() }
    }

    /// Takes the next account of the ledger.
    fn enter(&mut self, account: Account, balance: &Balance) {
        // The account of a job that has ended names no owner: it is the machine's.
        if self.own.as_ref().is_some_and(|own| !own.contains(&JobId(account.job))) {
            return;
        }
        let columns = columns(balance);
        self.totals = self.totals.plus(columns);
        if self.rows.len() <= self.most && self.after.is_none_or(|after| account > after) {
            self.rows.push((account, columns));
        }
    }

    fn page(&self) -> impl Iterator<Item = Account> {
        self.rows.iter().take(self.most).map(|(account, _)| *account)
    }

    fn view(mut self, mut names: HashMap<Account, String>, mut places: HashMap<FileRef, FilePlace>) -> ReportView {
        let is_more = self.rows.len() > self.most;
        self.rows.truncate(self.most);
        let row = |(account, columns): (Account, api::Account)| {
            let (url, destination) = match places.remove(&file_of(account)) {
                // What the gateway fetches goes nowhere but to its clients.
                Some(place) => (Some(place.url), Some(place.destination).filter(|place| !place.is_empty())),
                None => (names.remove(&account), None),
            };
            let (ended_earlier, gateway) = (account == Account::EARLIER, account == Account::NO_JOB);
            let job = JobId(account.job).to_string();
            ReportRow { job, file: account.file, url, destination, account: columns, ended_earlier, gateway }
        };
        let rows: Vec<_> = self.rows.into_iter().map(row).collect();
        let next = rows.last().filter(|_| is_more).map(|row| format!("{}-{}", row.job, row.file));
        ReportView { rows, totals: self.totals, next }
    }
}

fn file_of(account: Account) -> FileRef {
    FileRef { job: JobId(account.job), file: account.file }
}

/// The account behind which a page begins.
fn cursor(text: &str) -> Option<Account> {
    let (job, file) = text.rsplit_once('-')?;
    let JobId(job) = job.parse().ok()?;
    Some(Account { job, file: file.parse().ok()? })
}

fn columns(balance: &Balance) -> api::Account {
    api::Account {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(job: u8, file: u32) -> Account {
        Account { job: [job; 16], file }
    }

    fn balance(audited: u64) -> Balance {
        Balance { audited, ..Balance::default() }
    }

    /// A page of a ledger of three jobs with two files each.
    fn page(after: Option<Account>, most: usize, own: Option<u8>) -> ReportView {
        let mut sheet = Sheet::new(after, most);
        sheet.own = own.map(|job| HashSet::from([JobId([job; 16])]));
        for (job, file) in [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)] {
            sheet.enter(account(job, file), &balance(10 * u64::from(job) + u64::from(file)));
        }
        let place = FilePlace { url: "https://h/living".to_owned(), destination: "/a".to_owned() };
        let places = HashMap::from([(file_of(account(2, 0)), place)]);
        let names = HashMap::from([2, 3].map(|job| (account(job, 0), format!("https://h/{job}"))));
        sheet.view(names, places)
    }

    #[test]
    fn pages_follow_each_other_and_each_has_the_sums_of_all() {
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = page(after, 4, None);
            assert_eq!(page.totals.audited, 123);
            seen.extend(page.rows.iter().map(|row| row.account.audited));
            pages += 1;
            let Some(next) = page.next else { break };
            after = Some(cursor(&next).expect("a cursor"));
        }
        assert_eq!((seen, pages), (vec![10, 11, 20, 21, 30, 31], 2));
        assert_eq!(cursor("no-cursor"), None);
    }

    #[test]
    fn a_row_has_the_words_of_its_job_and_of_one_that_is_gone_what_was_noted() {
        let urls: Vec<_> = page(None, 6, None).rows.into_iter().map(|row| (row.url, row.destination)).collect();
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(urls[2], (said("https://h/living"), said("/a")));
        assert_eq!((&urls[4], &urls[5]), (&(said("https://h/3"), None), &(None, None)));
    }

    #[test]
    fn the_row_of_jobs_that_ended_earlier_says_so_and_is_the_last() {
        let mut sheet = Sheet::new(None, 2);
        sheet.enter(account(1, 0), &balance(1));
        sheet.enter(Account::NO_JOB, &balance(2));
        sheet.enter(Account::EARLIER, &balance(4));
        let first = sheet.view(HashMap::new(), HashMap::new());
        assert_eq!((first.rows.iter().any(|row| row.ended_earlier), first.totals.audited), (false, 7));
        assert_eq!(first.rows.iter().map(|row| row.gateway).collect::<Vec<_>>(), [false, true]);
        let mut sheet = Sheet::new(cursor(&first.next.expect("more")), 2);
        sheet.enter(Account::EARLIER, &balance(4));
        let last = sheet.view(HashMap::new(), HashMap::new());
        assert_eq!(last.rows.len(), 1);
        assert!(last.rows[0].ended_earlier && last.next.is_none());
        assert!(serde_json::to_value(&last).expect("JSON")["rows"][0]["ended_earlier"] == true);
    }

    #[test]
    fn a_user_sees_the_rows_and_the_sums_of_their_own_jobs() {
        let page = page(None, 9, Some(2));
        assert_eq!((page.rows.len(), page.totals.audited, page.next), (2, 41, None));
    }
}
