//! Glob patterns as Redis matches them in KEYS, SCAN and CONFIG GET.
//!
//! `*` any bytes, `?` any byte, `[a-z]`, `[^a-z]`, `\` takes the next byte as it is. The corners
//! are those of Redis 7.0: an unclosed class ends with the pattern, a range may stand either way
//! round, a lone `\` at the end is itself, and an empty text matches only the empty pattern.
//!
//! Holds: every part of a pattern but `*` takes exactly one byte, so that only the last `*` ever
//! needs another try. Matching is a loop with one place to come back to: no recursion, no
//! allocation, at most pattern × text steps.

/// Whether `text` matches `pattern`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, false)
}

/// Like [`matches()`], with ASCII letters equal in either case.
#[must_use]
pub fn matches_nocase(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, true)
}

fn run(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut pos) = (0, 0);
    // Behind the last `*`, and where the text it has not taken begins.
    let mut retry: Option<(usize, usize)> = None;
    while pos < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            retry = Some((at, pos));
            continue;
        }
        if let Some(next) = step(&pattern[at..], text[pos], nocase) {
            at += next;
            pos += 1;
            continue;
        }
        let Some((star, taken)) = retry else { return false };
        at = star;
        pos = taken + 1;
        retry = Some((star, pos));
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The length of the pattern's first part if it takes `byte`, else `None`.
fn step(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    let (wanted, len) = match pattern {
        [] => return None,
        [b'?', ..] => return Some(1),
        [b'[', class @ ..] => {
            let (taken, len) = class_takes(class, byte, nocase);
            return taken.then_some(1 + len);
        }
        [b'\\', escaped, ..] => (*escaped, 2),
        [other, ..] => (*other, 1),
    };
    same(wanted, byte, nocase).then_some(len)
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

/// Whether the class whose text begins at `class`, behind the `[`, takes `byte`; and its length
/// up to and with the `]`.
fn class_takes(class: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        let used = match &class[at..] {
            [] => break,
            // An escaped byte is compared as it is, in either mode, as Redis does.
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                2
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= in_range(*first, *last, byte, nocase);
                3
            }
            [single, ..] => {
                found |= same(*single, byte, nocase);
                1
            }
        };
        at += used;
    }
    (found != negated, at)
}

/// Bytes are compared as signed, which is what `char` is where Redis mostly runs.
fn in_range(first: u8, last: u8, byte: u8, nocase: bool) -> bool {
    let signed = |b: u8| b.cast_signed();
    let (low, high) = if signed(first) <= signed(last) { (first, last) } else { (last, first) };
    let fold = |b: u8| signed(if nocase { b.to_ascii_lowercase() } else { b });
    (fold(low)..=fold(high)).contains(&fold(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Redis answered, from `fixtures/redis/glob.txt`.
    #[test]
    fn patterns_match_what_they_match_in_redis() {
        let fixture = include_str!("../fixtures/redis/glob.txt");
        let mut count = 0;
        for line in fixture.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<_> = line.split('\t').collect();
            let [pattern, text, expected] = fields.as_slice() else { panic!("not a row: {line}") };
            let got = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(got, *expected == "1", "{pattern:?} on {text:?}");
            count += 1;
        }
        assert!(count >= 200, "the fixture is there: {count} rows");
    }

    #[test]
    fn case_is_ignored_only_when_asked_and_never_behind_a_backslash_in_a_class() {
        assert!(!matches(b"MAX*", b"maxmemory"));
        assert!(matches_nocase(b"MAX*[X-Z]", b"maxmemory"));
        assert!(matches_nocase(b"\\M*", b"maxmemory"));
        assert!(!matches_nocase(b"[\\M]*", b"maxmemory"));
    }

    #[test]
    fn bytes_from_128_on_are_below_the_others_in_a_range() {
        assert!(matches(b"[\xFF-a]", b"A"));
        assert!(!matches(b"[\xFF-a]", b"\x80"));
        assert!(matches(b"[\xFF-\x80]", b"\x90"));
    }

    /// With recursion, or without the rule of the last star, these would not end in a lifetime.
    #[test]
    fn many_stars_take_no_more_than_pattern_times_text() {
        let text = vec![b'a'; 20_000];
        let mut pattern = b"a*".repeat(1_000);
        assert!(matches(&pattern, &text));
        pattern.push(b'b');
        assert!(!matches(&pattern, &text));
        let classes = [b"*[^b]".repeat(200), b"c".to_vec()].concat();
        assert!(!matches(&classes, &text[..2_000]));
    }

    /// The plain meaning, by recursion: fine for short texts.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
            _ => text.split_first().is_some_and(|(byte, tail)| {
                step(pattern, *byte, false).is_some_and(|len| naive(&pattern[len..], tail))
            }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn one_place_to_come_back_to_is_enough(
            pattern in prop::collection::vec(prop::sample::select(&b"***?ab[]^-\\"[..]), 0..10),
            text in prop::collection::vec(prop::sample::select(&b"ab-]"[..]), 1..10),
        ) {
            prop_assert_eq!(matches(&pattern, &text), naive(&pattern, &text));
        }

        #[test]
        fn any_bytes_are_matched_without_a_panic(
            pattern in prop::collection::vec(any::<u8>(), 0..20),
            text in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let _ = matches(&pattern, &text);
            let _ = matches_nocase(&pattern, &text);
        }
    }
}
