//! The JSON of the control API: what a program says to the node on this machine, and what it hears back.
//!
//! | module | nouns |
//! |---|---|
//! | [`amount`] | sizes, shares and ages as people write them |
//! | [`job`] | what a job is made of, how it stands |
//! | [`head`] | what an origin answered last |
//! | [`terms`] | what else a job says, how it is changed, what it waits for |
//! | [`check`] | what is refused before anybody tries it |
//! | [`cache`] | what the store holds, and what may be done about it |
//! | [`doctor`] | what is wrong with a node |
//! | [`peers`] | who is in the group, and whom this node talks to |
//! | [`evidence`] | proof that a member lied |
//! | [`trust`] | on whose word bytes are believed |
//! | [`report`] | the account of bytes |
//! | [`gateway`] | what was asked of each mount of the gateway |
//! | [`status`] | the node itself |
//! | [`events`] | what happened to jobs |
//! | [`problem`] | every refusal and failure (RFC 9457) |
//! | [`page`] | lists that are read in pieces |
//!
//! Rules of the format: ids are opaque strings; sizes are whole bytes; points in time are milliseconds since the Unix
//! epoch; URLs that the node shows are redacted (T-36). A reader ignores fields that it does not know, a writer never
//! changes the meaning of one that exists; what cannot be kept that way moves to another path prefix than [`PREFIX`].

pub mod amount;
pub mod cache;
pub mod check;
pub mod doctor;
pub mod events;
pub mod evidence;
pub mod gateway;
pub mod head;
pub mod job;
pub mod page;
pub mod peers;
pub mod problem;
pub mod report;
pub mod status;
pub mod terms;
pub mod trust;

pub use cache::{
    CacheView, EntityDetail, EntityQuery, EntityView, ExportEnd, ExportOrder, ExportView, Held, ImportQuery,
    ImportView, Kept, KeptReason, LeftOut, LimitView, LimitsChange, LimitsOutcome, LimitsView, MAX_ORDER, MAX_PACKED,
    MAX_PIECE, PackedView, PinChange, PinnedToo, Place, PlanView, Planned, RemovalOrder, Removed, VerifiedView,
    VerifyProgress,
};
pub use doctor::{DoctorReport, Finding, Severity};
pub use events::{EventKind, EventView, MAX_WAIT, WaitQuery};
pub use evidence::{BadEvidence, ClaimView, EVIDENCE_FORMAT, EvidenceView, MAX_EVIDENCE};
pub use gateway::{GatewayView, MountView};
pub use head::HeadView;
pub use job::{
    Asking, BatchView, ByteRange, DigestCheck, FileQuery, FileSpec, FileState, FileView, FilledView, Finish, JobAction,
    JobBatch, JobSpec, JobState, JobView, MAX_BATCH, MadeJob, PeerUse, Priority, RangeOrder, Sources,
};
pub use page::{DEFAULT_PAGE, MAX_PAGE, Page, PageQuery};
pub use peers::{PeerDetail, PeerState, PeerView, PeersView, SwarmRead, SwarmShare, SwarmView};
pub use problem::{PROBLEM_MEDIA_TYPE, Problem};
pub use report::{Account, Identity, Received, ReportRow, ReportView, Wasted};
pub use status::{Mode, StatusView};
pub use terms::{
    Authorization, Forget, HeaderField, HeaderView, JobChange, MoreFiles, Redirects, Relocation, Terms, TermsView,
    UrlChange, Waiting,
};
pub use trust::{DigestBy, Grounds, Rung};

/// The path prefix of this version of the API.
pub const PREFIX: &str = "/v1";

/// Bytes of the largest request body that the API reads: a job with [`job::MAX_FILES`] files of ordinary URLs fits.
pub const MAX_BODY: usize = 4 * 1024 * 1024;
