//! A server in a folder of its own, and a client that sends exactly what it is told.

use shoal_server::config::{Origin, Raw, Resolved, Words, resolve};
use shoal_server::listener::ListenAddress;
use shoal_server::{Running, Server};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and its folder.
pub(crate) struct Host {
    pub(crate) running: Running,
    _folder: TempDir,
}

/// Settings for a server at `data`, with whatever else is given.
pub(crate) fn settings(data: &Path, more: &[(&str, &str)]) -> Resolved {
    let mut raw = Raw {
        data: Some(data.join("data").to_str().expect("a plain path").into()),
        listen: Some("127.0.0.1:0".into()),
        memory_limit: Some("64MiB".into()),
        ..Raw::default()
    };
    for (name, value) in more {
        assert!(raw.set(name, Words::from(*value)), "there is no setting {name}");
    }
    resolve(&[(Origin::Flag, raw)]).expect("the settings are sound")
}

impl Host {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let running = Server::start(settings(folder.path(), more)).expect("it starts");
        Self { running, _folder: folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.running)
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.address())
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        self.connect().ask(method, path, headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("PUT", path, &[], body)
    }
}

pub(crate) fn address(running: &Running) -> SocketAddr {
    let tcp = running.addresses().iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    });
    tcp.expect("it listens on TCP")
}

/// A connection of bytes.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().expect("a refusal").to_owned()
    }

    pub(crate) fn etag(&self) -> &str {
        self.header("etag").expect("an entity tag")
    }
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    /// As [`Connection::send`], where the server may have closed already.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        match self.stream.read_to_end(&mut all) {
            Ok(_) => all,
            // What a server leaves unread when it closes makes a reset of the close.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => all,
            Err(error) => panic!("the connection is not closed: {error}"),
        }
    }

    /// One line, without its end.
    pub(crate) fn line(&mut self) -> String {
        self.try_line().expect("a line")
    }

    /// As [`Connection::line`], where the server may have closed already.
    pub(crate) fn try_line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST" | "PATCH") {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes);
        self.answer(method == "HEAD")
    }

    pub(crate) fn answer(&mut self, without_body: bool) -> Answer {
        let first = self.line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {first:?}"));
        let mut headers = HashMap::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').expect("a header");
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; if without_body { 0 } else { length.unwrap_or(0) }];
        self.stream.read_exact(&mut body).expect("the whole body");
        Answer { status, headers, body }
    }
}
