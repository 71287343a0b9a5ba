//! `eddy cache rm` and `eddy cache clear`: the plan first, then its execution.
//!
//! What goes is what the plan shows, by id: nothing that came meanwhile. What somebody began to use meanwhile stays.

use super::choice::{Filters, NAMES};
use super::plan::{Tense, entries, show, staying};
use super::{short, walk};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::{Format, Setting};
use crate::text::safe;
use clap::Args;
use eddy_node::control::Client;
use eddy_wire::api::{
    EntityQuery, EntityView, Kept, KeptReason, MAX_ORDER, PinnedToo, PlanView, RemovalOrder, Removed,
};
use eddy_wire::catalogue::ErrorCode;
use std::io::{IsTerminal, Write};

/// Entries of a plan that a question shows; `--dry-run` shows all.
const SHOWN: usize = 20;

/// How a removal is done.
#[derive(Debug, Clone, Copy, Args)]
pub struct Manner {
    /// Remove pinned entries, too
    #[arg(long)]
    pub also_pinned: bool,
    /// Only show what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `eddy cache rm`.
#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub struct RmArgs {
    /// Their names
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How.
    #[command(flatten)]
    pub manner: Manner,
    /// Or which.
    #[command(flatten)]
    pub filters: Filters,
}

/// `eddy cache clear`.
#[derive(Debug, Args)]
pub struct ClearArgs {
    /// How.
    #[command(flatten)]
    pub manner: Manner,
}

/// Who chose what goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    /// The user, entry by entry.
    ByName,
    /// A condition, so that the user may not know what it means.
    ByCondition,
}

pub(super) async fn rm(args: RmArgs, setting: &Setting) -> Result<(), Failure> {
    if args.names.is_empty() == args.filters.is_empty() {
        let detail = "name entries, or say which with conditions; `eddy cache clear` removes everything";
        return Err(Failure::new(ErrorCode::BadUsage, detail));
    }
    let query = args.filters.query()?;
    if !args.names.is_empty() {
        return Link::ask(setting, async |client| {
            let entities = walk::named(&client, &args.names).await?;
            Removal { client, setting, manner: args.manner, chosen: Chosen::ByName }.run(entities).await
        })
        .await;
    }
    let wants_pinned = args.manner.also_pinned || args.filters.pinned;
    by_condition(query, Manner { also_pinned: wants_pinned, ..args.manner }, setting).await
}

pub(super) async fn clear(args: ClearArgs, setting: &Setting) -> Result<(), Failure> {
    by_condition(EntityQuery::default(), args.manner, setting).await
}

async fn by_condition(query: EntityQuery, manner: Manner, setting: &Setting) -> Result<(), Failure> {
    // Before a node is started or asked for a long list.
    if !manner.dry_run && !manner.yes && !may_ask(setting) {
        return Err(ErrorCode::NotConfirmed.into());
    }
    Link::ask(setting, async |client| {
        let entities = walk::all(&client, query).await?;
        Removal { client, setting, manner, chosen: Chosen::ByCondition }.run(entities).await
    })
    .await
}

/// Whether somebody is there who can see a question and answer it.
fn may_ask(setting: &Setting) -> bool {
    setting.format == Format::People && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// One removal.
struct Removal<'a> {
    client: Client,
    setting: &'a Setting,
    manner: Manner,
    chosen: Chosen,
}

impl Removal<'_> {
    async fn run(&self, entities: Vec<EntityView>) -> Result<(), Failure> {
        let ids: Vec<String> = entities.into_iter().map(|entity| entity.id).collect();
        if self.manner.dry_run {
            let plan = self.plan(&ids).await?;
            return self.setting.answer(&plan, || show(&plan, usize::MAX, Tense::Would, self.setting));
        }
        let ids = if self.chosen == Chosen::ByCondition && !self.manner.yes {
            let plan = self.plan(&ids).await?;
            if plan.count > 0 && !self.ask(&plan)? {
                return Err(Failure::new(ErrorCode::NotConfirmed, "the answer was no"));
            }
            plan.victims.into_iter().map(|victim| victim.id).collect()
        } else {
            ids
        };
        let mut done = Removed::default();
        for ids in ids.chunks(MAX_ORDER) {
            done = done.and(self.client.remove(&self.order(ids)).await?);
        }
        // Who names an entry wants to know that it is still there.
        let refused = done.kept.first().filter(|_| self.chosen == Chosen::ByName);
        if refused.is_none() || !done.removed.is_empty() || self.setting.format == Format::Json {
            self.setting.answer(&done, || outcome(&done, self.setting))?;
        }
        match refused {
            Some(kept) => Err(refusal(kept, &done.kept)),
            None => Ok(()),
        }
    }

    /// What would go, in the order of the last use.
    async fn plan(&self, ids: &[String]) -> Result<PlanView, Failure> {
        let mut plan = PlanView::default();
        for ids in ids.chunks(MAX_ORDER) {
            plan = plan.and(self.client.plan_removal(&self.order(ids)).await?);
        }
        plan.victims.sort_by(|a, b| (a.used_unix_ms, &a.id).cmp(&(b.used_unix_ms, &b.id)));
        Ok(plan)
    }

    fn order(&self, ids: &[String]) -> RemovalOrder {
        let pinned = if self.manner.also_pinned { PinnedToo::Remove } else { PinnedToo::Keep };
        RemovalOrder { ids: ids.to_vec(), pinned }
    }

    fn ask(&self, plan: &PlanView) -> Result<bool, Failure> {
        let mut out = std::io::stderr().lock();
        let size = self.setting.sizes.size(plan.bytes);
        write!(out, "{}remove {} ({size})? [y/N] ", show(plan, SHOWN, Tense::Would, self.setting), entries(plan.count))
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(|error| Failure::output(&error))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

fn outcome(done: &Removed, setting: &Setting) -> String {
    let freed = setting.sizes.size(done.freed);
    format!("removed {}, freed {freed}{}\n", done.removed.len(), staying(&done.kept))
}

fn refusal(first: &Kept, kept: &[Kept]) -> Failure {
    let code = match first.reason {
        KeptReason::InUse => ErrorCode::EntityInUse,
        KeptReason::Pinned => ErrorCode::EntityPinned,
        KeptReason::NotFound => ErrorCode::EntityNotFound,
    };
    let same = kept.iter().filter(|kept| kept.reason == first.reason);
    let ids: Vec<_> = same.map(|kept| safe::line(&short(&kept.id))).collect();
    Failure::new(code, ids.join(", "))
}
