//! `If-Match` and `If-None-Match`: conditions on a key's entity tag.
//!
//! Holds: an entity tag is the record's version between quotes; where the write came with an event
//! time, which another may share, the clock's stamp of the write follows after a dot. So it is
//! strong: equal tags mean equal bytes. Every tag has one spelling. A tag that is none of ours
//! matches nothing. Follows RFC 9110, section 13.1, with one difference: a weak tag in `If-Match`,
//! which can never match, is refused by name.

use hyper::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use shoal_core::update::{Tag, When};
use shoal_node::{Code, Refusal};

/// The conditions of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    matches: Option<Tags>,
    none_match: Option<Tags>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever is there.
    Any,
    /// Any of these.
    Listed(Vec<Tag>),
}

/// What a condition makes of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were no condition.
    Go,
    /// The caller has it already: 304.
    NotModified,
    /// 412.
    Failed,
}

impl Conditions {
    /// Reads the conditions of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        Ok(Self {
            matches: tags(headers, &IF_MATCH, true)?,
            none_match: tags(headers, &IF_NONE_MATCH, false)?,
        })
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.matches.is_none() && self.none_match.is_none()
    }

    /// The condition of an update.
    pub(crate) fn when(&self) -> Result<When<'_>, Refusal> {
        match (&self.matches, &self.none_match) {
            (None, None) => Ok(When::Always),
            (Some(Tags::Any), None) => Ok(When::Present),
            (Some(Tags::Listed(tags)), None) => Ok(When::TagIn(tags)),
            (None, Some(Tags::Any)) => Ok(When::Absent),
            (None, Some(Tags::Listed(tags))) => Ok(When::TagNotIn(tags)),
            (Some(_), Some(_)) => Err(Refusal::new(
                Code::BadRequest,
                "a write takes one of If-Match and If-None-Match, not both",
            )),
        }
    }

    /// What to do about a read that found a value with `tag`.
    pub(crate) fn judge(&self, tag: Option<Tag>) -> Verdict {
        let met = |tags: &Tags| match (tags, tag) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::Listed(tags), Some(tag)) => tags.contains(&tag),
        };
        if self.matches.as_ref().is_some_and(|tags| !met(tags)) {
            return Verdict::Failed;
        }
        if self.none_match.as_ref().is_some_and(met) {
            return Verdict::NotModified;
        }
        Verdict::Go
    }
}

/// A tag as a header has it.
pub(crate) fn etag(tag: Tag) -> String {
    let Tag { version, written } = tag;
    if version == written { format!("\"{version}\"") } else { format!("\"{version}.{written}\"") }
}

/// Reads what stands between the quotes; `None` where it is none of ours.
fn parse(text: &str) -> Option<Tag> {
    let Some((version, written)) = text.split_once('.') else {
        return text.parse().ok().map(Tag::plain);
    };
    let tag = Tag { version: version.parse().ok()?, written: written.parse().ok()? };
    (tag.version != tag.written).then_some(tag)
}

fn tags(headers: &HeaderMap, name: &HeaderName, strong: bool) -> Result<Option<Tags>, Refusal> {
    let mut listed = Vec::new();
    let mut any = false;
    let mut given = false;
    for value in headers.get_all(name) {
        given = true;
        let text = value.to_str().map_err(|_| bad(name))?;
        if text.trim() == "*" {
            any = true;
            continue;
        }
        read_list(text, name, strong, &mut listed)?;
    }
    match (given, any, listed.is_empty()) {
        (false, ..) => Ok(None),
        (true, true, true) => Ok(Some(Tags::Any)),
        (true, true, false) => Err(bad(name)),
        (true, false, _) => Ok(Some(Tags::Listed(listed))),
    }
}

/// Reads `"a", W/"b"`: tags between quotes, commas between tags.
fn read_list(
    text: &str,
    name: &HeaderName,
    strong: bool,
    listed: &mut Vec<Tag>,
) -> Result<(), Refusal> {
    let mut rest = text.trim();
    loop {
        let tag = match rest.strip_prefix("W/") {
            Some(_) if strong => {
                return Err(Refusal::new(
                    Code::BadRequest,
                    "If-Match takes strong entity tags; one beginning with W/ never matches",
                ));
            }
            Some(tag) => tag,
            None => rest,
        };
        let (tag, after) =
            tag.strip_prefix('"').and_then(|tag| tag.split_once('"')).ok_or_else(|| bad(name))?;
        // Somebody else's tag is no mistake; it only matches nothing.
        listed.extend(parse(tag));
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(());
        }
        rest = rest.strip_prefix(',').ok_or_else(|| bad(name))?.trim_start();
    }
}

fn bad(name: &HeaderName) -> Refusal {
    let message = format!("{name} is `*` or a list of entity tags, each between double quotes");
    Refusal::new(Code::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use shoal_core::{NodeId, Version};

    const ONE: Tag = Tag::plain(Version { wall_ms: 1, counter: 0, node: NodeId(1) });
    const TWO: Tag = Tag::plain(Version { wall_ms: 2, counter: 0, node: NodeId(1) });
    /// An event of the time of the first, written when the second was.
    const EVENT: Tag = Tag { version: ONE.version, written: TWO.version };

    fn conditions(pairs: &[(HeaderName, &str)]) -> Result<Conditions, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        Conditions::of(&headers)
    }

    #[test]
    fn reads_are_judged_as_the_rfc_says() {
        for (name, value, tag, expected) in [
            (IF_MATCH, "*", Some(ONE), Verdict::Go),
            (IF_MATCH, "*", None, Verdict::Failed),
            (IF_MATCH, "\"1-0-1\"", Some(ONE), Verdict::Go),
            (IF_MATCH, "\"2-0-1\" , \"1-0-1\"", Some(ONE), Verdict::Go),
            (IF_MATCH, "\"2-0-1\"", Some(ONE), Verdict::Failed),
            (IF_MATCH, "\"other\"", Some(ONE), Verdict::Failed),
            (IF_NONE_MATCH, "*", Some(ONE), Verdict::NotModified),
            (IF_NONE_MATCH, "*", None, Verdict::Go),
            (IF_NONE_MATCH, "W/\"1-0-1\"", Some(ONE), Verdict::NotModified),
            (IF_NONE_MATCH, "\"2-0-1\"", Some(ONE), Verdict::Go),
            (IF_NONE_MATCH, "\"x,y\",\"1-0-1\"", Some(ONE), Verdict::NotModified),
            (IF_MATCH, "\"1-0-1.2-0-1\"", Some(EVENT), Verdict::Go),
            (IF_MATCH, "\"1-0-1\"", Some(EVENT), Verdict::Failed),
            (IF_MATCH, "\"1-0-1.2-0-1\"", Some(ONE), Verdict::Failed),
            (IF_MATCH, "\"1-0-1.1-0-1\"", Some(ONE), Verdict::Failed),
            (IF_NONE_MATCH, "\"1-0-1.3-0-1\"", Some(EVENT), Verdict::Go),
        ] {
            let read = conditions(&[(name.clone(), value)]).expect(value);
            assert_eq!(read.judge(tag), expected, "{name}: {value}");
        }
    }

    #[test]
    fn writes_get_the_condition_of_the_core() {
        let when = |pairs: &[(HeaderName, &str)]| {
            let conditions = conditions(pairs).expect("well formed");
            conditions.when().map(|when| format!("{when:?}"))
        };
        let shown = |when: When<'_>| Ok(format!("{when:?}"));
        assert_eq!(when(&[]), shown(When::Always));
        assert_eq!(when(&[(IF_MATCH, "*")]), shown(When::Present));
        assert_eq!(when(&[(IF_NONE_MATCH, "*")]), shown(When::Absent));
        let both = [(IF_MATCH, "\"1-0-1\""), (IF_MATCH, "\"2-0-1\"")];
        assert_eq!(when(&both), shown(When::TagIn(&[ONE, TWO])));
        assert_eq!(when(&[(IF_MATCH, "\"mine\"")]), shown(When::TagIn(&[])));
        let none = [(IF_NONE_MATCH, "W/\"1-0-1\"")];
        assert_eq!(when(&none), shown(When::TagNotIn(&[ONE])));
        assert!(when(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]).is_err());
    }

    #[test]
    fn malformed_and_weak_conditions_are_refused() {
        for value in ["", "1-0-1", "\"1-0-1", "\"a\" \"b\"", "\"a\",", "*, \"a\"", "W/\"1-0-1\""] {
            assert!(conditions(&[(IF_MATCH, value)]).is_err(), "{value}");
        }
        assert!(conditions(&[(IF_NONE_MATCH, "*"), (IF_NONE_MATCH, "\"a\"")]).is_ok());
        assert!(conditions(&[(IF_NONE_MATCH, "*"), (IF_NONE_MATCH, "\"1-0-1\"")]).is_err());
    }

    #[test]
    fn a_tag_reads_back() {
        for tag in [ONE, TWO, EVENT] {
            let read = conditions(&[(IF_MATCH, &etag(tag))]).expect("our own tag");
            for other in [ONE, TWO, EVENT] {
                let verdict = if other == tag { Verdict::Go } else { Verdict::Failed };
                assert_eq!(read.judge(Some(other)), verdict, "{tag:?} and {other:?}");
            }
        }
    }
}
