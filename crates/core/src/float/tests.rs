//! Sums of 80-bit floats, against what Redis printed.

use super::*;
use proptest::prelude::*;

/// What Redis answered, from `fixtures/redis/float.txt`.
#[test]
fn sums_are_those_of_redis() {
    let fixture = include_str!("../../fixtures/redis/float.txt");
    let unescape = |text: &str| text.replace("\\t", "\t").replace("\\n", "\n");
    let mut count = 0;
    for line in fixture.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').map(unescape).collect();
        let [value, delta, expected] = fields.as_slice() else { panic!("not a row: {line}") };
        let got = match add(value.as_bytes(), delta.as_bytes()) {
            Ok(sum) => sum,
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(got, *expected, "{value:?} + {delta:?}");
        count += 1;
    }
    assert!(count >= 300, "the fixture is there: {count} rows");
}

#[test]
fn sums_print_as_people_wrote_them() {
    for (value, delta, sum) in [
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("3", "-3", "0"),
        ("0.1", "0.2", "0.3"),
        ("1e-30", "-1", "-1"),
        ("-1e-30", "0", "0"),
    ] {
        assert_eq!(add(value.as_bytes(), delta.as_bytes()).as_deref(), Ok(sum));
    }
}

/// What lies below all the bits that are looked at still decides a tie. Sums as Redis gives them.
#[test]
fn a_difference_that_falls_just_beside_a_tie_goes_to_the_right_side() {
    for (delta, sum) in [
        ("-9223372036854775809", "340282366920938463444927863358058659840"),
        ("-9223372036854775808", "340282366920938463463374607431768211456"),
        ("-9223372036854775807", "340282366920938463463374607431768211456"),
    ] {
        assert_eq!(add(b"0x1p128", delta.as_bytes()).as_deref(), Ok(sum), "{delta}");
    }
}

#[test]
fn long_texts_and_far_exponents_cost_little_and_are_refused() {
    let nines = "9".repeat(MAX_TEXT - 1);
    assert_eq!(add(nines.as_bytes(), b"0"), Err(UpdateError::NotFloat));
    let longer = "0".repeat(MAX_TEXT);
    assert_eq!(add(longer.as_bytes(), b"0"), Err(UpdateError::NotFloat));
    assert_eq!(add(&longer.as_bytes()[1..], b"0").as_deref(), Ok("0"));
    for text in ["1e99999999999999999999999", "1e-99999999999999999999999", "0x1p999999999999"] {
        assert_eq!(add(text.as_bytes(), b"0"), Err(UpdateError::NotFloat), "{text}");
    }
    let tiny = format!("0.{}1", "0".repeat(MAX_TEXT - 10));
    assert_eq!(add(tiny.as_bytes(), b"0"), Err(UpdateError::NotFloat));
    // Digits and exponent make up for each other.
    let even = format!("1{}e-4000", "0".repeat(4_000));
    assert_eq!(add(even.as_bytes(), b"1").as_deref(), Ok("2"));
}

#[test]
fn the_greatest_numbers_add_up_to_an_infinity_which_is_refused() {
    let greatest = b"0x1.fffffffffffffffep16383";
    assert_eq!(add(greatest, b"0").map(|text| text.len()), Ok(4_933));
    assert_eq!(add(greatest, greatest), Err(UpdateError::NotFinite));
    assert_eq!(add(b"inf", b"-inf"), Err(UpdateError::NotFinite));
    assert_eq!(add(b"inf", b"nan"), Err(UpdateError::NotFloat));
}

/// A decimal of up to 19 digits, which both ways of reading take.
fn short() -> impl Strategy<Value = (u64, i64)> {
    let number = prop_oneof![1..10_000_u64, 1..10_u64.pow(19), Just(u64::from(u32::MAX))];
    (number, -19..=0_i64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_short_way_of_reading_agrees_with_the_exact_one((number, power) in short()) {
        let digits = number.to_string();
        if let Some(fast) = short_decimal(false, digits.as_bytes(), power) {
            let tens = BigUint::from(10_u8).pow(u32::try_from(-power).expect("small"));
            prop_assert_eq!(Some(fast), ratio(false, &BigUint::from(number), &tens, 0));
        }
    }

    #[test]
    fn whole_numbers_add_like_integers(a in -(1_i64 << 62)..1 << 62, b in -(1_i64 << 62)..1 << 62) {
        let sum = add(a.to_string().as_bytes(), b.to_string().as_bytes());
        prop_assert_eq!(sum, Ok((a + b).to_string()));
    }

    #[test]
    fn sums_do_not_depend_on_the_order(a in "-?[0-9]{1,25}(\\.[0-9]{0,25})?(e-?[0-9]{1,3})?", b in "-?[0-9]{1,25}\\.[0-9]{1,9}") {
        prop_assert_eq!(add(a.as_bytes(), b.as_bytes()), add(b.as_bytes(), a.as_bytes()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        a in prop::collection::vec(prop::sample::select(&b"0123456789.eExXpPabf+-in \0"[..]), 0..30),
    ) {
        if let Ok(text) = add(&a, b"0") {
            // What was printed is a number in plain digits, and reads as itself.
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte)));
            prop_assert!(text != "-0" && !text.ends_with('.'));
        }
    }
}
