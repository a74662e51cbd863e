//! Reading bodies, bounded in length and in patience.
//!
//! Holds: a body over the limit is refused from its announced length, before a byte of it is
//! read, and never held beyond the limit if it was not announced. A body that trickles is cut.

use crate::connection::{Charge, Pace, Shared};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use shoal_node::{Code, Refusal};
use tokio::time::{Instant, timeout_at};

/// The longest JSON body, in bytes.
pub(crate) const MAX_JSON: usize = 16 << 20;

/// How much room is made at once for a body whose announced length has yet to come true.
const FIRST_ROOM: usize = 256 << 10;

/// Reads the whole body, at most `limit` bytes of it. While the answer's second part is kept, a
/// long body counts against what may come in in the whole server.
pub(crate) async fn read(
    shared: &Shared,
    body: Incoming,
    limit: usize,
    too_long: Code,
) -> Result<(Bytes, Option<Charge>), Refusal> {
    let refuse = || Refusal::new(too_long, format!("the body is longer than {limit} bytes"));
    let announced = body.size_hint().exact();
    if body.size_hint().lower() > limit as u64 {
        return Err(refuse());
    }
    let mut body = body;
    let mut pace = Pace::new(shared.config.slow_request);
    let mut held = None;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let deadline = pace.deadline(Instant::now());
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(Refusal::new(Code::BadRequest, format!("the body broke off: {error}")));
            }
            Err(_) if pace.is_too_slow(Instant::now()) => {
                return Err(Refusal::new(Code::Timeout, "the body came too slowly"));
            }
            Err(_) => continue,
        };
        let Ok(data) = frame.into_data() else { continue };
        pace.grew(data.len());
        if first.len() + all.len() + data.len() > limit {
            return Err(refuse());
        }
        if first.is_empty() && all.is_empty() {
            // A short body comes in one piece and needs no copy.
            first = data;
            continue;
        }
        if all.is_empty() {
            let room = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            all.reserve(room.min(FIRST_ROOM).max(first.len() + data.len()));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
        if shared.input.recharge(&mut held, all.capacity()).is_err() {
            let message = "too many long requests are coming in";
            return Err(Refusal::new(Code::MemoryFull, message));
        }
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, held))
}
