//! Many keys in one request: `{"ops": [{"op": "put", "key": "a", "value": "1"}, …]}`.
//!
//! Holds: a malformed batch changes nothing. In a sound one every operation has its own result,
//! in order; one that is refused does not undo the others. What is read and what is answered
//! both have a bound.

use super::form::{self, Form};
use super::job;
use super::query;
use super::reply::{ErrorBody, Reply};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use shoal_core::quorum::Level;
use shoal_core::record::Body;
use shoal_core::update::{Outcome, SetExpiry, Update, When};
use shoal_core::version::Millis;
use shoal_core::{Record, Version};
use shoal_node::Target;
use shoal_node::{Access, Node};
use shoal_node::{Code, Halt, Refusal};
use std::sync::Arc;

/// The most operations of one batch.
pub(crate) const MAX_OPS: usize = 1_024;

/// How many of its reads are under way at a time, where other nodes answer them.
const READS_AT_ONCE: usize = 64;

/// The most bytes of values that one answer carries.
pub(crate) const MAX_ANSWER: usize = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    ops: Vec<OpDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpDocument {
    op: Kind,
    key: Option<String>,
    key_b64: Option<String>,
    value: Option<String>,
    value_b64: Option<String>,
    ttl: Option<Ttl>,
    event_time: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Get,
    Put,
    Delete,
}

/// `"10s"`, or a number of seconds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ttl {
    Text(String),
    Seconds(u64),
}

/// One operation, checked.
struct Op {
    key: Vec<u8>,
    what: What,
    event_time: Option<Millis>,
}

enum What {
    Get,
    Put { value: Vec<u8>, ttl_ms: Option<Millis> },
    Delete,
}

/// What came of one operation.
enum Done {
    Found {
        value: Vec<u8>,
        version: Version,
        expires_at: Option<Millis>,
    },
    /// Whether the key was new is not known where nobody looked.
    Stored {
        created: Option<bool>,
        version: Option<Version>,
    },
    Removed,
    Absent,
    Refused(Refusal),
}

#[derive(Default, Serialize)]
struct ResultDocument<'a> {
    /// `found`, `absent`, `created`, `replaced`, `stored`, `removed` or `refused`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
}

/// POST of a batch.
pub(crate) async fn run(
    node: &Arc<Node>,
    target: Target,
    level: Option<Level>,
    body: &[u8],
) -> Result<Reply, Refusal> {
    let ops = read(body)?;
    let mut done: Vec<Done> = Vec::with_capacity(ops.len());
    let mut answered = 0;
    let results = job::run(node, move |access| {
        access.at(level);
        // Where a disk or another node must be waited for, the batch goes on from the operation
        // that met it.
        while let Some(op) = ops.get(done.len()) {
            let reads = ops[done.len()..].iter().take_while(|op| matches!(op.what, What::Get));
            let reads = reads.take(READS_AT_ONCE).map(|op| op.key.as_slice());
            if matches!(op.what, What::Get) && access.is_spread(&target) {
                access.ahead_of_commands(&target, reads);
            }
            let result = match step(access, &target, op, MAX_ANSWER - answered) {
                Ok(result) => result,
                Err(halt @ (Halt::Cold | Halt::Away)) => return Err(halt),
                Err(Halt::Refused(refusal)) => Done::Refused(refusal),
            };
            access.over();
            if let Done::Found { value, .. } = &result {
                answered += value.len();
            }
            done.push(result);
        }
        Ok(std::mem::take(&mut done))
    });
    Ok(answer(results.await?))
}

fn read(body: &[u8]) -> Result<Vec<Op>, Refusal> {
    let document: Document = form::parse(body)?;
    if document.ops.len() > MAX_OPS {
        let message = format!("a batch has at most {MAX_OPS} operations");
        return Err(Refusal::new(Code::TooLarge, message));
    }
    let ops = document.ops.into_iter().enumerate().map(|(index, op)| {
        check(op).map_err(|refusal| {
            Refusal::new(refusal.code, format!("ops[{index}]: {}", refusal.message))
        })
    });
    ops.collect()
}

fn check(op: OpDocument) -> Result<Op, Refusal> {
    let bad = |message: &'static str| Err(Refusal::new(Code::BadRequest, message));
    let key = form::read("key", op.key, op.key_b64.as_deref())?;
    let Some(key) = key else { return bad("`key` or `key_b64` is missing") };
    let value = form::read("value", op.value, op.value_b64.as_deref())?;
    let ttl_ms = match op.ttl {
        None => None,
        Some(Ttl::Text(text)) => Some(query::ttl_ms(&text)?),
        Some(Ttl::Seconds(seconds)) => Some(query::ttl_ms(&seconds.to_string())?),
    };
    let event_time = op.event_time.map(query::event_time).transpose()?;
    let what = match (op.op, value) {
        (Kind::Put, Some(value)) => What::Put { value, ttl_ms },
        (Kind::Put, None) => return bad("`value` or `value_b64` is missing"),
        (_, Some(_)) => return bad("only a put takes a value"),
        (_, None) if ttl_ms.is_some() => return bad("only a put takes a ttl"),
        (Kind::Get, None) if event_time.is_some() => return bad("a get takes no event_time"),
        (Kind::Get, None) => What::Get,
        (Kind::Delete, None) => What::Delete,
    };
    Ok(Op { key, what, event_time })
}

fn step(access: &mut Access<'_>, target: &Target, op: &Op, room: usize) -> Result<Done, Halt> {
    match &op.what {
        What::Get => access.read(target, &op.key, |record| found(record, room)),
        What::Put { value, ttl_ms } => {
            let expiry = ttl_ms.map_or(SetExpiry::Never, |ttl| SetExpiry::At(access.now() + ttl));
            let update = Update::Set { value, expiry, when: When::Always };
            access.update_at(target, &op.key, &update, op.event_time, |updated| Done::Stored {
                created: (!updated.blind).then_some(updated.before.is_none()),
                version: updated.version,
            })
        }
        What::Delete => {
            let update = Update::Delete { when: When::Always };
            access.update_at(target, &op.key, &update, op.event_time, |updated| {
                if updated.outcome == Outcome::Unmet { Done::Absent } else { Done::Removed }
            })
        }
    }
}

fn found(record: Option<Record<'_>>, room: usize) -> Done {
    match record.map(|record| (record, record.body)) {
        Some((_, Body::Live { bytes, .. })) if bytes.len() > room => Done::Refused(Refusal::new(
            Code::TooLarge,
            "the answer would be longer than 16 MiB; ask for the rest in another batch",
        )),
        Some((record, Body::Live { bytes, .. })) => Done::Found {
            value: bytes.to_vec(),
            version: record.version,
            expires_at: record.expires_at,
        },
        _ => Done::Absent,
    }
}

fn answer(results: Vec<Done>) -> Reply {
    #[derive(Serialize)]
    struct Answer<'a> {
        results: Vec<ResultDocument<'a>>,
    }
    let mut refusals = Vec::new();
    let mut documents: Vec<ResultDocument<'_>> = Vec::with_capacity(results.len());
    let mut refused_at = Vec::new();
    for (index, done) in results.into_iter().enumerate() {
        documents.push(match done {
            Done::Found { value, version, expires_at } => {
                let (value, value_b64) = Form::of(value).fields();
                let version = Some(version.to_string());
                ResultDocument {
                    status: "found",
                    value,
                    value_b64,
                    version,
                    expires_at,
                    error: None,
                }
            }
            Done::Stored { created, version } => ResultDocument {
                status: match created {
                    Some(true) => "created",
                    Some(false) => "replaced",
                    None => "stored",
                },
                version: version.map(|version| version.to_string()),
                ..ResultDocument::default()
            },
            Done::Removed => ResultDocument { status: "removed", ..ResultDocument::default() },
            Done::Absent => ResultDocument { status: "absent", ..ResultDocument::default() },
            Done::Refused(refusal) => {
                refusals.push(refusal);
                refused_at.push(index);
                ResultDocument { status: "refused", ..ResultDocument::default() }
            }
        });
    }
    for (index, refusal) in refused_at.into_iter().zip(&refusals) {
        documents[index].error = Some(refusal.into());
    }
    Reply::json(StatusCode::OK, &Answer { results: documents })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> Refusal {
        read(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} is taken"))
    }

    #[test]
    fn a_sound_batch_is_read() {
        let ops = read(
            br#"{"ops":[{"op":"get","key":"a"},{"op":"put","key_b64":"/w==","value":"","ttl":5},
                {"op":"put","key":"b","value_b64":"AA==","ttl":"10s","event_time":7},
                {"op":"delete","key":"c"}]}"#,
        )
        .expect("it is sound");
        assert_eq!(ops.len(), 4);
        assert_eq!(ops[1].key, [0xff]);
        let What::Put { value, ttl_ms } = &ops[2].what else { panic!("a put") };
        assert_eq!(
            (value.as_slice(), *ttl_ms, ops[2].event_time),
            (&[0][..], Some(10_000), Some(7))
        );
    }

    #[test]
    fn malformed_batches_are_refused_and_say_where() {
        for (body, words) in [
            ("", "JSON"),
            ("{}", "ops"),
            (r#"{"ops":[],"x":1}"#, "unknown field"),
            (r#"{"ops":[{"op":"incr","key":"a"}]}"#, "unknown variant"),
            (r#"{"ops":[{"op":"get","key":"a"},{"op":"get"}]}"#, "ops[1]: `key`"),
            (r#"{"ops":[{"op":"get","key":"a","key_b64":"YQ=="}]}"#, "ops[0]: `key` and"),
            (r#"{"ops":[{"op":"put","key":"a"}]}"#, "ops[0]: `value`"),
            (r#"{"ops":[{"op":"get","key":"a","value":"b"}]}"#, "ops[0]: only a put"),
            (r#"{"ops":[{"op":"delete","key":"a","ttl":1}]}"#, "ops[0]: only a put"),
            (r#"{"ops":[{"op":"put","key":"a","value":"b","ttl":0}]}"#, "ops[0]: a ttl of 0"),
            (r#"{"ops":[{"op":"put","key":"a","value_b64":"!"}]}"#, "ops[0]: `value_b64`"),
        ] {
            let refusal = refusal(body);
            assert!(refusal.message.contains(words), "{body}: {}", refusal.message);
        }
        let many = vec![r#"{"op":"get","key":"a"}"#; MAX_OPS + 1].join(",");
        assert_eq!(refusal(&format!(r#"{{"ops":[{many}]}}"#)).code, Code::TooLarge);
    }
}
