//! Scratch.
use shoal_server::connection::Shared;
use shoal_server::resp::{Local, Run};
use std::io::{Read, Write};
use std::sync::Arc;
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let port: u16 = std::env::args().nth(2).unwrap().parse().unwrap();
    let memory = std::env::args().nth(3).as_deref() == Some("memory");
    let config = shoal_server::config::resolve(&[]).unwrap();
    let node = shoal_node::Node::start(shoal_node::NodeConfig {
        data: dir.into(),
        memory_limit: 256 << 20,
        default_in_memory: memory,
        ..Default::default()
    })
    .unwrap();
    let shared = Arc::new(Shared::new(node, Arc::new(config), Vec::new()));
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for stream in listener.incoming() {
        let shared = Arc::clone(&shared);
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let mut local = Local::new(&shared);
            let mut buf = vec![0; 65536];
            loop {
                let n = match stream.read(&mut buf) {
                    Ok(0) | Err(_) => return,
                    Ok(n) => n,
                };
                let mut out = Vec::new();
                let run = local.talk(&buf[..n], &mut out);
                if stream.write_all(&out).is_err() || run == Run::Close {
                    return;
                }
            }
        });
    }
}
