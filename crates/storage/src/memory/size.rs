//! What allocations really cost.
//!
//! An allocator hands out size classes, not lengths, and a bound on memory that counts lengths
//! is passed by a fifth without anyone noticing. The classes here are jemalloc's: multiples of
//! 16 up to 128, then four steps to each doubling, and whole pages from 16 KiB on.

/// The bytes an allocation of `len` takes.
pub(super) const fn size_class(len: usize) -> usize {
    match len {
        0 => 0,
        1..=8 => 8,
        9..=128 => len.next_multiple_of(16),
        129..=16_384 => len.next_multiple_of(1 << ((len - 1).ilog2() - 2)),
        _ => len.next_multiple_of(4_096),
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn classes_are_those_of_jemalloc() {
        let cases = [
            (0, 0),
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (127, 128),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (257, 320),
            (1024, 1024),
            (1025, 1280),
            (16_384, 16_384),
            (16_385, 20_480),
            (33_000, 36_864),
            (8 << 20, 8 << 20),
            ((8 << 20) + 1, (8 << 20) + 4_096),
        ];
        for (len, class) in cases {
            assert_eq!(size_class(len), class, "{len} bytes");
        }
    }
}
