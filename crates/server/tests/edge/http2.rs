//! HTTP/2 without TLS, on the same port.

use crate::support::Host;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;

async fn connect(host: &Host) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(host.address()).await.expect("it listens");
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    method: Method,
    uri: &str,
    body: &[u8],
) -> impl Future<Output = (u16, Bytes)> + use<> {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .body(Full::new(Bytes::copy_from_slice(body)))
        .expect("a request");
    let answer = sender.send_request(request);
    async move {
        let answer: Response<_> = answer.await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.expect("a body").to_bytes())
    }
}

#[tokio::test]
async fn keys_are_served_and_streams_run_side_by_side() {
    let host = Host::start();
    let mut sender = connect(&host).await;
    let value = vec![7; 1 << 20];
    let (status, _) = ask(&mut sender, Method::PUT, "http://localhost/a//b", &value).await;
    assert_eq!(status, 201);
    let answers: Vec<_> = (0..40)
        .map(|_| ask(&mut sender, Method::GET, "http://localhost/a//b", b""))
        .map(tokio::spawn)
        .collect();
    for answer in answers {
        let (status, body) = answer.await.expect("no panic");
        assert_eq!((status, body.len()), (200, 1 << 20));
    }
    let (status, body) = ask(&mut sender, Method::HEAD, "http://localhost/a//b", b"").await;
    assert_eq!((status, body.len()), (200, 0));
}

#[tokio::test]
async fn foreign_authorities_are_refused() {
    let host = Host::start();
    let mut sender = connect(&host).await;
    let (status, body) = ask(&mut sender, Method::GET, "http://evil.example/key", b"").await;
    assert_eq!(status, 403, "{body:?}");
}

#[tokio::test]
async fn a_stopping_server_says_goodbye() {
    let host = Host::start();
    let mut sender = connect(&host).await;
    let (status, _) = ask(&mut sender, Method::GET, "http://localhost/_ready", b"").await;
    assert_eq!(status, 200);
    let stopping = tokio::task::spawn_blocking(move || host.running.shutdown());
    stopping.await.expect("no panic").expect("it stops cleanly");
    assert!(sender.ready().await.is_err());
}
