//! The longest common subsequence of two values, with the choices of Redis' LCS.
//!
//! Holds: the table of the dynamic programme is bounded by the caller; where several
//! subsequences are equally long, the one Redis would give is given. It is found backwards, so
//! [`Lcs::matches`] runs from the end of the values to their start.

/// A longest common subsequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lcs {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The runs it is made of, the last first.
    pub matches: Vec<Match>,
}

/// A run of bytes that both values have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where it starts in the first value.
    pub a: usize,
    /// Where it starts in the second value.
    pub b: usize,
    /// Its length in bytes, at least 1.
    pub len: usize,
}

/// The two values are too long for the memory that their comparison may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
pub struct LcsTooLarge;

/// The length of a longest common subsequence, in two rows of memory. The bound is that of the
/// whole table all the same, because it bounds the time too.
///
/// # Errors
/// [`LcsTooLarge`] where [`compute`] would give it.
pub fn length(a: &[u8], b: &[u8], limit_bytes: usize) -> Result<usize, LcsTooLarge> {
    table_cells(a, b, limit_bytes)?;
    let mut row = vec![0_u32; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    Ok(row[b.len()] as usize)
}

/// A longest common subsequence and where it lies.
///
/// # Errors
/// [`LcsTooLarge`] if the table, of four bytes for each pair of positions, would be larger than
/// `limit_bytes`. Nothing was allocated.
pub fn compute(a: &[u8], b: &[u8], limit_bytes: usize) -> Result<Lcs, LcsTooLarge> {
    let width = b.len() + 1;
    let mut table = vec![0_u32; table_cells(a, b, limit_bytes)?];
    for (i, x) in a.iter().enumerate() {
        let (done, rest) = table.split_at_mut((i + 1) * width);
        let (above, row) = (&done[i * width..], &mut rest[..width]);
        for (j, y) in b.iter().enumerate() {
            row[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(row[j]) };
        }
    }
    Ok(walk_back(a, b, |i, j| table[i * width + j]))
}

fn walk_back(a: &[u8], b: &[u8], cell: impl Fn(usize, usize) -> u32) -> Lcs {
    let mut found = Lcs::default();
    let (mut i, mut j) = (a.len(), b.len());
    let mut run = 0;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            i -= 1;
            j -= 1;
            run += 1;
            found.bytes.push(a[i]);
            continue;
        }
        found.close(i, j, &mut run);
        // Between two equally good ways Redis shortens the second value.
        if cell(i - 1, j) > cell(i, j - 1) {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found.close(i, j, &mut run);
    found.bytes.reverse();
    found
}

impl Lcs {
    fn close(&mut self, a: usize, b: usize, run: &mut usize) {
        if *run > 0 {
            self.matches.push(Match { a, b, len: std::mem::take(run) });
        }
    }
}

fn table_cells(a: &[u8], b: &[u8], limit_bytes: usize) -> Result<usize, LcsTooLarge> {
    let cells = (a.len() + 1).checked_mul(b.len() + 1).ok_or(LcsTooLarge)?;
    let bytes = cells.checked_mul(size_of::<u32>()).ok_or(LcsTooLarge)?;
    // A length fits a cell: the shorter value has fewer bytes than the table.
    if bytes > limit_bytes || a.len().min(b.len()) > u32::MAX as usize {
        return Err(LcsTooLarge);
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What Redis answered, from `fixtures/redis/lcs.txt`.
    #[test]
    fn choices_are_those_of_redis() {
        let fixture = include_str!("../fixtures/redis/lcs.txt");
        let mut count = 0;
        for line in fixture.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<_> = line.split('\t').collect();
            let [a, b, text, runs] = fields.as_slice() else { panic!("not a row: {line}") };
            let lcs = compute(a.as_bytes(), b.as_bytes(), 1 << 20).expect("short values");
            assert_eq!(lcs.bytes, text.as_bytes(), "{line}");
            let shown: Vec<_> = lcs.matches.iter().map(show).collect();
            assert_eq!(shown.join(" "), *runs, "{line}");
            count += 1;
        }
        assert!(count >= 60, "the fixture is there: {count} rows");
    }

    fn show(found: &Match) -> String {
        let Match { a, b, len } = *found;
        format!("{a}-{}:{b}-{}", a + len - 1, b + len - 1)
    }

    #[test]
    fn a_table_beyond_the_limit_is_refused() {
        let limit = (3 + 1) * (4 + 1) * 4;
        assert_eq!(length(b"abc", b"abcd", limit), Ok(3));
        assert_eq!(length(b"abc", b"abcd", limit - 1), Err(LcsTooLarge));
        assert_eq!(compute(b"abc", b"abcd", limit - 1), Err(LcsTooLarge));
        assert_eq!(compute(b"", b"", 4), Ok(Lcs::default()));
    }

    proptest! {
        #[test]
        fn the_runs_spell_the_subsequence(a in "[abc]{0,20}", b in "[abc]{0,20}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let lcs = compute(a, b, 1 << 20).expect("short values");
            prop_assert_eq!(length(a, b, 1 << 20), Ok(lcs.bytes.len()));
            let spell = |value: &[u8], start: fn(&Match) -> usize| -> Vec<u8> {
                let runs = lcs.matches.iter().rev();
                runs.flat_map(|run| value[start(run)..][..run.len].to_vec()).collect()
            };
            prop_assert_eq!(&spell(a, |run| run.a), &lcs.bytes);
            prop_assert_eq!(&spell(b, |run| run.b), &lcs.bytes);
        }
    }
}
