//! The node itself: health, readiness, compaction, and the table of errors.

use super::job;
use super::reply::Reply;
use crate::connection::Shared;
use hyper::StatusCode;
use serde::Serialize;
use shoal_node::{Code, Node, Refusal};
use shoal_storage::EngineError;
use std::sync::Arc;

#[derive(Serialize)]
struct State {
    status: &'static str,
    /// Why writes are refused, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusing_writes: Option<String>,
    uptime_seconds: u64,
}

/// GET of `/_health`: 503 where only a restart helps.
pub(crate) fn health(shared: &Shared) -> Reply {
    state(shared, false)
}

/// GET of `/_ready`: 503 where requests had better go elsewhere.
pub(crate) fn ready(shared: &Shared) -> Reply {
    state(shared, shared.is_stopping())
}

fn state(shared: &Shared, stopping: bool) -> Reply {
    let status = shared.node.status();
    let refusing = status.disk.refusing.or(status.memory.refusing);
    let stopped = matches!(refusing, Some(EngineError::Poisoned(_)));
    let word = match (stopping, stopped, &refusing) {
        (true, ..) => "stopping",
        (_, true, _) => "storage_stopped",
        (.., Some(_)) => "refusing_writes",
        _ => "ok",
    };
    let code = if stopping || stopped { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let document = State {
        status: word,
        refusing_writes: refusing.map(|error| error.to_string()),
        uptime_seconds: status.uptime_seconds,
    };
    Reply::json(code, &document)
}

/// POST of `/v1/compact`.
pub(crate) async fn compact(node: &Arc<Node>) -> Result<Reply, Refusal> {
    let there = Arc::clone(node);
    job::blocking(move || there.compact()).await??;
    Ok(Reply::status(StatusCode::NO_CONTENT))
}

/// GET of `/v1/errors`.
pub(crate) fn errors() -> Reply {
    #[derive(Serialize)]
    struct Row {
        code: &'static str,
        resp_prefix: &'static str,
        http_status: u16,
        may_have_happened: bool,
        retry_helps: bool,
        meaning: &'static str,
    }
    #[derive(Serialize)]
    struct Document {
        errors: Vec<Row>,
    }
    let row = |code: &Code| {
        let row = code.row();
        Row {
            code: row.code,
            resp_prefix: row.resp_prefix,
            http_status: row.http_status,
            may_have_happened: row.may_have_happened,
            retry_helps: row.retry_helps,
            meaning: row.meaning,
        }
    };
    Reply::json(StatusCode::OK, &Document { errors: Code::ALL.iter().map(row).collect() })
}
