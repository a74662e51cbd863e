//! HTTP, for `curl` and everything else that speaks it: version 1 and, without TLS, version 2.
//!
//! Holds: requests are checked in one order: who asks, which route, which parameters, then the
//! body. Nothing of a refused request takes effect. No answer leaves before what it tells is as
//! durable as its keyspace asks.
//!
//! Does not know: sockets beyond reading and writing them, or anything of the Redis protocol.

mod batch;
mod body;
mod cluster;
mod conditions;
mod form;
mod guard;
mod job;
mod keys;
mod keyspaces;
mod meter;
pub mod openapi;
mod own;
pub mod path;
mod query;
mod reply;
pub mod routes;
mod scan;
mod screen;
mod system;

pub(crate) use body::MAX_JSON;
pub use routes::{BodyKind, Parameter, Place, ROUTES, Route};

use crate::connection::registry::Entry;
use crate::connection::{End, Shared, made, turn};
use crate::resp::figures::unix_time_ms;
use bytes::Bytes;
use conditions::Conditions;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::CONNECTION;
use hyper::http::request::Parts;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use meter::{Meter, Metered};
use query::Query;
use reply::Reply;
use routes::{Captures, Handler, Miss};
use shoal_node::{Code, Refusal, Target};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// The longest head of a request: a key of 16,384 bytes, each percent-encoded, and headers.
const MAX_HEAD: usize = 128 << 10;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// Streams of one HTTP/2 connection that may be open at a time.
const MAX_STREAMS: u32 = 64;

/// Streams reset before they were looked at that a peer may leave behind.
const MAX_RESETS: usize = 32;

/// How often a silent HTTP/2 peer is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(60);

/// What all requests of one connection share.
struct Context {
    shared: Arc<Shared>,
    entry: Entry,
    meter: Rc<Meter>,
    loopback_tcp: bool,
}

/// Puts the streams of a connection on the thread that has the connection.
#[derive(Clone, Copy)]
struct HereExecutor;

impl<F: Future<Output = ()> + 'static> Executor<F> for HereExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve_connection<S>(
    shared: Arc<Shared>,
    stream: S,
    entry: Entry,
    loopback_tcp: bool,
    is_h2: bool,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let meter = Meter::new(&shared.config);
    let client = Arc::clone(&entry.client);
    let (watch, watched) = (Rc::clone(&meter), Arc::clone(&client));
    let io = Metered::new(stream, watch, watched, Arc::clone(&shared), is_h2);
    let context = Rc::new(Context { shared: Arc::clone(&shared), entry, meter, loopback_tcp });
    let service = service_fn(move |request| {
        let context = Rc::clone(&context);
        async move { Ok::<_, Infallible>(answer(&context, request).await) }
    });
    let io = TokioIo::new(io);
    let outcome = if is_h2 {
        let connection = h2_builder().serve_connection(io, service);
        let mut connection = pin!(connection);
        drive(&shared, &client, connection.as_mut(), |connection| connection.graceful_shutdown())
            .await
    } else {
        let connection = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(io, service);
        let mut connection = pin!(connection);
        drive(&shared, &client, connection.as_mut(), |connection| connection.graceful_shutdown())
            .await
    };
    match outcome {
        Ok(()) => End::Closed,
        Err(End::Killed) => End::Killed,
        Err(end) => end,
    }
}

fn h2_builder() -> http2::Builder<HereExecutor> {
    let mut builder = http2::Builder::new(HereExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_send_buf_size(1 << 20)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY / 3);
    builder
}

/// Drives a connection; ends it when it is killed, and lets it finish when the server stops.
async fn drive<C>(
    shared: &Shared,
    client: &crate::connection::Client,
    mut connection: std::pin::Pin<&mut C>,
    finish: impl Fn(std::pin::Pin<&mut C>),
) -> Result<(), End>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut known: Option<std::task::Waker> = None;
    let mut finishing = false;
    poll_fn(|cx| {
        if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            client.set_waker(cx.waker());
            known = Some(cx.waker().clone());
        }
        if client.is_killed() {
            return Poll::Ready(Err(End::Killed));
        }
        if shared.is_stopping() && !finishing {
            finishing = true;
            finish(connection.as_mut());
        }
        connection.as_mut().poll(cx).map_err(|error| {
            tracing::debug!(client = client.id, %error, "an HTTP connection ended badly");
            if error.is_timeout() { End::SlowRequest } else { End::Closed }
        })
    })
    .await
}

/// Answers one request.
async fn answer(context: &Rc<Context>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let _working = context.meter.begin();
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    let ambiguous = context.meter.verdict();
    let answered = match ambiguous {
        Some(why) => Err(Refusal::new(Code::BadRequest, why)),
        None => handle(context, &head, body).await,
    };
    let reply = answered.unwrap_or_else(|refusal| {
        tracing::debug!(code = refusal.code.row().code, "a request was refused");
        if has_body {
            context.meter.linger();
        }
        Reply::refusal(&refusal)
    });
    let shared = &context.shared;
    shared.counters.add_commands(1);
    context.entry.client.update(|shown| {
        shown.commands += 1;
        shown.command = "http";
        shown.last_active_ms = unix_time_ms();
    });
    let asked_to_close = head.version == Version::HTTP_10 && !head.headers.contains_key(CONNECTION);
    let last = head.version != Version::HTTP_2
        && (asked_to_close || ambiguous.is_some() || shared.is_stopping());
    made(reply.length());
    reply.charged(&shared.output, &context.entry.client).into_response(last)
}

async fn handle(context: &Context, head: &Parts, body: Incoming) -> Result<Reply, Refusal> {
    let shared = &context.shared;
    guard::check(context.loopback_tcp, head.version, &head.uri, &head.headers)?;
    let (route, captures) = match routes::find(&head.method, head.uri.path()) {
        Ok(found) => found,
        Err(Miss::Refused(refusal)) => return Err(refusal),
        Err(Miss::Method(allowed)) => return Ok(Reply::method_not_allowed(&allowed)),
    };
    if !route.handler.is_administration() && shared.registry.count() > shared.client_limit() {
        let message = "too many connections; the last tenth is kept for administration";
        return Err(Refusal::new(Code::TooManyClients, message));
    }
    let query = Query::parse(head.uri.query(), route.parameters)?;
    let (limit, too_long) = match route.body {
        BodyKind::None => (0, Code::BadRequest),
        BodyKind::Value => (shared.config.max_value, Code::ValueTooLarge),
        BodyKind::Json => (MAX_JSON, Code::TooLarge),
    };
    let (body, _charge) = match route.body {
        // What a GET carries means nothing; hyper skips it.
        BodyKind::None => (Bytes::new(), None),
        _ => body::read(shared, body, limit, too_long).await?,
    };
    if !route.handler.is_administration() {
        turn().await;
    }
    dispatch(shared, route.handler, captures, head, &query, body).await
}

async fn dispatch(
    shared: &Shared,
    handler: Handler,
    captures: Captures,
    head: &Parts,
    query: &Query,
    body: Bytes,
) -> Result<Reply, Refusal> {
    let node = &shared.node;
    let name = captures.keyspace.clone().unwrap_or_default();
    let target = captures.keyspace.map_or(Target::DEFAULT, |name| Target::Named(name.into()));
    let level = query.level()?;
    let place = keys::Place { target: target.clone(), key: captures.key, level };
    let conditions = || Conditions::of(&head.headers);
    match handler {
        Handler::GetKey => keys::get(node, place, conditions()?, true).await,
        Handler::HeadKey => keys::get(node, place, conditions()?, false).await,
        Handler::PutKey => keys::put(node, place, conditions()?, query, body).await,
        Handler::DeleteKey => keys::delete(node, place, conditions()?, query).await,
        Handler::Batch => batch::run(node, target, level, &body).await,
        Handler::Scan => scan::run(node, target, query).await,
        Handler::ListKeyspaces => Ok(keyspaces::list(node)),
        Handler::CreateKeyspace => keyspaces::create(node, name, &body).await,
        Handler::DescribeKeyspace => keyspaces::describe(node, &name),
        Handler::AlterKeyspace => keyspaces::alter(node, name, &body).await,
        Handler::DropKeyspace => keyspaces::drop(node, name).await,
        Handler::Compact => system::compact(node).await,
        _ => administer(shared, handler, place, &captures.name, query).await,
    }
}

async fn administer(
    shared: &Shared,
    handler: Handler,
    place: keys::Place,
    name: &str,
    query: &Query,
) -> Result<Reply, Refusal> {
    let node = &shared.node;
    match handler {
        Handler::ClusterStatus => Ok(cluster::status(node)),
        Handler::ClusterNodes => Ok(cluster::nodes(shared)),
        Handler::ClusterMap => cluster::map(node, query),
        Handler::ClusterEvents => Ok(cluster::events(node)),
        Handler::Forget => cluster::forget(node, name.to_owned()).await,
        Handler::AcceptLoss => cluster::accept_loss(node, query).await,
        Handler::Explain => cluster::explain(node, &place.target, place.key).await,
        Handler::LocalKeys => cluster::local_keys(node, place.target, query).await,
        Handler::KeyNodes => cluster::key_nodes(shared, query, &place.key),
        Handler::Discovery => Ok(cluster::discovery(shared)),
        Handler::DiscoveryPlain => Ok(cluster::discovery_plain(shared)),
        Handler::Health => Ok(system::health(shared)),
        Handler::Ready => Ok(system::ready(shared)),
        Handler::Metrics => {
            let text = crate::metrics::render(shared);
            Ok(Reply::text(crate::metrics::CONTENT_TYPE, text))
        }
        Handler::OpenApi => Ok(Reply::json(hyper::StatusCode::OK, &openapi::document())),
        Handler::Errors => Ok(system::errors()),
        _ => Err(Refusal::new(Code::NoRoute, "there is nothing at this path")),
    }
}
