//! The guard against web pages: a browser on this machine reaches loopback addresses, and the
//! pages it shows must not.
//!
//! Holds: on a loopback listener a request is served only if its `Host` is this machine's own
//! name or address and its `Origin`, if it has one, is too. A page of another site sends its own
//! origin, and a name that was rebound to 127.0.0.1 shows in `Host`.

use crate::listener::is_loopback;
use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN, TRANSFER_ENCODING};
use hyper::http::uri::Authority;
use hyper::{Uri, Version};
use shoal_node::{Code, Refusal};
use std::net::IpAddr;

/// Refuses transfer encodings other than chunked, requests with more than one `Host`, HTTP/1.1 requests without one, and, on a
/// loopback listener, those that were meant for another host or come from another site.
pub(crate) fn check(
    loopback_tcp: bool,
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::new(Code::BadRequest, "there is more than one Host header"));
    }
    if host.is_none() && uri.authority().is_none() && version == Version::HTTP_11 {
        return Err(Refusal::new(Code::BadRequest, "HTTP/1.1 asks for a Host header"));
    }
    // A body that is coded otherwise would be stored as it is coded.
    if headers.get_all(TRANSFER_ENCODING).iter().any(|coding| !is_chunked(coding)) {
        let why = "the only transfer encoding taken is chunked";
        return Err(Refusal::new(Code::BadRequest, why));
    }
    if !loopback_tcp {
        return Ok(());
    }
    let good_host = host.is_none_or(|host| {
        let authority = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
        authority.is_some_and(|authority| is_local(authority.host()))
    });
    let good_target = uri.authority().is_none_or(|authority| is_local(authority.host()));
    let good_origin = headers.get_all(ORIGIN).iter().all(is_local_origin);
    if good_host && good_target && good_origin {
        Ok(())
    } else {
        Err(Refusal::new(
            Code::ForeignOrigin,
            "this address serves programs on this machine only: Host and Origin must be \
             localhost or a loopback address",
        ))
    }
}

fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn is_local_origin(origin: &HeaderValue) -> bool {
    let uri = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
    uri.is_some_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(is_local))
}

fn is_local(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return is_loopback(ip);
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: Option<&str>, origin: Option<&str>, uri: &str) -> Option<Code> {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, HeaderValue::from_str(host).expect("a header value"));
        }
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).expect("a header value"));
        }
        let uri = uri.parse().expect("a URI");
        check(true, Version::HTTP_11, &uri, &headers).err().map(|refusal| refusal.code)
    }

    #[test]
    fn local_callers_are_served() {
        for host in [
            "localhost",
            "LOCALHOST:7400",
            "localhost.",
            "x.localhost:1",
            "127.0.0.1:7400",
            "127.1.2.3",
            "[::1]:7400",
        ] {
            assert_eq!(refused(Some(host), None, "/k"), None, "{host}");
        }
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:1"] {
            assert_eq!(refused(Some("localhost"), Some(origin), "/k"), None, "{origin}");
        }
    }

    #[test]
    fn foreign_pages_are_refused() {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "192.168.0.1",
            "localhost.evil.example",
            "[::2]:1",
            "",
            "0.0.0.0:7400",
        ] {
            assert_eq!(refused(Some(host), None, "/k"), Some(Code::ForeignOrigin), "{host}");
        }
        for origin in [
            "http://evil.example",
            "null",
            "",
            "file://",
            "localhost",
            "https://localhost.evil.example",
        ] {
            assert_eq!(
                refused(Some("localhost"), Some(origin), "/k"),
                Some(Code::ForeignOrigin),
                "{origin}"
            );
        }
        let absolute = "http://evil.example/k";
        assert_eq!(refused(Some("localhost"), None, absolute), Some(Code::ForeignOrigin));
    }

    #[test]
    fn a_missing_host_is_for_old_versions_only() {
        assert_eq!(refused(None, None, "/k"), Some(Code::BadRequest));
        let uri = "/k".parse().expect("a URI");
        assert!(check(true, Version::HTTP_10, &uri, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn two_hosts_are_refused_everywhere() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("localhost"));
        headers.append(HOST, HeaderValue::from_static("localhost"));
        let uri = "/k".parse().expect("a URI");
        assert!(check(false, Version::HTTP_11, &uri, &headers).is_err());
    }
}
