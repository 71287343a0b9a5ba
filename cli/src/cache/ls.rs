//! `eddy cache ls`: what the cache holds.
//!
//! The list may be of any length. In the order of ids it is written as it is read; for another order the command, not the
//! node, has to remember the entries, and of a limited list no more than twice the limit.

use super::choice::Filters;
use super::{short, walk};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::{Format, Setting, write};
use crate::text::safe;
use crate::text::table::{Column, table};
use crate::text::units;
use clap::{Args, ValueEnum};
use eddy_wire::api::EntityView;
use std::cmp::{Ordering, Reverse};
use std::ops::ControlFlow;

/// Entries that are made a table at once.
const CHUNK: usize = 1000;

/// `eddy cache ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// In this order: used (newest first), size (largest first), url, made (newest first) or id
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = Order::Used, value_name = "ORDER")]
    pub sort: Order,
    /// Show at most so many
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Which entries.
    #[command(flatten)]
    pub filters: Filters,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// What was used last comes first
    Used,
    /// The largest come first
    Size,
    /// By URL
    Url,
    /// What came last comes first
    Made,
    /// As they lie; needs no memory for very many
    Id,
}

pub(super) async fn run(args: LsArgs, setting: &Setting) -> Result<(), Failure> {
    let query = args.filters.query()?;
    let limit = args.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut listing = Listing { setting, written: 0 };
    if args.sort == Order::Id {
        return Link::ask(setting, async |client| {
            walk::pages(&client, query, |mut page| {
                page.truncate(limit - listing.written);
                listing.write(&page)?;
                Ok(if listing.written == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
            .await?;
            listing.end(&args.filters)
        })
        .await;
    }
    let mut first = First { order: args.sort, limit, entities: Vec::new() };
    Link::ask(setting, async |client| {
        walk::pages(&client, query, |page| {
            first.take(page);
            Ok(ControlFlow::Continue(()))
        })
        .await
    })
    .await?;
    for chunk in first.sorted().chunks(CHUNK) {
        listing.write(chunk)?;
    }
    listing.end(&args.filters)
}

/// The first entries in an order.
struct First {
    order: Order,
    limit: usize,
    entities: Vec<EntityView>,
}

impl First {
    fn take(&mut self, page: Vec<EntityView>) {
        self.entities.extend(page);
        if self.entities.len() > self.limit.saturating_mul(2).max(CHUNK) {
            self.cut();
        }
    }

    fn sorted(mut self) -> Vec<EntityView> {
        self.cut();
        self.entities
    }

    fn cut(&mut self) {
        let order = self.order;
        self.entities.sort_by(|a, b| compare(order, a, b));
        self.entities.truncate(self.limit);
    }
}

fn compare(order: Order, a: &EntityView, b: &EntityView) -> Ordering {
    let first = match order {
        Order::Used => Reverse(a.used_unix_ms).cmp(&Reverse(b.used_unix_ms)),
        Order::Size => Reverse(a.length).cmp(&Reverse(b.length)),
        Order::Url => a.url.cmp(&b.url),
        Order::Made => Reverse(a.created_unix_ms).cmp(&Reverse(b.created_unix_ms)),
        Order::Id => Ordering::Equal,
    };
    first.then_with(|| a.id.cmp(&b.id))
}

/// A list on its way out, piece by piece.
struct Listing<'a> {
    setting: &'a Setting,
    written: usize,
}

impl Listing<'_> {
    fn write(&mut self, entities: &[EntityView]) -> Result<(), Failure> {
        let is_first = self.written == 0;
        self.written += entities.len();
        match self.setting.format {
            Format::Json => {
                let text: Vec<_> = entities.iter().map(safe::json).collect();
                write(if is_first { "[" } else { ",\n" })?;
                write(&text.join(",\n"))
            }
            Format::People if self.setting.quiet => Ok(()),
            Format::People => {
                let text = rows(entities, self.setting);
                // The head is that of the first piece; the columns of all pieces are equally wide.
                let body = if is_first { Some(text.as_str()) } else { text.split_once('\n').map(|(_, body)| body) };
                write(body.unwrap_or_default())
            }
        }
    }

    fn end(&self, filters: &Filters) -> Result<(), Failure> {
        match (self.setting.format, self.written) {
            (Format::Json, 0) => write("[]\n"),
            (Format::Json, _) => write("]\n"),
            (Format::People, 0) if self.setting.quiet => Ok(()),
            (Format::People, 0) if filters.is_empty() => write("the cache is empty\n"),
            (Format::People, 0) => write("nothing in the cache is like that\n"),
            (Format::People, _) => Ok(()),
        }
    }
}

fn rows(entities: &[EntityView], setting: &Setting) -> String {
    let columns = [
        Column::Text("ID"),
        Column::Number("    LENGTH"),
        Column::Number(" HELD"),
        Column::Text("USED LAST"),
        Column::Text("SHARED"),
        Column::Text("PINNED"),
        Column::Text("URL"),
    ];
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let line = |entity: &EntityView| {
        vec![
            short(&entity.id),
            setting.sizes.size(entity.length),
            format!("{} %", units::percent(entity.held, entity.length)),
            units::time(entity.used_unix_ms),
            yes(entity.shareable),
            yes(entity.pinned),
            entity.url.clone(),
        ]
    };
    table(&columns, entities.iter().map(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(id: u64, used: u64, length: u64) -> EntityView {
        EntityView {
            id: format!("{id:064}"),
            url: format!("https://h/{}", 9 - id),
            validator: String::new(),
            length,
            held: 0,
            shareable: true,
            pinned: false,
            created_unix_ms: id,
            used_unix_ms: used,
            in_use: false,
        }
    }

    fn sorted(order: Order, limit: usize) -> Vec<u64> {
        let mut first = First { order, limit, entities: Vec::new() };
        for (id, used, length) in [(1, 5, 7), (2, 9, 7), (3, 1, 8)] {
            first.take(vec![entity(id, used, length)]);
        }
        first.sorted().iter().map(|entity| entity.created_unix_ms).collect()
    }

    #[test]
    fn every_order_is_what_its_help_says() {
        assert_eq!(sorted(Order::Used, 9), [2, 1, 3]);
        assert_eq!(sorted(Order::Size, 9), [3, 1, 2]);
        assert_eq!(sorted(Order::Url, 9), [3, 2, 1]);
        assert_eq!(sorted(Order::Made, 2), [3, 2]);
    }

    #[test]
    fn a_limited_list_does_not_remember_everything() {
        let mut first = First { order: Order::Used, limit: 3, entities: Vec::new() };
        for used in 0..10 * CHUNK as u64 {
            first.take(vec![entity(1, used, 1)]);
            assert!(first.entities.len() <= CHUNK + 1);
        }
        let used: Vec<_> = first.sorted().iter().map(|entity| entity.used_unix_ms).collect();
        assert_eq!(used, [9999, 9998, 9997]);
    }
}
