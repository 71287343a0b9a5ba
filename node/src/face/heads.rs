//! What origins answered last: to the job's owner as it came, to an administrator without what may be a secret.

use super::{NodeFace, whose};
use crate::control::Asker;
use crate::driver::heads::KeptHead;
use eddy_wire::api::{HeadView, HeaderView, Page, PageQuery, Problem};
use eddy_wire::catalogue::ErrorCode;
use std::collections::BTreeMap;

/// Bytes of fields after which a page ends.
const PAGE: usize = 4 * 1024 * 1024;

/// Fields whose values anybody who may see the job may see. What is not known is not shown: a field may be anybody's invention, and
/// `Set-Cookie` is not the only one that lets its reader in.
const PLAIN: [&str; 24] = [
    "accept-ranges",
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "digest",
    "etag",
    "expires",
    "last-modified",
    "repr-digest",
    "retry-after",
    "server",
    "transfer-encoding",
    "vary",
    "via",
];

impl NodeFace {
    pub(super) async fn list_heads(
        &self,
        asker: Asker,
        text: &str,
        query: PageQuery,
    ) -> Result<(u32, Page<HeadView>), Problem> {
        let bad = |_| Problem::new(ErrorCode::BadRequest, "a cursor is a file's place in the job");
        let after: Option<u32> = query.after.as_deref().map(str::parse).transpose().map_err(bad)?;
        let id = self.job_id(asker, text).await?;
        let living = self.driver.owner(whose(asker), id).await;
        let heads = self.heads.clone();
        let read = tokio::task::spawn_blocking(move || heads.of_job(id)).await;
        let mut kept = match read {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => return Err(Problem::new(ErrorCode::StoreUnusable, error.to_string())),
            Err(_) => return Err(Problem::from(ErrorCode::Internal)),
        };
        // Of a job that is known no more only the answers say whose it was.
        let owner = match living {
            Ok(owner) => owner,
            Err(_) => kept.values().map(|head| head.owner).next_back().ok_or(ErrorCode::JobNotFound)?,
        };
        if !asker.sees(owner.0) {
            return Err(Problem::from(ErrorCode::JobNotFound));
        }
        // What was answered to another owner is theirs (F-84).
        kept.retain(|_, head| head.owner == owner);
        let is_own = owner.0 == asker.uid;
        Ok((owner.0, page(kept, after, query.size(), |head| view(head, is_own))))
    }
}

/// The answers behind a file: as many as are wanted, and as fit.
fn page(
    kept: BTreeMap<u32, KeptHead>,
    after: Option<u32>,
    most: usize,
    view: impl Fn(KeptHead) -> HeadView,
) -> Page<HeadView> {
    let mut behind = kept.into_values().filter(|head| after.is_none_or(|after| head.file > after)).peekable();
    let (mut items, mut bytes) = (Vec::new(), 0);
    while items.len() < most
        && bytes < PAGE
        && let Some(head) = behind.next()
    {
        bytes += head.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        items.push(view(head));
    }
    let next = items.last().filter(|_| behind.peek().is_some()).map(|head| head.file.to_string());
    Page { items, next }
}

fn view(head: KeptHead, is_own: bool) -> HeadView {
    let KeptHead { file, owner: _, url, destination, at_unix_ms, status, fields, is_cut } = head;
    let shown = |(name, value): (String, String)| {
        let is_shown = is_own || PLAIN.contains(&name.as_str());
        HeaderView { value: is_shown.then_some(value), name }
    };
    let fields = fields.into_iter().map(shown).collect();
    HeadView { file, url, destination, received_unix_ms: at_unix_ms, status, fields, is_cut }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_engine::Owner;

    fn head(file: u32, fields: &[(&str, &str)]) -> KeptHead {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (url, destination) = ("https://h/f".to_owned(), "/srv/f".to_owned());
        KeptHead { file, owner: Owner(7), url, destination, at_unix_ms: 1, status: 200, fields, is_cut: false }
    }

    #[test]
    fn an_owner_sees_what_came_and_an_administrator_what_holds_no_secret() {
        let came = head(0, &[("etag", "\"a\""), ("set-cookie", "topsecret"), ("x-invented", "topsecret")]);
        let values = |is_own| view(came.clone(), is_own).fields.into_iter().map(|field| field.value.is_some());
        assert_eq!(values(true).collect::<Vec<_>>(), [true, true, true]);
        assert_eq!(values(false).collect::<Vec<_>>(), [true, false, false]);
        assert!(PLAIN.is_sorted());
    }

    #[test]
    fn a_page_ends_where_it_is_long_enough_and_the_next_begins_behind_it() {
        let long = "x".repeat(60_000);
        let kept: BTreeMap<u32, KeptHead> = (0..200).map(|file| (file, head(file, &[("etag", &long)]))).collect();
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = page(kept.clone(), after, 1000, |head| view(head, true));
            seen.extend(page.items.iter().map(|head| head.file));
            pages += 1;
            let Some(next) = page.next else { break };
            after = Some(next.parse().expect("a cursor"));
        }
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        assert_eq!(pages, 3);
        assert_eq!(page(kept, Some(9), 1, |head| view(head, true)).items[0].file, 10);
    }
}
