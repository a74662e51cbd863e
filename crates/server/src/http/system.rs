//! The node itself: health, readiness, compaction, and the table of errors.

use super::job;
use super::reply::{ErrorBody, Reply};
use crate::connection::Shared;
use hyper::StatusCode;
use serde::Serialize;
use shoal_node::{Code, Node, Refusal};
use std::sync::Arc;

#[derive(Serialize)]
struct State<'a> {
    status: &'static str,
    /// Why writes are refused, if they are, in the form of every refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
    uptime_seconds: u64,
}

/// GET of `/_health`: 503 where only a restart helps.
pub(crate) fn health(shared: &Shared) -> Reply {
    let refusing = shared.node.refusing_writes();
    let hopeless = refusing.as_ref().is_some_and(|refusal| !refusal.code.row().retry_helps);
    state(shared, refusing.as_ref(), hopeless)
}

/// GET of `/_ready`: 503 where requests had better go elsewhere.
pub(crate) fn ready(shared: &Shared) -> Reply {
    let refusing = shared.node.refusing_writes();
    state(shared, refusing.as_ref(), shared.is_stopping() || refusing.is_some())
}

fn state(shared: &Shared, refusing: Option<&Refusal>, unavailable: bool) -> Reply {
    let uptime_seconds = shared.started.elapsed().as_secs();
    state_of(refusing, shared.is_stopping(), unavailable, uptime_seconds)
}

fn state_of(
    refusing: Option<&Refusal>,
    stopping: bool,
    unavailable: bool,
    uptime_seconds: u64,
) -> Reply {
    let status = match refusing {
        _ if stopping => "stopping",
        Some(_) => "refusing_writes",
        None => "ok",
    };
    let code = if unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let error = refusing.map(ErrorBody::from);
    Reply::json(code, &State { status, error, uptime_seconds })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_told_by_its_stable_code() {
        for (code, word) in [
            (None, "ok"),
            (Some(Code::DiskFull), "refusing_writes"),
            (Some(Code::StorageStopped), "refusing_writes"),
            (Some(Code::MapInDoubt), "refusing_writes"),
        ] {
            let refusal = code.map(|code| Refusal::new(code, "why"));
            let reply = state_of(refusal.as_ref(), false, code.is_some(), 7);
            let (status, body) = reply.parts();
            let document: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            assert_eq!(status, if code.is_some() { 503 } else { 200 });
            assert_eq!(document["status"], word);
            assert_eq!(document["uptime_seconds"], 7);
            assert_eq!(document["error"]["code"].as_str(), code.map(|code| code.row().code));
        }
        let stopping = state_of(None, true, true, 7);
        let document: serde_json::Value = serde_json::from_slice(stopping.parts().1).expect("JSON");
        assert_eq!((stopping.parts().0, &document["status"]), (503, &"stopping".into()));
    }
}
