//! The table of routes: one row each, from which come dispatch, the OpenAPI document, the
//! documentation and the tests of completeness.
//!
//! Holds: what is not in the table is not served. Rows differ in method or template.

use super::path::{is_reserved, percent_decode};
use hyper::Method;
use shoal_node::{Code, Refusal};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path; `{keyspace}` and `{name}` stand for one segment, `{key}` for everything that is left.
    pub path: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// What the body of a request is.
    pub body: BodyKind,
    /// The statuses of success and what they mean; refusals come from the table of errors.
    pub answers: &'static [(u16, &'static str)],
    /// Who does it.
    pub(crate) handler: Handler,
}

/// A parameter of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it means.
    pub doc: &'static str,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// Behind the `?`.
    Query,
    /// In a header.
    Header,
}

impl Place {
    /// The place's name, as OpenAPI has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

impl Parameter {
    pub(crate) const fn query(name: &'static str, doc: &'static str) -> Self {
        Self { name, place: Place::Query, doc }
    }

    pub(crate) const fn path(name: &'static str, doc: &'static str) -> Self {
        Self { name, place: Place::Path, doc }
    }

    pub(crate) const fn header(name: &'static str, doc: &'static str) -> Self {
        Self { name, place: Place::Header, doc }
    }
}

/// What the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// None is read.
    None,
    /// The bytes of a value.
    Value,
    /// A JSON document.
    Json,
}

/// Who answers a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Handler {
    GetKey,
    HeadKey,
    PutKey,
    DeleteKey,
    Batch,
    Scan,
    ListKeyspaces,
    CreateKeyspace,
    DescribeKeyspace,
    AlterKeyspace,
    DropKeyspace,
    Compact,
    ClusterStatus,
    ClusterNodes,
    ClusterMap,
    ClusterEvents,
    Forget,
    AcceptLoss,
    Explain,
    LocalKeys,
    KeyNodes,
    Discovery,
    DiscoveryPlain,
    Health,
    Ready,
    Metrics,
    OpenApi,
    Errors,
}

impl Handler {
    /// Whether it is still served when only the connections kept for administration are free.
    pub(crate) const fn is_administration(self) -> bool {
        !matches!(
            self,
            Self::GetKey
                | Self::HeadKey
                | Self::PutKey
                | Self::DeleteKey
                | Self::Batch
                | Self::Scan
        )
    }
}

const KEY: Parameter = Parameter::path(
    "key",
    "Everything after the slash, percent-decoded once and never normalised; 1 to 16,384 bytes.",
);
const KEYSPACE: Parameter = Parameter::path("keyspace", "The keyspace's name.");
const NAME: Parameter = Parameter::path("name", "What the node is called.");
const IF_MATCH: Parameter = Parameter::header(
    "If-Match",
    "Go on only if the key's entity tag is in this list, or, with `*`, if the key has a value.",
);
const IF_NONE_MATCH: Parameter = Parameter::header(
    "If-None-Match",
    "Go on only if the key's entity tag is not in this list, or, with `*`, if the key has no value.",
);
const TTL: Parameter = Parameter::query(
    "ttl",
    "How long the value lives: 1500ms, 10s, 5m, 2h or 7d; a number alone counts seconds; 0 is refused.",
);
const EVENT_TIME: Parameter = Parameter::query(
    "event_time",
    "The caller's own time of the write, in milliseconds since 1970; an older write than the stored one answers 409 superseded.",
);

const CONSISTENCY: Parameter = Parameter::query(
    "consistency",
    "How many replicas are waited for: one, quorum, all, or default for what the keyspace says.",
);
const OF_KEYSPACE: Parameter = Parameter::query("keyspace", "Only of this keyspace.");
const IN_KEYSPACE: Parameter =
    Parameter::query("keyspace", "The keyspace's name; `default` unless said.");

const READS: &[(u16, &str)] = &[
    (
        200,
        "The value, with its entity tag in `ETag` and, if it expires, the time in milliseconds since 1970 in `Shoal-Expires-At`.",
    ),
    (304, "The value is one of those in `If-None-Match`."),
];
const WRITES: &[(u16, &str)] = &[
    (201, "Stored; the key had no value."),
    (
        204,
        "Stored over an older value. Among several nodes also where there was none: a write without \
         `If-Match` and `If-None-Match` goes to the replicas without asking what they hold.",
    ),
];
const REMOVES: &[(u16, &str)] = &[(204, "Removed.")];

macro_rules! routes {
    ($( $method:ident $path:literal $handler:ident $body:ident [$($parameter:expr),*] $answers:expr, $summary:literal; )+) => {
        /// Every route there is, in the order of the documentation.
        pub const ROUTES: &[Route] = &[$( Route {
            method: stringify!($method),
            path: $path,
            summary: $summary,
            parameters: &[$($parameter),*],
            body: BodyKind::$body,
            answers: $answers,
            handler: Handler::$handler,
        } ),+];
    };
}

routes! {
    GET "/{key}" GetKey None [KEY, CONSISTENCY, IF_MATCH, IF_NONE_MATCH] READS,
        "Reads a key of the keyspace `default`.";
    HEAD "/{key}" HeadKey None [KEY, CONSISTENCY, IF_MATCH, IF_NONE_MATCH] READS,
        "As GET, without the value.";
    PUT "/{key}" PutKey Value [KEY, CONSISTENCY, TTL, EVENT_TIME, IF_MATCH, IF_NONE_MATCH] WRITES,
        "Stores the body under a key of the keyspace `default`.";
    POST "/{key}" PutKey Value [KEY, CONSISTENCY, TTL, EVENT_TIME, IF_MATCH, IF_NONE_MATCH] WRITES,
        "As PUT, for `curl -X POST -d value`.";
    DELETE "/{key}" DeleteKey None [KEY, CONSISTENCY, EVENT_TIME, IF_MATCH, IF_NONE_MATCH] REMOVES,
        "Removes a key of the keyspace `default`.";
    GET "/v1/keyspaces/{keyspace}/keys/{key}" GetKey None [KEYSPACE, KEY, CONSISTENCY, IF_MATCH, IF_NONE_MATCH] READS,
        "Reads a key.";
    HEAD "/v1/keyspaces/{keyspace}/keys/{key}" HeadKey None [KEYSPACE, KEY, CONSISTENCY, IF_MATCH, IF_NONE_MATCH] READS,
        "As GET, without the value.";
    PUT "/v1/keyspaces/{keyspace}/keys/{key}" PutKey Value [KEYSPACE, KEY, CONSISTENCY, TTL, EVENT_TIME, IF_MATCH, IF_NONE_MATCH] WRITES,
        "Stores the body under a key.";
    POST "/v1/keyspaces/{keyspace}/keys/{key}" PutKey Value [KEYSPACE, KEY, CONSISTENCY, TTL, EVENT_TIME, IF_MATCH, IF_NONE_MATCH] WRITES,
        "As PUT.";
    DELETE "/v1/keyspaces/{keyspace}/keys/{key}" DeleteKey None [KEYSPACE, KEY, CONSISTENCY, EVENT_TIME, IF_MATCH, IF_NONE_MATCH] REMOVES,
        "Removes a key.";
    GET "/v1/keyspaces/{keyspace}/keys" Scan None [
            KEYSPACE,
            CONSISTENCY,
            Parameter::query("prefix", "Only keys that begin with these bytes."),
            Parameter::query("cursor", "Where the last answer ended, as it said."),
            Parameter::query("limit", "At most so many keys: 1 to 1,024, 100 unless said."),
            Parameter::query("values", "Whether values are listed too: true or false.")
        ] &[(200, "Keys, ordered by slot, then key, and a `cursor` if there may be more. A page can hold fewer keys than asked for, or none, and still have a cursor: in memory it ends after looking at about 262,144 keys.")],
        "Lists keys, ordered by slot, then key.";
    POST "/v1/keyspaces/{keyspace}/batch" Batch Json [KEYSPACE, CONSISTENCY]
        &[(200, "One result per operation, in the same order. Each stands for itself: the others are not undone where one is refused.")],
        "Does up to 1,024 gets, puts and deletes.";
    GET "/v1/keyspaces" ListKeyspaces None [] &[(200, "All keyspaces, by name.")],
        "Lists the keyspaces.";
    PUT "/v1/keyspaces/{keyspace}" CreateKeyspace Json [KEYSPACE] &[(201, "Made.")],
        "Makes a keyspace.";
    GET "/v1/keyspaces/{keyspace}" DescribeKeyspace None [KEYSPACE] &[(200, "The keyspace, its options and how much it holds.")],
        "Describes a keyspace.";
    PATCH "/v1/keyspaces/{keyspace}" AlterKeyspace Json [KEYSPACE] &[(200, "Changed; the keyspace as it is now.")],
        "Changes a keyspace's options.";
    DELETE "/v1/keyspaces/{keyspace}" DropKeyspace None [KEYSPACE] &[(204, "Dropped, with everything in it.")],
        "Drops a keyspace and everything in it.";
    GET "/v1/keyspaces/{keyspace}/explain/{key}" Explain None [KEYSPACE, KEY] &[(200, "Slot, partition, epoch, owners, what each of them holds under the key, and why it lives there.")],
        "Explains where a key lives and why.";
    GET "/v1/keyspaces/{keyspace}/local-keys" LocalKeys None [
            KEYSPACE,
            Parameter::query("after", "Only keys behind this one, the last of the answer before."),
            Parameter::query("limit", "At most so many keys: 1 to 10,000, 100 unless said.")
        ] &[(200, "Keys, ordered by slot, then key, and whether there may be `more`.")],
        "Lists keys that the node that is asked holds a copy of.";
    GET "/v1/cluster/status" ClusterStatus None [] &[(200, "Health, members, figures of every keyspace, links. `told_by_leader` says whether reports of copies are counted.")],
        "Tells how the cluster is, as the node that is asked sees it.";
    GET "/v1/cluster/nodes" ClusterNodes None [] &[(200, "Every node of the map with its state: joining, up, suspect, down, left or gone.")],
        "Lists the nodes of the cluster.";
    GET "/v1/cluster/map" ClusterMap None [OF_KEYSPACE] &[(200, "The map: nodes, keyspaces, and the owners of every partition.")],
        "Shows the cluster map.";
    GET "/v1/cluster/events" ClusterEvents None [] &[(200, "Up to 1,024 events, the oldest first.")],
        "Lists what the node that is asked saw happen to the cluster lately.";
    POST "/v1/cluster/forget/{name}" Forget None [NAME] &[(204, "The name is free; others take the node's places.")],
        "Notes that a node that is down never comes back.";
    POST "/v1/cluster/accept-loss" AcceptLoss None [OF_KEYSPACE] &[(200, "How many `partitions` go on with what is left.")],
        "Lets partitions on disk that lost too many replicas go on with what is left; asked of the leader of the map.";
    POST "/v1/compact" Compact None [] &[(204, "Done.")],
        "Rewrites the files without what is not needed any more; answers when that is done.";
    GET "/v1/openapi.json" OpenApi None [] &[(200, "An OpenAPI 3.1 document.")],
        "This table as an OpenAPI document.";
    GET "/v1/errors" Errors None [] &[(200, "Every code with its meaning.")],
        "The table of errors.";
    GET "/_cluster_status" ClusterStatus None [] &[(200, "As `/v1/cluster/status`.")],
        "Tells how the cluster is, as the node that is asked sees it.";
    GET "/_nodes/{key}" KeyNodes None [KEY, IN_KEYSPACE] &[(200, "The owners of the key, the one that leads it first, each with its address and whether it is up.")],
        "Lists the nodes that hold a key.";
    GET "/_nodes_discovery" Discovery None [] &[(200, "A list of all nodes with their addresses for clients.")],
        "Lists the nodes of the cluster for clients.";
    GET "/_nodes_discovery_plain" DiscoveryPlain None [] &[(200, "One address a line, of nodes that are up.")],
        "Lists the addresses of the nodes that are up, as plain text.";
    GET "/_health" Health None [] &[(200, "The process is alive and a restart would not help."), (503, "The storage has stopped, or the node was started again elsewhere: `error` says why.")],
        "Whether the node should be left running: 503 if only a restart helps.";
    GET "/_ready" Ready None [] &[(200, "Requests are welcome."), (503, "Requests had better go elsewhere: `status` is `stopping` or `refusing_writes`; `error` has the code of the refusal, `disk_full`, `storage_stopped`, `map_in_doubt` or `stale_directory`.")],
        "Whether requests should be sent here: 503 while the node is stopping, or refuses writes because its disk is full or its storage has stopped.";
    GET "/metrics" Metrics None [] &[(200, "Metrics in the text format of Prometheus.")],
        "Figures for Prometheus.";
}

/// What a path says beside its route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captures {
    /// The keyspace's name; `None` for the keyspace `default`.
    pub(crate) keyspace: Option<String>,
    /// The name of a node; empty where the route has none.
    pub(crate) name: String,
    /// The key; empty where the route has none.
    pub(crate) key: Vec<u8>,
}

/// Why no route fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// None has this path, or the path is malformed.
    Refused(Refusal),
    /// Some have this path, with these methods.
    Method(Vec<&'static str>),
}

/// The route for a request, and what its path says.
pub(crate) fn find(method: &Method, path: &str) -> Result<(&'static Route, Captures), Miss> {
    let mut allowed = Vec::new();
    for route in ROUTES {
        let Some(raw) = match_template(route.path, path) else { continue };
        if route.method != method.as_str() {
            allowed.push(route.method);
            continue;
        }
        return raw.decode(route).map(|captures| (route, captures)).map_err(Miss::Refused);
    }
    if allowed.is_empty() {
        let message = "there is nothing at this path; /v1/openapi.json lists what there is";
        return Err(Miss::Refused(Refusal::new(Code::NoRoute, message)));
    }
    Err(Miss::Method(allowed))
}

/// What a path says, still encoded.
#[derive(Clone, Copy, Debug, Default)]
struct RawCaptures<'p> {
    keyspace: Option<&'p str>,
    name: &'p str,
    key: &'p str,
}

fn match_template<'p>(template: &str, path: &'p str) -> Option<RawCaptures<'p>> {
    let mut raw = RawCaptures::default();
    let mut path = path.strip_prefix('/')?;
    if template == "/{key}" {
        // What belongs to the server is matched by its own rows only, as it is written.
        raw.key = path;
        return (!is_reserved(path.as_bytes())).then_some(raw);
    }
    let mut segments = template.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment == "{key}" {
            raw.key = path;
            return Some(raw);
        }
        let (found, rest) = match path.split_once('/') {
            Some((found, rest)) if segments.peek().is_some() => (found, rest),
            None if segments.peek().is_none() => (path, ""),
            _ => return None,
        };
        match segment {
            "{keyspace}" if !found.is_empty() => raw.keyspace = Some(found),
            "{name}" if !found.is_empty() => raw.name = found,
            _ if segment == found => {}
            _ => return None,
        }
        path = rest;
    }
    Some(raw)
}

impl RawCaptures<'_> {
    fn decode(self, route: &Route) -> Result<Captures, Refusal> {
        let keyspace = self.keyspace.map(|name| {
            String::from_utf8(percent_decode(name)?)
                .map_err(|_| Refusal::new(Code::BadName, "a keyspace's name is written in UTF-8"))
        });
        let name = String::from_utf8(percent_decode(self.name)?)
            .map_err(|_| Refusal::new(Code::BadName, "a node's name is written in UTF-8"))?;
        let key = percent_decode(self.key)?;
        if route.path == "/{key}" && is_reserved(&key) {
            let message = "this key is reachable under /v1/keyspaces/default/keys/ only";
            return Err(Refusal::new(Code::NoRoute, message));
        }
        if route.path.ends_with("/{key}") && key.is_empty() {
            return Err(Refusal::new(Code::BadKey, "a key is 1 to 16384 bytes long"));
        }
        Ok(Captures { keyspace: keyspace.transpose()?, name, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn found(method: &str, path: &str) -> Result<(Handler, Captures), Miss> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        find(&method, path).map(|(route, captures)| (route.handler, captures))
    }

    fn key(keyspace: Option<&str>, key: &[u8]) -> Captures {
        let keyspace = keyspace.map(str::to_owned);
        Captures { keyspace, key: key.to_vec(), ..Captures::default() }
    }

    #[test]
    fn rows_are_distinct_and_every_handler_has_one() {
        let rows: HashSet<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(rows.len(), ROUTES.len());
        let handlers: HashSet<_> = ROUTES.iter().map(|route| route.handler).collect();
        assert_eq!(handlers.len(), Handler::Errors as usize + 1);
        for route in ROUTES {
            let named = |name| route.parameters.iter().any(|parameter| parameter.name == name);
            assert_eq!(route.path.contains("{key}"), named("key"), "{}", route.path);
            if route.path.contains("{keyspace}") {
                assert!(named("keyspace"), "{}", route.path);
            }
            assert_eq!(route.path.contains("{name}"), named("name"), "{}", route.path);
            assert!(!route.answers.is_empty() && route.summary.ends_with('.'));
        }
    }

    #[test]
    fn every_row_is_found_by_its_own_path() {
        for route in ROUTES {
            let path = route.path.replace("{keyspace}", "ks").replace("{name}", "n%32");
            let path = path.replace("{key}", "some/key");
            let (handler, captures) = found(route.method, &path).expect(route.path);
            assert_eq!(handler, route.handler, "{} {}", route.method, route.path);
            if route.path.contains("{key}") {
                assert_eq!(captures.key, b"some/key");
            }
            if route.path.contains("{name}") {
                assert_eq!(captures.name, "n2");
            }
        }
    }

    #[test]
    fn keys_are_everything_after_the_slash() {
        for (path, bytes) in [
            ("/a", &b"a"[..]),
            ("//a", b"/a"),
            ("/a/", b"a/"),
            ("/../a", b"../a"),
            ("/%2e%2e%2fa", b"../a"),
            ("/%252e", b"%2e"),
            ("/v1", b"v1"),
            ("/v1%2", b""),
            ("/metrics/", b"metrics/"),
        ] {
            match found("GET", path) {
                Ok(answer) => assert_eq!(answer, (Handler::GetKey, key(None, bytes)), "{path}"),
                Err(miss) => assert!(bytes.is_empty() && matches!(miss, Miss::Refused(_))),
            }
        }
        let path = "/v1/keyspaces/ks%20x/keys//_a/metrics";
        assert_eq!(found("GET", path), Ok((Handler::GetKey, key(Some("ks x"), b"/_a/metrics"))));
    }

    #[test]
    fn reserved_keys_are_not_served_at_the_root_however_they_are_spelt() {
        for path in ["/v1/x", "/_x", "/%5Fhealth", "/%6Detrics", "/v1%2Fx", "/v1/keyspaces/"] {
            let Err(Miss::Refused(refusal)) = found("GET", path) else { panic!("{path}") };
            assert!(matches!(refusal.code, Code::NoRoute | Code::BadName), "{path}: {refusal:?}");
        }
        assert_eq!(found("PUT", "/metrics"), Err(Miss::Method(vec!["GET"])));
    }

    #[test]
    fn the_empty_key_is_refused() {
        for path in ["/", "/v1/keyspaces/ks/keys/"] {
            let Err(Miss::Refused(refusal)) = found("GET", path) else { panic!("{path}") };
            assert_eq!(refusal.code, Code::BadKey);
        }
        for path in ["", "*"] {
            let Err(Miss::Refused(refusal)) = found("GET", path) else { panic!("{path}") };
            assert_eq!(refusal.code, Code::NoRoute);
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let all = vec!["GET", "HEAD", "PUT", "POST", "DELETE"];
        assert_eq!(found("OPTIONS", "/key"), Err(Miss::Method(all)));
        assert_eq!(found("GET", "/v1/compact"), Err(Miss::Method(vec!["POST"])));
    }
}
