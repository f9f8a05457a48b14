//! What goes over the wire besides nouns and node talk: queries, bodies, answers, frames.
//!
//! Bodies are JSON unless said otherwise. A query refuses parameters it does not know, a body
//! refuses fields it does not know.

pub mod app;
pub mod archive;
pub mod catalog;
pub mod channel;
pub mod console;
pub mod event;
pub mod explain;
pub mod frame;
pub mod image;
pub mod instance;
pub mod list;
pub mod problem;
pub mod service;
pub mod stream;
pub mod system;
pub mod token;
pub mod user;
pub mod volume;
pub mod write;

use model::Kind;

pub use app::{
    AppRollBackRequest, Deployed, RevisionQuery, ScaleRequest, UpRequest, UpgradeRequest,
};
pub use catalog::{
    InstallRequest, TemplateDetail, TemplateList, TemplateSummary, TemplateUpgradeRequest,
    TemplatesQuery, VersionQuery,
};
pub use channel::{Channel, SessionStatus};
pub use console::{ConsoleTicket, TicketQuery};
pub use event::EventsQuery;
pub use explain::ExplainQuery;
pub use image::{
    BuildQuery, ExportQuery, ImageQuery, ImportQuery, LogoutRequest, NodeQuery, PruneImagesQuery,
    PruneRequest, PushRequest, RemoveImageQuery, SaveQuery, TagQuery, TagRequest,
};
pub use instance::{
    ArchiveQuery, CloneRequest, ContainerQuery, Goal, KillRequest, LogsQuery, SettleQuery,
    SnapshotQuery, StatsQuery, StopRequest, TopQuery, WaitFor, WaitQuery, Waited,
};
pub use list::{Change, ChangeKind, List, ListQuery};
pub use problem::Problem;
pub use service::RollBackRequest;
pub use system::{CheckReport, KeysRotated, Status};
pub use token::{NewToken, SignedIn, TokenDraft};
pub use user::{AuditQuery, PasswordRequest, SignInRequest};
pub use volume::{PruneVolumesRequest, PrunedVolumes};
pub use write::{DeleteQuery, Draft, DraftMeta, PlanQuery, RenameRequest};

/// Media type of bytes of any kind.
pub const BYTES: &str = "application/octet-stream";
/// Media type of a JSON value a line (<https://github.com/ndjson/ndjson-spec>).
pub const NDJSON: &str = "application/x-ndjson";
/// Media type of a merge patch (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Media type of a problem document (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";
/// Media type of a log as [frames](frame).
pub const LOG_FRAMES: &str = "application/vnd.hull.log";
/// Media type of an archive.
pub const TAR: &str = "application/x-tar";

/// The word of a kind's collection in paths, e.g. `instances`.
pub fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::App => "apps",
        Kind::Catalog => "catalogs",
        Kind::Config => "configs",
        Kind::Event => "events",
        Kind::Image => "images",
        Kind::Instance => "instances",
        Kind::Network => "networks",
        Kind::Node => "nodes",
        Kind::Operation => "operations",
        Kind::Project => "projects",
        Kind::Secret => "secrets",
        Kind::Service => "services",
        Kind::Snapshot => "snapshots",
        Kind::Token => "tokens",
        Kind::User => "users",
        Kind::Volume => "volumes",
    }
}
