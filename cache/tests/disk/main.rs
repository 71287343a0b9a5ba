//! The store on disks that fail: what it promises is held against every cut, refusal, lie and kill.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`sim`] | what is left on a disk when the power goes? |
//! | [`meter`] | at which operation does what happen? |
//! | [`entities`], [`truth`] | what was acknowledged, and does the store still say so? |
//! | [`world`] | what is done with a store? |
//! | [`script`], [`sweep`] | what is swept over, and how? |
//! | [`cuts`] | what if the power goes at the n-th change, and again in recovery? |
//! | [`refusals`] | what if the n-th operation fails? |
//! | [`journal`] | what if the job journal cannot be made shorter? |
//! | [`folds`] | what if either happens while the ledger is folded? |
//! | [`kept`] | what if a single file or directory is refused for good? |
//! | [`deadly`], [`kills`] | what if the process dies at the n-th operation of a real disk, and again in recovery? |
//! | [`rebuilds`] | what if it dies at the n-th operation of a rebuild, and again in the next? |
//! | [`rot`], [`answers`] | is a flipped bit found, or does it change nothing? |
//! | [`foreign`] | what if files are older, swapped, cut, gone or somebody else's? |
//! | [`seeds`] | does any mixture of work, faults and cuts break a promise? |

mod answers;
mod cuts;
mod deadly;
mod entities;
mod folds;
mod foreign;
mod journal;
mod kept;
mod kills;
mod meter;
mod rebuilds;
mod refusals;
mod rot;
mod script;
mod seeds;
mod sim;
mod sweep;
mod truth;
mod world;

#[allow(dead_code, reason = "the other test program uses the rest of it")]
#[path = "../store/support.rs"]
mod support;
