//! The documentation that is made from tables: settings, routes, errors, metrics.
//!
//! Holds: the files under `docs/` are what these functions give; a test compares them.

use crate::config::FIELDS;
use crate::http::{BodyKind, ROUTES};
use crate::metrics::listed;
use shoal_node::Code;
use std::fmt::Write;

const NOTE: &str = "<!-- Made from the source by a test; UPDATE_DOCS=1 cargo test -p shoal-server \
                    --test edge docs makes it again. -->\n\n";

/// `docs/errors.md`.
#[must_use]
pub fn errors() -> String {
    let mut text = format!(
        "# Errors\n\n{NOTE}Every refusal has a code that never changes its meaning. Over HTTP it is \
         JSON, `{{\"error\": {{\"code\", \"message\", \"may_have_happened\", \"retry_helps\"}}}}`; in the Redis \
         protocol an error that begins with the prefix. *May have happened*: the request may have \
         taken effect all the same. *Retry helps*: the same request may succeed later.\n\n\
         | code | meaning | HTTP | Redis | may have happened | retry helps |\n\
         | --- | --- | --- | --- | --- | --- |\n"
    );
    for code in Code::ALL {
        let row = code.row();
        let yes = |yes| if yes { "yes" } else { "no" };
        line(
            &mut text,
            format_args!(
                "| `{}` | {} | {} | `{}` | {} | {} |",
                row.code,
                row.meaning,
                row.http_status,
                row.resp_prefix,
                yes(row.may_have_happened),
                yes(row.retry_helps)
            ),
        );
    }
    text
}

/// `docs/http.md`.
#[must_use]
pub fn http() -> String {
    let mut text = format!(
        "# HTTP\n\n{NOTE}HTTP/1.1 and HTTP/2 (without TLS) are served on the same port as the Redis \
         protocol. Values are raw bytes both ways. A key is everything after its slash, \
         percent-decoded once and never normalised: `//`, `..` and `%00` are ordinary. Keys named \
         `metrics`, `v1/…` or `_…` are reachable under `/v1/keyspaces/default/keys/` only. In JSON, \
         bytes stand in `key` and `value` where they are UTF-8, else in `key_b64` and `value_b64`. \
         Unknown parameters and fields are refused. Refusals are listed in \
         [errors.md](errors.md). On a loopback address, `Host` and `Origin` must be local.\n\n\
         Over HTTP/1.1 what cannot be read as a request is refused in the same form, and the \
         connection closes: a malformed request line or header is `bad_request`; a head over \
         128 KiB or 64 headers, and a target over 65,534 bytes on a connection that is in use, are \
         `head_too_large`. Without a JSON answer remain: a connection over the limit, which is told \
         `-ERR max number of clients reached` before it is known what it speaks; a first line that \
         does not end in ` HTTP/1.0` or ` HTTP/1.1`, or is longer than 64 KiB, which is taken for \
         the Redis protocol; a head that comes too slowly, which ends the connection without a \
         word; and over HTTP/2 what breaks the protocol itself, which is answered by its own \
         frames (RST_STREAM, GOAWAY, and status 431 without a body for a head that is too long).\n"
    );
    for route in ROUTES {
        line(
            &mut text,
            format_args!("\n## {} {}\n\n{}\n", route.method, route.path, route.summary),
        );
        match route.body {
            BodyKind::None => {}
            BodyKind::Value => line(&mut text, format_args!("Body: the value, as it is.\n")),
            BodyKind::Json => line(&mut text, format_args!("Body: JSON.\n")),
        }
        for parameter in route.parameters {
            let place = parameter.place.name();
            line(&mut text, format_args!("- `{}` ({place}): {}", parameter.name, parameter.doc));
        }
        for (status, meaning) in route.answers {
            line(&mut text, format_args!("- {status}: {meaning}"));
        }
    }
    text
}

/// `docs/config.md`.
#[must_use]
pub fn config() -> String {
    let mut text = format!(
        "# Settings\n\n{NOTE}A setting may stand in a TOML file (`--config FILE`), in the environment \
         and on the command line; the later place wins. `shoal config show` prints every value \
         with its origin.\n\n\
         | setting | flag | variable | value | default | meaning |\n\
         | --- | --- | --- | --- | --- | --- |\n"
    );
    for field in FIELDS {
        line(
            &mut text,
            format_args!(
                "| `{}` | `{} {}` | `{}` | {} | {} | {} |",
                field.name,
                field.flag,
                field.unit.replace('|', "\\|"),
                field.variable,
                field.range,
                field.default.describe(),
                field.doc
            ),
        );
    }
    text
}

/// `docs/metrics.md`.
#[must_use]
pub fn metrics() -> String {
    let mut text = format!(
        "# Metrics\n\n{NOTE}`GET /metrics` answers in the text format of Prometheus. Counters are shown \
         with `_total` behind their name. No metric names a key.\n\n\
         | metric | kind | meaning |\n| --- | --- | --- |\n"
    );
    for metric in listed() {
        let labels = match metric.labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        let kind = if metric.is_counter { "counter" } else { "gauge" };
        line(&mut text, format_args!("| `{}{labels}` | {kind} | {} |", metric.name, metric.help));
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}
