//! The part of a URI behind the `?`.
//!
//! Holds: a parameter that the route does not know, or that is given twice, is refused: a
//! misspelt `?tll=` must not silently make a key immortal. Values follow the rule of forms, by
//! which `+` is a space and `%2B` a plus.

use super::path::percent_decode;
use super::routes::{Parameter, Place};
use crate::config::units::parse_millis;
use crate::resp::levels;
use shoal_core::quorum::Level;
use shoal_core::version::{MAX_WALL_MS, Millis};
use shoal_node::{Code, Refusal};

/// The parameters of one request.
#[derive(Debug, Default)]
pub(crate) struct Query {
    given: Vec<(&'static str, Vec<u8>)>,
}

impl Query {
    /// Reads `raw`, of which only `known` parameters may be there.
    pub(crate) fn parse(raw: Option<&str>, known: &[Parameter]) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let fits =
                |parameter: &&Parameter| parameter.place == Place::Query && parameter.name == name;
            let Some(parameter) = known.iter().find(fits) else {
                let message = format!("there is no parameter `{name}` here");
                return Err(Refusal::new(Code::BadRequest, message));
            };
            if query.get(parameter.name).is_some() {
                let message = format!("the parameter `{name}` is given twice");
                return Err(Refusal::new(Code::BadRequest, message));
            }
            let value = percent_decode(&value.replace('+', "%20"))?;
            query.given.push((parameter.name, value));
        }
        Ok(query)
    }

    /// The bytes of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_slice())
    }

    /// A parameter that is a text.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        self.get(name).map(|bytes| std::str::from_utf8(bytes)).transpose().map_err(|_| {
            Refusal::new(Code::BadRequest, format!("the parameter `{name}` is not UTF-8"))
        })
    }

    /// A parameter that is a whole number.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<u64>, Refusal> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                let message = format!("the parameter `{name}` is not a whole number");
                Refusal::new(Code::BadRequest, message)
            })
        };
        self.text(name)?.map(parse).transpose()
    }

    /// A parameter that is `true` or `false`; without a value it is true.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Refusal> {
        match self.text(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => {
                let message = format!("the parameter `{name}` is true or false");
                Err(Refusal::new(Code::BadRequest, message))
            }
        }
    }

    /// `?ttl=`, in milliseconds.
    pub(crate) fn ttl_ms(&self) -> Result<Option<Millis>, Refusal> {
        self.text("ttl")?.map(ttl_ms).transpose()
    }

    /// `?consistency=`; `None` for what the keyspace says.
    pub(crate) fn level(&self) -> Result<Option<Level>, Refusal> {
        let parse = |word: &[u8]| {
            let message = "`consistency` is one, quorum, all or default";
            levels::parse(word).ok_or_else(|| Refusal::new(Code::BadOption, message))
        };
        Ok(self.get("consistency").map(parse).transpose()?.flatten())
    }

    /// `?event_time=`, in milliseconds since the Unix epoch.
    pub(crate) fn event_time(&self) -> Result<Option<Millis>, Refusal> {
        let time = self.number("event_time")?;
        time.map(event_time).transpose()
    }
}

/// Reads a time to live: `1500ms`, `10s`, `5m`, `2h`, `7d`; a number alone counts seconds.
pub(crate) fn ttl_ms(text: &str) -> Result<Millis, Refusal> {
    let refuse = |message: String| Err(Refusal::new(Code::BadOption, message));
    match parse_millis(text) {
        Ok(0) => refuse("a ttl of 0 would store nothing; DELETE the key instead".to_owned()),
        Ok(ms) if ms > MAX_WALL_MS / 2 => refuse(format!("the ttl `{text}` is too long")),
        Ok(ms) => Ok(ms),
        Err(error) => refuse(format!("the ttl is wrong: {error}")),
    }
}

/// Checks an event time's range; whether it is acceptable is the node's to say.
pub(crate) fn event_time(time: u64) -> Result<Millis, Refusal> {
    if time == 0 || time > MAX_WALL_MS {
        let message = format!("an event time is 1 to {MAX_WALL_MS} milliseconds since 1970");
        return Err(Refusal::new(Code::BadOption, message));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::super::routes::Parameter;
    use super::*;

    const KNOWN: &[Parameter] = &[
        Parameter::query("ttl", "a time"),
        Parameter::query("prefix", "bytes"),
        Parameter::query("values", "a flag"),
        Parameter::query("consistency", "a level"),
        Parameter::path("key", "not in the query"),
    ];

    fn parse(raw: &str) -> Result<Query, Refusal> {
        Query::parse(Some(raw), KNOWN)
    }

    #[test]
    fn values_are_decoded_once() {
        let query = parse("prefix=a%2Bb+c%00%ff&values").expect("both are known");
        assert_eq!(query.get("prefix"), Some(&b"a+b c\0\xff"[..]));
        assert_eq!(query.flag("values"), Ok(true));
        assert_eq!(query.get("ttl"), None);
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        for raw in ["tll=5", "ttl=5&ttl=6", "key=a", "prefix=%", "=5"] {
            assert_eq!(parse(raw).expect_err(raw).code, Code::BadRequest, "{raw}");
        }
    }

    #[test]
    fn levels_are_read() {
        for (raw, level) in [
            ("", None),
            ("consistency=default", None),
            ("consistency=one", Some(Level::One)),
            ("consistency=ALL", Some(Level::All)),
        ] {
            assert_eq!(parse(raw).expect("it is known").level(), Ok(level), "{raw}");
        }
        let wrong = parse("consistency=two").expect("it is known").level();
        assert_eq!(wrong.expect_err("there is no such level").code, Code::BadOption);
    }

    #[test]
    fn times_to_live_are_read_and_zero_is_refused() {
        for (text, ms) in [
            ("1500ms", 1_500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("60", 60_000),
        ] {
            let query = parse(&format!("ttl={text}")).expect("it is known");
            assert_eq!(query.ttl_ms(), Ok(Some(ms)), "{text}");
        }
        for text in ["0", "0ms", "", "-1", "soon", "9999999999999d", "18446744073709551615"] {
            let query = parse(&format!("ttl={text}")).expect("it is known");
            assert_eq!(query.ttl_ms().expect_err(text).code, Code::BadOption, "{text}");
        }
    }
}
