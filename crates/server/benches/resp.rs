//! How fast requests are cut and replies are written.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shoal_server::resp::frame::{Parser, Step};
use shoal_server::resp::reply::{Protocol, Reply};
use shoal_server::resp::table;
use std::hint::black_box;

/// How many commands a read of a pipelining client holds.
const PIPELINE: usize = 16;

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Cuts all of `input` into commands and gives the number of their words.
fn parse(parser: &mut Parser, input: &[u8]) -> usize {
    let (mut at, mut words) = (0, 0);
    while let Ok(Step::Command { consumed } | Step::Blank { consumed }) = parser.next(&input[at..])
    {
        words += parser.words(&input[at..]).len();
        at += consumed;
    }
    words
}

fn parser(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    let value = [b'v'; 100];
    let keys: Vec<String> = (0..100).map(|n| format!("key:{n:012}")).collect();
    let mget: Vec<&[u8]> =
        std::iter::once("MGET").chain(keys.iter().map(String::as_str)).map(str::as_bytes).collect();
    for (name, one, times) in [
        ("get", request(&[b"GET", b"key:000000000001"]), PIPELINE),
        ("set 100 B", request(&[b"SET", b"key:000000000001", &value]), PIPELINE),
        ("mget of 100", request(&mget), 1),
        ("inline get", b"GET key:000000000001\r\n".to_vec(), PIPELINE),
    ] {
        let input = one.repeat(times);
        group.throughput(Throughput::Elements(times as u64));
        group.bench_function(name, |b| {
            let mut parser = Parser::default();
            b.iter(|| parse(&mut parser, black_box(&input)));
        });
    }
    group.finish();
}

fn lookup(c: &mut Criterion) {
    c.bench_function("lookup", |b| {
        let names = [&b"GET"[..], b"set", b"INCRBYFLOAT", b"pexpireat"];
        let mut next = names.iter().cycle();
        b.iter(|| next.next().map(|name| table::find(black_box(name))));
    });
}

/// Writes one reply, perhaps of the value it is given.
type Write = fn(&mut Reply<'_>, &[u8]);

fn encoder(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let value = [b'v'; 100];
    let replies: [(&str, Write); 4] = [
        ("ok", |reply, _| reply.ok()),
        ("bulk 100 B", |reply, value| reply.bulk(value)),
        ("integer", |reply, _| reply.integer(black_box(1_234_567))),
        ("null", |reply, _| reply.null()),
    ];
    for (name, write) in replies {
        group.throughput(Throughput::Elements(PIPELINE as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || Vec::with_capacity(4096),
                |out| {
                    let mut reply = Reply::new(out, Protocol::Resp2);
                    for _ in 0..PIPELINE {
                        write(&mut reply, black_box(&value));
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, parser, lookup, encoder);
criterion_main!(benches);
