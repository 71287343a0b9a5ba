//! Packages: entities in a file, to carry from one node to another.

use crate::api::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Entities that one package may have.
pub const MAX_PACKED: usize = 10_000;

/// Bytes of the longest piece in which a package is sent to whoever asked for it.
pub const MAX_PIECE: usize = 1024 * 1024;

/// Which entities are to be packed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportOrder {
    /// Their whole ids, at most 10,000.
    pub ids: Vec<String>,
    /// Packs private ones, too: who has the package then has them.
    #[serde(default)]
    pub also_private: bool,
}

/// How the pieces of a package end: behind the last piece stands a length of zero and one of these as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportEnd {
    /// The package is whole.
    Done(ExportView),
    /// It is not.
    Failed(Problem),
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportView {
    /// Entities in it.
    pub entities: u64,
    /// Bytes of their content in it.
    pub bytes: u64,
    /// The key that signed it: this node's name.
    pub signer: String,
    /// What was asked for and is not, or not wholly, in it.
    pub left_out: Vec<LeftOut>,
}

/// An entity that did not go into a package, or did not come out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOut {
    /// Its id.
    pub id: String,
    /// Why, in words.
    pub reason: String,
}

/// How a package is taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct ImportQuery {
    /// Only says what the package has.
    pub dry_run: bool,
    /// The name of the node that is trusted to have signed it; without, any member of this node's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

/// What a package has, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportView {
    /// The key that signed it.
    pub signer: String,
    /// What it has.
    pub entities: Vec<PackedView>,
    /// Bytes that came in.
    pub bytes: u64,
    /// What did not come in.
    pub left_out: Vec<LeftOut>,
}

/// An entity of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackedView {
    /// Its id here.
    pub id: String,
    /// Its URL, redacted.
    pub url: String,
    /// Bytes of the whole entity.
    pub length: u64,
    /// Bytes of it that the package has.
    pub packed: u64,
    /// Whether peers may have it.
    pub shareable: bool,
}
