//! The OpenAPI 3.1 document: made from the routes and the types, checked in as `node/openapi.json`.

use super::routes;
use eddy_wire::api::JobAction;
use utoipa::OpenApi;
use utoipa::openapi::path::{HttpMethod, PathItem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "eddy control API",
        description = "HTTP/1.1 with JSON over the Unix domain socket of the node on this machine. Sizes are bytes, points in \
                       time are milliseconds since the Unix epoch, ids are opaque. Every refusal is problem+json (RFC 9457).",
        version = "1.0.0",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    paths(
        routes::status, routes::shutdown, routes::jobs, routes::create_job, routes::create_jobs, routes::job, routes::change_job, routes::add_files, routes::order_ranges, routes::filled, routes::heads, routes::watch_job, routes::cache, routes::entities, routes::entity, routes::pin, routes::unpin, routes::set_limits, routes::verify, routes::export, routes::import, routes::plan_removal, routes::remove, routes::peers, routes::peer, routes::report, routes::gateway, routes::metrics, routes::follow_events, routes::list_events, routes::wait_job,
    ),
    // What `eddy doctor` says is no answer of the API, but programs read it, too.
    components(schemas(eddy_wire::api::DoctorReport)),
    tags(
        (name = "node", description = "The node itself."),
        (name = "jobs", description = "What is fetched, and how it stands."),
        (name = "events", description = "What happened to jobs."),
        (name = "cache", description = "What the store holds."),
        (name = "peers", description = "The group and its members."),
        (name = "report", description = "The account of bytes."),
    ),
)]
struct Document;

/// The document as a value.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    // The actions are one handler; each is a copy of the job's own path with another verb and id.
    let job = document.paths.paths.get("/v1/jobs/{id}").and_then(|item| item.get.clone()).unwrap_or_default();
    for action in JobAction::ALL {
        let mut operation = job.clone();
        operation.operation_id = Some(format!("{}_job", action.path()));
        operation.summary = Some(summary(action).to_owned());
        operation.description = None;
        let path = format!("/v1/jobs/{{id}}/{}", action.path());
        document.paths.paths.insert(path, PathItem::new(HttpMethod::Post, operation));
    }
    document
}

fn summary(action: JobAction) -> &'static str {
    match action {
        JobAction::Resume => "Goes on with a job, or tries again now.",
        JobAction::Pause => "Stops a job and keeps everything.",
        JobAction::Cancel => "Stops a job and leaves nothing behind.",
        JobAction::Finish => "Puts what is complete at its destination and ends the job.",
        JobAction::Take => "Makes a job the caller's own, without the secrets of its last owner.",
    }
}

/// The document as text, ending in a line feed.
#[must_use]
pub fn text() -> String {
    // A tree of strings and numbers; JSON takes all of it.
    document().to_pretty_json().map_or_else(|_| String::from("{}"), |text| text + "\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// `EDDY_BLESS=1 cargo test -p eddy-node openapi` writes the file anew.
    #[test]
    fn the_document_that_is_checked_in_is_the_one_that_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let text = super::text();
        if std::env::var_os("EDDY_BLESS").is_some() {
            std::fs::write(&path, &text).expect("the file can be written");
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(checked_in == text, "node/openapi.json is not up to date: EDDY_BLESS=1 writes it");
    }

    #[test]
    fn it_is_openapi_3_1_and_has_every_path() {
        let document = serde_json::to_value(super::document()).expect("JSON");
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().expect("paths");
        assert_eq!(paths.len(), 32, "{:?}", paths.keys().collect::<Vec<_>>());
        for (path, item) in paths {
            for (_, operation) in item.as_object().expect("methods") {
                let refusal = &operation["responses"]["default"]["content"]["application/problem+json"];
                assert!(refusal.is_object(), "{path} says how it refuses");
            }
        }
    }
}
