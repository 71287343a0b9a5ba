//! Reads lists of any length page by page, and finds what a name means.

use crate::failure::Failure;
use eddy_node::control::Client;
use eddy_wire::api::{EntityQuery, EntityView, MAX_PAGE};
use eddy_wire::catalogue::ErrorCode;
use std::ops::ControlFlow;

/// Ids that a refusal lists.
const LISTED: usize = 5;

/// Gives every page of what the query admits to `each`, until that has enough.
pub(super) async fn pages(
    client: &Client,
    mut query: EntityQuery,
    mut each: impl FnMut(Vec<EntityView>) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    query.limit = query.limit.or(Some(MAX_PAGE));
    loop {
        let page = client.entities(&query).await?;
        if !page.items.is_empty() && each(page.items)?.is_break() {
            return Ok(());
        }
        if page.next.is_none() {
            return Ok(());
        }
        query.after = page.next;
    }
}

/// Everything that the query admits.
pub(crate) async fn all(client: &Client, query: EntityQuery) -> Result<Vec<EntityView>, Failure> {
    let mut entities = Vec::new();
    pages(client, query, |page| {
        entities.extend(page);
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok(entities)
}

/// What the names mean, in their order, nothing twice. A name that means nothing is an error, and so is the beginning of
/// an id that fits more than one; a URL means every version of it.
pub(super) async fn named(client: &Client, names: &[String]) -> Result<Vec<EntityView>, Failure> {
    let mut entities: Vec<EntityView> = Vec::new();
    for name in names {
        let is_url = name.contains("://");
        let limit = if is_url { MAX_PAGE } else { LISTED };
        let query = EntityQuery { named: Some(name.clone()), limit: Some(limit), ..EntityQuery::default() };
        let mut found = Vec::new();
        pages(client, query, |page| {
            found.extend(page);
            Ok(if is_url || found.len() < LISTED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
        .await?;
        match (&found[..], is_url) {
            ([], _) => return Err(Failure::new(ErrorCode::EntityNotFound, name.clone())),
            ([_, _, ..], false) => {
                let ids: Vec<_> = found.iter().map(|entity| super::short(&entity.id)).collect();
                return Err(Failure::new(ErrorCode::AmbiguousName, format!("{name}: {}", ids.join(", "))));
            }
            _ => {}
        }
        found.retain(|entity| entities.iter().all(|known| known.id != entity.id));
        entities.extend(found);
    }
    Ok(entities)
}
